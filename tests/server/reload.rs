//! A configuration that is taken up while the server runs: what changes with the next request, what of before stays,
//! and that a bad one changes nothing.

use crate::admin::ADMIN;
use crate::browser::From;
use crate::emulator::{Emulator, Fault, Profile};
use crate::rotation::log_in;
use crate::spawn::{Answer, TestApp, spawn_at, until};
use authseal::clock::Clock;
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3700);
const SOON: Duration = Duration::from_secs(20);
const STORE: &str = "[state]\nstore = \"dir:state\"\n";
const UI: &str = "http://localhost:8200";

fn start(who: Profile, more: &str) -> (Emulator, TestApp) {
    let clock = Clock::system();
    let emulator = Emulator::start_at(who, clock.clone());
    let app = spawn_at(&format!("{}{STORE}{ADMIN}{more}", emulator.provider_toml()), clock);
    (emulator, app)
}

fn written(app: &TestApp) -> String {
    fs::read_to_string(app.dir.path().join("authseal.toml")).unwrap()
}

fn write(app: &TestApp, text: &str) {
    fs::write(app.dir.path().join("authseal.toml"), text).unwrap();
}

/// Puts `new` in the place of `old` in the file.
fn edit(app: &TestApp, old: &str, new: &str) {
    let text = written(app);
    assert!(text.contains(old), "{text}");
    write(app, &text.replacen(old, new, 1));
}

async fn ask(app: &TestApp) -> Answer {
    let url = format!("{}/reload", app.admin.as_ref().unwrap());
    Answer::of(app.client.post(url).send().await.unwrap()).await
}

/// The keys that a reload took up.
async fn reloaded(app: &TestApp) -> Vec<String> {
    let answer = ask(app).await;
    assert_eq!((answer.status, &answer.json()["outcome"]), (200, &json!("applied")), "{answer:?}");
    serde_json::from_value(answer.json()["changed"].clone()).unwrap()
}

async fn metric(app: &TestApp, name: &str) -> String {
    let metrics = app.ask("/metrics").await.body;
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or("");
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_secret_serves_the_next_request_whatever_failed_before() {
    for who in [Profile::google(), Profile::microsoft(), Profile::box_com()] {
        let (emulator, app) = start(who, "");
        let authid = log_in(&emulator, &app).await;
        app.clock.advance(HOUR);
        emulator.set_client(who.client_id, "new-se-cret");
        assert_eq!(app.refresh(&authid).await.status, 503, "{}", who.provider);
        edit(&app, who.secret.unwrap(), "new-se-cret");
        assert_eq!(reloaded(&app).await, [format!("clients.{}.secret", who.provider)]);
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 200, "{} {answer:?}", who.provider);
        // And from a file, whose name is all that the configuration has.
        fs::write(app.dir.path().join("secret"), "newer-se-cret\n").unwrap();
        edit(&app, "secret = \"new-se-cret\"", "secret_file = \"secret\"");
        emulator.set_client(who.client_id, "newer-se-cret");
        assert_eq!(reloaded(&app).await.len(), 1);
        app.clock.advance(HOUR);
        assert_eq!(app.refresh(&authid).await.status, 200, "{}", who.provider);
        fs::write(app.dir.path().join("secret"), "wrong-se-cret").unwrap();
        reloaded(&app).await;
        assert_eq!(app.refresh(&authid).await.status, 200, "an access token that is remembered stays good");
        app.clock.advance(HOUR);
        assert_eq!(app.refresh(&authid).await.status, 503, "{}", who.provider);
    }
}

#[tokio::test]
async fn a_login_that_began_ends_at_the_registration_that_it_began_with() {
    for who in [Profile::google(), Profile::microsoft(), Profile::box_com()] {
        let (emulator, app) = start(who, "");
        emulator.set_client("new-app", "new-se-cret");
        let mut person = app.person();
        person.open_index("", UI).await;
        let callback = person.log_in_until_callback(who.service).await;
        let current = format!("id = \"{}\"\nsecret = \"{}\"\n", who.client_id, who.secret.unwrap());
        let other = format!("[clients.{}.other.first]\n{current}", who.provider);
        edit(&app, &current, &format!("id = \"new-app\"\nsecret = \"new-se-cret\"\n{other}"));
        reloaded(&app).await;
        let page = person.visit(callback, From::Typed).await;
        let first = page.authid().unwrap_or_else(|| panic!("{}: {}", who.provider, page.body));
        let second = log_in(&emulator, &app).await;
        assert_ne!(app.open(&first).app, app.open(&second).app, "{}", who.provider);
        for authid in [&first, &second] {
            app.clock.advance(HOUR);
            let answer = app.refresh(authid).await;
            assert_eq!(answer.status, 200, "{} {answer:?}", who.provider);
        }
        let told = app.ask("/apps").await.json();
        let apps = told["apps"].as_array().unwrap().iter().filter(|row| row["provider"] == who.provider);
        assert_eq!(apps.map(|row| row["logins"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 1], "{told}");
    }
}

#[tokio::test]
async fn a_service_that_is_added_is_offered_and_counted_and_one_that_vanishes_gets_nothing_from_memory() {
    let (emulator, app) = start(Profile::google(), "");
    let authid = log_in(&emulator, &app).await;
    assert_eq!(app.refresh(&authid).await.status, 200);
    let table = "[services.second]\nprovider = \"google\"\nname = \"Second Drive\"\nscopes = [\"files\"]\n";
    let before = written(&app);
    write(&app, &format!("{before}{table}"));
    assert_eq!(reloaded(&app).await, ["name", "provider", "scopes"].map(|key| format!("services.second.{key}")));
    let page = app.person().open_index("type=second", UI).await;
    assert!(page.body.contains("Second Drive"), "{}", page.body);
    let series = "authseal_refresh_total{epoch=\"3\",outcome=\"fetched\",service=\"second\"}";
    assert_eq!(metric(&app, series).await, "0");
    // All services of a provider without a client are off.
    let client = before.split_once("[clients.google]").unwrap().1;
    let client = client.split_once('[').unwrap().0;
    write(&app, &before.replace(&format!("[clients.google]{client}"), ""));
    reloaded(&app).await;
    assert_eq!(app.refresh(&authid).await.status, 503);
    write(&app, &before);
    reloaded(&app).await;
    let calls = emulator.calls().len();
    assert_eq!((app.refresh(&authid).await.status, emulator.calls().len()), (200, calls), "it was remembered");
}

#[tokio::test]
async fn limits_change_and_what_was_counted_stays_counted() {
    let (_emulator, app) = start(Profile::google(), "[limits]\ninvalid_authids = 100\n");
    let guess = async || {
        let request = app.client.get(app.at("/refresh")).header("x-forwarded-for", "203.0.113.9");
        let request = request.header("X-AuthID", "v3:googledrive:3:AAAA");
        Answer::of(request.send().await.unwrap()).await.status
    };
    for _ in 0..5 {
        assert_eq!(guess().await, 401);
    }
    edit(&app, "invalid_authids = 100", "invalid_authids = 6");
    assert_eq!(reloaded(&app).await, ["limits.invalid_authids"]);
    assert_eq!((guess().await, guess().await), (401, 503));
    edit(&app, "invalid_authids = 6", "invalid_authids = 8");
    reloaded(&app).await;
    assert_eq!(guess().await, 401);
}

#[tokio::test]
async fn look_texts_and_who_is_trusted_change_with_the_next_page() {
    let (_emulator, app) = start(Profile::google(), "");
    fs::create_dir_all(app.dir.path().join("own/texts")).unwrap();
    let words = app.dir.path().join("own/texts/en.toml");
    fs::write(&words, "[inspect]\ntitle = \"Look at it\"\n").unwrap();
    let page = async |path: &str| app.person().open_index(path, UI).await.body;
    assert!(!page("").await.contains("Backup Club"));
    let top = "templates_dir = \"own\"\nsite.name = \"Backup Club\"\n";
    write(&app, &format!("{top}{}[delivery]\nloopback = false\n", written(&app)));
    assert_eq!(reloaded(&app).await, ["delivery.loopback", "site.name", "templates_dir"]);
    assert!(page("").await.contains("Backup Club"));
    let mut person = app.person();
    let inspect = person.at("/inspect");
    assert!(person.visit(inspect.clone(), From::Typed).await.body.contains("<h1>Look at it</h1>"));
    // What a key names is read again, though no key has changed.
    fs::write(&words, "[inspect]\ntitle = \"Look again\"\n").unwrap();
    assert_eq!(reloaded(&app).await, [""; 0]);
    assert!(person.visit(inspect, From::Typed).await.body.contains("<h1>Look again</h1>"));
}

#[tokio::test]
async fn old_authids_are_taken_and_no_longer_taken() {
    let (emulator, app) = start(Profile::google(), "");
    let old = format!("v2:googledrive:{}", emulator.log_in().refresh.unwrap());
    assert_eq!(app.refresh(&old).await.status, 401);
    let before = written(&app);
    write(&app, &format!("{before}[legacy]\nv2 = true\n"));
    assert_eq!(reloaded(&app).await, ["legacy.v2"]);
    assert_eq!(app.refresh(&old).await.status, 200);
    write(&app, &before);
    reloaded(&app).await;
    assert_eq!(app.refresh(&old).await.status, 401);
    assert_eq!(app.ask("/legacy").await.json()["seen"][0]["authids"], 1, "what came is still known");
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_is_shown() {
    let (emulator, app) = start(Profile::google(), "");
    let authid = log_in(&emulator, &app).await;
    let good = written(&app);
    let secret = format!("secret = \"{}\"", Profile::google().secret.unwrap());
    let bad = [
        ("no = = toml\n".to_owned() + &good, 422, "line 1"),
        (good.clone() + "[site]\nnmae = \"x\"\n", 422, "nmae"),
        (good.replace(&secret, "secret_file = \"gone\""), 422, "clients.google.secret_file"),
        (good.clone() + "[services.x]\nprovider = \"nobody\"\nname = \"X\"\n", 422, "services.x.provider"),
        (good.clone() + "[limits]\nprovider_calls = 0\n", 422, "limits.provider_calls"),
        (good.clone() + "[outbound]\nca_file = \"gone.pem\"\n", 422, "gone.pem"),
        (good.replacen("127.0.0.1:0", "127.0.0.1:1", 1), 409, "listen"),
        (good.replace("dir:state", "dir:other") + "[site]\nname = \"Never seen\"\n", 409, "state.store"),
        (String::new(), 422, "public_url"),
    ];
    for (at, (text, status, named)) in bad.iter().enumerate() {
        write(&app, text);
        let answer = ask(&app).await;
        let verdict = answer.json();
        assert_eq!(answer.status, *status, "{named}: {answer:?}");
        assert!(answer.body.contains(named) && !answer.body.contains(Profile::google().secret.unwrap()), "{answer:?}");
        assert_eq!(verdict["needs_restart"].as_array().unwrap().is_empty(), *status == 422, "{verdict}");
        assert_eq!(app.refresh(&authid).await.status, 200, "{named}");
        app.clock.advance(HOUR);
        assert_eq!(app.refresh(&authid).await.status, 200, "{named}");
        let page = app.person().open_index("", UI).await;
        assert!(page.status == 200 && !page.body.contains("Never seen"), "{named}");
        let ready = app.ask("/readyz").await;
        let shown = ready.json()["configuration"].clone();
        assert_eq!((ready.status, &shown["last_load_failed"]), (200, &Value::from(true)), "{shown}");
        assert!(shown["stale_since"].is_string(), "{shown}");
        let series = ["refused", "needs_restart"].map(|word| format!("authseal_reloads_total{{outcome=\"{word}\"}}"));
        let counted: usize = metric(&app, &series[0]).await.parse::<usize>().unwrap()
            + metric(&app, &series[1]).await.parse::<usize>().unwrap();
        assert_eq!((counted, metric(&app, "authseal_configuration_load_failed").await), (at + 1, "1".to_owned()));
    }
    write(&app, &good);
    assert_eq!(reloaded(&app).await, [""; 0]);
    assert_eq!(metric(&app, "authseal_configuration_load_failed").await, "0");
    assert_eq!(app.ask("/readyz").await.json()["configuration"]["last_load_failed"], false);
}

#[tokio::test]
async fn what_is_under_way_is_finished_by_the_configuration_that_it_began_with() {
    for who in [Profile::google(), Profile::box_com()] {
        let (emulator, app) = start(who, "");
        let authid = log_in(&emulator, &app).await;
        app.clock.advance(HOUR);
        emulator.hold();
        let calls = emulator.calls().len();
        let client = app.client.clone();
        let request = client.get(app.at("/refresh")).header("X-AuthID", authid.as_bytes());
        let waiting = tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await });
        until(SOON, async || emulator.calls().len() > calls).await;
        let client = format!("[clients.{}]\n", who.provider);
        edit(&app, &client, &format!("{client}enabled = false\n"));
        reloaded(&app).await;
        emulator.release();
        let answer = waiting.await.unwrap();
        assert_eq!(answer.status, 200, "{} {answer:?}", who.provider);
        assert_eq!(app.refresh(&authid).await.status, 503, "{}", who.provider);
    }
}

#[tokio::test]
async fn a_request_that_comes_after_a_repair_does_not_wait_with_those_of_before() {
    let (emulator, app) = start(Profile::google(), "[refresh]\nwait_seconds = 20\n");
    let authid = log_in(&emulator, &app).await;
    app.clock.advance(HOUR);
    // One that may get better keeps its client waiting; the repair is a new address of the provider.
    let repaired = emulator.provider_toml();
    let token = repaired.lines().find(|line| line.starts_with("token_url")).unwrap().to_owned();
    edit(&app, &token, "token_url = \"http://127.0.0.1:9/token\"");
    reloaded(&app).await;
    let request = app.client.get(app.at("/refresh")).header("X-AuthID", authid.as_bytes());
    let before = tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await });
    until(SOON, async || metric(&app, "authseal_refresh_waiting").await == "1").await;
    edit(&app, "token_url = \"http://127.0.0.1:9/token\"", &token);
    reloaded(&app).await;
    // It has to wait, too: for tries at the new address.
    emulator.misbehave_times(2, Fault::html(503));
    assert_eq!(app.refresh(&authid).await.status, 200);
    // Who waited finds in the memory of both what came meanwhile.
    assert_eq!(before.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_provider_that_answered_nobody_is_asked_at_once_after_a_repair() {
    let (emulator, app) = start(Profile::google(), "");
    let repaired = emulator.provider_toml();
    let token = repaired.lines().find(|line| line.starts_with("token_url")).unwrap().to_owned();
    edit(&app, &token, "token_url = \"http://127.0.0.1:9/token\"");
    reloaded(&app).await;
    for _ in 0..20 {
        assert_eq!(app.refresh(&app.log_in(&emulator)).await.status, 503);
    }
    let suspended = async || metric(&app, "authseal_provider_suspended{provider=\"google\"}").await;
    assert_eq!(suspended().await, "1");
    edit(&app, "token_url = \"http://127.0.0.1:9/token\"", &token);
    reloaded(&app).await;
    assert_eq!(suspended().await, "0");
    assert_eq!(app.refresh(&app.log_in(&emulator)).await.status, 200);
}

#[tokio::test]
async fn the_brake_for_mass_refusals_ends_soon_after_a_repair_though_all_logins_were_tried() {
    let who = Profile::dropbox();
    let (emulator, app) = start(who, "[refresh]\nbrake_logins = 20\nbrake_refused = 5\n");
    let authids: Vec<_> = (0..20).map(|_| app.log_in(&emulator)).collect();
    for authid in &authids {
        app.refresh(authid).await.access_token();
    }
    app.clock.advance(5 * HOUR);
    emulator.misbehave(Fault::oauth(400, "invalid_grant", "the secret has ended"));
    for authid in &authids {
        app.clock.advance(Duration::from_secs(3));
        app.refresh(authid).await;
    }
    let braked = async || metric(&app, "authseal_mass_refusal{provider=\"dropbox\"}").await;
    emulator.behave();
    app.clock.advance(Duration::from_secs(300));
    for authid in &authids {
        assert_eq!(app.refresh(authid).await.status, 503);
    }
    assert_eq!(braked().await, "1");
    emulator.set_client(who.client_id, "new-se-cret");
    edit(&app, who.secret.unwrap(), "new-se-cret");
    reloaded(&app).await;
    for authid in &authids {
        app.refresh(authid).await.access_token();
    }
    assert_eq!(braked().await, "0");
    // Nor does it stay on for an app that another one takes the place of.
    app.clock.advance(5 * HOUR);
    emulator.misbehave(Fault::oauth(400, "invalid_grant", "the app was blocked"));
    for authid in &authids {
        app.refresh(authid).await;
    }
    assert_eq!(braked().await, "1");
    edit(&app, who.client_id, "new-app");
    reloaded(&app).await;
    assert_eq!(braked().await, "0");
}

#[tokio::test]
async fn how_long_is_waited_and_when_the_brake_comes_on_change_with_the_next_request() {
    let refresh = "[refresh]\nwait_seconds = 20\nmax_waiting = 9\nbrake_logins = 20\nbrake_refused = 5\n";
    let (emulator, app) = start(Profile::google(), refresh);
    let authids: Vec<_> = (0..30).map(|_| app.log_in(&emulator)).collect();
    for authid in &authids {
        app.refresh(authid).await.access_token();
    }
    app.clock.advance(HOUR);
    emulator.misbehave(Fault::oauth(400, "invalid_grant", "the secret has ended"));
    for authid in &authids[..20] {
        app.refresh(authid).await;
    }
    let braked = async || metric(&app, "authseal_mass_refusal{provider=\"google\"}").await;
    assert_eq!((braked().await.as_str(), app.refresh(&authids[20]).await.status), ("1", 503));
    edit(&app, "brake_logins = 20", "brake_logins = 0");
    reloaded(&app).await;
    assert_eq!((braked().await.as_str(), app.refresh(&authids[21]).await.status), ("0", 401));

    emulator.misbehave(Fault::html(503));
    edit(&app, "max_waiting = 9", "max_waiting = 1");
    reloaded(&app).await;
    let request = app.client.get(app.at("/refresh")).header("X-AuthID", app.log_in(&emulator));
    let waits = tokio::spawn(request.send());
    until(SOON, async || metric(&app, "authseal_refresh_waiting").await == "1").await;
    let told = app.refresh(&app.log_in(&emulator)).await;
    assert!(told.status == 503 && told.reason().contains("no room to wait") && !waits.is_finished(), "{told:?}");
    emulator.behave();
    assert_eq!(waits.await.unwrap().unwrap().status(), 200);
    emulator.misbehave(Fault::html(503));
    edit(&app, "wait_seconds = 20", "wait_seconds = 0");
    reloaded(&app).await;
    let begun = Instant::now();
    assert_eq!(app.refresh(&app.log_in(&emulator)).await.status, 503);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_reload_is_asked_for_by_post_and_not_by_a_page() {
    let (_emulator, app) = start(Profile::google(), "");
    let url = format!("{}/reload", app.admin.as_ref().unwrap());
    let answer = app.client.get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    let foreign = app.client.post(&url).header("origin", "http://evil.test").send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    let foreign = app.client.post(&url).header("host", "evil.test").send().await.unwrap();
    assert_eq!(foreign.status(), 421);
    assert_eq!(app.client.post(app.at("/reload")).send().await.unwrap().status(), 404);
    assert_eq!(metric(&app, "authseal_reloads_total{outcome=\"applied\"}").await, "0");
}
