//! Whoever sends the same thing over and over, or one bad thing after the other: what reaches a provider, and that nobody
//! else notices.

use crate::browser::Person;
use crate::emulator::{Emulator, Fault, Profile};
use crate::rotation;
use crate::spawn::{Answer, OLD, TestApp, spawn_app, spawn_for, until};
use futures_util::future::join_all;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";

fn start(who: Profile) -> (Emulator, TestApp) {
    let emulator = Emulator::start(who);
    let app = spawn_for(&[&emulator]);
    (emulator, app)
}

/// A server behind a proxy that says where its clients are.
fn behind_a_proxy(who: Profile, tables: &str) -> (Emulator, TestApp) {
    let emulator = Emulator::start(who);
    let app = spawn_app(&format!("{}{PROXY}{tables}", emulator.provider_toml()));
    (emulator, app)
}

async fn refresh_from(app: &TestApp, address: &str, authid: &str) -> Answer {
    let request = app.client.get(app.at("/refresh")).header("X-AuthID", authid).header("x-forwarded-for", address);
    Answer::of(request.send().await.unwrap()).await
}

async fn revoke_from(app: &TestApp, address: &str, authid: &str, query: &str) -> Answer {
    let request = app.client.post(app.at(&format!("/revoked{query}"))).header("x-forwarded-for", address);
    Answer::of(request.header("X-AuthID", authid).send().await.unwrap()).await
}

#[tokio::test]
async fn a_client_in_a_loop_does_not_spend_the_quota_of_a_provider_that_fails() {
    for (fault, status, calls) in [
        (Fault::html(500), 503, 2),
        (Fault::oauth(400, "teapot", "x"), 503, 1),
        (Fault::oauth(401, "invalid_client", "x"), 503, 1),
        (Fault::CloseBeforeHeaders, 503, 2),
        (Fault::json(200, "{}"), 503, 2),
    ] {
        let (emulator, app) = start(Profile::google());
        let (authid, other) = (app.log_in(&emulator), app.log_in(&emulator));
        emulator.misbehave(fault.clone());
        let mut seen = 0;
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            let begun = Instant::now();
            let first = app.refresh(&authid).await;
            for _ in 0..30 {
                let answer = app.refresh(&authid).await;
                assert_eq!((answer.status, answer.reason()), (status, first.reason()), "{fault:?}");
            }
            join_all((0..30).map(|_| app.refresh(&authid))).await;
            seen += calls;
            // On a machine that is so slow that the pause is over meanwhile there may be more.
            if begun.elapsed() >= pause * SECOND {
                seen = emulator.calls().len();
            }
            assert!(emulator.calls().len() <= seen, "{fault:?}: {} calls after {pause} s", emulator.calls().len());
            app.clock.advance(pause * SECOND);
        }
        emulator.behave();
        app.refresh(&other).await.access_token();
        app.refresh(&authid).await.access_token();
    }
}

#[tokio::test]
async fn what_does_not_pass_by_itself_is_remembered_for_longer_each_time() {
    let (odd, misconfigured) = (Fault::oauth(400, "teapot", "x"), Fault::oauth(401, "invalid_client", "x"));
    for (who, fault) in [
        (Profile::google(), odd),
        (Profile::google(), misconfigured.clone()),
        // Its token was not looked at, so nothing is in doubt that a late answer could end.
        (Profile::box_com(), misconfigured),
    ] {
        let emulator = Emulator::start(who);
        let app = spawn_app(&format!("{}[state]\nstore = \"dir:state\"\n", emulator.provider_toml()));
        let authid = rotation::log_in(&emulator, &app).await;
        app.clock.advance(3700 * SECOND);
        emulator.misbehave(fault.clone());
        for pause in [2, 4, 8, 16, 32, 60] {
            assert_eq!(app.refresh(&authid).await.status, 503, "{fault:?}");
            let calls = emulator.calls().len();
            app.clock.advance(pause * SECOND / 2);
            assert_eq!(app.refresh(&authid).await.status, 503, "{fault:?}");
            assert_eq!(emulator.calls().len(), calls, "{} {fault:?} {pause}", who.service);
            app.clock.advance(pause * SECOND / 2);
        }
    }
}

#[tokio::test]
async fn a_success_ends_what_is_remembered_of_failures() {
    let (emulator, app) = start(Profile::google());
    emulator.set_access_life(Some(100));
    let authid = app.log_in(&emulator);
    for _ in 0..3 {
        emulator.misbehave(Fault::html(500));
        assert_eq!(app.refresh(&authid).await.status, 503);
        emulator.behave();
        app.clock.advance(2 * SECOND);
        app.refresh(&authid).await.access_token();
        app.clock.advance(101 * SECOND);
    }
}

#[tokio::test]
async fn while_the_provider_fails_a_token_is_handed_out_until_half_a_minute_before_its_end() {
    for fault in [Fault::html(500), Fault::too_many("3600"), Fault::oauth(401, "invalid_client", "x")] {
        let admin = "[admin]\nlisten = [\"127.0.0.1:0\"]\n";
        let emulator = Emulator::start(Profile::google());
        let app = spawn_app(&format!("{}{admin}", emulator.provider_toml()));
        let (authid, revoked) = (app.log_in(&emulator), app.log_in(&emulator));
        let token = app.refresh(&authid).await.access_token();
        app.refresh(&revoked).await.access_token();
        app.clock.advance(3500 * SECOND);
        emulator.misbehave(fault.clone());
        for _ in 0..20 {
            let answer = app.refresh(&authid).await;
            assert_eq!(answer.access_token(), token, "{fault:?}");
            assert!((90..=100).contains(&answer.expires()), "{}", answer.expires());
        }
        assert!(emulator.calls().len() <= 4, "{fault:?}: and the provider is left alone");
        assert!(app.ask("/metrics").await.body.contains(r#"outcome="spare"} 20"#));
        // The denylist is asked all the same.
        assert_eq!(app.post("/revoked", &[("authid", &revoked)]).await.status, 200);
        assert_eq!(app.refresh(&revoked).await.status, 401);
        app.clock.advance(75 * SECOND);
        assert_ne!(app.refresh(&authid).await.status, 200, "{fault:?}: it is too short to be of use");
    }
}

#[tokio::test]
async fn a_login_that_the_provider_refuses_is_not_kept_alive_by_a_remembered_token() {
    let (emulator, app) = start(Profile::google());
    let token = emulator.log_in().refresh.unwrap();
    let authid = app.seal("googledrive", &token);
    app.refresh(&authid).await.access_token();
    app.clock.advance(3500 * SECOND);
    emulator.withdraw(&token);
    assert_eq!(app.refresh(&authid).await.status, 401);
    assert_eq!(app.refresh(&authid).await.status, 401, "nor from the memory of the refusal");
}

#[tokio::test]
async fn a_machine_that_slept_or_whose_clock_was_set_hands_out_no_token_that_has_ended() {
    for (step, calls) in [(7200, 2), (1800, 1), (-20, 1), (-7200, 2)] {
        let (emulator, app) = start(Profile::google());
        let authid = app.log_in(&emulator);
        let first = app.refresh(&authid).await.access_token();
        app.clock.step(step);
        let answer = app.refresh(&authid).await;
        assert_eq!(emulator.calls().len(), calls, "{step}");
        assert_eq!(answer.access_token() == first, calls == 1, "{step}");
        let left = if calls == 1 { 3600 - step.max(0) } else { 3600 };
        assert!((left - 10..=left).contains(&answer.expires()), "{step}: {}", answer.expires());
    }
}

#[tokio::test]
async fn an_answer_from_memory_carries_no_authid_and_the_next_one_that_is_fetched_does() {
    // Under an older epoch, and around a token that the provider replaced.
    for (who, epoch) in [(Profile::google(), OLD), (Profile::microsoft(), crate::spawn::PRIMARY)] {
        let (emulator, app) = start(who);
        let mut authid = String::new();
        // Whoever waits for the same call gets it too. Not all of them come in time, so it may take several rounds.
        until(20 * SECOND, async || {
            authid = app.seal_under(epoch, who.service, &emulator.log_in().refresh.unwrap());
            let before = emulator.calls().len();
            emulator.hold();
            let all = join_all((0..10).map(|_| app.refresh(&authid)));
            let release = async {
                until(5 * SECOND, async || emulator.calls().len() > before).await;
                emulator.release();
            };
            let (answers, ()) = tokio::join!(all, release);
            assert_eq!(emulator.calls().len(), before + 1);
            answers.iter().filter(|answer| answer.json().get("v2_authid").is_some()).count() >= 2
        })
        .await;
        let form = [("grant_type", "refresh_token"), ("refresh_token", authid.as_str())];
        for _ in 0..3 {
            assert_eq!(app.refresh(&authid).await.json().get("v2_authid"), None, "{}", who.service);
            let token = app.post("/token", &form).await;
            assert_eq!((token.status, token.json().get("refresh_token")), (200, None), "{}", who.service);
        }
        app.clock.advance(4000 * SECOND);
        assert!(app.post("/token", &form).await.json()["refresh_token"].is_string(), "{}", who.service);
        assert_eq!(app.refresh(&authid).await.json().get("v2_authid"), None, "{}", who.service);
    }
}

#[tokio::test]
async fn a_login_that_is_revoked_and_withdrawn_is_not_revoked_again() {
    let (emulator, app) = start(Profile::dropbox());
    let authid = app.log_in(&emulator);
    let all = join_all((0..10).map(|_| revoke_from(&app, "", &authid, ""))).await;
    for answer in all {
        assert_eq!((answer.status, &answer.json()["provider"]), (200, &json!("done")));
    }
    // The lock of the file is held by somebody: who needs it would wait.
    let lock = fs::File::create(app.dir.path().join("denylist.lock")).unwrap();
    lock.lock().unwrap();
    for query in ["", "?at_provider=yes", ""] {
        let answer = revoke_from(&app, "", &authid, query).await.json();
        assert_eq!((&answer["revoked"], &answer["already"]), (&json!(true), &json!(true)));
        assert_eq!(answer["provider"], "done");
    }
    lock.unlock().unwrap();
    assert_eq!(emulator.calls().len(), 2, "one refresh and one revocation");
    app.clock.advance(601 * SECOND);
    assert_eq!(revoke_from(&app, "", &authid, "").await.json()["revoked"], true);
    assert!(emulator.calls().len() > 2, "it is not remembered for ever");
}

#[tokio::test]
async fn a_provider_is_told_of_ten_revocations_a_minute_and_the_denylist_of_all() {
    let (emulator, app) = behind_a_proxy(Profile::dropbox(), "");
    emulator.misbehave(Fault::html(503));
    let authid = app.log_in(&emulator);
    let mut told = Vec::new();
    for number in 0..30 {
        // One AuthID from everywhere: the login has its own count.
        let answer = revoke_from(&app, &format!("198.51.100.{number}"), &authid, "").await;
        assert_eq!((answer.status, &answer.json()["revoked"]), (200, &json!(true)));
        told.push(answer.json()["provider"].as_str().unwrap().to_owned());
    }
    assert_eq!(told.iter().filter(|outcome| *outcome == "failed").count(), 10, "{told:?}");
    assert!(told[10..].iter().all(|outcome| outcome == "too_many"), "{told:?}");
    emulator.behave();
    let before = emulator.calls().len();
    let mut done = 0;
    for number in 0..30 {
        // Many AuthIDs from one /48.
        let authid = app.log_in(&emulator);
        let answer = revoke_from(&app, &format!("2001:db8:0:{number:x}::1"), &authid, "").await;
        assert_eq!((answer.status, &answer.json()["revoked"]), (200, &json!(true)));
        done += usize::from(answer.json()["provider"] == "done");
        assert_eq!(app.refresh(&authid).await.status, 401);
    }
    assert_eq!((done, emulator.calls().len() - before), (10, 20), "each is a refresh and a revocation");
    let authid = app.log_in(&emulator);
    assert_eq!(revoke_from(&app, "192.0.2.1", &authid, "").await.json()["provider"], "done", "somebody else");
    app.clock.advance(60 * SECOND);
    let authid = app.log_in(&emulator);
    assert_eq!(revoke_from(&app, "2001:db8::1", &authid, "").await.json()["provider"], "done");
}

#[tokio::test]
async fn bad_authids_reach_no_provider_and_do_not_disturb_a_good_one_at_the_same_address() {
    let (emulator, app) = behind_a_proxy(Profile::google(), "[limits]\ninvalid_authids = 50\n");
    let good = app.log_in(&emulator);
    let (mut invalid, mut too_many) = (0, 0);
    for number in 0..300 {
        let bad = format!("{}{number:03}", &good[..good.len() - 3]);
        let answer = match number % 3 {
            0 => refresh_from(&app, "192.0.2.1", &bad).await,
            1 => revoke_from(&app, "192.0.2.1", &bad, "").await,
            _ => {
                let form = [("grant_type", "refresh_token"), ("refresh_token", bad.as_str())];
                let request = app.client.post(app.at("/token")).header("x-forwarded-for", "192.0.2.1");
                Answer::of(request.form(&form).send().await.unwrap()).await
            }
        };
        match answer.status {
            400 | 401 => invalid += 1,
            503 => {
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=61).contains(&wait) && answer.body.contains("Too many AuthIDs"), "{answer:?}");
                too_many += 1;
            }
            other => panic!("{other}: {answer:?}"),
        }
        if number % 50 == 0 {
            refresh_from(&app, "192.0.2.1", &good).await.access_token();
        }
    }
    assert_eq!((invalid, too_many), (50, 250));
    assert_eq!(emulator.calls().len(), 1);
    assert!(refresh_from(&app, "192.0.2.1", "nonsense").await.reason().contains("Too many AuthIDs"));
    assert_eq!(refresh_from(&app, "192.0.2.2", "nonsense").await.status, 401, "another address");
    // A proxy that does not say where they come from: they cannot be told apart, so nobody is refused.
    for _ in 0..100 {
        assert_eq!(app.refresh("nonsense").await.status, 401);
    }
    app.clock.advance(60 * SECOND);
    assert_eq!(refresh_from(&app, "192.0.2.1", "nonsense").await.status, 401);
}

#[tokio::test]
async fn an_old_authid_that_is_revoked_over_and_over_is_asked_for_once() {
    let (emulator, app) = behind_a_proxy(Profile::google(), "[legacy]\nv2 = true\n");
    let revoke = async |number: u32, authid: &str| revoke_from(&app, &format!("192.0.2.{number}"), authid, "").await;
    for number in 0..30 {
        assert_eq!(revoke(number, "v2:googledrive:made-up").await.status, 400);
    }
    assert_eq!(emulator.calls().len(), 1);
    emulator.misbehave(Fault::oauth(400, "teapot", "x"));
    for number in 0..30 {
        assert_eq!(revoke(number, "v2:googledrive:in-doubt").await.status, 502);
    }
    assert_eq!(emulator.calls().len(), 2);
}

#[tokio::test]
async fn a_guess_at_an_old_authid_of_a_service_that_is_off_is_no_error_of_this_server() {
    let (_emulator, app) = behind_a_proxy(Profile::google(), "[legacy]\nv2 = true\n");
    assert_eq!(refresh_from(&app, "192.0.2.77", "v2:dropbox:made-up").await.status, 503);
    let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
    let line = log.lines().find(|line| line.contains("no access token") && line.contains("192.0.2.77")).unwrap();
    assert!(line.contains(" INFO "), "{line}");
}

#[tokio::test]
async fn strangers_who_guess_do_not_lock_out_who_knows_the_password() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("password"), authseal::password::hash("correct horse").unwrap()).unwrap();
    let tables = format!("[access]\npassword_file = {:?}\n", folder.path().join("password"));
    let (_emulator, app) = behind_a_proxy(Profile::google(), &tables);
    for network in 0..6 {
        let mut stranger = app.person();
        stranger.behind("x-forwarded-for", &format!("2001:db8:0:{network}::1"));
        for number in 0..5 {
            let status = give(&mut stranger, "wrong horse").await;
            assert_eq!(status, if network * 5 + number < 20 { 403 } else { 429 }, "{network} {number}");
        }
    }
    for address in ["192.0.2.1", "2001:db8:1::1", "unknown"] {
        let mut person = app.person();
        person.behind("x-forwarded-for", address);
        assert_eq!(give(&mut person, "correct horse").await, 200, "{address}");
    }
}

/// Opens the start page and gives a password there; the status.
async fn give(person: &mut Person, password: &str) -> u16 {
    let page = person.open_index("", "http://localhost:8200").await;
    let field = page.elements().into_iter().find(|e| e.name == "input" && e.attribute("name") == Some("ctx")).unwrap();
    let fields = [("ctx", field.attribute("value").unwrap()), ("password", password)];
    person.submit(person.at("/access"), &fields, page.as_source()).await.status
}
