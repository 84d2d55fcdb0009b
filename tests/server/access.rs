//! The shared password that a login begins with: what does not continue without it, what does, and who cannot get around it.

use crate::browser::{From, Page, Person};
use crate::emulator::{Emulator, Profile, secret};
use crate::spawn::{Answer, TestApp, spawn_app, until};
use authseal::password::hash;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use url::Url;

const UI: &str = "http://localhost:8200";
const FETCH_TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";
const PASSWORD: &str = "correct horse battery";
const COOKIE: &str = "__Host-authseal-access=";

/// A server at one provider, that asks for [`PASSWORD`].
struct Guarded {
    emulator: Emulator,
    app: TestApp,
    folder: TempDir,
}

fn start(who: Profile) -> Guarded {
    let emulator = Emulator::start(who);
    let folder = tempfile::tempdir().unwrap();
    write_hash(folder.path(), PASSWORD);
    // Where tokens work once, the service would be off and prove nothing.
    let table = format!("[providers.{}]\n", who.provider);
    let providers = emulator.provider_toml().replace(&table, &format!("{table}rotation = \"none\"\n"));
    let app = spawn_app(&format!("{providers}{}", access_toml(folder.path())));
    Guarded { emulator, app, folder }
}

fn write_hash(folder: &Path, password: &str) {
    fs::write(folder.join("new"), hash(password).unwrap()).unwrap();
    fs::rename(folder.join("new"), folder.join("password")).unwrap();
}

fn access_toml(folder: &Path) -> String {
    format!("[access]\npassword_file = {:?}\n", folder.join("password"))
}

/// A field that the page's form sends along.
fn hidden(page: &Page, name: &str) -> Option<String> {
    let elements = page.elements();
    let field = elements.iter().find(|e| e.name == "input" && e.attribute("name") == Some(name))?;
    field.attribute("value").map(str::to_owned)
}

fn asks(page: &Page) -> bool {
    page.element("password").is_some() && hidden(page, "ctx").is_some()
}

/// Types a password into the page that asks for it.
async fn give(person: &mut Person, page: &Page, password: &str) -> Page {
    assert!(asks(page), "{} {}", page.url, page.body);
    let kept = ["ctx", "type", "redirect"].map(|name| (name, hidden(page, name)));
    let kept = kept.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let fields: Vec<_> = kept.chain([("password", password)]).collect();
    person.submit(person.at("/access"), &fields, page.as_source()).await
}

/// A login's address with the context that the page that asks for the password has.
fn around(person: &Person, page: &Page, path: &str, service: &str) -> Url {
    let mut url = person.at(path);
    url.query_pairs_mut().append_pair("id", service).append_pair("ctx", &hidden(page, "ctx").unwrap());
    url
}

#[tokio::test]
async fn nothing_begins_without_the_password() {
    let Guarded { emulator, app, folder: _folder } = start(Profile::google());
    let mut person = app.person();
    for query in ["", "type=googledrive", "redirect=googledrive", "redir=googledrive", "type=nowhere"] {
        let page = person.open_index(query, UI).await;
        assert_eq!((page.status, asks(&page)), (200, true), "{query}: {}", page.body);
        assert!(page.link("/login").is_none() && page.link("/cli-token").is_none(), "{query}");
        assert!(!page.body.contains("http-equiv") && !page.body.contains("Google"), "{query}: {}", page.body);
        let login = around(&person, &page, "/login", "googledrive");
        let page = person.click(&page, login).await;
        assert!(page.url.as_str().starts_with("https://authseal.test/?type=googledrive&ctx="), "{query}: {}", page.url);
        assert!(asks(&page), "{query}");
    }
    assert!(emulator.authorizations().is_empty());
    let page = person.open_index("type=googledrive", UI).await;
    let login = around(&person, &page, "/login", "googledrive");
    give(&mut person, &page, PASSWORD).await;
    assert!(person.click(&page, login).await.authid().is_some(), "the password alone was missing");
}

#[tokio::test]
async fn nothing_is_pasted_without_the_password() {
    let Guarded { emulator, app, folder: _folder } = start(Profile::jottacloud());
    let mut person = app.person();
    let index = person.open_index("type=jottacloud", UI).await;
    let paste = around(&person, &index, "/cli-token", "jottacloud");
    assert!(asks(&person.click(&index, paste.clone()).await));
    let (ctx, token) = (hidden(&index, "ctx").unwrap(), emulator.login_token());
    let fields = [("id", "jottacloud"), ("token", token.as_str()), ("ctx", ctx.as_str())];
    assert!(asks(&person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await));
    assert!(emulator.calls().is_empty());
    give(&mut person, &index, PASSWORD).await;
    assert!(person.click(&index, paste).await.element("token").is_some());
    let page = person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await;
    assert!(page.authid().is_some(), "the password alone was missing: {}", page.body);
}

#[tokio::test]
async fn the_opener_is_still_known_after_the_password() {
    let guarded = start(Profile::google());
    let app = &guarded.app;
    let mut person = app.person();
    let query = format!("type=googledrive&token={FETCH_TOKEN}");
    let page = person.open_index(&query, UI).await;
    let wrong = give(&mut person, &page, "a wrong password").await;
    let index = give(&mut person, &wrong, PASSWORD).await;
    assert_eq!((index.status, index.url.path()), (200, "/access"));
    let login = index.link("/login?id=googledrive&ctx=").unwrap();
    let page = person.click(&index, login).await;
    assert_eq!(page.delivers_to().as_deref(), Some(UI));
    let (_, fetched) = person.load_script(person.at(&format!("/fetch?callback=f&token={FETCH_TOKEN}")), UI).await;
    assert!(fetched.contains(&json!({"authid": page.authid().unwrap()}).to_string()), "{fetched}");
    let index = person.open_index(&query, UI).await;
    assert!(index.link("/login?").is_some(), "the second time nobody asks");

    for (opener, at_once) in [(UI, true), ("https://evil.test", false)] {
        let mut person = app.person();
        let page = person.open_index("redirect=googledrive", opener).await;
        let index = give(&mut person, &page, PASSWORD).await;
        assert_eq!(index.body.contains("http-equiv"), at_once, "{opener}");
        let login = index.link("/login?id=googledrive").unwrap();
        assert_eq!(person.click(&index, login).await.delivers_to().is_some(), at_once, "{opener}");
    }
}

#[tokio::test]
async fn links_live_a_whole_hour_from_the_password_on() {
    let guarded = start(Profile::google());
    let app = &guarded.app;
    let mut person = app.person();
    let page = person.open_index("type=googledrive", UI).await;
    app.clock.advance(Duration::from_secs(3500));
    let index = give(&mut person, &page, PASSWORD).await;
    app.clock.advance(Duration::from_secs(3500));
    let login = index.link("/login?").unwrap();
    assert_eq!(person.click(&index, login).await.delivers_to().as_deref(), Some(UI));
}

#[tokio::test]
async fn a_wrong_password_opens_nothing() {
    let guarded = start(Profile::google());
    let app = &guarded.app;
    let mut person = app.person();
    let page = person.open_index("type=googledrive", UI).await;
    for wrong in ["a wrong password", "", &format!("{PASSWORD} "), "<script>alert(1)</script>\"'"] {
        let page = give(&mut person, &page, wrong).await;
        assert_eq!((page.status, asks(&page)), (403, true), "{wrong}");
        assert!(page.body.contains("That is not the password") && !page.body.contains("alert(1)"));
        assert_eq!(hidden(&page, "type").as_deref(), Some("googledrive"));
        assert!(!person.cookie_header().contains(COOKIE), "{wrong}");
    }
    assert!(asks(&person.open_index("type=googledrive", UI).await));
}

#[tokio::test]
async fn the_cookie_is_of_this_host_alone_and_lives_thirty_days() {
    let guarded = start(Profile::google());
    let app = &guarded.app;
    let mut person = app.person();
    let page = person.open_index("", UI).await;
    let index = give(&mut person, &page, PASSWORD).await;
    let cookies: Vec<_> = index.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    let cookie = cookies.iter().find(|cookie| cookie.starts_with(COOKIE)).unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=2592000"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{attribute}: {cookie}");
    }
    assert!(person.cookie_header().len() <= 200, "{}", person.cookie_header());
    app.clock.advance(Duration::from_secs(2_592_000 - 60));
    assert!(!asks(&person.open_index("", UI).await));
    // By the server's clock too, whatever the browser keeps.
    let kept = cookie.split(';').next().unwrap();
    app.clock.advance(Duration::from_secs(60));
    assert!(answer_to(app, kept).await.body.contains("id=\"password\""));
}

/// `GET /` with this cookie.
async fn answer_to(app: &TestApp, cookie: &str) -> Answer {
    let request = app.client.get(app.at("/?type=googledrive")).header("host", "authseal.test").header("cookie", cookie);
    Answer::of(request.send().await.unwrap()).await
}

/// The cookie of somebody who gave the password.
async fn earn(app: &TestApp, password: &str) -> String {
    let mut person = app.person();
    let page = person.open_index("", UI).await;
    give(&mut person, &page, password).await;
    let cookies = person.cookie_header();
    cookies.split("; ").find(|cookie| cookie.starts_with(COOKIE)).expect("a cookie").to_owned()
}

#[tokio::test]
async fn a_cookie_of_another_server_or_for_another_password_is_worth_nothing() {
    let ours = start(Profile::google());
    let theirs = spawn_app(&access_toml(ours.folder.path()));
    let (good, foreign) = (earn(&ours.app, PASSWORD).await, earn(&theirs, PASSWORD).await);
    let admitted = async |cookie: &str| answer_to(&ours.app, cookie).await.body.contains("login?id=googledrive");
    assert!(admitted(&good).await);
    assert!(!admitted(&foreign).await, "the same password, other keys");
    let ctx = ours.app.person().open_index("", UI).await;
    for forged in ["", "x", &good[COOKIE.len()..good.len() - 1], &hidden(&ctx, "ctx").unwrap()] {
        assert!(!admitted(&format!("{COOKIE}{forged}")).await, "{forged}");
    }

    write_hash(ours.folder.path(), "another password");
    until(Duration::from_secs(20), async || !admitted(&good).await).await;
    let mut person = ours.app.person();
    let page = person.open_index("", UI).await;
    assert_eq!(give(&mut person, &page, PASSWORD).await.status, 403);
    let newer = earn(&ours.app, "another password").await;
    assert!(admitted(&newer).await && !admitted(&good).await);
}

#[tokio::test]
async fn a_sixth_password_within_a_minute_from_one_address_is_not_looked_at() {
    let guarded = start(Profile::google());
    let app = &guarded.app;
    let mut person = app.person();
    let page = person.open_index(&format!("type=googledrive&token={FETCH_TOKEN}"), UI).await;
    for _ in 0..5 {
        assert_eq!(give(&mut person, &page, "a wrong password").await.status, 403);
    }
    let mut somebody_else = app.person();
    let other = somebody_else.open_index("", UI).await;
    for (person, page) in [(&mut person, &page), (&mut somebody_else, &other)] {
        let refused = give(person, page, PASSWORD).await;
        assert_eq!((refused.status, asks(&refused)), (429, true), "in any browser");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert!(!person.cookie_header().contains(COOKIE));
    }
    // Where a proxy does not say who asks, nobody is told from others, so nobody is refused for their tries.
    let mut unknown = app.person();
    unknown.behind_none();
    let other = unknown.open_index("", UI).await;
    for _ in 0..8 {
        assert_eq!(give(&mut unknown, &other, "a wrong password").await.status, 403);
    }
    assert_eq!(give(&mut unknown, &other, PASSWORD).await.status, 200);

    app.clock.advance(Duration::from_secs(61));
    let index = give(&mut person, &page, PASSWORD).await;
    let login = index.link("/login?").unwrap();
    assert_eq!(person.click(&index, login).await.delivers_to().as_deref(), Some(UI), "the opener outlives the wait");
}

#[tokio::test]
async fn a_form_from_elsewhere_or_of_another_browser_is_no_try() {
    let guarded = start(Profile::google());
    let app = &guarded.app;
    let (mut person, mut stranger) = (app.person(), app.person());
    let page = person.open_index("type=googledrive", UI).await;
    let ctx = hidden(&page, "ctx").unwrap();
    let fields = [("ctx", ctx.as_str()), ("type", "googledrive"), ("password", PASSWORD)];
    for _ in 0..6 {
        let foreign = person.submit(person.at("/access"), &fields, From::opener("https://evil.test")).await;
        assert_eq!(foreign.status, 403);
        assert!(!asks(&foreign) && !person.cookie_header().contains(COOKIE));
    }
    stranger.open_index("", UI).await;
    for _ in 0..6 {
        let stolen = stranger.submit(stranger.at("/access"), &fields, page.as_source()).await;
        assert_eq!(stolen.url.as_str(), "https://authseal.test/?type=googledrive");
        assert!(asks(&stolen) && !stranger.cookie_header().contains(COOKIE));
    }
    let no_cookies = app.post("/access", &fields).await;
    assert_eq!(no_cookies.status, 400);
    assert!(no_cookies.body.contains("keeps no cookie"), "{}", no_cookies.body);
    assert!(!asks(&give(&mut person, &page, PASSWORD).await), "and none of these was counted");
}

#[tokio::test]
async fn backups_and_everything_else_go_on_without_it() {
    let Guarded { emulator, app, folder } = start(Profile::google());
    let authid = app.log_in(&emulator);
    app.refresh(&authid).await.access_token();
    let form = [("grant_type", "refresh_token"), ("refresh_token", authid.as_str())];
    assert_eq!(app.post("/token", &form).await.status, 200);
    assert!(app.get(&format!("/fetch?token={FETCH_TOKEN}")).await.json()["wait"].is_string());
    assert_eq!(app.get(&format!("/token-state?token={FETCH_TOKEN}")).await.json(), json!({"success": false}));
    for path in
        ["/revoke", "/inspect", "/privacy-policy", "/healthz", "/readyz", "/isalive?data=x", "/static/authseal.css"]
    {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("id=\"password\""), "{path}");
    }
    assert_eq!(app.post("/revoked", &[("authid", &authid)]).await.status, 200);
    assert_eq!(app.refresh(&authid).await.status, 401);

    // A login that has begun ends, even if the password changes meanwhile.
    let mut person = app.person();
    let page = person.open_index("type=googledrive", UI).await;
    let index = give(&mut person, &page, PASSWORD).await;
    let callback = person.visit_until("/logged-in", index.link("/login?").unwrap(), index.as_source()).await;
    write_hash(folder.path(), "another password");
    until(Duration::from_secs(20), async || asks(&person.open_index("", UI).await)).await;
    assert!(person.visit(callback, From::opener(emulator.base())).await.authid().is_some());
}

#[tokio::test]
async fn without_the_setting_nothing_of_it_is_there() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_app(&emulator.provider_toml());
    let mut person = app.person();
    let index = person.open_index("type=googledrive", UI).await;
    assert!(!asks(&index) && index.link("/login?").is_some());
    assert_eq!(app.post("/access", &[("password", PASSWORD)]).await.status, 404);
    let guarded = start(Profile::google());
    for (app, told) in [(&app, false), (&guarded.app, true)] {
        for path in ["/privacy-policy", "/privacy-policy.txt"] {
            assert_eq!(app.get(path).await.body.contains("30 days"), told, "{path}");
        }
    }
}

#[tokio::test]
async fn parameters_are_not_echoed_on_the_page_that_asks() {
    let guarded = start(Profile::google());
    let app = &guarded.app;
    let mut person = app.person();
    let payload = secret("<script>alert(1)</script>\"'", "echo");
    for name in ["type", "token", "redirect", "redir", "ctx", "password", "error"] {
        let mut url = person.at("/");
        url.query_pairs_mut().append_pair(name, &payload);
        let page = person.visit(url, From::opener("https://evil.test")).await;
        let ctx = hidden(&page, "ctx").unwrap();
        let fields = [("ctx", ctx.as_str()), ("password", "x"), (name, payload.as_str())];
        let again = person.submit(person.at("/access"), &fields, page.as_source()).await;
        app.clock.advance(Duration::from_secs(61));
        for page in [page, again] {
            assert!(page.status < 500, "{name}");
            assert!(!page.body.contains("alert(1)") && !page.body.contains("CANARY"), "{name}");
        }
    }
}

#[tokio::test]
async fn no_password_is_ever_logged() {
    let Guarded { app, folder, emulator: _emulator } = start(Profile::google());
    let (right, wrong) = (secret("right ", "password"), secret("wrong ", "password"));
    let before = fs::read_to_string(folder.path().join("password")).unwrap();
    write_hash(folder.path(), &right);
    let mut person = app.person();
    let mut page = person.open_index("type=googledrive", UI).await;
    until(Duration::from_secs(20), async || {
        page = give(&mut person, &page, &right).await;
        app.clock.advance(Duration::from_secs(61));
        !asks(&page)
    })
    .await;
    let mut guesser = app.person();
    let page = guesser.open_index("", UI).await;
    for _ in 0..6 {
        give(&mut guesser, &page, &wrong).await;
    }
    // Somebody puts the password itself into the file: that is told, without it.
    fs::write(folder.path().join("password"), &right).unwrap();
    let log = || String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
    let path = folder.path().display().to_string();
    until(Duration::from_secs(20), async || {
        log().lines().any(|l| l.contains("password not loaded") && l.contains(&path))
    })
    .await;
    let (log, hash) = (log(), fs::read_to_string(folder.path().join("password")).unwrap());
    let cookies = person.cookie_header();
    let pass = cookies.split(COOKIE).nth(1).unwrap().split("; ").next().unwrap();
    assert!(log.contains("/access"), "its requests are in the log");
    for secret in [&right, &wrong, &before[before.len() - 40..], &hash, pass] {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// Runs the command line with a text on its standard input.
fn authseal(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authseal"));
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments may have ended before it is written to.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn the_command_makes_what_the_file_has_to_hold() {
    for (bad, why) in
        [("", "no password"), ("\n", "no password"), ("1234567\n", "too short"), ("12345678\nx\n", "lines")]
    {
        let output = authseal(&["access", "hash"], bad);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{bad:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{bad:?}: {output:?}");
    }
    let argument = authseal(&["access", "hash", PASSWORD], "");
    assert_eq!((argument.status.code(), argument.stdout.len()), (Some(2), 0));
    assert!(!String::from_utf8_lossy(&argument.stderr).contains(PASSWORD), "{argument:?}");
    let output = authseal(&["access", "hash"], &format!("{PASSWORD}\n"));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("password"), output.stdout).unwrap();
    earn(&spawn_app(&access_toml(folder.path())), PASSWORD).await;
}

#[test]
fn a_password_in_place_of_its_hash_keeps_the_server_from_starting() {
    let app = spawn_app("");
    let file = app.dir.path().join("authseal.toml");
    let config = fs::read_to_string(&file).unwrap() + &access_toml(app.dir.path());
    fs::write(&file, config).unwrap();
    let check = || authseal(&["check", "--config", file.to_str().unwrap()], "");
    let fault = |output: Output| String::from_utf8(output.stderr).unwrap();
    assert!(fault(check()).contains("there is no file"));
    fs::write(app.dir.path().join("password"), PASSWORD).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(2));
    let fault = fault(output);
    assert!(fault.contains("`authseal access hash`") && !fault.contains(PASSWORD), "{fault}");
    write_hash(app.dir.path(), PASSWORD);
    assert!(check().status.success());
}
