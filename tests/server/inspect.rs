//! `/inspect`: what an AuthID is, tested and sealed again, and what none of that gives away.

use crate::browser::From;
use crate::emulator::{CANARY, Emulator, Fault, Profile, Renewal};
use crate::spawn::{Answer, OLD, PRIMARY, RETIRED, STAGED, TestApp, UNKNOWN, spawn_app, spawn_for};
use authseal::authid::Envelope;
use std::fs;
use std::time::Duration;

fn start(who: Profile) -> (Emulator, TestApp) {
    let emulator = Emulator::start(who);
    let app = spawn_for(&[&emulator]);
    (emulator, app)
}

async fn inspect(app: &TestApp, authid: &str) -> Answer {
    app.post("/inspect", &[("authid", authid)]).await
}

async fn act(app: &TestApp, authid: &str, act: &str) -> Answer {
    let form = [("authid", authid), ("act", act)];
    // The proxy tells where the person is.
    let request = app.client.post(app.at("/inspect")).header("x-forwarded-for", "203.0.113.7").form(&form);
    Answer::of(request.send().await.unwrap()).await
}

/// The text of the element with this id.
fn element<'a>(page: &'a Answer, id: &str) -> &'a str {
    let found = page.body.split_once(&format!("id=\"{id}\"")).and_then(|(_, rest)| rest.split_once('>'));
    found.and_then(|(_, rest)| rest.split_once('<')).unwrap_or_else(|| panic!("no {id}: {}", page.body)).0
}

#[track_caller]
fn has(page: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(page.body.contains(text), "{text}: {} {}", page.status, page.body);
    }
}

#[tokio::test]
async fn the_page_says_what_an_authid_is_and_asks_no_provider() {
    let (emulator, app) = start(Profile::microsoft());
    let authid = app.log_in(&emulator);
    let grant = Envelope::parse(&authid).unwrap().grant.to_string();
    let page = inspect(&app, &format!(" {authid}\n")).await;
    assert_eq!(page.status, 200);
    let end = authseal::clock::rfc3339(app.clock.now() + 90 * 86_400);
    let (year, day) = (&end[..4], end[8..10].trim_start_matches('0'));
    has(
        &page,
        &[&format!("<time datetime=\"{}\">about {day} ", &end[..10]), &format!(" {year} (without a state store)<")],
    );
    has(
        &page,
        &["<dd>OneDrive<", &format!("<code>{grant}</code>"), "3 (newest)", "<dt>Logged in</dt>", "<dt>Sealed</dt>"],
    );
    has(&page, &["good\">It is valid here and not revoked.", " UTC</time>", "Test it now", "I want a new AuthID"]);
    assert!(!page.body.contains("older key"));
    assert!(page.body.contains("id=\"revoke-code\""));
    assert!(emulator.calls().is_empty());
    for (epoch, state, older) in
        [(OLD, "2 (older, still accepted)", true), (STAGED, "4 (newest, not in use yet)", false)]
    {
        let page = inspect(&app, &app.seal_under(epoch, "onedrivev2", "x")).await;
        has(&page, &[state]);
        assert_eq!(page.body.contains("older key"), older, "{state}");
    }
}

#[tokio::test]
async fn a_pasted_authid_is_read_wherever_it_is_sent() {
    let (emulator, app) = start(Profile::google());
    let authid = app.log_in(&emulator);
    let half = authid.len() / 2;
    let forms = [
        format!("\"{authid}\""),
        format!("authid:{authid}"),
        format!("X-AuthID: {authid}"),
        format!("<{}>", authid.replace(':', "%3A")),
        format!("{} {}", &authid[..half], &authid[half..]),
        format!("{}\u{200b}{}\u{a0}", &authid[..half], &authid[half..]),
        authid.replace('-', "\u{2011}"),
    ];
    for pasted in &forms {
        assert_eq!(inspect(&app, pasted).await.status, 200, "{pasted:?}");
        assert_eq!(
            inspect(&app, &pasted.replacen(&authid[..half], &format!("{}\r\n", &authid[..half]), 1)).await.status,
            200
        );
        assert_eq!(app.post("/refresh", &[("authid", pasted)]).await.status, 200, "{pasted:?}");
        let header = reqwest::header::HeaderValue::from_bytes(pasted.as_bytes()).unwrap();
        let answer = app.client.get(app.at("/refresh")).header("x-authid", header).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{pasted:?}");
    }
    let damaged = authid.replacen(&authid[half..half + 4], "", 1);
    assert_eq!(inspect(&app, &damaged).await.status, 400);
    assert_eq!(app.post("/revoked", &[("authid", &forms[4])]).await.status, 200);
    assert_eq!(app.refresh(&authid).await.status, 401);
}

#[tokio::test]
async fn a_refused_authid_is_told_with_its_rule_and_offered_nothing() {
    let (emulator, app) = start(Profile::google());
    let authid = app.log_in(&emulator);
    app.post("/revoked", &[("authid", &authid)]).await;
    let page = inspect(&app, &authid).await;
    has(&page, &["status bad", "It is revoked: this server does not accept it", "log in again"]);
    assert!(!page.body.contains("<form"), "{}", page.body);
    let page = act(&app, &authid, "anew").await;
    assert_eq!(page.status, 400);
    has(&page, &["has been revoked"]);
    has(&act(&app, &authid, "test").await, &["It is revoked"]);
    assert!(emulator.calls().is_empty());
    let list = app.dir.path().join("denylist");
    fs::write(&list, format!("authseal-denylist 1\nepoch {OLD} service googledrive\n")).unwrap();
    let old = app.seal_under(OLD, "googledrive", "x");
    crate::spawn::until(Duration::from_secs(20), async || {
        inspect(&app, &old).await.body.contains("has revoked every AuthID of its key for this service")
    })
    .await;
}

#[tokio::test]
async fn nothing_is_said_of_what_does_not_open() {
    let (_emulator, app) = start(Profile::google());
    let other = spawn_app("");
    let broken = |authid: String| {
        let (rest, last) = authid.split_at(authid.len() - 1);
        format!("{rest}{}", if last == "A" { 'B' } else { 'A' })
    };
    for (authid, status, sentence) in [
        ("hunter2".to_owned(), 400, "not valid here"),
        (broken(app.seal("googledrive", "x")), 400, "not valid here"),
        (other.seal("googledrive", "x"), 400, "not valid here"),
        (app.seal("googledrive", "x").replacen(":3:", &format!(":{RETIRED}:"), 1), 400, "has been retired"),
        (app.seal_under(UNKNOWN, "googledrive", "x"), 502, "a newer key"),
        ("v2:googledrive:hunter2".to_owned(), 400, "an older kind of server"),
        (String::new(), 400, "not valid here"),
    ] {
        for page in [inspect(&app, &authid).await, act(&app, &authid, "test").await, act(&app, &authid, "anew").await] {
            assert_eq!(page.status, status, "{authid}");
            has(&page, &[sentence, "role=\"alert\" id=\"error\"", "<textarea id=\"authid\"", "aria-invalid=\"true\""]);
            assert!(!page.body.contains("hunter2") && !page.body.contains("<dl>"), "{}", page.body);
        }
    }
    let authid = app.seal("googledrive", "x");
    assert_eq!(act(&app, &authid, "delete").await.status, 400);
    assert_eq!(app.post("/inspect", &[("authid", &authid), ("authid", &authid)]).await.status, 400);
    assert_eq!(app.get(&format!("/inspect?authid={authid}")).await.status, 200, "the empty form");
}

#[tokio::test]
async fn a_test_asks_the_provider_whatever_is_remembered_and_gives_the_verdict_in_plain_words() {
    let (emulator, app) = start(Profile::google());
    let login = emulator.log_in().refresh.unwrap();
    let authid = app.seal("googledrive", &login);
    let token = app.refresh(&authid).await.access_token();
    let page = act(&app, &authid, "test").await;
    has(&page, &["It works: Google gave access just now."]);
    assert_eq!(emulator.calls().len(), 2);
    assert_ne!(app.refresh(&authid).await.access_token(), token, "what the test brought is used from now on");
    assert_eq!(emulator.calls().len(), 2);

    emulator.misbehave(Fault::CloseBeforeHeaders);
    has(&act(&app, &authid, "test").await, &["cannot be reached. Your AuthID should be fine"]);
    assert_eq!(app.refresh(&authid).await.status, 200, "a test that fails takes nothing away");
    emulator.misbehave(Fault::oauth(401, "invalid_client", ""));
    has(&act(&app, &authid, "test").await, &["A new AuthID does not help; please tell the server"]);
    emulator.behave();
    emulator.withdraw(&login);
    has(&act(&app, &authid, "test").await, &["no longer accepts this login", "class=\"status bad\""]);
}

#[tokio::test]
async fn a_test_of_a_service_that_is_not_set_up_says_so() {
    let app = spawn_app("");
    let authid = app.seal("dropbox", "x");
    has(&inspect(&app, &authid).await, &["<dd>Dropbox<"]);
    has(&act(&app, &authid, "test").await, &["not set up on this server"]);
    has(&inspect(&app, &app.seal("nothing", "x")).await, &["<dd>nothing<"]);
}

#[tokio::test]
async fn an_eleventh_test_within_a_minute_goes_to_no_provider() {
    let (emulator, app) = start(Profile::google());
    let authid = app.log_in(&emulator);
    for _ in 0..10 {
        assert_eq!(act(&app, &authid, "test").await.status, 200);
    }
    let page = act(&app, &app.log_in(&emulator), "test").await;
    assert_eq!((page.status, emulator.calls().len()), (429, 10));
    has(&page, &["Too many tests", "Nothing is wrong with your AuthID"]);
    assert_eq!(inspect(&app, &authid).await.status, 200, "looking costs nothing");
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(act(&app, &authid, "test").await.status, 200);
}

#[tokio::test]
async fn an_authid_sealed_again_is_the_same_login_under_the_primary_with_a_code_of_its_own() {
    let (emulator, app) = start(Profile::google());
    for (before, after) in [(OLD, PRIMARY), (PRIMARY, PRIMARY), (STAGED, STAGED)] {
        let old = app.seal_under(before, "googledrive", &emulator.log_in().refresh.unwrap());
        let page = act(&app, &old, "anew").await;
        assert_eq!(page.status, 200, "{}", page.body);
        has(&page, &["Your new AuthID for Google Drive", "authseal.js", "Copy AuthID", "id=\"hidden-now\""]);
        let (new, code) = (element(&page, "authid"), element(&page, "revoke-code"));
        let (was, is) = (Envelope::parse(&old).unwrap(), Envelope::parse(new).unwrap());
        assert_eq!((is.grant, is.epoch.number(), new != old), (was.grant, after, true));
        for authid in [new, old.as_str()] {
            app.refresh(authid).await.access_token();
        }
        app.post("/revoked", &[("authid", code)]).await;
        for authid in [new, old.as_str()] {
            assert_eq!(app.refresh(authid).await.status, 401, "the code of one of them withdraws both");
        }
    }
}

#[tokio::test]
async fn what_is_sealed_again_holds_the_newest_refresh_token_that_is_known() {
    let emulator = Emulator::start(Profile { renewal: Renewal::Rolling, ..Profile::oidc() });
    let app = spawn_app(&emulator.provider_toml().replace("rotation = \"none\"", "rotation = \"rolling\""));
    let login = emulator.log_in().refresh.unwrap();
    let old = app.seal("exampledrive", &login);
    app.clock.advance(Duration::from_secs(86_400));
    act(&app, &old, "test").await;
    let page = act(&app, &old, "anew").await;
    let new = element(&page, "authid").to_owned();
    let sealed = |page: &Answer| page.body.split_once("<dt>Sealed</dt>").unwrap().1[..40].to_owned();
    let (before, after) = (inspect(&app, &old).await, inspect(&app, &new).await);
    assert_ne!(sealed(&before), sealed(&after), "its age counts from the newer one");
}

#[tokio::test]
async fn a_form_from_elsewhere_is_not_answered() {
    let (emulator, app) = start(Profile::google());
    let authid = app.log_in(&emulator);
    let mut person = app.person();
    for act in ["test", "anew"] {
        let fields = [("authid", authid.as_str()), ("act", act)];
        let foreign = person.submit(person.at("/inspect"), &fields, From::opener("https://evil.test")).await;
        assert_eq!(foreign.status, 403);
        assert!(foreign.authid().is_none());
    }
    assert!(emulator.calls().is_empty());
    let page = person.visit(person.at("/inspect"), From::Typed).await;
    assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"));
    let fields = [("authid", authid.as_str()), ("act", "anew")];
    let own = person.submit(person.at("/inspect"), &fields, page.as_source()).await;
    assert_eq!((own.status, own.header("cross-origin-opener-policy")), (200, Some("same-origin")));
    assert!(own.authid().is_some());
}

#[tokio::test]
async fn no_secret_is_shown_whatever_is_done() {
    let (emulator, app) = start(Profile::google());
    let login = emulator.log_in().refresh.unwrap();
    let authid = app.seal_under(OLD, "googledrive", &login);
    let token = app.refresh(&authid).await.access_token();
    assert!(login.contains(CANARY) && token.contains(CANARY));
    let faults = [
        None,
        Some(Fault::oauth(400, "invalid_grant", "gone")),
        Some(Fault::oauth(400, CANARY, "odd")),
        Some(Fault::json(200, format!("{CANARY}{{\"access_token\":"))),
    ];
    for fault in faults {
        fault.into_iter().for_each(|fault| emulator.misbehave(fault));
        for page in [inspect(&app, &authid).await, act(&app, &authid, "test").await, act(&app, &authid, "anew").await] {
            assert!(!page.body.contains(CANARY) && !page.body.contains(&token), "{}", page.body);
            assert!(page.headers.values().all(|value| !value.to_str().unwrap().contains(CANARY)));
        }
        app.clock.advance(Duration::from_secs(30));
    }
}
