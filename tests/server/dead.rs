//! No AuthID is handed out that the denylist refuses from its first moment on: not by a login that begins, not by one
//! under way, not by what waits, and not by what is sealed again.

use crate::browser::{From, Page, Person};
use crate::emulator::{Emulator, Profile};
use crate::spawn::{OLD, PRIMARY, TestApp, spawn_app, spawn_for, until};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const UI: &str = "http://localhost:8200";
const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";
const HEADING: &str = "New logins are paused";

fn start() -> (Emulator, TestApp, Person) {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let person = app.person();
    (emulator, app, person)
}

fn rules() -> [String; 3] {
    let future = "2999-01-01T00:00:00Z";
    [
        format!("epoch {PRIMARY}"),
        format!("epoch {PRIMARY} service googledrive"),
        format!("epoch {PRIMARY} login-before {future}"),
    ]
}

/// Writes a rule, and waits until it is in force.
async fn refuse(app: &TestApp, rule: &str) {
    fs::write(app.dir.path().join("denylist"), format!("authseal-denylist 1\n{rule}\n")).unwrap();
    let probe = app.seal("googledrive", "a token that is never sent");
    until(Duration::from_secs(20), async || {
        app.post("/inspect", &[("authid", &probe)]).await.body.contains("It is revoked")
    })
    .await;
}

#[track_caller]
fn assert_paused(page: &Page, what: &str) {
    assert_eq!((page.status, page.authid()), (503, None), "{what}: {}", page.body);
    assert!(page.body.contains(HEADING), "{what}: {}", page.body);
}

async fn fetch(person: &Person) -> Value {
    let (_, script) = person.load_script(person.at(&format!("/fetch?callback=cb&token={TOKEN}")), UI).await;
    serde_json::from_str(script.strip_prefix("/**/cb(").and_then(|rest| rest.strip_suffix(");")).unwrap()).unwrap()
}

#[tokio::test]
async fn no_login_begins_or_ends_whose_authid_would_be_refused() {
    for rule in rules() {
        let (emulator, app, mut person) = start();
        let index = person.open_index("type=googledrive", UI).await;
        let link = index.link("/login?").unwrap();
        let callback = person.log_in_until_callback("googledrive").await;
        refuse(&app, &rule).await;
        let asked = emulator.authorizations().len();
        for query in ["type=googledrive", "redirect=googledrive", "type=googledocs", ""] {
            let concerns = !rule.contains("service") || query.ends_with("googledrive");
            let page = person.open_index(query, UI).await;
            assert_eq!((page.status, page.body.contains(HEADING)), if concerns { (503, true) } else { (200, false) });
        }
        assert_paused(&person.click(&index, link).await, &rule);
        assert_paused(&person.visit(callback, From::opener(emulator.base())).await, &rule);
        assert_eq!((emulator.authorizations().len(), emulator.calls().len()), (asked, 0), "{rule}: nobody was asked");
        let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
        assert!(log.contains("an AuthID made now would be refused"), "the log says it");
    }
}

#[tokio::test]
async fn a_rule_that_comes_while_the_provider_answers_keeps_the_authid_back() {
    let (emulator, app, mut person) = start();
    let callback = person.log_in_until_callback("googledrive").await;
    emulator.hold();
    let from = From::opener(emulator.base());
    let ended = tokio::spawn(async move { person.visit(callback, from).await });
    until(Duration::from_secs(20), async || emulator.calls().len() == 1).await;
    refuse(&app, &rules()[0]).await;
    emulator.release();
    assert_paused(&ended.await.unwrap(), "after the code was redeemed");
}

#[tokio::test]
async fn what_waits_and_what_is_to_be_sent_is_asked_for_once_more() {
    let (_emulator, app, mut person) = start();
    let index = person.open_index(&format!("type=googledrive&token={TOKEN}"), UI).await;
    let login = index.link("/login?").unwrap();
    let page = person.click(&index, login).await;
    let ticket = page.element("ready").unwrap().attribute("data-ticket").unwrap().to_owned();
    refuse(&app, &rules()[0]).await;
    let sent = person.submit(person.at("/deliver"), &[("grant", &ticket), ("to", "opener")], page.as_source()).await;
    assert_eq!(sent.status, 400, "{}", sent.body);
    assert!(fetch(&person).await["wait"].is_string());
}

#[tokio::test]
async fn a_token_that_was_revoked_while_it_waited_is_not_handed_out() {
    let (_emulator, app, mut person) = start();
    let index = person.open_index(&format!("type=googledrive&token={TOKEN}"), UI).await;
    let login = index.link("/login?").unwrap();
    let page = person.click(&index, login).await;
    let revoked = app.post("/revoked", &[("authid", &page.authid().unwrap())]).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert!(fetch(&person).await["wait"].is_string());
}

#[tokio::test]
async fn nothing_is_sealed_again_under_an_epoch_that_is_refused() {
    let (emulator, app, _person) = start();
    let old = app.seal_under(OLD, "googledrive", &emulator.log_in().refresh.unwrap());
    refuse(&app, &rules()[0]).await;
    let answer = app.refresh(&old).await;
    assert_eq!((answer.status, answer.json().get("v2_authid")), (200, None), "{answer:?}");
    let page = app.post("/inspect", &[("authid", &old)]).await;
    assert!(page.body.contains("I want a new AuthID"), "nothing newer is to be had: {}", page.body);
    let again = app.post("/inspect", &[("authid", &old), ("act", "anew")]).await;
    let (_, text) = again.body.split_once("v3:googledrive:").unwrap_or_else(|| panic!("{}", again.body));
    assert!(text.starts_with(&format!("{OLD}:")), "{text}");
    let authid = format!("v3:googledrive:{}", text.split('<').next().unwrap());
    assert_eq!(app.refresh(&authid).await.status, 200);
}

#[tokio::test]
async fn a_providers_own_token_is_no_authid_and_goes_on_being_handed_out() {
    let emulator = Emulator::start(Profile::pcloud());
    let app = spawn_app(&emulator.provider_toml());
    refuse(&app, &rules()[0]).await;
    assert!(app.person().log_in("pcloud").await.authid().is_some());
}
