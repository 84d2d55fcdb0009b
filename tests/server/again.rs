//! Those who begin again: after a login that failed, took too long or was loaded twice the AuthID still goes to the page
//! that opened the first one, and to nobody who should not have it. And browsers that keep no cookies.

use crate::browser::{From, Page, Person};
use crate::emulator::{Consent, Emulator, Fault, Profile};
use crate::spawn::{TestApp, spawn_app, spawn_for};
use std::time::Duration;
use url::Url;

const UI: &str = "http://localhost:8200";
const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";
const QUERY: &str = "type=googledrive&token=x7c2mq0z5v9k1hj3bd8f";

fn start() -> (Emulator, TestApp, Person) {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let person = app.person();
    (emulator, app, person)
}

/// The login that Duplicati's page on this machine opened, up to what comes of it.
async fn log_in(person: &mut Person) -> Page {
    let index = person.open_index(QUERY, UI).await;
    log_in_at(person, &index).await
}

async fn log_in_at(person: &mut Person, index: &Page) -> Page {
    person.click(index, index.link("/login?").unwrap()).await
}

async fn callback_of(person: &mut Person) -> Url {
    let index = person.open_index(QUERY, UI).await;
    person.visit_until("/logged-in", index.link("/login?").unwrap(), index.as_source()).await
}

/// Follows the page's way on to an AuthID, which has to get to the first opener in both ways.
async fn assert_goes_on(person: &mut Person, page: &Page, what: &str) {
    let way = page.link("/?type=googledrive").or_else(|| page.link("/?ctx=")).unwrap();
    let index = person.click(page, way).await;
    let done = log_in_at(person, &index).await;
    assert_eq!(done.delivers_to().as_deref(), Some(UI), "{what}: {}", done.body);
    assert!(fetch(person).await.contains("v3:googledrive:"), "{what}");
}

async fn fetch(person: &Person) -> String {
    person.load_script(person.at(&format!("/fetch?callback=cb&token={TOKEN}")), UI).await.1
}

/// The AuthID of what follows goes to nobody by itself.
async fn assert_forgotten(person: &mut Person, page: &Page, what: &str) {
    let index = person.click(page, page.link("/").unwrap()).await;
    let login = index.link("/login?id=googledrive").unwrap();
    let done = person.click(&index, login).await;
    assert!(done.authid().is_some(), "{what}: {}", done.body);
    assert_eq!(done.delivers_to(), None, "{what}");
    assert!(!fetch(person).await.contains("v3:"), "{what}");
}

#[tokio::test]
async fn a_login_that_failed_begins_again_for_the_same_page() {
    let (emulator, app, mut person) = start();
    let consents = [
        Consent::Denies,
        Consent::Fails("server_error", "x"),
        Consent::Fails("invalid_scope", "x"),
        Consent::Fails("admin_policy_enforced", "x"),
        Consent::Fails("login_required", "x"),
        Consent::Fails("something_new", "x"),
    ];
    for consent in consents {
        let what = format!("{consent:?}");
        emulator.next_person(consent);
        let page = log_in(&mut person).await;
        assert!(page.status >= 400, "{what}: {}", page.body);
        assert_goes_on(&mut person, &page, &what).await;
    }
    for fault in [Fault::oauth(400, "invalid_grant", "x"), Fault::oauth(401, "invalid_client", "x"), Fault::html(500)] {
        emulator.misbehave(fault);
        let page = log_in(&mut person).await;
        emulator.behave();
        assert!(page.status >= 400, "{}", page.body);
        assert_goes_on(&mut person, &page, &page.body).await;
    }
    let callback = callback_of(&mut person).await;
    app.clock.advance(Duration::from_secs(601));
    let late = person.visit(callback, From::opener(emulator.base())).await;
    assert!(late.status == 400 && late.body.contains("This login took too long"), "{}", late.body);
    assert_goes_on(&mut person, &late, "too late").await;
}

#[tokio::test]
async fn a_callback_that_is_loaded_twice_says_so_and_begins_again_for_the_same_page() {
    let (emulator, app, mut person) = start();
    let callback = callback_of(&mut person).await;
    let page = person.visit(callback.clone(), From::opener(emulator.base())).await;
    let first = page.authid().unwrap();
    assert_goes_on(&mut person, &page, "once more").await;
    // As it was opened, and as the page has cleaned it.
    let cleaned = person.at("/logged-in");
    for again in [callback, cleaned] {
        let page = person.visit(again.clone(), From::Typed).await;
        assert_eq!((page.status, page.authid()), (400, None));
        assert!(page.body.contains("This page cannot be loaded twice"), "{}", page.body);
        assert!(page.body.contains("If you saw none, log in once more"), "{}", page.body);
        if again.query().is_some() {
            assert_goes_on(&mut person, &page, "loaded twice").await;
        }
    }
    assert_eq!(app.refresh(&first).await.status, 200, "the first AuthID is none the worse");
}

#[tokio::test]
async fn a_login_that_failed_is_forgotten_in_another_browser_and_at_another_address() {
    let (emulator, app, mut person) = start();
    emulator.next_person(Consent::Denies);
    let callback = callback_of(&mut person).await;
    let mut stranger = app.person();
    stranger.open_index("type=googledrive", "https://evil.test").await;
    let page = stranger.visit(callback.clone(), From::Typed).await;
    assert_forgotten(&mut stranger, &page, "another browser").await;

    person.behind("x-forwarded-for", "198.51.100.9");
    let page = person.visit(callback.clone(), From::opener(emulator.base())).await;
    assert_forgotten(&mut person, &page, "another address").await;
    person.behind("x-forwarded-for", "203.0.113.7");

    app.clock.advance(Duration::from_secs(3601));
    let page = person.visit(callback, From::opener(emulator.base())).await;
    assert_forgotten(&mut person, &page, "an hour later").await;
}

#[tokio::test]
async fn who_opens_the_page_now_counts_more_than_what_its_address_brings_along() {
    let (emulator, app, mut person) = start();
    emulator.next_person(Consent::Denies);
    let page = log_in(&mut person).await;
    let again = page.link("/?type=googledrive").unwrap();
    let ctx = |page: &Page| page.link("/login?").unwrap();
    let by_evil = person.visit(again.clone(), From::opener("https://evil.test")).await;
    let done = person.click(&by_evil, ctx(&by_evil)).await;
    assert_eq!(done.delivers_to(), None);
    assert!(done.body.contains("Send to <span class=\"origin\">https:&#x2f;&#x2f;evil.test"), "{}", done.body);
    assert!(!fetch(&person).await.contains("v3:"));
    // An address that somebody else's page knows, but which has no referrer to show.
    let quiet = From::Page(Url::parse("https://evil.test/").unwrap(), crate::browser::Policy::NoReferrer);
    let by_quiet = person.visit(again.clone(), quiet).await;
    let done = person.click(&by_quiet, ctx(&by_quiet)).await;
    assert_eq!((done.delivers_to(), fetch(&person).await.contains("v3:")), (None, false));
    // In another browser it is worth nothing.
    let mut other = app.person();
    other.open_index("type=googledrive", "https://evil.test").await;
    let index = other.visit(again, From::Typed).await;
    let done = other.click(&index, ctx(&index)).await;
    assert_eq!((done.delivers_to(), fetch(&other).await.contains("v3:")), (None, false));
}

#[tokio::test]
async fn a_pasted_token_that_was_refused_is_tried_again_for_the_same_page() {
    let emulator = Emulator::start(Profile::jottacloud());
    let toml = emulator.provider_toml();
    let app = spawn_app(&toml.replacen("[providers.jottacloud]\n", "[providers.jottacloud]\nrotation = \"none\"\n", 1));
    let mut person = app.person();
    let index = person.open_index(&format!("type=jottacloud&token={TOKEN}"), UI).await;
    let paste = async |person: &mut Person, index: &Page, token: &str| {
        let ctx = index.field("ctx").unwrap();
        let fields = [("id", "jottacloud"), ("token", token), ("ctx", ctx.as_str())];
        person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await
    };
    let token = emulator.login_token();
    emulator.misbehave(Fault::html(500));
    let page = paste(&mut person, &index, &token).await;
    emulator.behave();
    assert!(page.status >= 400, "{}", page.body);
    let index = person.click(&page, page.link("/?type=jottacloud").unwrap()).await;
    let page = paste(&mut person, &index, &emulator.login_token()).await;
    assert_eq!(page.delivers_to().as_deref(), Some(UI), "{}", page.body);
}

#[tokio::test]
async fn a_browser_that_keeps_no_cookies_is_told_so_and_is_not_led_round_in_circles() {
    let (emulator, app, mut person) = start();
    for _ in 0..2 {
        let index = person.open_index(QUERY, UI).await;
        person.forget_cookies();
        let page = log_in_at(&mut person, &index).await;
        assert!(page.status == 400 && page.body.contains("This browser keeps no cookie of this site"), "{}", page.body);
        assert!(page.link("/").is_some());
        person.forget_cookies();
    }
    assert!(emulator.authorizations().is_empty());
    // From elsewhere, or too old: that says nothing of cookies.
    let index = person.open_index(QUERY, UI).await;
    person.forget_cookies();
    let login = index.link("/login?").unwrap();
    let page = person.visit(login.clone(), From::opener("https://evil.test")).await;
    assert!(page.status == 200 && page.link("/login?").is_some(), "{}", page.body);
    let index = person.open_index(QUERY, UI).await;
    app.clock.advance(Duration::from_secs(3601));
    let page = person.click(&index, index.link("/login?").unwrap()).await;
    assert!(page.status == 200 && page.link("/login?").is_some(), "{}", page.body);
}

#[tokio::test]
async fn two_cookies_of_one_name_are_told_as_cookies_too() {
    let (_emulator, _app, mut person) = start();
    let index = person.open_index(QUERY, UI).await;
    person.behind("cookie", &person.cookie_header().replace("authseal=", "authseal=A"));
    let page = log_in_at(&mut person, &index).await;
    assert!(page.status == 400 && page.body.contains("two of the same name"), "{}", page.body);
}
