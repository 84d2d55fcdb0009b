//! Duplicati's windows: what its two interfaces open, what a person reads in them and when, and where the AuthID goes.

use crate::browser::{From, Page, Person, Policy};
use crate::emulator::{Emulator, Profile};
use crate::spawn::{TestApp, spawn_app, spawn_for};
use serde_json::{Value, json};
use url::Url;

const UI: &str = "http://localhost:8200";
const NAS: &str = "http://nas.lan:8200";
const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";

fn start(who: Profile) -> (Emulator, TestApp, Person) {
    let emulator = Emulator::start(who);
    let app = spawn_for(&[&emulator]);
    let person = app.person();
    (emulator, app, person)
}

async fn fetch(person: &Person, page: &str) -> Value {
    let (status, script) = person.load_script(person.at(&format!("/fetch?callback=cb&token={TOKEN}")), page).await;
    assert_eq!(status, 200);
    serde_json::from_str(script.strip_prefix("/**/cb(").and_then(|rest| rest.strip_suffix(");")).unwrap()).unwrap()
}

/// From the start page to the one with the AuthID.
async fn log_in(person: &mut Person, query: &str, from: From) -> Page {
    let index = person.visit(person.at(query), from).await;
    let login = index.link("/login?").unwrap_or_else(|| panic!("no login at {query}: {}", index.body));
    let page = person.click(&index, login).await;
    assert!(page.authid().is_some(), "{query}: {}", page.body);
    page
}

async fn press_send(person: &mut Person, page: &Page) -> Page {
    let ticket = page.element("ready").unwrap().attribute("data-ticket").unwrap().to_owned();
    person.submit(person.at("/deliver"), &[("grant", &ticket), ("to", "opener")], page.as_source()).await
}

#[tokio::test]
async fn what_has_to_be_chosen_in_duplicati_is_read_before_the_authid_goes_there() {
    for (location, host, named) in [
        ("1", "api.pcloud.com", "pCloud Global (api.pcloud.com)"),
        ("2", "eapi.pcloud.com", "pCloud Europe (eapi.pcloud.com)"),
    ] {
        for (query, opener) in [
            ("/refresh?type=pcloud".to_owned(), UI),
            (format!("/?type=pcloud&token={TOKEN}"), UI),
            (format!("/?type=pcloud&token={TOKEN}"), NAS),
        ] {
            let (emulator, _app, mut person) = start(Profile::pcloud());
            emulator.set_region(Some((location, host)));
            let page = log_in(&mut person, &query, From::opener(opener)).await;
            assert_eq!(page.delivers_to(), None, "{query} {opener}");
            let (before, after) = page.body.split_once(named).unwrap_or_else(|| panic!("{named}: {}", page.body));
            assert!(
                !before.contains("id=\"send\"") && after.contains("id=\"send\""),
                "first the server, then the button"
            );
            assert_eq!(page.body.matches(host).count(), 1, "{}", page.body);
            assert_eq!(page.body.contains("is not encrypted"), opener == NAS, "{query} {opener}");
            assert!(fetch(&person, opener).await["wait"].is_string(), "{query} {opener}");
            let answer = press_send(&mut person, &page).await;
            assert_eq!(answer.body, json!({ "deliver_to": opener }).to_string(), "{query} {opener}");
            if query.contains("token=") {
                assert_eq!(fetch(&person, opener).await, json!({ "authid": page.authid().unwrap() }), "{opener}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_available_says_what_is_and_keeps_the_opener() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let mut person = app.person();
    for missing in ["dropbox", "box", "jottacloud", "onedrive", "pcloud"] {
        let index = person.open_index(&format!("type={missing}&token={TOKEN}"), UI).await;
        assert!(index.status == 200 && index.body.contains("is not available here"), "{missing}: {}", index.body);
        let others: Vec<_> =
            index.elements().into_iter().filter_map(|a| a.attribute("href").map(str::to_owned)).collect();
        let others: Vec<_> = others.iter().filter(|href| href.starts_with("/login?")).collect();
        assert_eq!(others.len(), 2, "Google Drive and Google Cloud Storage: {others:?}");
        let login = index.link("/login?id=googledrive").unwrap();
        let page = person.click(&index, login).await;
        assert_eq!(page.delivers_to().as_deref(), Some(UI), "{missing}");
        assert_eq!(fetch(&person, UI).await, json!({ "authid": page.authid().unwrap() }), "{missing}");
    }
}

#[tokio::test]
async fn a_pasted_login_begins_with_its_form_and_ends_at_who_opened_it() {
    let emulator = Emulator::start(Profile::jottacloud());
    let app = spawn_app(&format!("{}[state]\nstore = \"dir:state\"\n", emulator.provider_toml()));
    for query in ["/?type=jottacloud", "/?redirect=jottacloud", "/refresh?type=jottacloud"] {
        for (token, opener) in [("", UI), (TOKEN, UI), ("", NAS)] {
            let mut person = app.person();
            let query = if token.is_empty() { query.to_owned() } else { format!("{query}&token={token}") };
            if query.starts_with("/refresh") && !token.is_empty() {
                continue; // the classic interface cuts `/refresh` off
            }
            let form = person.visit(person.at(&query), From::opener(opener)).await;
            assert!(form.element("token").is_some() && form.link("/login").is_none(), "{query}: {}", form.body);
            assert_eq!(form.body.contains("five minutes"), !token.is_empty(), "{query}: {}", form.body);
            let (pasted, ctx) = (emulator.login_token(), form.field("ctx").unwrap());
            let fields = [("id", "jottacloud"), ("token", "nonsense"), ("ctx", &ctx)];
            let form = person.submit(person.at("/cli-token-login"), &fields, form.as_source()).await;
            assert_eq!((form.status, form.element("token").is_some()), (400, true), "{}", form.body);
            let ctx = form.field("ctx").unwrap();
            let fields = [("id", "jottacloud"), ("token", pasted.as_str()), ("ctx", &ctx)];
            let page = person.submit(person.at("/cli-token-login"), &fields, form.as_source()).await;
            assert!(page.authid().is_some(), "{query}: {}", page.body);
            assert_eq!(page.delivers_to().as_deref(), Some(UI).filter(|_| opener == UI), "{query} {opener}");
            if !token.is_empty() {
                assert_eq!(fetch(&person, UI).await, json!({ "authid": page.authid().unwrap() }), "{query}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_for_copying_says_why_it_is_one() {
    let (_emulator, _app, mut person) = start(Profile::google());
    let query = format!("/?type=googledrive&token={TOKEN}");
    let (ui, ours) = (Url::parse(UI).unwrap(), person.at("/privacy-policy"));
    let sentences = ["was not opened by Duplicati", "did not say where it is", "nobody knows any more who opened"];
    for (from, expected) in [
        (From::Typed, Some(0)),
        (From::Page(ui.clone(), Policy::NoReferrer), Some(1)),
        (From::Page(ui, Policy::SameOrigin), Some(1)),
        (From::Page(ours, Policy::SameOrigin), Some(2)),
        (From::opener(UI), None),
        (From::opener(NAS), None),
    ] {
        let page = log_in(&mut person, &query, from.clone()).await;
        for (at, sentence) in sentences.iter().enumerate() {
            assert_eq!(page.body.contains(sentence), Some(at) == expected, "{from:?}: {sentence}");
        }
    }
    // An AuthID of another browser waits for the same token, and is not replaced.
    let (_emulator, app, mut first) = start(Profile::google());
    log_in(&mut first, &query, From::opener(UI)).await;
    let page = log_in(&mut app.person(), &query, From::opener(UI)).await;
    assert!(page.body.contains("cannot be used at the moment") && page.delivers_to().is_none(), "{}", page.body);
}

#[tokio::test]
async fn only_what_duplicati_has_is_to_be_pasted_there() {
    for (who, query, duplicati) in [(Profile::google(), "/?type=googledrive", true), (Profile::oidc(), "", false)] {
        let (emulator, _app, mut person) = start(who);
        let query = if query.is_empty() { format!("/?type={}", emulator.who().service) } else { query.to_owned() };
        let index = person.visit(person.at(&query), From::Typed).await;
        assert_eq!(index.body.contains("Duplicati needs your permission"), duplicati, "{}", index.body);
        let page = log_in(&mut person, &query, From::Typed).await;
        assert_eq!(page.body.contains("AuthID field in Duplicati"), duplicati, "{}", page.body);
        assert_eq!(page.body.contains("the program that is to use Example Drive"), !duplicati, "{}", page.body);
    }
}

#[tokio::test]
async fn the_revoke_code_and_the_last_day_can_be_had_from_the_authid_later() {
    let (_emulator, _app, mut person) = start(Profile::microsoft());
    let page = log_in(&mut person, "/?type=onedrivev2", From::opener(UI)).await;
    let code = page.element("revoke-code").unwrap().text;
    let authid = page.authid().unwrap();
    let later = person.submit(person.at("/inspect"), &[("authid", &authid)], page.as_source()).await;
    assert_eq!(later.element("revoke-code").unwrap().text, code);
    let grant = authseal::authid::Envelope::parse(&authid).unwrap().grant.to_string();
    let (_, day) = page.body.split_once("until about <b>").unwrap();
    let (day, _) = day.split_once('<').unwrap();
    for text in [&grant, day] {
        assert!(page.body.contains(text) && later.body.contains(text), "{text}: {}", later.body);
    }
    let revoked = person.submit(person.at("/revoked"), &[("authid", &code)], later.as_source()).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    let gone = person.submit(person.at("/inspect"), &[("authid", &authid)], page.as_source()).await;
    assert!(gone.element("revoke-code").is_none(), "it has done what it can do: {}", gone.body);
}

#[tokio::test]
async fn a_callback_with_a_good_state_and_no_code_is_the_browsers_fault_and_costs_nothing() {
    let (emulator, _app, mut person) = start(Profile::google());
    let callback = person.log_in_until_callback("googledrive").await;
    let state = callback.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    for more in ["", "&code=", "&code=%20", "&error=", "&iss="] {
        let bare = person.at(&format!("/logged-in?state={state}{more}"));
        let page = person.visit(bare, From::opener(emulator.base())).await;
        assert!((400..500).contains(&page.status), "{more}: {} {}", page.status, page.body);
        assert_eq!(page.authid(), None, "{more}");
    }
    assert!(emulator.calls().is_empty());
    let page = person.visit(callback, From::opener(emulator.base())).await;
    assert!(page.authid().is_some(), "the login still ends: {}", page.body);
}
