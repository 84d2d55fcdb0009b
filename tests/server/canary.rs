//! Secrets never reach the log, not even at trace level, nor what operators are shown. Every secret that the pretend providers make has a mark in it;
//! everything that this whole test binary logs is kept, and searched.

use crate::admin::ADMIN;
use crate::browser::From;
use crate::emulator::{CANARY, Consent, Emulator, Fault, Profile, secret};
use crate::legacy::{Expected, expected, fixture};
use crate::spawn::{OLD, RETIRED, UNKNOWN, spawn_app};
use std::fs;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock};
use tracing_subscriber::fmt::MakeWriter;

/// All that was logged so far.
struct Kept(Mutex<Vec<u8>>);

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Writer(&'static Kept);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Writer;

    fn make_writer(&'a self) -> Writer {
        Writer(self.0)
    }
}

/// Keeps everything that is logged in this process, at every level, the libraries' messages too.
pub(crate) fn listen() -> &'static Mutex<Vec<u8>> {
    static KEPT: OnceLock<&'static Kept> = OnceLock::new();
    let kept = KEPT.get_or_init(|| {
        let kept: &'static Kept = Box::leak(Box::new(Kept(Mutex::default())));
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(Writer(kept))
            .init();
        kept
    });
    &kept.0
}

/// A piece of a secret that nothing else contains.
fn piece(secret: &str) -> &str {
    &secret[secret.len().saturating_sub(24)..]
}

#[tokio::test]
async fn no_secret_is_ever_logged_or_shown_to_operators() {
    let google = Emulator::start(Profile::google());
    let others = [Profile::microsoft(), Profile::dropbox(), Profile::pcloud(), Profile::jottacloud()];
    let others = others.map(Emulator::start);
    let tables: String = others.iter().map(Emulator::provider_toml).collect();
    let legacy = format!("[legacy]\nv2 = true\nv1_dir = {:?}\n", fixture().join("tokens"));
    let app = spawn_app(&format!("{}{tables}{ADMIN}{legacy}", google.provider_toml()));
    let mut person = app.person();
    let mut secrets = Vec::new();

    // Logins that succeed, fail and are tampered with.
    for service in ["googledrive", "onedrivev2", "dropbox", "pcloud"] {
        let page = person.log_in(service).await;
        secrets.push(page.authid().unwrap());
    }
    for consent in [Consent::Denies, Consent::AgreedBefore, Consent::Fails("server_error", "words")] {
        google.next_person(consent);
        person.log_in("googledrive").await;
    }
    let callback = person.log_in_until_callback("googledrive").await;
    secrets.push(callback.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned());
    let mut stranger = app.person();
    stranger.visit(callback.clone(), From::opener(google.base())).await;
    person.visit(callback, From::opener(google.base())).await;
    let mut forged = person.at("/logged-in");
    for name in ["code", "state", "error", "error_description", "iss", "hostname", "scope"] {
        forged.query_pairs_mut().append_pair(name, &secret("", name));
    }
    person.visit(forged, From::Typed).await;
    let index =
        person.open_index(&format!("type=googledrive&token={CANARY}abcdefghijk0123"), "http://localhost:8200").await;
    secrets.push(index.link("/login?").unwrap().query_pairs().find(|(name, _)| name == "ctx").unwrap().1.into_owned());
    secrets.push(person.cookie_header());
    app.get(&format!("/fetch?token={CANARY}abcdefghijk0123&callback={CANARY}")).await;
    app.get(&format!("/token-state?token={CANARY}abcdefghijk0123")).await;
    let pasted = others[3].login_token();
    let fields = [("id", "jottacloud"), ("token", pasted.as_str()), ("ctx", "CANARY"), ("fetchtoken", "CANARY")];
    person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await;
    secrets.push(pasted);

    // Refreshes, right and wrong, in every place where an AuthID could be.
    for epoch in [RETIRED, OLD, UNKNOWN] {
        secrets.push(app.seal_under(epoch, "googledrive", &google.log_in().refresh.unwrap()));
    }
    for authid in secrets.clone() {
        for text in [authid.clone(), authid[1..].to_owned(), format!("{authid}A"), format!("v2:googledrive:{authid}")] {
            app.refresh(&text).await;
            app.post("/refresh", &[("authid", &text)]).await;
            app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &text), ("client_secret", CANARY)])
                .await;
            app.get(&format!("/refresh?authid={text}")).await;
            app.get(&format!("/{text}")).await;
        }
    }
    let faults = [
        Fault::oauth(400, "invalid_grant", "gone"),
        Fault::oauth(401, "invalid_client", "unknown"),
        Fault::oauth(400, "CANARY", "odd"),
        Fault::json(200, r#"{"access_token":"CANARY","expires_in":"CANARY","refresh_token":["CANARY"]}"#),
        Fault::json(200, r#"CANARY{"access_token":"#),
        Fault::html(500),
        Fault::RedirectToTrap(307),
        Fault::CloseBeforeHeaders,
        Fault::CloseMidBody,
        Fault::NotHttp,
    ];
    for fault in faults {
        google.misbehave(fault);
        let authid = app.log_in(&google);
        app.refresh(&authid).await;
        secrets.push(authid);
    }
    google.behave();
    let revoked = app.log_in(&google);
    for _ in 0..2 {
        app.client.post(app.at("/revoked")).header("X-AuthID", &revoked).send().await.unwrap();
        app.post("/revoked", &[("authid", &revoked)]).await;
        app.refresh(&revoked).await;
    }
    secrets.push(revoked);

    // Revoke codes, right and wrong, and everything that /inspect does.
    let page = person.log_in("googledrive").await;
    let (authid, code) = (page.authid().unwrap(), page.element("revoke-code").unwrap().text);
    for text in [authid.clone(), code.clone(), format!("{authid}A"), format!("{code}0")] {
        for act in ["test", "anew", "look"] {
            app.post("/inspect", &[("authid", &text), ("act", act)]).await;
        }
    }
    for text in [format!("{code}0"), code.clone()] {
        app.client.post(app.at("/revoked")).header("X-AuthID", &text).send().await.unwrap();
        app.post("/revoked", &[("authid", &text)]).await;
        app.refresh(&text).await;
    }
    secrets.extend([authid, code]);

    // Old AuthIDs, right and wrong, everywhere.
    let Expected { authid: v1, refresh_token, .. } = expected().remove(0);
    google.knows(&refresh_token);
    let v2 = format!("v2:googledrive:{}", google.log_in().refresh.unwrap());
    for text in
        [v1.clone(), v2.clone(), format!("{v1}x"), format!("{v2}x"), format!("\"{v2}"), format!("v2:box.com:{CANARY}")]
    {
        for _ in 0..2 {
            app.refresh(&text).await;
            app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &text)]).await;
        }
        for act in ["test", "anew", "look"] {
            app.post("/inspect", &[("authid", &text), ("act", act)]).await;
        }
        app.get(&format!("/refresh?authid={text}")).await;
        app.client.post(app.at("/revoked")).header("X-AuthID", &text).send().await.unwrap();
        app.post("/revoked", &[("authid", &text)]).await;
        app.refresh(&text).await;
    }
    secrets.extend([v1, v2, refresh_token]);
    let keys = fs::read_to_string(app.dir.path().join("keys.toml")).unwrap();
    secrets.extend(keys.lines().filter_map(|line| line.strip_prefix("secret = ")).map(|key| key[15..58].to_owned()));

    let log = String::from_utf8_lossy(&listen().lock().unwrap()).into_owned();
    assert!(log.contains("no access token") && log.contains("TRACE"), "the log is really kept, and at trace level");
    let leaks: Vec<_> = log.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(leaks.is_empty(), "{} lines, the first: {}", leaks.len(), leaks[0]);
    let mut shown = String::new();
    for path in ["/metrics", "/readyz", "/keyring", "/legacy", "/apps", "/status"] {
        let answer = app.ask(path).await;
        assert_eq!(answer.status, 200, "{path}");
        shown.push_str(&answer.body);
    }
    assert!(shown.contains("authseal_refresh_total") && shown.contains("fingerprint"));
    assert!(!shown.contains(CANARY), "{shown}");
    let log = format!("{log}\n{shown}");
    for secret in secrets {
        let leak = log.lines().find(|line| line.contains(piece(&secret)));
        assert_eq!(leak, None, "of {secret}");
    }
}
