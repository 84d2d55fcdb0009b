//! Logins from the start page to an access token, and attempts to end them in somebody else's favour.

use crate::browser::{From, Page, Person};
use crate::emulator::{Consent, Emulator, Profile, secret};
use crate::spawn::{TestApp, spawn_app, spawn_for};
use authseal::authid::AppId;
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

const UI: &str = "http://localhost:8200";
const FETCH_TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";

fn start(who: Profile) -> (Emulator, TestApp, Person) {
    let emulator = Emulator::start(who);
    let app = spawn_for(&[&emulator]);
    let person = app.person();
    (emulator, app, person)
}

/// The callback with some of its parameters set or taken out.
fn changed(callback: &Url, changes: &[(&str, Option<&str>)]) -> Url {
    let mut url = callback.clone();
    let kept: Vec<(String, String)> =
        url.query_pairs().into_owned().filter(|(name, _)| !changes.iter().any(|(other, _)| name == other)).collect();
    let set = changes.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(kept.into_iter().chain(set));
    url
}

fn param(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// An error page: a status, no AuthID, a sentence and a way on.
fn assert_refused(page: &Page, status: u16) {
    assert_eq!(page.status, status, "{}: {}", page.url, page.body);
    assert_eq!(page.authid(), None);
    assert!(page.element("ready").is_none());
    assert!(page.link("/").is_some() || page.link("https://").is_some(), "no way on: {}", page.body);
}

/// Goes back from the provider as a browser does.
async fn come_back(person: &mut Person, emulator: &Emulator, callback: Url) -> Page {
    person.visit(callback, From::opener(emulator.base())).await
}

#[tokio::test]
async fn a_login_at_each_provider_ends_with_an_authid_that_works() {
    let cases = [
        (
            Profile::google(),
            vec!["client_id", "client_secret", "code", "code_verifier", "grant_type", "redirect_uri"],
            Some(604_799),
        ),
        (
            Profile::microsoft(),
            vec!["client_id", "client_secret", "code", "code_verifier", "grant_type", "redirect_uri"],
            None,
        ),
        (Profile::dropbox(), vec!["client_id", "client_secret", "code", "grant_type", "redirect_uri"], None),
    ];
    for (who, names, ends) in cases {
        let (emulator, app, mut person) = start(who);
        let page = person.log_in(who.service).await;
        assert_eq!(page.status, 200, "{}: {}", who.provider, page.body);
        let authid = page.authid().unwrap();
        assert!(authid.starts_with(&format!("v3:{}:3:", who.service)), "{authid}");
        let (login, app_id) = (app.open(&authid), AppId::new(who.provider, who.client_id));
        assert_eq!((login.app, login.ends_at.map(|end| end - login.login_at)), (Some(app_id), ends), "{}", who.service);
        assert_eq!(page.delivers_to().as_deref(), Some(UI));
        let calls = emulator.calls();
        assert_eq!((calls.len(), calls[0].names()), (1, names), "{}", who.provider);
        assert_eq!(calls[0].param("redirect_uri"), Some("https://authseal.test/logged-in"));
        assert!(!page.body.contains("CANARY"), "no token, code or secret of the provider is on the page");
        let answer = app.refresh(&authid).await;
        assert!(emulator.use_access_token(&answer.access_token()), "{}", who.provider);
        assert_eq!(answer.json()["type"], who.service);
    }
}

#[tokio::test]
async fn a_login_at_a_provider_known_by_its_issuer_alone() {
    let (emulator, app, mut person) = start(Profile::oidc());
    let page = person.log_in("exampledrive").await;
    let authid = page.authid().unwrap_or_else(|| panic!("{}", page.body));
    assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()));
    assert_eq!(emulator.calls().len(), 2);
}

#[tokio::test]
async fn an_issuer_that_is_down_keeps_no_server_from_starting_and_is_asked_again() {
    let emulator = Emulator::start(Profile::oidc());
    emulator.set_discovery(false);
    let app = spawn_for(&[&emulator]);
    assert_eq!(app.get("/healthz").await.status, 200);
    let mut person = app.person();
    let page = person.log_in("exampledrive").await;
    assert_refused(&page, 502);
    emulator.set_discovery(true);
    app.clock.advance(Duration::from_secs(120));
    assert!(person.log_in("exampledrive").await.authid().is_some());
}

#[tokio::test]
async fn the_state_fits_and_says_nothing() {
    for who in [Profile::google(), Profile::dropbox(), Profile::pcloud()] {
        let (emulator, _app, mut person) = start(who);
        let index = person.open_index(&format!("type={}&token={FETCH_TOKEN}", who.service), UI).await;
        let login = index.link("/login?id=").unwrap();
        person.visit_until("/logged-in", login, index.as_source()).await;
        let visit = Url::parse(emulator.base()).unwrap().join(&emulator.authorizations()[0]).unwrap();
        let state = param(&visit, "state").unwrap();
        assert!(state.len() <= 480, "{}", state.len());
        assert!(!visit.as_str().contains(FETCH_TOKEN) && !visit.as_str().contains("localhost%3A8200"));
    }
}

#[tokio::test]
async fn pcloud_gives_its_token_as_the_authid_and_tells_the_region() {
    for (location, host) in [("1", "api.pcloud.com"), ("2", "eapi.pcloud.com")] {
        let (emulator, app, mut person) = start(Profile::pcloud());
        emulator.set_region(Some((location, host)));
        let page = person.log_in("pcloud").await;
        assert_eq!(page.status, 200, "{}", page.body);
        let token = page.authid().unwrap();
        assert!(emulator.use_access_token(&token), "{token}");
        let named = format!("pCloud {} ({host})", if location == "1" { "Global" } else { "Europe" });
        assert!(page.body.contains(&named), "the person has to choose the same region, as Duplicati's list names it");
        let calls = emulator.calls();
        assert_eq!((calls.len(), calls[0].path.as_str()), (1, format!("/{host}/oauth2_token").as_str()));
        assert_eq!(calls[0].names(), ["client_id", "client_secret", "code", "grant_type"]);
        assert_eq!(app.refresh(&token).await.status, 401, "the server does not take what it did not seal");
        assert_eq!(emulator.calls().len(), 1);
    }
}

#[tokio::test]
async fn a_forged_api_host_gets_neither_secret_nor_code() {
    let hosts = [
        "evil.test",
        "api.pcloud.com.evil.test",
        "api.pcloud.com@evil.test",
        "api.pcloud.com.",
        "API.PCLOUD.COM",
        "api.pcloud.com:443",
        "api.pcloud.com/x",
        "api.pcloud.com%2f",
        "api\u{3002}pcloud\u{3002}com",
        "127.0.0.1",
        "[::1]",
        "169.254.169.254",
        "localhost",
        "..",
        "../evil",
        "",
        " api.pcloud.com",
        "api.pcloud.com\r\nHost: evil",
        "{host}",
        "3",
    ];
    let (emulator, _app, mut person) = start(Profile::pcloud());
    for host in hosts {
        let callback = person.log_in_until_callback("pcloud").await;
        let callback = changed(&callback, &[("hostname", Some(host)), ("locationid", Some(host))]);
        let page = come_back(&mut person, &emulator, callback).await;
        assert_refused(&page, 400);
        assert_eq!(emulator.calls().len(), 0, "{host}");
    }
    let callback = person.log_in_until_callback("pcloud").await;
    let nowhere = changed(&callback, &[("hostname", None), ("locationid", None)]);
    assert_refused(&come_back(&mut person, &emulator, nowhere).await, 400);
    assert_eq!(emulator.calls().len(), 0);
    // A host that is wrong beside a location that is right can only lead to the right one.
    let callback = person.log_in_until_callback("pcloud").await;
    come_back(&mut person, &emulator, changed(&callback, &[("hostname", Some("evil.test"))])).await;
    assert!(emulator.calls().iter().all(|call| call.path == "/api.pcloud.com/oauth2_token"));
}

#[tokio::test]
async fn pclouds_errors_come_with_status_200_and_are_seen_all_the_same() {
    let (emulator, _app, mut person) = start(Profile::pcloud());
    let callback = person.log_in_until_callback("pcloud").await;
    let page = come_back(&mut person, &emulator, changed(&callback, &[("code", Some("wrong"))])).await;
    assert_refused(&page, 400);
    assert_eq!(emulator.calls().len(), 1);
}

#[tokio::test]
async fn a_callback_that_lost_its_state_is_redeemed_after_a_click_and_its_authid_goes_nowhere_by_itself() {
    for empty in [false, true] {
        let (emulator, app, mut person) = start(Profile::pcloud());
        emulator.next_person(Consent::DropsState);
        let index = person.open_index(&format!("type=pcloud&token={FETCH_TOKEN}"), UI).await;
        let login = index.link("/login?").unwrap();
        let mut callback = person.visit_until("/logged-in", login, index.as_source()).await;
        assert_eq!(param(&callback, "state"), None);
        if empty {
            callback = changed(&callback, &[("state", Some(""))]);
        }
        let mut stranger = app.person();
        stranger.open_index("type=pcloud", UI).await;
        assert_refused(&come_back(&mut stranger, &emulator, callback.clone()).await, 400);
        assert_refused(&stranger.submit(callback.clone(), &[], index.as_source()).await, 400);

        let page = come_back(&mut person, &emulator, callback.clone()).await;
        assert_eq!((page.status, page.authid()), (200, None), "{}", page.body);
        assert!(page.body.contains("Did you just come from pCloud?") && page.body.contains("<form method=\"post\">"));
        for from in [From::opener("https://evil.test"), From::opener("https://sub.authseal.test"), From::Typed] {
            let forged = person.submit(callback.clone(), &[], from.clone()).await;
            assert_eq!((forged.status, forged.authid()), (403, None), "{from:?}");
        }
        assert!(emulator.calls().is_empty(), "nothing is redeemed before the click");

        let page = person.submit(callback.clone(), &[], page.as_source()).await;
        assert!(page.authid().is_some(), "{}", page.body);
        assert!(page.body.contains("The answer of pCloud did not say which login it belongs to."));
        assert_eq!(page.delivers_to(), None);
        assert!(page.element("send").is_none() && !page.body.contains(FETCH_TOKEN), "{}", page.body);
        assert_eq!(page.element("ready").unwrap().attribute("data-ticket"), Some(""));
        let (_, script) = person.load_script(person.at(&format!("/fetch?token={FETCH_TOKEN}")), UI).await;
        assert!(script.contains("wait"), "{script}");
        let again = person.submit(callback, &[], page.as_source()).await;
        assert_refused(&again, 400);
    }
    let (emulator, _app, mut person) = start(Profile::pcloud());
    let page = person.log_in("pcloud").await;
    assert_eq!((page.element("send").is_some(), emulator.calls().len()), (true, 1), "with its state nobody asks");

    let (emulator, _app, mut person) = start(Profile::google());
    emulator.next_person(Consent::DropsState);
    let callback = person.log_in_until_callback("googledrive").await;
    let index = person.open_index("type=googledrive", UI).await;
    assert_refused(&come_back(&mut person, &emulator, callback.clone()).await, 400);
    assert_refused(&person.submit(callback, &[], index.as_source()).await, 400);
    assert!(emulator.calls().is_empty());
}

/// Somebody's page with a login that began at `begun` and ended at `ended`.
async fn log_in_on_the_way(app: &TestApp, person: &mut Person, begun: &str, ended: &str) -> Page {
    person.behind("x-forwarded-for", begun);
    let index = person.open_index(&format!("type=googledrive&token={FETCH_TOKEN}"), UI).await;
    let login = index.link("/login?").unwrap();
    let callback = person.visit_until("/logged-in", login, index.as_source()).await;
    person.behind("x-forwarded-for", ended);
    let page = person.visit(callback, From::opener("https://provider.test")).await;
    assert!(page.authid().is_some(), "{} {}", app.base, page.body);
    page
}

#[tokio::test]
async fn a_login_that_was_begun_at_another_address_is_shown_with_a_warning_and_goes_nowhere() {
    let sentence = "This login was begun at another address. If that was not you, do not use this AuthID";
    for (begun, ended) in [
        ("198.51.100.9", "203.0.113.7"),
        ("2001:db8:1:2::1", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("127.0.0.5", "203.0.113.7"),
    ] {
        let (_emulator, app, mut person) = start(Profile::google());
        let page = log_in_on_the_way(&app, &mut person, begun, ended).await;
        assert!(page.body.contains(sentence), "{begun} {ended}: {}", page.body);
        assert_eq!((page.delivers_to(), page.element("send").is_some()), (None, false));
        assert_eq!(page.element("ready").unwrap().attribute("data-waits"), Some(""));
        for address in [begun, ended] {
            person.behind("x-forwarded-for", address);
            let (_, script) = person.load_script(person.at(&format!("/fetch?token={FETCH_TOKEN}")), UI).await;
            assert!(script.contains("wait"), "{script}");
        }
        let state = app.get(&format!("/token-state?token={FETCH_TOKEN}")).await.json();
        assert_eq!(state, json!({"success": false}), "the mailbox is empty");
    }
    for (begun, ended) in [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("unknown", "203.0.113.7"),
        ("203.0.113.7", "unknown"),
    ] {
        let (_emulator, app, mut person) = start(Profile::google());
        let page = log_in_on_the_way(&app, &mut person, begun, ended).await;
        assert!(!page.body.contains(sentence), "{begun} {ended}: {}", page.body);
        assert_eq!(page.delivers_to().as_deref(), Some(UI), "{begun} {ended}");
    }
}

#[tokio::test]
async fn a_pasted_token_ends_a_login_with_a_warning_where_its_page_was_opened_elsewhere() {
    let emulator = Emulator::start(Profile::jottacloud());
    let toml = emulator.provider_toml();
    let app = spawn_app(&toml.replacen("[providers.jottacloud]\n", "[providers.jottacloud]\nrotation = \"none\"\n", 1));
    let mut person = app.person();
    let index = person.open_index(&format!("type=jottacloud&token={FETCH_TOKEN}"), UI).await;
    let ctx = index.field("ctx").unwrap();
    person.behind("x-forwarded-for", "198.51.100.9");
    let token = emulator.login_token();
    let fields = [("id", "jottacloud"), ("token", token.as_str()), ("ctx", ctx.as_str())];
    let page = person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await;
    assert!(page.authid().is_some() && page.body.contains("This login was begun at another address."), "{}", page.body);
    assert_eq!(page.delivers_to(), None);
}

#[tokio::test]
async fn single_use_services_are_off_without_a_store_and_say_why() {
    let (box_com, jottacloud) = (Emulator::start(Profile::box_com()), Emulator::start(Profile::jottacloud()));
    let app = spawn_app(&format!("{}{}", box_com.provider_toml(), jottacloud.provider_toml()));
    let mut person = app.person();
    for (asked, service) in [("box.com", "box.com"), ("box", "box.com"), ("jottacloud", "jottacloud")] {
        let page = person.open_index(&format!("type={asked}"), UI).await;
        assert_eq!((page.status, page.link("/login?"), page.link("/cli-token?")), (200, None, None), "{asked}");
        assert!(page.body.contains("nowhere to remember"), "{asked}: {}", page.body);
        let index = person.open_index("", UI).await;
        let ctx = "AAAA";
        let login = person.at(&format!("/login?id={service}&ctx={ctx}"));
        let page = person.click(&index, login).await;
        assert_eq!((page.url.path(), page.authid()), ("/", None));
    }
    let pasted = jottacloud.login_token();
    let index = person.open_index("type=jottacloud", UI).await;
    let fields = [("id", "jottacloud"), ("token", pasted.as_str()), ("ctx", "")];
    let page = person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await;
    assert_eq!(page.authid(), None);
    assert!(box_com.calls().is_empty() && jottacloud.calls().is_empty());
    assert!(box_com.authorizations().is_empty());
    assert_eq!(jottacloud.trapped(), 0, "the address inside a pasted token is never called");
}

#[tokio::test]
async fn a_person_who_says_no_gets_a_friendly_page() {
    let (emulator, _app, mut person) = start(Profile::google());
    emulator.next_person(Consent::Denies);
    let page = person.log_in("googledrive").await;
    assert_refused(&page, 400);
    assert!(page.body.contains("not allowed"), "{}", page.body);
    assert!(!page.body.contains("alert(1)") && page.header("x-reason").is_none(), "nothing in the provider's words");
    assert!(page.link("/?type=googledrive").is_some());
    assert!(emulator.calls().is_empty());
    for (code, status, says) in [
        ("server_error", 502, "is busy"),
        ("invalid_scope", 502, "registration"),
        ("something_new", 400, "an error of its own (something_new)"),
        ("admin_policy_enforced", 400, "An administrator of your organisation has to allow this app"),
        ("Login_Required", 400, "sign in or to agree once more (login_required)"),
        ("invalid_request: words", 502, "(invalid_request)"),
        ("v3:CANARY:1:CANARY", 400, "an error of its own"),
    ] {
        emulator.next_person(Consent::Fails(code, "trap"));
        let page = person.log_in("googledrive").await;
        assert_refused(&page, status);
        assert!(
            page.body.contains(says) && !page.body.contains("CANARY") && !page.body.contains("trap"),
            "{}",
            page.body
        );
    }
}

#[tokio::test]
async fn a_scope_that_was_unticked_is_named_and_no_authid_is_given() {
    // Google offers boxes to untick where there is more than one scope.
    let (drive, gcs) =
        ("https://www.googleapis.com/auth/drive.file", "https://www.googleapis.com/auth/devstorage.read_write");
    let both = format!("[services.both]\nprovider = \"google\"\nname = \"Both\"\nscopes = [\"{drive}\", \"{gcs}\"]\n");
    for (who, service, scope) in [
        (Profile::google(), "both", gcs),
        (Profile::microsoft(), "msgroup", "Group.Read.All"),
        (Profile::dropbox(), "dropbox", "files.content.write"),
    ] {
        let emulator = Emulator::start(who);
        let app = spawn_app(&format!("{}{both}", emulator.provider_toml()));
        let mut person = app.person();
        emulator.next_person(Consent::Unticks(scope));
        let page = person.log_in(service).await;
        assert_refused(&page, 400);
        assert!(page.body.contains(&scope.replace('/', "&#x2f;")), "{}", page.body);
        // The code; and at Dropbox a refresh and a revocation, which at Google would end all logins.
        assert_eq!(emulator.calls().len(), if service == "dropbox" { 3 } else { 1 }, "what is refused is given back");
        assert!(person.log_in(service).await.authid().is_some(), "the second try works");
    }
}

#[tokio::test]
async fn a_login_whose_refresh_token_fits_into_no_authid_is_given_back() {
    let long = "x".repeat(7000).leak();
    let (emulator, _app, mut person) = start(Profile { prefixes: ["", "", long], ..Profile::dropbox() });
    let page = person.log_in("dropbox").await;
    assert_refused(&page, 500);
    assert!(page.body.contains("too long to be sealed"), "{}", page.body);
    assert_eq!(emulator.calls().len(), 3, "the code, and as for a scope that was unticked a refresh and a revocation");
}

#[tokio::test]
async fn without_a_refresh_token_the_person_is_told_where_to_withdraw_the_access() {
    let (emulator, _app, mut person) = start(Profile::google());
    emulator.next_person(Consent::AgreedBefore);
    let page = person.log_in("googledrive").await;
    assert_refused(&page, 400);
    assert!(page.link("https://myaccount.google.com/permissions").is_some(), "{}", page.body);
    for (who, service) in [(Profile::dropbox(), "dropbox"), (Profile::microsoft(), "onedrivev2")] {
        let (emulator, _app, mut person) = start(who);
        emulator.next_person(Consent::AgreedBefore);
        let page = person.log_in(service).await;
        assert_refused(&page, 400);
        assert!(page.body.contains("for a short time only") && !page.body.contains("Withdraw"), "{}", page.body);
    }
}

#[tokio::test]
async fn offline_access_that_was_left_out_is_named_and_nobody_is_sent_to_withdraw_anything() {
    let (emulator, _app, mut person) = start(Profile::oidc());
    emulator.next_person(Consent::Unticks("offline_access"));
    let page = person.log_in("exampledrive").await;
    assert_refused(&page, 400);
    let says = "it left out offline access, which was asked for";
    assert!(page.body.contains(says) && !page.body.contains("Withdraw"), "{}", page.body);
    assert!(page.link("/?type=exampledrive").is_some(), "{}", page.body);
}

#[tokio::test]
async fn an_error_without_a_login_is_shown_by_its_code_and_an_empty_one_is_none() {
    let (emulator, _app, mut person) = start(Profile::google());
    for (query, says) in [
        ("error=access_denied&error_description=CANARY", "(access_denied)"),
        ("error=admin_policy_enforced&state=forged", "(admin_policy_enforced)"),
        ("error=invalid_request:+words", "(invalid_request)"),
        ("error=<b>CANARY</b>", "(without a code)"),
        ("error=&code=c", "This login cannot be finished"),
        ("error=+&state=", "This login cannot be finished"),
    ] {
        let mut url = person.at("/logged-in");
        url.set_query(Some(query));
        let page = person.visit(url, From::opener(emulator.base())).await;
        assert_refused(&page, 400);
        assert!(page.body.contains(says) && !page.body.contains("CANARY"), "{query}: {}", page.body);
    }
    let callback = person.log_in_until_callback("googledrive").await;
    let empty = changed(&callback, &[("error", Some(""))]);
    assert!(come_back(&mut person, &emulator, empty).await.authid().is_some(), "an empty error is none");
}

#[tokio::test]
async fn nobody_finishes_their_login_in_somebody_elses_browser() {
    let (emulator, app, mut attacker) = start(Profile::google());
    let (mut victim, mut nobody) = (app.person(), app.person());
    let callback = attacker.log_in_until_callback("googledrive").await;
    victim.open_index("type=googledrive", UI).await;
    assert_refused(&come_back(&mut victim, &emulator, callback.clone()).await, 400);
    assert_refused(&come_back(&mut nobody, &emulator, callback.clone()).await, 400);
    assert!(emulator.calls().is_empty(), "the code is not spent on it");
    assert!(come_back(&mut attacker, &emulator, callback).await.authid().is_some());
    // Another person's state with the victim's own code fares no better.
    let theirs = attacker.log_in_until_callback("googledrive").await;
    let ours = victim.log_in_until_callback("googledrive").await;
    let mixed = changed(&ours, &[("state", param(&theirs, "state").as_deref())]);
    assert_refused(&come_back(&mut victim, &emulator, mixed).await, 400);
    assert_eq!(emulator.calls().len(), 1);
}

#[tokio::test]
async fn a_state_works_once_for_ten_minutes_and_unchanged() {
    let (emulator, app, mut person) = start(Profile::google());
    let callback = person.log_in_until_callback("googledrive").await;
    let state = param(&callback, "state").unwrap();
    for at in (0..state.len()).step_by(7) {
        let other = if &state[at..=at] == "A" { "B" } else { "A" };
        let broken = format!("{}{other}{}", &state[..at], &state[at + 1..]);
        assert_refused(&come_back(&mut person, &emulator, changed(&callback, &[("state", Some(&broken))])).await, 400);
    }
    for changes in [vec![("state", None)], vec![("code", None)], vec![("state", Some(""))]] {
        assert_refused(&come_back(&mut person, &emulator, changed(&callback, &changes)).await, 400);
    }
    assert!(emulator.calls().is_empty());
    assert!(come_back(&mut person, &emulator, callback.clone()).await.authid().is_some());
    assert_refused(&come_back(&mut person, &emulator, callback).await, 400);
    assert_eq!(emulator.calls().len(), 1, "a reloaded page does not spend the code again");

    let late = person.log_in_until_callback("googledrive").await;
    app.clock.advance(Duration::from_secs(601));
    assert_refused(&come_back(&mut person, &emulator, late).await, 400);
    let in_time = person.log_in_until_callback("googledrive").await;
    app.clock.advance(Duration::from_secs(590));
    assert!(come_back(&mut person, &emulator, in_time).await.authid().is_some());
}

#[tokio::test]
async fn an_answer_from_another_issuer_is_refused() {
    let (emulator, _app, mut person) = start(Profile::oidc());
    emulator.next_person(Consent::OtherIssuer("https://evil.test".to_owned()));
    assert_refused(&person.log_in("exampledrive").await, 400);
    assert!(emulator.calls().is_empty());
}

#[tokio::test]
async fn a_login_begins_on_our_own_page_in_this_browser() {
    let (emulator, app, mut person) = start(Profile::google());
    let index = person.open_index("type=googledrive", UI).await;
    let login = index.link("/login?id=googledrive").unwrap();
    let mut other = app.person();
    let others = other.open_index("type=googledrive", UI).await;
    let planted = others.link("/login?id=googledrive").unwrap();
    let bare = person.at("/login?id=googledrive");
    let token = person.at(&format!("/login?id=googledrive&token={FETCH_TOKEN}"));
    for (what, url, from) in [
        ("without a context", bare, index.as_source()),
        ("with a fetch token", token, index.as_source()),
        ("with another person's context", planted, index.as_source()),
        ("from a foreign page", login.clone(), From::opener("https://evil.test")),
        ("typed in", login.clone(), From::Typed),
    ] {
        let page = person.visit(url, from).await;
        let kept = page.url.as_str().strip_prefix("https://authseal.test/?type=googledrive").unwrap();
        assert!(page.status == 200 && kept.starts_with("&ctx=") == (what == "typed in"), "{what}: {kept}");
    }
    assert!(emulator.authorizations().is_empty());
    let unknown = person.visit(person.at("/login?id=nowhere"), index.as_source()).await;
    assert_refused(&unknown, 404);
    assert_refused(&person.visit(person.at("/login"), index.as_source()).await, 404);
    assert_eq!(person.click(&index, login.clone()).await.status, 200);
    app.clock.advance(Duration::from_secs(3601));
    let page = person.click(&index, login).await;
    assert_eq!(page.url.path(), "/", "an old link leads to a new one");
}

#[tokio::test]
async fn a_link_clicked_in_its_last_minute_leaves_ten_more_at_the_provider() {
    let (emulator, app, mut person) = start(Profile::google());
    let index = person.open_index("type=googledrive", UI).await;
    app.clock.advance(Duration::from_secs(3540));
    let login = index.link("/login?id=googledrive").unwrap();
    let callback = person.visit_until("/logged-in", login, index.as_source()).await;
    app.clock.advance(Duration::from_secs(590));
    assert!(come_back(&mut person, &emulator, callback).await.authid().is_some());
}

#[tokio::test]
async fn tabs_side_by_side_do_not_disturb_each_other() {
    let (emulator, _app, mut person) = start(Profile::google());
    let mut callbacks = Vec::new();
    for _ in 0..10 {
        callbacks.push(person.log_in_until_callback("googledrive").await);
    }
    assert!(person.cookie_header().len() <= 200, "{}", person.cookie_header());
    for callback in callbacks.into_iter().rev() {
        assert!(come_back(&mut person, &emulator, callback).await.authid().is_some());
    }
}

/// What the classic interface polls for.
async fn fetch(person: &Person, token: &str) -> Value {
    fetch_from(person, token, UI).await
}

async fn fetch_from(person: &Person, token: &str, page: &str) -> Value {
    let url = person.at(&format!("/fetch?callback=angular.callbacks._0&token={token}"));
    let (status, script) = person.load_script(url, page).await;
    assert_eq!(status, 200);
    let json = script.strip_prefix("/**/angular.callbacks._0(").and_then(|rest| rest.strip_suffix(");"));
    serde_json::from_str(json.unwrap_or_else(|| panic!("{script}"))).unwrap()
}

#[tokio::test]
async fn a_waiting_interface_on_this_machine_gets_the_authid_once() {
    let (_emulator, app, mut person) = start(Profile::google());
    let index = person.open_index(&format!("type=googledrive&token={FETCH_TOKEN}"), UI).await;
    assert!(fetch(&person, FETCH_TOKEN).await["wait"].is_string());
    let login = index.link("/login?").unwrap();
    let page = person.click(&index, login).await;
    let state = app.get(&format!("/token-state?token={FETCH_TOKEN}")).await;
    assert_eq!(state.json(), json!({"success": false}));
    assert_eq!(fetch(&person, FETCH_TOKEN).await, json!({"authid": page.authid().unwrap()}));
    assert!(fetch(&person, FETCH_TOKEN).await["wait"].is_string(), "once");
    assert_eq!(app.get(&format!("/token-state?token={FETCH_TOKEN}")).await.json(), json!({"success": true}));
}

#[tokio::test]
async fn an_interface_elsewhere_gets_nothing_by_itself() {
    let (_emulator, _app, mut person) = start(Profile::google());
    for (opener, named) in
        [("http://nas.lan:8200", true), ("https://evil.test", true), ("https://authseal.test", false)]
    {
        let index = person.open_index(&format!("type=googledrive&token={FETCH_TOKEN}"), opener).await;
        let login = index.link("/login?").unwrap();
        let page = person.click(&index, login).await;
        assert!(page.authid().is_some(), "it is there to copy");
        assert_eq!(page.delivers_to(), None, "{opener}");
        let name = format!("<b>{}</b>", opener.replace('/', "&#x2f;"));
        assert_eq!(page.body.contains(&name), named, "{opener}");
        assert!(fetch(&person, FETCH_TOKEN).await["wait"].is_string(), "{opener}");
    }
    let typed = person.visit(person.at(&format!("/?type=googledrive&token={FETCH_TOKEN}")), From::Typed).await;
    let login = typed.link("/login?").unwrap();
    assert_eq!(person.click(&typed, login).await.delivers_to(), None);
    assert!(fetch(&person, FETCH_TOKEN).await["wait"].is_string());
}

#[tokio::test]
async fn a_listed_interface_gets_it_like_one_on_this_machine() {
    let emulator = Emulator::start(Profile::google());
    let tables = format!("{}[delivery]\ntrusted_origins = [\"https://nas.lan:8200\"]\n", emulator.provider_toml());
    let app = spawn_app(&tables);
    let mut person = app.person();
    let index = person.open_index(&format!("type=googledrive&token={FETCH_TOKEN}"), "https://nas.lan:8200").await;
    let login = index.link("/login?").unwrap();
    let page = person.click(&index, login).await;
    assert_eq!(page.delivers_to().as_deref(), Some("https://nas.lan:8200"));
    assert!(fetch(&person, FETCH_TOKEN).await["wait"].is_string(), "another page in the same browser gets nothing");
    assert_eq!(
        fetch_from(&person, FETCH_TOKEN, "https://nas.lan:8200").await,
        json!({"authid": page.authid().unwrap()})
    );
}

#[tokio::test]
async fn a_form_from_elsewhere_revokes_nothing() {
    let (emulator, app, mut person) = start(Profile::google());
    let authid = person.log_in("googledrive").await.authid().unwrap();
    let fields = [("authid", authid.as_str()), ("at_provider", "yes")];
    let foreign = person.submit(person.at("/revoked"), &fields, From::opener("https://evil.test")).await;
    assert_eq!(foreign.status, 403);
    assert_eq!(app.refresh(&authid).await.status, 200);
    let page = person.visit(person.at("/revoke"), From::Typed).await;
    let done = person.submit(person.at("/revoked"), &fields, page.as_source()).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(app.refresh(&authid).await.status, 401);
    let revocations: Vec<_> = emulator.calls().into_iter().filter(|call| call.path == "/revoke").collect();
    assert_eq!((revocations.len(), revocations[0].names()), (1, vec!["token"]));
}

#[tokio::test]
async fn parameters_of_pages_are_never_echoed() {
    let (_emulator, app, mut person) = start(Profile::google());
    let payload = secret("<script>alert(1)</script>\"'", "echo");
    for name in
        ["type", "token", "redirect", "redir", "id", "ctx", "code", "state", "error", "error_description", "iss"]
    {
        for path in ["/", "/login", "/logged-in", "/cli-token", "/revoke", "/inspect", "/privacy-policy"] {
            let mut url = person.at(path);
            url.query_pairs_mut().append_pair(name, &payload);
            let page = person.visit(url, From::opener("https://evil.test")).await;
            assert!(page.status < 500, "{path} {name}: {}", page.status);
            assert!(!page.body.contains("alert(1)") && !page.body.contains("CANARY"), "{path} {name}");
        }
    }
    drop(app);
}
