//! AuthIDs that duplicati/oauth-server made: served beside sealed ones, denied, counted, and off unless they are asked for.
//! The store of a running old server lies in tests/oauth-server.

use crate::admin::ADMIN;
use crate::duplicati::Duplicati;
use crate::emulator::{Emulator, Fault, Profile};
use crate::reading::{Backend, Generation};
use crate::rotation::{records, spent};
use crate::spawn::{Answer, PRIMARY, TestApp, spawn_at, spawn_beside};
use authseal::clock::Clock;
use authseal::legacy::OldAuthId;
use base64::Engine;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(61);
const STORE: &str = "[state]\nstore = \"dir:state\"\n";
const V2: &str = "[legacy]\nv2 = true\n";

/// A login of the old server, and the refresh token in its file.
#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) authid: String,
    pub(crate) service: String,
    pub(crate) refresh_token: String,
}

fn start(who: Profile, tables: &str) -> (Emulator, TestApp) {
    let clock = Clock::system();
    let emulator = Emulator::start_at(who, clock.clone());
    let app = spawn_at(&format!("{}{STORE}{tables}", emulator.provider_toml()), clock);
    (emulator, app)
}

/// An AuthID of version 2 for a login that was made at this provider, and its refresh token.
fn version_2(emulator: &Emulator) -> (String, String) {
    let token = emulator.log_in().refresh.unwrap();
    (format!("v2:{}:{token}", emulator.who().service), token)
}

pub(crate) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server")
}

pub(crate) fn expected() -> Vec<Expected> {
    serde_json::from_slice(&fs::read(fixture().join("expected.json")).unwrap()).unwrap()
}

/// What is in each file of a folder.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

fn denylist(app: &TestApp) -> String {
    fs::read_to_string(app.dir.path().join("denylist")).unwrap()
}

fn sealed(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["v2_authid"].as_str().unwrap_or_else(|| panic!("none: {answer:?}")).to_owned()
}

async fn refresh_from(app: &TestApp, address: &str, authid: &str) -> Answer {
    let request = app.client.get(app.at("/refresh")).header("X-AuthID", authid).header("x-forwarded-for", address);
    Answer::of(request.send().await.unwrap()).await
}

async fn revoke(app: &TestApp, authid: &str) -> Answer {
    let request = app.client.post(app.at("/revoked?at_provider=no")).header("X-AuthID", authid);
    Answer::of(request.send().await.unwrap()).await
}

async fn act(app: &TestApp, authid: &str, act: &str) -> Answer {
    let form = [("authid", authid), ("act", act)];
    let request = app.client.post(app.at("/inspect")).header("x-forwarded-for", "203.0.113.7").form(&form);
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn no_old_authid_is_taken_unless_it_is_asked_for() {
    let v1 = &expected()[0].authid;
    let folder = format!("[legacy]\nv1_dir = {:?}\n", fixture().join("tokens"));
    for (tables, which) in [("", [false, false]), (V2, [false, true]), (&folder, [true, false])] {
        let (emulator, app) = start(Profile::google(), tables);
        emulator.knows(&expected()[0].refresh_token);
        let (v2, _) = version_2(&emulator);
        for (authid, taken) in [v1, &v2].into_iter().zip(which) {
            let answer = app.refresh(authid).await;
            assert_eq!(answer.status, if taken { 200 } else { 401 }, "{tables} {answer:?}");
            if !taken {
                assert!(answer.reason().starts_with("This AuthID was made by an older kind of server"), "{answer:?}");
                assert_eq!(revoke(&app, authid).await.status, 400);
            }
        }
        assert_eq!(spent(&emulator).len(), which.iter().filter(|taken| **taken).count(), "{tables}");
    }
}

#[tokio::test]
async fn each_login_of_the_old_server_s_store_is_served_sealed_and_served_again() {
    for who in [Profile::google(), Profile::dropbox(), Profile::box_com(), Profile::microsoft()] {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixture().join("tokens")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let before = content(dir.path());
        let (emulator, app) = start(who, &format!("[legacy]\nv1_dir = {:?}\n", dir.path()));
        let theirs: Vec<_> = expected().into_iter().filter(|login| login.service == who.service).collect();
        assert_eq!(theirs.len(), 2);
        for Expected { authid, refresh_token, .. } in theirs {
            emulator.knows(&refresh_token);
            for generation in [Generation::V2_1, Generation::V2_2] {
                let backend = Backend::of(who.service).unwrap();
                let mut client = Duplicati::of(backend, generation, &app.at("/refresh"), &authid, &app.clock);
                for _ in 0..3 {
                    let token = client.access_token().await.unwrap_or_else(|why| panic!("{why:?}"));
                    assert!(emulator.use_access_token(&token), "{}", who.service);
                    app.clock.advance(HOUR * 4);
                }
                assert!(client.authid.starts_with(&format!("v3:{}:{PRIMARY}:", who.service)), "{}", client.authid);
                let login = app.open(&client.authid);
                let grant = OldAuthId::parse(&authid).unwrap().grant();
                let spends = who.service == "box.com";
                assert!(spends || emulator.is_alive(login.refresh_token.expose_secret()));
                assert_eq!(format!("{}", grant), login_id(&app, &client.authid));
            }
            let answer = app.refresh(&authid.replacen(':', "%3A", 1)).await;
            assert_eq!((answer.status, &answer.json()["type"]), (200, &json!(who.service)));
        }
        assert_eq!(content(dir.path()), before, "the old folder stays as it is");
    }
}

/// The id of the login in a sealed AuthID.
fn login_id(app: &TestApp, authid: &str) -> String {
    app.open(authid).id.to_string()
}

#[tokio::test]
async fn a_token_in_clear_is_carried_forward_however_the_provider_changes_it() {
    for who in [Profile::google(), Profile::dropbox(), Profile::microsoft(), Profile::box_com(), Profile::jottacloud()]
    {
        let (emulator, one) = start(who, V2);
        let two = spawn_beside(&one);
        let (old, token) = version_2(&emulator);
        let mut newest = old.clone();
        for turn in 0..6 {
            one.clock.advance(HOUR * 5);
            let (a, b) = if turn % 2 == 0 { (&one, &two) } else { (&two, &one) };
            // Somebody saves what is answered, somebody else never does, and both come to both at once.
            let both = join_all([a, b, a, b].map(|app| app.refresh(&old))).await;
            let again = b.refresh(&newest).await;
            let tokens: Vec<_> = both.iter().chain([&again]).map(Answer::access_token).collect();
            assert!(emulator.use_access_token(&tokens[0]), "{} in turn {turn}", who.service);
            if let Some(better) = both.iter().find_map(|answer| answer.json()["v2_authid"].as_str().map(str::to_owned))
            {
                newest = better;
            }
        }
        assert!(newest.starts_with("v3:"), "{newest}");
        let mut spent = spent(&emulator);
        assert_eq!(spent[0], token);
        if matches!(who.service, "box.com" | "jottacloud") {
            assert_eq!(spent.len(), 6, "{spent:?}");
            spent.dedup();
            assert_eq!(spent.len(), 6, "none twice");
            assert_eq!(records(&one).len(), 1);
        }
    }
}

#[tokio::test]
async fn what_is_asked_of_another_server_s_service_has_a_reason_of_its_own() {
    let (emulator, app) = start(Profile::box_com(), V2);
    let token = emulator.log_in().refresh.unwrap();
    let answer = app.refresh(&format!("v2:box:{token}")).await;
    assert_eq!((answer.status, &answer.json()["type"]), (200, &json!("box.com")), "an alias, as backends ask for it");
    for (service, status, reason) in [
        ("unheard-of", 503, "unheard-of is not set up on this server (any more)"),
        ("dropbox", 503, "Dropbox is not set up on this server (any more)"),
        ("onedrive", 401, "Microsoft"),
    ] {
        let answer = app.refresh(&format!("v2:{service}:{token}")).await;
        assert_eq!(answer.status, status, "{service}");
        assert!(answer.reason().contains(reason), "{service}: {}", answer.reason());
    }
    assert_eq!(spent(&emulator).len(), 1);
}

#[tokio::test]
async fn hostile_old_authids_are_refused_with_a_reason_and_ask_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let name = "0123456789abcdef0123456789abcdef";
    fs::write(dir.path().join(name), [b"AES\x02\0\0\0".as_slice(), &vec![7; 1 << 20]].concat()).unwrap();
    fs::write(dir.path().join(name.replace('0', "1")), "{\"ServiceId\":\"googledrive\"}").unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join(name.replace('0', "2"))).unwrap();
    let (emulator, app) = start(Profile::google(), &format!("[legacy]\nv2 = true\nv1_dir = {:?}\n", dir.path()));
    let broken = [name, &name.replace('0', "1"), &name.replace('0', "2")].map(|name| format!("{name}:password"));
    for authid in &broken {
        let answer = app.refresh(authid).await;
        assert_eq!(answer.status, 503, "{authid}: {answer:?}");
        assert!(answer.reason().starts_with("This server cannot read what the server before it kept"), "{answer:?}");
    }
    let long = "x".repeat(20_000);
    let refused = [
        format!("../../../../etc/passwd:{name}"),
        format!("..%2f..%2fetc%2fpasswd%3A{name}"),
        format!("{}/..:{name}", &name[3..]),
        format!("{}\u{0}:{name}", &name[1..]),
        format!("{name}:"),
        format!("{name}x:{name}"),
        format!("{}:password", name.replace('0', "f")),
        "v2:".to_owned(),
        "v2:googledrive".to_owned(),
        "v2:googledrive:".to_owned(),
        "v2:googledrive:12345".to_owned(),
        "v2:Google Drive:1//refresh".to_owned(),
        "v2:../googledrive:1//refresh".to_owned(),
        "v2:google;drive:1//refresh".to_owned(),
        format!("v2:{}:1//refresh", &long[..33]),
        "V2:googledrive:1//refresh".to_owned(),
        "v2::1//refresh".to_owned(),
    ];
    for authid in refused {
        let answer = app.post("/refresh", &[("authid", &authid)]).await;
        assert_eq!(answer.status, 401, "{authid}: {answer:?}");
        assert!(answer.reason().starts_with("This AuthID is not valid here"), "{authid}: {answer:?}");
        assert_eq!(
            app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &authid)]).await.status,
            400
        );
        for path in ["/inspect", "/revoked"] {
            assert_eq!(app.post(path, &[("authid", &authid)]).await.status, 400, "{path} {authid}");
        }
    }
    assert_eq!(app.refresh(&format!("v2:googledrive:{long}")).await.status, 401);
    assert!(emulator.calls().is_empty());
    assert!(!denylist(&app).contains("grant "));
}

#[tokio::test]
async fn wrong_passwords_cost_little_and_hinder_nobody_who_knows_the_right_one() {
    let (emulator, app) = start(Profile::google(), &format!("[legacy]\nv1_dir = {:?}\n", fixture().join("tokens")));
    let Expected { authid, refresh_token, .. } = &expected()[0];
    emulator.knows(refresh_token);
    assert_eq!(app.refresh(authid).await.status, 200);
    for guess in 0..10 {
        let answer = app.refresh(&format!("{authid}{guess}")).await;
        assert_eq!(answer.status, 401);
        assert!(answer.reason().starts_with("This AuthID is not valid here"), "{answer:?}");
    }
    for guess in 10..30 {
        assert_eq!(app.refresh(&format!("{authid}{guess}")).await.status, 503);
    }
    assert_eq!(app.refresh(authid).await.status, 200);
    app.clock.advance(MINUTE);
    assert_eq!(app.refresh(&format!("{authid}{}", 30)).await.status, 401);
}

#[tokio::test]
async fn what_somebody_made_up_asks_the_provider_a_few_times_and_leaves_nothing_behind() {
    for who in [Profile::google(), Profile::box_com()] {
        let (emulator, app) = start(who, &format!("{V2}[limits]\ninvalid_authids = 5\n"));
        let (good, _) = version_2(&emulator);
        assert_eq!(refresh_from(&app, "192.0.2.1", &good).await.status, 200);
        let made_up = |number: usize| format!("v2:{}:made-up-{number}", who.service);
        for number in 0..30 {
            let answer = refresh_from(&app, "192.0.2.1", &made_up(number)).await;
            assert_eq!(answer.status, if number < 5 { 401 } else { 503 }, "{number}: {answer:?}");
        }
        assert_eq!(spent(&emulator).len(), 6, "{}", who.service);
        app.clock.advance(HOUR * 2);
        for number in 0..6 {
            refresh_from(&app, "192.0.2.1", &made_up(number)).await;
        }
        assert_eq!(refresh_from(&app, "192.0.2.1", &good).await.status, 200, "what has worked may always be asked");
        assert_eq!(refresh_from(&app, "192.0.2.2", &made_up(99)).await.status, 401, "others are not hindered");
        assert_eq!(records(&app).len(), usize::from(who.service == "box.com"));
        for authid in [made_up(100), made_up(101)] {
            let answer = revoke(&app, &authid).await;
            assert_eq!((answer.status, &answer.json()["revoked"]), (400, &json!(false)), "{answer:?}");
            assert_eq!(act(&app, &authid, "anew").await.status, 400);
        }
        assert!(!denylist(&app).contains("grant "), "{}", denylist(&app));
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_leaves_nothing_of_an_old_login_in_doubt() {
    let (emulator, app) = start(Profile::box_com(), V2);
    let (old, _) = version_2(&emulator);
    emulator.misbehave(Fault::html(503));
    assert_eq!(app.refresh(&old).await.status, 503);
    assert_eq!(revoke(&app, &old).await.status, 502, "nobody can tell whether it was made up");
    emulator.behave();
    app.clock.advance(MINUTE);
    assert!(emulator.use_access_token(&app.refresh(&old).await.access_token()));
}

#[tokio::test]
async fn revoking_an_old_authid_or_what_was_sealed_of_it_ends_both() {
    for first_sealed in [false, true] {
        let (emulator, app) = start(Profile::microsoft(), V2);
        let (old, _) = version_2(&emulator);
        let sealed = sealed(&app.refresh(&old).await);
        let answer = revoke(&app, if first_sealed { &sealed } else { &old }).await;
        assert_eq!((answer.status, &answer.json()["revoked"]), (200, &json!(true)), "{answer:?}");
        for authid in [&old, &sealed] {
            let answer = app.refresh(authid).await;
            assert_eq!(
                (answer.status, answer.reason()),
                (401, "This AuthID has been revoked. Please create a new one")
            );
            assert!(act(&app, authid, "look").await.status == 400);
            assert!(app.post("/inspect", &[("authid", authid)]).await.body.contains("It is revoked"));
            assert_eq!(revoke(&app, authid).await.json()["already"], json!(true));
        }
        assert_eq!(denylist(&app).matches("grant 01d0").count(), 1, "{}", denylist(&app));
    }
}

#[tokio::test]
async fn a_line_with_the_hash_of_an_old_authid_ends_it_and_what_was_sealed_of_it() {
    let (emulator, app) = start(Profile::google(), V2);
    let (old, _) = version_2(&emulator);
    let (other, _) = version_2(&emulator);
    let sealed = sealed(&app.refresh(&old).await);
    let digest = OldAuthId::parse(&old).unwrap().digest();
    fs::write(app.dir.path().join("denylist"), format!("authseal-denylist 1\nlegacy {digest}\n")).unwrap();
    let app = spawn_beside(&app);
    for authid in [&old, &sealed] {
        assert_eq!(app.refresh(authid).await.status, 401);
    }
    assert_eq!(app.refresh(&other).await.status, 200);
}

#[tokio::test]
async fn a_login_that_is_denied_is_denied_however_its_service_is_written() {
    let (emulator, app) =
        start(Profile::box_com(), &format!("{V2}[services.\"box.com\"]\naliases = [\"box\", \"MyBox\"]\n"));
    let (old, token) = version_2(&emulator);
    let spellings = [old, format!("v2:box:{token}"), format!("v2:MyBox:{token}")];
    let logins = join_all(spellings.iter().map(|authid| app.refresh(authid))).await;
    assert!(logins.iter().all(|answer| answer.json()["type"] == json!("box.com")), "{logins:?}");
    assert_eq!(spent(&emulator), std::slice::from_ref(&token), "all three are one login");
    assert_eq!(
        app.refresh(&format!("v2:mybox:{token}")).await.status,
        503,
        "the old server told capital letters apart"
    );
    for authid in &spellings {
        let digest = OldAuthId::parse(authid).unwrap().digest();
        fs::write(app.dir.path().join("denylist"), format!("authseal-denylist 1\nlegacy {digest}\n")).unwrap();
        let app = spawn_beside(&app);
        for authid in &spellings {
            assert_eq!(app.refresh(authid).await.status, 401, "{authid}");
        }
    }
}

#[tokio::test]
async fn a_store_of_the_old_server_s_own_encoding_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let Expected { authid, refresh_token, .. } = &expected()[0];
    let name = &authid[..32];
    let packed = base64::engine::general_purpose::STANDARD.encode(name);
    fs::copy(fixture().join("tokens").join(name), folder.path().join(packed)).unwrap();
    let (emulator, app) = start(Profile::google(), &format!("[legacy]\nv1_dir = {:?}\n", folder.path()));
    emulator.knows(refresh_token);
    assert!(emulator.use_access_token(&app.refresh(authid).await.access_token()));
}

#[tokio::test]
async fn the_page_tells_what_an_old_authid_is_and_seals_it() {
    for who in [Profile::google(), Profile::jottacloud()] {
        let (emulator, app) = start(who, V2);
        let (old, token) = version_2(&emulator);
        let page = app.post("/inspect", &[("authid", &format!("\"{old}\""))]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("made by the server that was here before"), "{}", page.body);
        for absent in ["1970", "revoke-code", "<dt>Logged in</dt>", "epoch"] {
            assert!(!page.body.contains(absent), "{absent}: {}", page.body);
        }
        assert!(emulator.calls().is_empty());
        assert!(act(&app, &old, "test").await.body.contains("It works"));
        let page = act(&app, &old, "anew").await;
        let (_, rest) = page.body.split_once("v3:").unwrap_or_else(|| panic!("{}", page.body));
        let authid = format!("v3:{}", rest.split(['<', '"', '&']).next().unwrap());
        let login = app.open(&authid);
        assert_eq!(login.login_at, 0, "older than any rule about old logins");
        let same = login.refresh_token.expose_secret() == token;
        assert_eq!(same, who.service == "googledrive");
        app.clock.advance(HOUR * 2);
        assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()));
        assert!(emulator.use_access_token(&app.refresh(&old).await.access_token()));
    }
}

#[tokio::test]
async fn a_library_that_comes_with_an_old_authid_is_given_a_sealed_one() {
    let (emulator, app) = start(Profile::dropbox(), V2);
    let (old, _) = version_2(&emulator);
    let answer = app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &old)]).await.json();
    let sealed = answer["refresh_token"].as_str().unwrap();
    assert!(sealed.starts_with("v3:dropbox:"), "{answer}");
    let answer = app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", sealed)]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn operators_see_what_is_left() {
    let tables = format!("[legacy]\nv2 = true\nv1_dir = {:?}\n{ADMIN}", fixture().join("tokens"));
    let (emulator, app) = start(Profile::google(), &tables);
    let shown = app.ask("/legacy").await.json();
    assert_eq!((&shown["v1"], &shown["v2"], &shown["seen"]), (&json!(true), &json!(true), &json!([])));
    for Expected { authid, refresh_token, .. } in &expected()[..2] {
        emulator.knows(refresh_token);
        for _ in 0..3 {
            assert_eq!(app.refresh(authid).await.status, 200);
        }
    }
    app.refresh(&version_2(&emulator).0).await;
    app.refresh("v2:googledrive:made-up").await;
    let seen = app.ask("/legacy").await.json()["seen"].clone();
    let row = |version: &str, authids| json!({ "service": "googledrive", "version": version, "authids": authids });
    let without_time = |mut row: serde_json::Value| {
        assert!(row["last_seen"].as_str().unwrap().ends_with('Z'));
        row.as_object_mut().unwrap().remove("last_seen");
        row
    };
    let seen: Vec<_> = seen.as_array().unwrap().iter().cloned().map(without_time).collect();
    assert_eq!(seen, [row("v1", 2), row("v2", 1)]);
    let metrics = app.ask("/metrics").await.body;
    for line in [
        r#"authseal_legacy_refresh_total{service="googledrive",version="v1"} 6"#,
        r#"authseal_legacy_refresh_total{service="googledrive",version="v2"} 1"#,
        r#"authseal_legacy_authids{service="googledrive",version="v1"} 2"#,
        r#"authseal_refresh_total{epoch="none",outcome="fetched",service="googledrive"} 3"#,
        r#"authseal_refresh_total{epoch="none",outcome="refused",service="googledrive"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(metrics.contains(r#"authseal_legacy_last_seen_timestamp_seconds{service="googledrive",version="v2"}"#));
}

/// What duplicati/oauth-server does with an AuthID of version 2: it asks the provider each time, and nothing else.
async fn old_server(who: Profile, provider: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let client = crate::http::client();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (client, provider) = (client.clone(), provider.clone());
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read_exact(&mut byte).await.is_err() {
                        return;
                    }
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                let authid = request.lines().find_map(|line| line.strip_prefix("x-authid: ")).unwrap();
                let token = authid.splitn(3, ':').nth(2).unwrap();
                let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
                form.push(("client_id", who.client_id));
                form.extend(who.secret.map(|secret| ("client_secret", secret)));
                let answer = client.post(provider + who.token).form(&form).send().await.unwrap();
                let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                let (token, service) = (&answer["access_token"], who.service);
                let body = json!({ "access_token": token, "expires": 3590, "type": service }).to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn nobody_notices_while_the_old_server_is_exchanged_under_load() {
    let who = Profile::google();
    let (emulator, app) = start(who, V2);
    let before = old_server(who, emulator.base().to_owned()).await;
    let (moved, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let served = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let addresses = [format!("{before}/refresh"), app.at("/refresh")];
    let client = async |authid: String| {
        while !ended.load(Ordering::Relaxed) {
            // Each operation is a new object with the AuthID as it is stored.
            let at = usize::from(moved.load(Ordering::Relaxed));
            let mut client = Duplicati::new(&addresses[at], who.service, &authid, &app.clock);
            client.access_token().await.unwrap_or_else(|why| panic!("{why:?}"));
            assert!(client.waits.is_empty(), "at the first try");
            served[at].fetch_add(1, Ordering::Relaxed);
        }
    };
    let reached = async |at: usize| {
        while served[at].load(Ordering::Relaxed) < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let operator = async {
        reached(0).await;
        moved.store(true, Ordering::Relaxed);
        reached(1).await;
        ended.store(true, Ordering::Relaxed);
    };
    let clients = join_all((0..12).map(|_| client(version_2(&emulator).0)));
    tokio::join!(clients, operator);
}
