//! Several app registrations at one provider, which binds each refresh token to the client that it was issued to: each
//! login goes to the one that made it, and which one that is, is found out where its AuthID does not say so.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Fault, Profile};
use crate::rotation::{log_in, spent};
use crate::spawn::{TestApp, spawn_at, spawn_beside};
use authseal::clock::Clock;
use std::fs;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3700);
const STORE: &str = "[state]\nstore = \"dir:state\"\n";
const UI: &str = "http://localhost:8200";
const OLD: &str = "old-app";

/// One of each policy: tokens that stay, that live on for a while, and that work once.
pub(crate) fn policies() -> [Profile; 3] {
    [Profile::google(), Profile::microsoft(), Profile::box_com()]
}

fn other(who: &Profile) -> String {
    format!("[clients.{}.other.old]\nid = \"{OLD}\"\nsecret = \"old-se-cret\"\n", who.provider)
}

/// A provider with two registrations, and a server with the tables that `tables` makes of its configuration.
fn start(who: Profile, tables: impl Fn(String) -> String) -> (Emulator, TestApp) {
    let clock = Clock::system();
    let emulator = Emulator::start_at(who, clock.clone());
    emulator.set_client(OLD, "old-se-cret");
    let app = spawn_at(&format!("{}{STORE}{ADMIN}", tables(emulator.provider_toml())), clock);
    (emulator, app)
}

/// The clients that asked for a refresh so far.
fn asked(emulator: &Emulator) -> Vec<String> {
    let calls = emulator.calls();
    let refreshes = calls.iter().filter(|call| call.params.iter().any(|(_, value)| value == "refresh_token"));
    let client = |params: &[(String, String)]| params.iter().find(|(name, _)| name == "client_id").unwrap().1.clone();
    refreshes.map(|call| client(&call.params)).collect()
}

#[tokio::test]
async fn an_authid_without_a_mark_finds_its_registration_and_keeps_to_it() {
    for who in policies() {
        let (emulator, app) = start(who, |toml| format!("{toml}{}[legacy]\nv2 = true\n", other(&who)));
        for (client, calls) in [(who.client_id, vec![who.client_id]), (OLD, vec![who.client_id, OLD])] {
            let before = asked(&emulator).len();
            let token = emulator.log_in_at(client).refresh.unwrap();
            let old = format!("v2:{}:{token}", who.service);
            let answer = app.refresh(&old).await;
            assert_eq!(answer.status, 200, "{client} {answer:?}");
            assert_eq!(asked(&emulator)[before..], calls, "{}", who.provider);

            // Marked, and from then on asked with that one alone; so is the old AuthID, in this process.
            let sealed = answer.json()["v2_authid"].as_str().unwrap().to_owned();
            let login = app.open(&sealed);
            // Its refresh token is at least as old as this moment: an end by age can be told from it.
            assert!(login.app.is_some() && (0..60).contains(&(app.clock.now() - login.sealed_at)));
            let beside = spawn_beside(&app);
            for (app, authid) in [(&app, &old), (&app, &sealed), (&beside, &sealed)] {
                app.clock.advance(HOUR);
                let before = asked(&emulator).len();
                assert_eq!(app.refresh(authid).await.status, 200);
                assert_eq!(asked(&emulator)[before..], [client], "{}", who.provider);
            }
        }
    }
}

#[tokio::test]
async fn a_sealed_authid_without_a_mark_is_given_one_where_there_are_several_registrations() {
    // Tokens that work once have a record only where a login was begun, and that one has its mark.
    for who in [Profile::google(), Profile::microsoft()] {
        for (clients, several) in [(vec![who.client_id, OLD], true), (vec![who.client_id], false)] {
            let (emulator, app) = start(who, |toml| if several { toml + &other(&who) } else { toml });
            for client in clients {
                let authid = app.seal(who.service, &emulator.log_in_at(client).refresh.unwrap());
                assert!(app.open(&authid).app.is_none());
                let answer = app.refresh(&authid).await;
                assert!(emulator.use_access_token(&answer.access_token()));
                let sealed = answer.json()["v2_authid"].as_str().map(|sealed| app.open(sealed).app.is_some());
                assert_eq!(sealed, several.then_some(true), "{} {client}", who.provider);
            }
        }
    }
}

#[tokio::test]
async fn a_marked_authid_goes_to_its_own_registration_and_never_to_another() {
    for who in policies() {
        let (emulator, app) = start(who, |toml| toml);
        let authid = log_in(&emulator, &app).await;
        // The other app makes the logins now, and this one serves what it made.
        let exchange = |file: &str| {
            let toml = fs::read_to_string(app.dir.path().join("authseal.toml")).unwrap();
            let current = format!("id = \"{}\"\nsecret = \"{}\"", who.client_id, who.secret.unwrap());
            let new = format!("id = \"{OLD}\"\nsecret = \"old-se-cret\"");
            assert!(toml.contains(&current), "{toml}");
            fs::write(app.dir.path().join("authseal.toml"), toml.replace(&current, &new) + file).unwrap();
        };
        let table = format!("[clients.{}.other.first]\nid = \"{}\"\n", who.provider, who.client_id);
        exchange(&format!("{table}secret = \"{}\"\n", who.secret.unwrap()));
        let second = spawn_beside(&app);
        let newer = log_in(&emulator, &second).await;
        for (authid, client) in [(&authid, who.client_id), (&newer, OLD)] {
            for fault in [None, Some(Fault::json(503, "{}")), None] {
                second.clock.advance(HOUR);
                let before = asked(&emulator).len();
                fault.into_iter().for_each(|fault| emulator.misbehave_times(1, fault));
                let _ = second.refresh(authid).await;
                emulator.behave();
                let calls = &asked(&emulator)[before..];
                assert!(!calls.is_empty() && calls.iter().all(|asked| asked == client), "{calls:?}");
            }
        }
        // The first server has never heard of the other registration: it says so, and asks nobody.
        let before = spent(&emulator).len();
        let answer = app.refresh(&newer).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.reason().contains("that this AuthID was made with is no longer configured"), "{answer:?}");
        assert_eq!(spent(&emulator).len(), before);
    }
}

#[tokio::test]
async fn only_a_plain_refusal_moves_on_to_the_next_registration() {
    let who = Profile::box_com();
    for fault in [Fault::json(500, "{}"), Fault::json(429, "{}")] {
        let (emulator, app) =
            start(who, |toml| format!("{toml}{}[legacy]\nv2 = true\n[refresh]\nwait_seconds = 0\n", other(&who)));
        let authid = format!("v2:{}:{}", who.service, emulator.log_in_at(OLD).refresh.unwrap());
        emulator.misbehave(fault);
        assert_ne!(app.refresh(&authid).await.status, 200);
        assert!(asked(&emulator).iter().all(|client| client == who.client_id), "{:?}", asked(&emulator));
    }
}

#[tokio::test]
async fn a_dead_login_of_nobodys_mark_is_refused_as_dead_after_each_was_asked() {
    let who = Profile::google();
    let (emulator, app) = start(who, |toml| format!("{toml}{}[legacy]\nv2 = true\n", other(&who)));
    let answer = app.refresh(&format!("v2:{}:1//nobodys", who.service)).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(asked(&emulator), [who.client_id, OLD]);
}

#[tokio::test]
async fn the_secrets_of_a_registration_are_tried_in_order_and_the_one_that_works_is_kept_to() {
    for who in policies() {
        let secret = who.secret.unwrap();
        let several = format!("secrets = [\"new-se-cret\", \"{secret}\"]");
        let one = format!("secret = \"{secret}\"");
        let (emulator, app) = start(who, |toml| format!("{}[legacy]\nv2 = true\n", toml.replace(&one, &several)));
        let authid = format!("v2:{}:{}", who.service, emulator.log_in().refresh.unwrap());
        let secrets = || {
            let calls = emulator.calls();
            let secret = |call: &crate::emulator::Call| {
                call.params.iter().find(|(name, _)| name == "client_secret").map(|(_, value)| value.clone())
            };
            calls.iter().filter_map(secret).collect::<Vec<_>>()
        };
        let mut authid = authid;
        let mut refreshed = async || {
            app.clock.advance(HOUR);
            let answer = app.refresh(&authid).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()["v2_authid"].as_str().into_iter().for_each(|newer| authid = newer.to_owned());
        };
        refreshed().await;
        assert_eq!(secrets(), ["new-se-cret", secret]);
        refreshed().await;
        assert_eq!(secrets()[2..], [secret]);
        // The old one is ended at the provider.
        emulator.set_client(who.client_id, "new-se-cret");
        refreshed().await;
        assert_eq!(secrets()[3..], [secret, "new-se-cret"]);
        refreshed().await;
        assert_eq!(secrets()[5..], ["new-se-cret"]);
        // A call in which a secret was refused was not a good one, though the next was.
        let metrics = app.ask("/metrics").await.body;
        for (outcome, calls) in [("ok", 4), ("operator", 2)] {
            let series = format!(
                "authseal_provider_call_seconds_count{{outcome=\"{outcome}\",provider=\"{}\"}} {calls}\n",
                who.provider
            );
            assert!(metrics.contains(&series), "{series}{metrics}");
        }
    }
}

#[tokio::test]
async fn a_service_with_a_client_of_its_own_serves_the_logins_of_its_providers_too() {
    for who in policies() {
        let own = format!("[services.\"{}\"]\nclient_id = \"{OLD}\"\nclient_secret = \"old-se-cret\"\n", who.service);
        let (emulator, app) = start(who, |toml| format!("{toml}{own}[legacy]\nv2 = true\n"));
        let made = log_in(&emulator, &app).await;
        let [its, providers] = [OLD, who.client_id].map(|client| {
            let token = emulator.log_in_at(client).refresh.unwrap();
            format!("v2:{}:{token}", who.service)
        });
        for (authid, calls) in [(made, vec![OLD]), (its, vec![OLD]), (providers, vec![OLD, who.client_id])] {
            app.clock.advance(HOUR);
            let before = asked(&emulator).len();
            let answer = app.refresh(&authid).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(asked(&emulator)[before..], calls, "{}", who.provider);
            app.clock.advance(HOUR);
            let sealed = answer.json()["v2_authid"].as_str().map_or(authid, str::to_owned);
            assert_eq!(app.refresh(&sealed).await.status, 200);
            assert_eq!(asked(&emulator).last(), calls.last().map(|id| (*id).to_owned()).as_ref());
        }
    }
}

#[tokio::test]
async fn a_provider_that_takes_no_new_logins_serves_those_there_are() {
    let who = Profile::google();
    let (emulator, app) = start(who, |toml| {
        toml.replace("[clients.google]\n", "[clients.google]\naccept_logins = false\n") + &other(&who)
    });
    let authid = app.log_in(&emulator);
    assert_eq!(app.refresh(&authid).await.status, 200);
    let page = app.person().open_index(&format!("type={}", who.service), UI).await;
    assert!(page.body.contains("takes no new logins"), "{}", page.body);
    assert!(!page.body.contains("/login?"), "{}", page.body);
    assert!(emulator.authorizations().is_empty());
}

#[tokio::test]
async fn each_registration_is_counted_by_the_different_logins_that_came() {
    let who = Profile::google();
    let (emulator, app) = start(who, |toml| format!("{toml}{}[legacy]\nv2 = true\n", other(&who)));
    for client in [who.client_id, OLD, OLD] {
        let authid = format!("v2:{}:{}", who.service, emulator.log_in_at(client).refresh.unwrap());
        for _ in 0..2 {
            assert_eq!(app.refresh(&authid).await.status, 200);
        }
    }
    let counted = async || {
        let told = app.ask("/apps").await.json();
        let of = |id: &str, current: bool| {
            let apps = told["apps"].as_array().unwrap();
            let row = apps.iter().find(|row| row["client_id"] == id).unwrap();
            assert_eq!(row["current"], current, "{row}");
            row["logins"].as_u64().unwrap()
        };
        [of(who.client_id, true), of(OLD, false)]
    };
    assert_eq!(counted().await, [1, 2]);
    let metrics = app.ask("/metrics").await.body;
    assert_eq!(metrics.lines().filter(|line| line.starts_with("authseal_app_logins{")).count(), 2, "{metrics}");
    app.clock.advance(Duration::from_secs(36 * 86_400));
    assert_eq!(counted().await, [0, 0]);
}
