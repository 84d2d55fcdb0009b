//! The admin listener: what operators ask, and that nobody else's questions are answered there.

use crate::emulator::{Emulator, Profile};
use crate::spawn::{OLD, PRIMARY, STAGED, TestApp, spawn_app, until};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The table that switches it on.
pub(crate) const ADMIN: &str = "[admin]\nlisten = [\"127.0.0.1:0\"]\n";

/// A changed file is noticed within two seconds; a machine under load may take longer.
const SOON: Duration = Duration::from_secs(20);

async fn keyring(app: &TestApp) -> Value {
    let answer = app.ask("/keyring").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

fn epoch(keyring: &Value, number: u32) -> Value {
    let epochs = keyring["epochs"].as_array().unwrap();
    epochs.iter().find(|entry| entry["epoch"] == number).unwrap().clone()
}

#[tokio::test]
async fn each_listener_answers_its_own_questions_only() {
    let app = spawn_app(ADMIN);
    for path in ["/", "/login", "/logged-in", "/refresh", "/token", "/fetch", "/revoke", "/isalive", "/favicon.ico"] {
        assert_eq!(app.ask(path).await.status, 404, "{path}");
    }
    for path in ["/metrics", "/keyring"] {
        assert_eq!(app.get(path).await.status, 404, "{path}");
    }
    for path in ["/metrics", "/healthz", "/readyz", "/keyring"] {
        let answer = app.ask(path).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{path}");
        let url = format!("{}{path}", app.admin.as_ref().unwrap());
        let answer = app.client.post(&url).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()),
            (405, "GET, HEAD"),
            "{path}"
        );
        assert_eq!(app.client.head(&url).send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!((app.get("/readyz").await.body, app.get("/healthz").await.body), ("ready\n".into(), "ok\n".into()));
    assert!(spawn_app("").admin.is_none(), "there is none unless it is configured");
}

#[tokio::test]
async fn readyz_tells_what_is_in_force_and_a_faulty_file_does_not_end_readiness() {
    let app = spawn_app(ADMIN);
    // Without the times, which are there as they have to be.
    let readyz = async || {
        let answer = app.ask("/readyz").await;
        let mut shown = answer.json();
        for file in ["keyring", "denylist"] {
            let file = shown[file].as_object_mut().unwrap();
            assert!(file.remove("last_look").unwrap().is_string());
            assert_eq!(file.remove("stale_since").unwrap().is_string(), file["last_load_failed"] == true);
        }
        let configuration = shown.as_object_mut().unwrap().remove("configuration").unwrap();
        assert_eq!((&configuration["last_load_failed"], &configuration["last_look"]), (&json!(false), &Value::Null));
        (answer.status, shown)
    };
    let (status, first) = readyz().await;
    let mut expected = json!({
        "ready": true, "draining": false,
        "keyring": { "entries": 4, "since": first["keyring"]["since"], "last_load_failed": false },
        "denylist": { "entries": 0, "since": first["denylist"]["since"], "last_load_failed": false },
        "store": {
            "durable": false, "failing_since": null, "reading_fails_since": null, "writing_fails_since": null,
        },
    });
    assert_eq!((status, &first), (200, &expected));
    let (keys, denylist) = (app.dir.path().join("keys.toml"), app.dir.path().join("denylist"));
    let good = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, "primary = 9\n").unwrap();
    fs::write(&denylist, "nothing of the kind\n").unwrap();
    expected["keyring"]["last_load_failed"] = true.into();
    expected["denylist"]["last_load_failed"] = true.into();
    until(SOON, async || readyz().await.1 == expected).await;
    assert_eq!((readyz().await.0, app.get("/readyz").await.status), (200, 200));
    let metrics = app.ask("/metrics").await.body;
    assert!(
        metrics.contains("authseal_keyring_load_failed 1\n") && metrics.contains("authseal_denylist_load_failed 1\n")
    );
    fs::write(&keys, good).unwrap();
    fs::write(&denylist, "authseal-denylist 1\nepoch 7\n").unwrap();
    let corrected = |now: &Value| now["keyring"]["last_load_failed"] == false && now["denylist"]["entries"] == 1;
    until(SOON, async || corrected(&readyz().await.1)).await;
    assert_eq!(readyz().await.1["denylist"]["last_load_failed"], false);
}

#[tokio::test]
async fn the_keyring_is_shown_without_its_secrets() {
    let app = spawn_app(ADMIN);
    let shown = keyring(&app).await;
    let names: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["digest", "epochs", "min_epoch", "primary", "watching_since"]);
    assert_eq!((&shown["primary"], &shown["min_epoch"]), (&json!(PRIMARY), &Value::Null));
    let states = shown["epochs"].as_array().unwrap().iter().map(|entry| entry["state"].as_str().unwrap());
    assert_eq!(states.collect::<Vec<_>>(), ["retired", "open", "primary", "staged"]);
    let hex = |value: &Value, length: usize| {
        value.as_str().is_some_and(|text| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    assert!(hex(&shown["digest"], 64), "{shown}");
    for entry in shown["epochs"].as_array().unwrap() {
        assert_eq!(hex(&entry["fingerprint"], 16), entry["state"] != "retired", "{entry}");
        assert_eq!((&entry["created"], &entry["last_seen"]), (&Value::Null, &Value::Null));
    }
    let file = fs::read_to_string(app.dir.path().join("keys.toml")).unwrap();
    for secret in file.lines().filter_map(|line| line.strip_prefix("secret = \"")) {
        let (rest, checksum) = secret.trim_end_matches('"').rsplit_once(':').unwrap();
        assert!(!shown.to_string().contains(&rest[rest.len() - 43..]) && !shown.to_string().contains(checksum));
    }
}

#[tokio::test]
async fn two_replicas_compare_their_keyrings_by_a_digest() {
    let (one, other) = (spawn_app(ADMIN), spawn_app(ADMIN));
    let digest = async |app: &TestApp| keyring(app).await["digest"].clone();
    let first = digest(&one).await;
    assert_ne!(first, digest(&other).await, "other secrets");
    let path = one.dir.path().join("keys.toml");
    let keys = fs::read_to_string(&path).unwrap();
    let copy = other.dir.path().join("keys.toml");
    fs::write(&copy, format!("# the same, with a note\n{keys}")).unwrap();
    until(SOON, async || digest(&other).await == first).await;
    fs::write(&copy, keys.replace("primary = 3", "primary = 4")).unwrap();
    until(SOON, async || digest(&other).await != first).await;
    assert_eq!(epoch(&keyring(&other).await, STAGED)["state"], "primary");
}

#[tokio::test]
async fn an_epoch_is_seen_when_one_of_its_authids_is_used_and_not_when_it_is_refused() {
    let google = Emulator::start(Profile::google());
    let app = spawn_app(&format!("{}{ADMIN}", google.provider_toml()));
    let seen = async |number| epoch(&keyring(&app).await, number)["last_seen"].clone();
    assert_eq!([seen(OLD).await, seen(PRIMARY).await], [Value::Null, Value::Null]);
    let token = google.log_in().refresh.unwrap();
    let old = app.seal_under(OLD, "googledrive", &token);
    app.refresh(&app.seal_under(STAGED, "googledrive", "dead at the provider")).await;
    app.refresh(&old.replace(":2:", ":3:")).await;
    app.post("/revoked", &[("authid", &old)]).await;
    assert_eq!(app.refresh(&old).await.status, 401);
    assert_eq!([seen(OLD).await, seen(PRIMARY).await], [Value::Null, Value::Null]);
    assert!(seen(STAGED).await.is_string(), "its owner is told to log in again, so it is in use");

    let old = app.seal_under(OLD, "googledrive", &google.log_in().refresh.unwrap());
    assert_eq!(app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &old)]).await.status, 200);
    let first = seen(OLD).await;
    assert!(first.is_string() && keyring(&app).await["watching_since"].as_str() <= first.as_str());
    app.clock.advance(Duration::from_secs(90));
    assert_eq!(seen(OLD).await, first);
    assert_eq!(app.refresh(&old).await.status, 200);
    assert!(seen(OLD).await.as_str() > first.as_str(), "an answer from memory counts, too");
    app.person().log_in("googledrive").await;
    assert!(seen(PRIMARY).await.is_string(), "a login seals under the primary");
}

#[tokio::test]
async fn only_addresses_localhost_and_listed_names_are_answered() {
    let app = spawn_app(&format!("{ADMIN}names = [\"Metrics.Example\", \"authseal\"]\n"));
    let admin = app.admin.clone().unwrap();
    let status = async |path: &str, host: &str| {
        let answer = app.client.get(format!("{admin}{path}")).header("host", host).send().await.unwrap();
        answer.status().as_u16()
    };
    for path in ["/metrics", "/healthz", "/readyz", "/keyring", "/nothing"] {
        for host in
            ["127.0.0.1", "10.0.0.5:9090", "[::1]:9090", "localhost:9090", "METRICS.example.:9090", "authseal:1"]
        {
            assert_eq!(status(path, host).await, if path == "/nothing" { 404 } else { 200 }, "{path} {host}");
        }
        for host in
            ["evil.test", "evil.test:9090", "127.0.0.1.evil.test", "localhost.evil.test", "not a host", "x.authseal"]
        {
            assert_eq!(status(path, host).await, 421, "{path} {host}");
        }
    }
    let answer = app.client.get(format!("{admin}/keyring")).header("host", "evil.test").send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.text().await.unwrap().contains("admin.names"));
    // A balancer's probe, which names nobody.
    let mut probe = TcpStream::connect(admin.strip_prefix("http://").unwrap()).await.unwrap();
    probe.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}
