//! Who gets an AuthID: across proxies, with planted fetch tokens, by clicks, and by guessing.

use crate::browser::{From, Page, Person};
use crate::emulator::{Emulator, Profile};
use crate::spawn::{Answer, TestApp, spawn_app};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use std::time::Duration;

const UI: &str = "http://localhost:8200";
const NAS: &str = "http://nas.lan:8200";
const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";
const HOME: &str = "203.0.113.7";
const ELSEWHERE: &str = "198.51.100.9";
/// The tests' own address is the proxy's.
const BEHIND_PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";

fn start(server: &str) -> (Emulator, TestApp) {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_app(&format!("{}{server}", emulator.provider_toml()));
    (emulator, app)
}

/// Somebody whose address the proxy tells.
fn person_at(app: &TestApp, address: &str) -> Person {
    let mut person = app.person();
    person.behind("x-forwarded-for", address);
    person
}

async fn log_in(person: &mut Person, opener: &str) -> Page {
    let index = person.open_index(&format!("type=googledrive&token={TOKEN}"), opener).await;
    let login = index.link("/login?").unwrap();
    let page = person.click(&index, login).await;
    assert!(page.authid().is_some(), "{}", page.body);
    page
}

async fn fetch(person: &Person, token: &str) -> Value {
    fetch_from(person, token, UI).await
}

/// What a script on this page gets.
async fn fetch_from(person: &Person, token: &str, page: &str) -> Value {
    let (status, script) = person.load_script(person.at(&format!("/fetch?callback=cb&token={token}")), page).await;
    assert_eq!(status, 200);
    serde_json::from_str(script.strip_prefix("/**/cb(").and_then(|rest| rest.strip_suffix(");")).unwrap()).unwrap()
}

async fn waits(person: &Person) -> bool {
    fetch(person, TOKEN).await["wait"].is_string()
}

/// What the page's script hands to `/deliver`.
fn ticket(page: &Page) -> String {
    page.element("ready").unwrap().attribute("data-ticket").unwrap().to_owned()
}

/// The click on a button of the page.
async fn press(person: &mut Person, page: &Page, to: &str) -> Page {
    let grant = ticket(page);
    let fields = [("grant", grant.as_str()), ("to", to)];
    person.submit(person.at("/deliver"), &fields, page.as_source()).await
}

async fn token_state(app: &TestApp) -> Value {
    app.get(&format!("/token-state?token={TOKEN}")).await.json()
}

#[tokio::test]
async fn an_authid_is_fetched_where_the_login_was_and_nowhere_else() {
    for (login, same, other) in [
        (HOME, HOME, ELSEWHERE),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
        (HOME, "10.9.9.9, 203.0.113.7, 10.1.2.3", "203.0.113.7, 198.51.100.9"),
        (HOME, "198.51.100.9, [::ffff:203.0.113.7]:4711", "2001:db8::1"),
    ] {
        let (_emulator, app) = start(BEHIND_PROXY);
        let mut person = person_at(&app, login);
        let page = log_in(&mut person, UI).await;
        assert_eq!(token_state(&app).await, json!({"success": false}));
        assert!(waits(&person_at(&app, other)).await, "{other}");
        assert_eq!(token_state(&app).await, json!({"success": false, "asked": true}), "{other}");
        let authid = page.authid().unwrap();
        assert_eq!(fetch(&person_at(&app, same), TOKEN).await, json!({"authid": authid}), "{same}");
        assert_eq!(token_state(&app).await, json!({"success": true}));
    }
}

#[tokio::test]
async fn rfc_7239_is_read_too_and_a_contradiction_makes_the_client_unknown() {
    let (_emulator, app) = start(BEHIND_PROXY);
    let mut person = app.person();
    person.behind_none();
    person.behind("forwarded", "for=\"[2001:db8:1:2::1]:80\";proto=https;by=_proxy, For=10.0.0.1");
    let page = log_in(&mut person, UI).await;
    let mut forger = person_at(&app, "2001:db8:1:2::1");
    forger.behind("forwarded", "for=198.51.100.9");
    assert!(waits(&forger).await);
    let mut same = app.person();
    same.behind_none();
    same.behind("forwarded", "for=\"[2001:db8:1:2::2]\"");
    assert_eq!(fetch(&same, TOKEN).await, json!({"authid": page.authid().unwrap()}));
}

#[tokio::test]
async fn a_forwarded_header_from_anybody_makes_the_client_unknown_and_is_told_once() {
    let (_emulator, app) = start("[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n");
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let mut person = app.person();
        person.behind_none();
        person.behind(header, if header == "forwarded" { "for=203.0.113.7" } else { "203.0.113.7" });
        log_in(&mut person, UI).await;
        assert!(waits(&person).await, "{header}");
    }
    let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
    assert_eq!(log.matches("name it in `server.trusted_proxies`").count(), 1);
}

#[tokio::test]
async fn an_unknown_client_fetches_nothing_without_a_click() {
    for address in ["unknown", "10.1.1.1", "10.1.1.1, 10.2.2.2", "not an address", "203.0.113.7, ?"] {
        let (_emulator, app) = start(BEHIND_PROXY);
        let mut person = person_at(&app, address);
        let page = log_in(&mut person, UI).await;
        assert!(waits(&person).await, "{address}: the same unknown is not the same client");
        assert_eq!(press(&mut person, &page, "asker").await.status, 200);
        assert_eq!(fetch(&person, TOKEN).await, json!({"authid": page.authid().unwrap()}), "{address}");
    }
}

#[tokio::test]
async fn a_click_gives_the_authid_to_a_program_at_another_address_once() {
    let (_emulator, app) = start(BEHIND_PROXY);
    let mut person = person_at(&app, HOME);
    let page = log_in(&mut person, UI).await;
    let asker = person_at(&app, ELSEWHERE);
    assert!(waits(&asker).await);
    let answer = press(&mut person, &page, "asker").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"deliver_to\":\"http://localhost:8200\"}"));
    assert_eq!(fetch(&asker, TOKEN).await, json!({"authid": page.authid().unwrap()}));
    assert_eq!(press(&mut person, &page, "asker").await.status, 200);
    assert!(waits(&asker).await && waits(&person).await, "it is given once, however often the button is pressed");
}

#[tokio::test]
async fn only_scripts_and_fetches_get_an_authid() {
    let (_emulator, app) = start("");
    let mut person = app.person();
    log_in(&mut person, UI).await;
    let url = app.at(&format!("/fetch?token={TOKEN}"));
    let ask = || app.client.get(&url).header("referer", UI).header("x-forwarded-for", "203.0.113.7");
    for dest in ["document", "image", "iframe", "style"] {
        let answer = ask().header("sec-fetch-dest", dest).send().await.unwrap();
        assert!(Answer::of(answer).await.json()["wait"].is_string(), "{dest}");
    }
    let answer = ask().header("sec-fetch-dest", "empty").header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert!(Answer::of(answer).await.json()["authid"].is_string());
}

#[tokio::test]
async fn an_unknown_opener_gets_the_authid_by_a_click_and_not_before() {
    let (_emulator, app) = start("");
    let mut person = app.person();
    let page = log_in(&mut person, NAS).await;
    assert_eq!(page.delivers_to(), None);
    assert!(page.body.contains(">http:&#x2f;&#x2f;nas.lan:8200</span>") && page.body.contains("is not encrypted"));
    assert!(waits(&person).await);
    assert_eq!(token_state(&app).await, json!({"success": false}), "nothing is stored before the click");
    let answer = press(&mut person, &page, "opener").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"deliver_to\":\"http://nas.lan:8200\"}"));
    assert!(waits(&person).await, "a page that was not named gets nothing");
    assert_eq!(fetch_from(&person, TOKEN, NAS).await, json!({"authid": page.authid().unwrap()}));
    let safe = log_in(&mut app.person(), "https://b\u{fc}cher.example").await;
    assert!(safe.body.contains(">https:&#x2f;&#x2f;xn--bcher-kva.example</span>"), "{}", safe.body);
    assert!(!safe.body.contains("is not encrypted"));
}

#[tokio::test]
async fn a_click_for_an_unknown_opener_does_not_serve_another_address() {
    let (_emulator, app) = start(BEHIND_PROXY);
    let mut person = person_at(&app, HOME);
    let page = log_in(&mut person, NAS).await;
    press(&mut person, &page, "opener").await;
    let planter = person_at(&app, ELSEWHERE);
    assert!(waits(&planter).await);
    assert_eq!(token_state(&app).await, json!({"success": false, "asked": true}));
    press(&mut person, &page, "asker").await;
    assert!(fetch(&planter, TOKEN).await["authid"].is_string(), "a second click agrees to it");
}

#[tokio::test]
async fn nobody_gets_a_ticket_without_an_opener() {
    let (_emulator, app) = start("");
    let mut person = app.person();
    let index = person.visit(person.at(&format!("/?type=googledrive&token={TOKEN}")), From::Typed).await;
    let login = index.link("/login?").unwrap();
    let page = person.click(&index, login).await;
    assert!(page.authid().is_some());
    assert_eq!((ticket(&page).as_str(), page.body.contains(TOKEN)), ("", false));
    assert!(page.element("send").is_none() && page.element("give").is_none());
    assert!(waits(&person).await);
}

#[tokio::test]
async fn a_ticket_works_from_our_page_in_its_browser_for_ten_minutes() {
    let (_emulator, app) = start("");
    let mut person = app.person();
    let page = log_in(&mut person, NAS).await;
    let grant = ticket(&page);
    let fields = [("grant", grant.as_str())];
    let foreign = person.submit(person.at("/deliver"), &fields, From::opener("https://evil.test")).await;
    assert_eq!(foreign.status, 403);
    let cross_site = app.client.post(app.at("/deliver")).header("sec-fetch-site", "cross-site").form(&fields);
    assert_eq!(cross_site.send().await.unwrap().status().as_u16(), 403);
    let mut other = app.person();
    other.open_index("type=googledrive", UI).await;
    for (what, thief) in [("another browser", &mut other), ("no cookies", &mut app.person())] {
        let answer = thief.submit(thief.at("/deliver"), &fields, page.as_source()).await;
        assert_eq!((answer.status, answer.body.contains("deliver_to")), (400, false), "{what}");
    }
    let index = person.open_index("type=googledrive", UI).await;
    let ctx = index.link("/login?").unwrap().query_pairs().find(|(name, _)| name == "ctx").unwrap().1.into_owned();
    let broken = format!("{}{}", if grant.starts_with('A') { "B" } else { "A" }, &grant[1..]);
    for bad in ["", "x", &ctx, &broken, &grant[..grant.len() - 2]] {
        let answer = person.submit(person.at("/deliver"), &[("grant", bad)], page.as_source()).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
    assert!(waits(&person).await, "none of these left it in the mailbox");
    app.clock.advance(Duration::from_secs(590));
    assert_eq!(press(&mut person, &page, "opener").await.status, 200);
    app.clock.advance(Duration::from_secs(11));
    assert_eq!(press(&mut person, &page, "opener").await.status, 400);
}

#[tokio::test]
async fn who_guesses_fetch_tokens_finds_nothing_any_more() {
    let (_emulator, app) = start(BEHIND_PROXY);
    let mut person = person_at(&app, HOME);
    let guess = |number: usize| format!("abcdefgh{number:012}");
    for number in 0..20 {
        assert!(fetch(&person, &guess(number)).await["wait"].is_string());
    }
    let page = log_in(&mut person, UI).await;
    assert!(waits(&person).await, "the right one is the 21st");
    assert_eq!(token_state(&app).await, json!({"success": false}), "it was not even looked up");
    let neighbour = person_at(&app, ELSEWHERE);
    assert!(waits(&neighbour).await);
    assert_eq!(token_state(&app).await, json!({"success": false, "asked": true}), "others are not limited by it");
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(fetch(&person, TOKEN).await, json!({"authid": page.authid().unwrap()}));
}

#[tokio::test]
async fn a_page_that_polls_one_token_is_never_slowed_down() {
    let (_emulator, app) = start("");
    let mut person = app.person();
    for _ in 0..100 {
        assert!(waits(&person).await);
    }
    let page = log_in(&mut person, UI).await;
    assert_eq!(fetch(&person, TOKEN).await, json!({"authid": page.authid().unwrap()}));
}

#[tokio::test]
async fn pasted_tokens_are_tried_ten_times_a_minute_for_each_network() {
    let jottacloud = Emulator::start(Profile::jottacloud());
    let toml = jottacloud.provider_toml();
    let toml = toml.replacen("[providers.jottacloud]\n", "[providers.jottacloud]\nrotation = \"none\"\n", 1);
    let app = spawn_app(&format!("{toml}{BEHIND_PROXY}[limits]\nprovider_calls_in_all = 40\n"));
    let mut statuses = Vec::new();
    let mut person = person_at(&app, HOME);
    for _ in 0..11 {
        statuses.push(paste_wrong(&mut person).await);
    }
    assert!(statuses[..10].iter().all(|status| *status != 429), "{statuses:?}");
    assert_eq!((statuses[10], jottacloud.calls().len()), (429, 10));
    let mut others = Vec::new();
    for site in 1..=4 {
        for number in 0..10 {
            // A /64 for each, of one /48.
            let mut person = person_at(&app, &format!("2001:db8:{site}:{number}::1"));
            others.push(paste_wrong(&mut person).await == 429);
        }
        let mut neighbour = person_at(&app, &format!("2001:db8:{site}:ffff::1"));
        assert_eq!(paste_wrong(&mut neighbour).await, 429);
    }
    assert_eq!(jottacloud.calls().len(), 40, "all together");
    assert!(others[..30].iter().all(|refused| !refused) && others[30..].iter().all(|refused| *refused));
    app.clock.advance(Duration::from_secs(60));
    assert_ne!(paste_wrong(&mut person).await, 429);
}

async fn paste_wrong(person: &mut Person) -> u16 {
    let index = person.open_index("type=jottacloud", UI).await;
    let ctx = index.field("ctx").unwrap();
    let token = wrong_token();
    let fields = [("id", "jottacloud"), ("token", token.as_str()), ("ctx", ctx.as_str())];
    let answer = person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await;
    assert_eq!(answer.authid(), None);
    answer.status
}

/// A token of the right form that Jottacloud never made.
fn wrong_token() -> String {
    let token = json!({"username": "somebody", "auth_token": "wrong", "well_known_link": "", "realm": "jottacloud"});
    BASE64URL.encode(token.to_string())
}

#[tokio::test]
async fn pages_are_shown_under_our_own_name_only() {
    let (_emulator, app) = start("");
    let pages =
        ["/", "/login", "/logged-in", "/cli-token", "/revoke", "/inspect", "/privacy-policy", "/privacy-policy.txt"];
    for path in pages.into_iter().chain(["/%6Cogin", "/?type=googledrive"]) {
        for host in ["evil.test", "authseal.test.evil.test", "x@authseal.test", "authseal.test@evil.test", "8.8.8.8"] {
            let answer = app.client.get(app.at(path)).header("host", host).send().await.unwrap();
            let answer = Answer::of(answer).await;
            assert_eq!(answer.status, 421, "{path} {host}");
            assert!(!answer.body.contains("evil") && !answer.body.contains("8.8.8"), "{}", answer.body);
            assert!(answer.header("set-cookie").is_none() && answer.body.contains("https:&#x2f;&#x2f;authseal.test"));
        }
    }
    for path in ["/cli-token-login", "/deliver", "/revoked", "/inspect"] {
        let answer = app.client.post(app.at(path)).header("host", "evil.test").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 421, "{path}");
    }
    for host in ["authseal.test", "AUTHSEAL.test:8443", "localhost:1", "127.0.0.2", "[::1]:8080", "[::1]"] {
        let answer = app.client.get(app.at("/")).header("host", host).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{host}");
    }
    for path in ["/fetch", "/token-state", "/isalive", "/healthz", "/readyz", "/static/authseal.css", "/favicon.ico"] {
        let answer = app.client.get(app.at(path)).header("host", "10.0.0.1:8080").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
    }
    let answer = app.client.get(app.at("/refresh")).header("host", "10.0.0.1").header("X-AuthID", "x").send().await;
    assert_eq!(answer.unwrap().status().as_u16(), 401);
    let forwarded = app.client.get(app.at("/")).header("host", "evil.test").header("x-forwarded-host", "authseal.test");
    assert_eq!(forwarded.send().await.unwrap().status().as_u16(), 421);
}

#[tokio::test]
async fn what_came_by_plain_http_is_refused_when_a_trusted_proxy_says_so() {
    for (header, value) in [("x-forwarded-proto", "http"), ("forwarded", "for=203.0.113.7;proto=HTTP")] {
        let (emulator, app) = start(BEHIND_PROXY);
        let authid = app.log_in(&emulator);
        let refresh = || app.client.get(app.at("/refresh")).header("X-AuthID", &authid);
        let answer = Answer::of(refresh().header(header, value).send().await.unwrap()).await;
        assert_eq!((answer.status, answer.reason().contains("https")), (401, true));
        let form = [("grant_type", "refresh_token"), ("refresh_token", authid.as_str())];
        let answer = app.client.post(app.at("/token")).form(&form).header(header, value).send().await.unwrap();
        let answer = Answer::of(answer).await;
        assert_eq!((answer.status, answer.reason().contains("https")), (403, true));
        assert_eq!(answer.json()["error"], "invalid_request");
        for path in ["/", "/revoke", "/inspect", "/logged-in", "/fetch"] {
            let answer = app.client.get(app.at(path)).header("host", "authseal.test").header(header, value);
            let answer = Answer::of(answer.send().await.unwrap()).await;
            assert_eq!((answer.status, answer.header("location")), (403, None), "{path}");
            assert!(answer.header("set-cookie").is_none() && answer.body.contains("https:&#x2f;&#x2f;authseal.test"));
        }
        assert!(emulator.calls().is_empty());
        for path in ["/healthz", "/readyz", "/isalive", "/static/authseal.css"] {
            let answer = app.client.get(app.at(path)).header(header, value).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{path}");
        }
        refresh().header("x-forwarded-proto", "https").send().await.unwrap().error_for_status().unwrap();
        refresh().send().await.unwrap().error_for_status().unwrap();
    }
    let (emulator, app) = start("[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n");
    let authid = app.log_in(&emulator);
    let said_by_anybody =
        app.client.get(app.at("/refresh")).header("X-AuthID", authid).header("x-forwarded-proto", "http");
    assert_eq!(said_by_anybody.send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn behind_what_ends_tls_and_says_nothing_a_login_is_handed_over_by_a_click_alone() {
    let (_emulator, app) = start("[server]\ntrusted_proxies = []\n");
    let mut person = app.person();
    person.behind_none();
    let mut neighbour = app.person();
    neighbour.behind_none();
    let page = log_in(&mut person, UI).await;
    assert_eq!(page.delivers_to().as_deref(), Some(UI), "a message needs no address");
    assert!(waits(&neighbour).await && waits(&person).await);
    assert_eq!(token_state(&app).await, json!({"success": false, "asked": true}));
    assert_eq!(press(&mut person, &page, "asker").await.status, 200);
    assert_eq!(fetch(&person, TOKEN).await, json!({"authid": page.authid().unwrap()}));
    let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
    assert_eq!(log.matches("from a peer that does not say for whom").count(), 1, "it is told once");
}

#[tokio::test]
async fn a_click_gives_to_the_address_that_asked_first_and_to_no_other() {
    let (_emulator, app) = start(BEHIND_PROXY);
    let mut person = person_at(&app, HOME);
    let page = log_in(&mut person, UI).await;
    let (asker, thief) = (person_at(&app, ELSEWHERE), person_at(&app, "192.0.2.66"));
    assert!(waits(&asker).await && waits(&thief).await);
    assert_eq!(press(&mut person, &page, "asker").await.status, 200);
    assert!(waits(&thief).await && waits(&person).await, "not the one that asked first");
    assert_eq!(fetch(&asker, TOKEN).await, json!({"authid": page.authid().unwrap()}));
}

#[tokio::test]
async fn nobody_plants_an_authid_where_another_one_waits() {
    let (_emulator, app) = start(BEHIND_PROXY);
    let mut person = person_at(&app, HOME);
    let page = log_in(&mut person, UI).await;
    let mut attacker = person_at(&app, ELSEWHERE);
    let planted = log_in(&mut attacker, UI).await;
    assert_eq!(planted.element("ready").unwrap().attribute("data-waits"), Some(""), "the page promises nothing");
    assert_eq!(fetch(&person, TOKEN).await, json!({"authid": page.authid().unwrap()}));
    let again = log_in(&mut person_at(&app, HOME), UI).await;
    assert!(again.authid().is_some() && fetch(&person, TOKEN).await["authid"].is_string(), "an empty one takes all");
}

#[tokio::test]
async fn a_foreign_page_uses_up_no_questions_of_the_right_one() {
    let (_emulator, app) = start(BEHIND_PROXY);
    let mut person = person_at(&app, HOME);
    for number in 0..100 {
        let page = ["https://evil.test", "https://other.test", "http://localhost.evil.test"][number % 3];
        assert!(fetch_from(&person, &format!("abcdefgh{number:012}"), page).await["wait"].is_string());
    }
    let page = log_in(&mut person, UI).await;
    assert_eq!(fetch(&person, TOKEN).await, json!({"authid": page.authid().unwrap()}));
}

#[tokio::test]
async fn a_script_of_our_own_page_gets_no_jsonp() {
    let (_emulator, app) = start("");
    let url = app.at(&format!("/fetch?callback=opener.document.body.click&token={TOKEN}"));
    for (site, status) in [("same-origin", 400), ("same-site", 200), ("cross-site", 200)] {
        let answer =
            app.client.get(&url).header("sec-fetch-site", site).header("sec-fetch-dest", "script").send().await;
        assert_eq!(answer.unwrap().status().as_u16(), status, "{site}");
    }
}
