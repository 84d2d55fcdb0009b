//! One attack for each guard, made twice: with the guard switched off it succeeds, with the guard it fails. So every
//! guard is known to be what keeps its attack out.

use super::service;
use crate::access::hash;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::guard::{self, Guard};
use crate::seal::{Epoch, new_secret_text};
use actix_web::http::header;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{HttpResponse, HttpServer, dev, web};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;

const OWN: &str = "https://authseal.test";
const UI: &str = "http://localhost:8200/";
const EVIL: &str = "https://evil.test";
const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";
const HOME: &str = "203.0.113.7:5000";
const ELSEWHERE: &str = "198.51.100.9:5000";
const PASSWORD: &str = "correct horse battery";
const ASKS_FOR_PASSWORD: &str = "[access]\npassword_file = \"password\"\n";
static PASSWORD_HASH: LazyLock<String> = LazyLock::new(|| hash(PASSWORD).unwrap());
const FROM_EVIL: &[(&str, &str)] = &[("origin", EVIL), ("sec-fetch-site", "cross-site")];

/// Nothing when the attacker got what he wanted, otherwise the status that he got instead.
type Outcome = Result<(), u16>;

/// Makes an attack at a fresh server without the guard, and at another one with it, which answers `status`.
async fn prove(guard: Guard, status: u16, attack: impl AsyncFn(&Site) -> Outcome) {
    prove_with("", guard, status, attack).await;
}

/// [`prove`] at servers with further configuration.
async fn prove_with(tables: &str, guard: Guard, status: u16, attack: impl AsyncFn(&Site) -> Outcome) {
    let off = guard::without(guard);
    assert_eq!(attack(&Site::start(tables)).await, Ok(()), "even without {guard:?} the attack fails");
    drop(off);
    assert_eq!(attack(&Site::start(tables)).await, Err(status), "{guard:?}");
}

/// A server, and a provider that gives tokens to whoever asks.
struct Site {
    app: web::Data<App>,
    clock: Clock,
    provider: dev::ServerHandle,
    _folder: TempDir,
}

impl Site {
    fn start(tables: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let tokens = || async {
            HttpResponse::Ok().json(json!({
                "access_token": "access", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "refresh",
            }))
        };
        let server = HttpServer::new(move || actix_web::App::new().default_service(web::to(tokens)));
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        let provider = server.handle();
        tokio::spawn(server);

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        };
        let secret = new_secret_text(Epoch::parse("1").unwrap()).unwrap();
        write("keys.toml", format!("primary = 1\n[[key]]\nepoch = 1\nsecret = \"{}\"\n", *secret));
        write("denylist", "authseal-denylist 1\n".to_owned());
        write("password", PASSWORD_HASH.clone());
        write(
            "authseal.toml",
            format!(
                "public_url = \"{OWN}\"\n\
                 [keyring]\nfile = \"keys.toml\"\n[denylist]\nfile = \"denylist\"\n\
                 [clients.cloud]\nid = \"authseal\"\nsecret = \"b6f2e0a94c\"\n\
                 [providers.cloud]\nname = \"Cloud\"\nrotation = \"none\"\npkce = true\nissuer = \"{at}\"\n\
                 authorize_url = \"{at}/authorize\"\ntoken_url = \"{at}/token\"\nrevoke_url = \"{at}/revoke\"\n\
                 [services.drive]\nprovider = \"cloud\"\nname = \"Drive\"\nscopes = [\"files\"]\n\
                 [clients.shop]\nid = \"authseal\"\n\
                 [providers.shop]\nname = \"Shop\"\nrotation = \"none\"\nflow = \"paste\"\npaste_url = \"{at}\"\ntoken_url = \"{at}/token\"\n\
                 [services.shelf]\nprovider = \"shop\"\nname = \"Shelf\"\nscopes = [\"files\"]\n{tables}"
            ),
        );
        let sources = Sources {
            file: Some(folder.path().join("authseal.toml")),
            system_file: folder.path().join("none"),
            working_dir: folder.path().into(),
            ..Sources::default()
        };
        let (config, public_url) = Config::load_to_serve(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        let clock = Clock::system();
        let app = web::Data::new(App::build(config, public_url, clock.clone()).unwrap());
        Self { app, clock, provider, _folder: folder }
    }

    /// A browser somewhere that has been here before, so it has a binder of its own.
    async fn browser(&self, address: &'static str) -> Browser<'_> {
        let mut browser = Browser { site: self, address, cookies: BTreeMap::new() };
        browser.get("/", &[]).await;
        browser
    }

    /// Asks for the AuthID that waits, as somebody at `address`.
    async fn fetch(&self, address: &'static str, token: &str) -> Outcome {
        let mut asker = self.browser(address).await;
        let answer = asker.get(&format!("/fetch?callback=cb&token={token}"), &[]).await;
        answer.won(answer.body.contains("authid"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.provider.stop(false)); // sent at once; what is dropped is only the waiting
    }
}

struct Browser<'a> {
    site: &'a Site,
    address: &'static str,
    cookies: BTreeMap<String, String>,
}

struct Answer {
    status: u16,
    location: String,
    body: String,
}

impl Answer {
    fn won(&self, won: bool) -> Outcome {
        if won { Ok(()) } else { Err(self.status) }
    }

    fn between(&self, start: &str, end: &str) -> String {
        let found = self.body.split_once(start).and_then(|(_, rest)| rest.split_once(end));
        found.unwrap_or_else(|| panic!("{start} is not in: {} {}", self.status, self.body)).0.to_owned()
    }

    fn leads_to_provider(&self) -> bool {
        self.location.contains("/authorize?")
    }

    fn has_authid(&self) -> bool {
        self.status == 200 && self.body.contains("v3:")
    }
}

impl Browser<'_> {
    async fn send(&mut self, request: TestRequest, headers: &[(&str, &str)]) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.peer_addr(self.address.parse().unwrap()).insert_header(("cookie", cookies.join("; ")));
        let request = request.insert_header(("host", "authseal.test"));
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        let response = call_service(&init_service(service(self.site.app.clone())).await, request.to_request()).await;
        for cookie in response.response().cookies() {
            self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
        }
        let location = response.headers().get(header::LOCATION).map_or("", |url| url.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        Answer { status, location, body: String::from_utf8(read_body(response).await.to_vec()).unwrap() }
    }

    async fn get(&mut self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(TestRequest::get().uri(uri), headers).await
    }

    async fn post(&mut self, uri: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        self.send(TestRequest::post().uri(uri).set_form(fields), headers).await
    }

    /// The `ctx` that our page has for this browser, in its links or in its form, when `opener` opens it.
    async fn open(&mut self, opener: &str, token: &str) -> String {
        let page = self.get(&format!("/?type=drive&token={token}"), &[("referer", opener)]).await;
        let in_form = "name=\"ctx\" value=\"";
        page.between(if page.body.contains(in_form) { in_form } else { "ctx=" }, "\"")
    }

    /// The `state` with which the provider sends this browser back.
    async fn leave(&mut self, opener: &str, token: &str) -> String {
        let ctx = self.open(opener, token).await;
        let away = self.get(&format!("/login?id=drive&ctx={ctx}"), &[]).await;
        let url = url::Url::parse(&away.location).unwrap();
        url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
    }

    async fn come_back(&mut self, state: &str) -> Answer {
        self.get(&format!("/logged-in?code=code&state={state}"), &[]).await
    }

    async fn log_in(&mut self, opener: &str, token: &str) -> Answer {
        let state = self.leave(opener, token).await;
        let page = self.come_back(&state).await;
        assert!(page.has_authid(), "{} {}", page.status, page.body);
        page
    }
}

#[tokio::test]
async fn a_login_does_not_end_in_another_browser() {
    prove(Guard::Binder, 400, async |site| {
        let state = site.browser(ELSEWHERE).await.leave(UI, TOKEN).await;
        let page = site.browser(HOME).await.come_back(&state).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn a_login_link_is_of_no_use_in_another_browser() {
    prove(Guard::Binder, 303, async |site| {
        let ctx = site.browser(ELSEWHERE).await.open(UI, TOKEN).await;
        let away = site.browser(HOME).await.get(&format!("/login?id=drive&ctx={ctx}"), &[]).await;
        away.won(away.leads_to_provider())
    })
    .await;
}

#[tokio::test]
async fn a_stolen_ticket_is_of_no_use_in_another_browser() {
    prove(Guard::Binder, 400, async |site| {
        let page = site.browser(HOME).await.log_in(EVIL, TOKEN).await;
        let ticket = page.between("data-ticket=\"", "\"");
        let fields = [("grant", ticket.as_str()), ("to", "asker")];
        let sent = site.browser(ELSEWHERE).await.post("/deliver", &fields, &[]).await;
        sent.won(site.fetch(ELSEWHERE, TOKEN).await.is_ok())
    })
    .await;
}

#[tokio::test]
async fn an_old_state_ends_no_login() {
    prove(Guard::Age, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        site.clock.advance(Duration::from_secs(1200));
        let page = browser.come_back(&state).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn a_callback_from_the_history_shows_no_authid_again() {
    prove(Guard::Replay, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        assert!(browser.come_back(&state).await.has_authid());
        let again = browser.come_back(&state).await;
        again.won(again.has_authid())
    })
    .await;
}

#[tokio::test]
async fn an_answer_from_another_issuer_is_not_redeemed() {
    prove(Guard::Issuer, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        let page = browser.come_back(&format!("{state}&iss={EVIL}")).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn a_planted_state_cookie_ends_no_login_where_the_provider_returns_the_state() {
    prove(Guard::StateOptional, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        browser.cookies.insert("__Host-authseal-state".to_owned(), state);
        let page = browser.get("/logged-in?code=of-the-attacker", &[("sec-fetch-site", "cross-site")]).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn another_site_begins_no_login() {
    prove(Guard::OwnPageOnly, 303, async |site| {
        let mut browser = site.browser(HOME).await;
        let ctx = browser.open(UI, TOKEN).await;
        let away = browser.get(&format!("/login?id=drive&ctx={ctx}"), FROM_EVIL).await;
        away.won(away.leads_to_provider())
    })
    .await;
}

#[tokio::test]
async fn no_page_is_shown_under_a_foreign_name() {
    prove(Guard::HostName, 421, async |site| {
        let page = site.browser(HOME).await.get("/", &[("host", "evil.test")]).await;
        page.won(page.body.contains("ctx="))
    })
    .await;
}

#[tokio::test]
async fn an_authid_does_not_wait_for_an_unknown_opener() {
    prove(Guard::TrustedOpener, 200, async |site| {
        site.browser(HOME).await.log_in(EVIL, TOKEN).await;
        // By a script on the opener's page, in the same browser.
        site.fetch(HOME, TOKEN).await
    })
    .await;
}

#[tokio::test]
async fn a_planted_token_fetches_nothing_from_elsewhere() {
    prove(Guard::MailboxAddress, 200, async |site| {
        site.browser(HOME).await.log_in(UI, TOKEN).await;
        site.fetch(ELSEWHERE, TOKEN).await
    })
    .await;
}

#[tokio::test]
async fn a_guessed_token_fetches_nothing() {
    for guess in ["0", "1111111111111111", "abcdefgh"] {
        prove(Guard::FetchTokenStrength, 200, async |site| {
            site.browser(HOME).await.log_in(UI, guess).await;
            site.fetch(HOME, guess).await
        })
        .await;
    }
}

#[tokio::test]
async fn a_hostile_callback_is_not_reflected() {
    prove(Guard::JsonpCallback, 400, async |site| {
        let uri = format!("/fetch?callback=alert(document.cookie)//&token={TOKEN}");
        let script = site.browser(HOME).await.get(&uri, &[]).await;
        script.won(script.body.contains("alert(document.cookie)"))
    })
    .await;
}

#[tokio::test]
async fn another_site_revokes_nothing() {
    prove(Guard::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let page = browser.log_in(UI, TOKEN).await;
        let authid = format!("v3:{}", page.between("v3:", "<"));
        let revoked = browser.post("/revoked", &[("authid", authid.trim())], FROM_EVIL).await;
        revoked.won(revoked.status == 200)
    })
    .await;
}

#[tokio::test]
async fn another_site_presses_no_button() {
    prove(Guard::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let ticket = browser.log_in(EVIL, TOKEN).await.between("data-ticket=\"", "\"");
        let sent = browser.post("/deliver", &[("grant", ticket.as_str()), ("to", "asker")], FROM_EVIL).await;
        sent.won(site.fetch(ELSEWHERE, TOKEN).await.is_ok())
    })
    .await;
}

#[tokio::test]
async fn another_site_pastes_no_token_of_its_own() {
    prove(Guard::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let ctx = browser.open(UI, TOKEN).await;
        let token = BASE64URL.encode(r#"{"username":"mallory","auth_token":"of-the-attacker"}"#);
        let fields = [("id", "shelf"), ("ctx", ctx.as_str()), ("token", token.as_str())];
        let page = browser.post("/cli-token-login", &fields, FROM_EVIL).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn another_site_gives_no_password() {
    prove_with(ASKS_FOR_PASSWORD, Guard::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let ctx = browser.open(UI, TOKEN).await;
        let page = browser.post("/access", &[("ctx", ctx.as_str()), ("password", PASSWORD)], FROM_EVIL).await;
        page.won(browser.cookies.contains_key("__Host-authseal-access"))
    })
    .await;
}

#[tokio::test]
async fn no_login_begins_around_the_password() {
    prove_with(ASKS_FOR_PASSWORD, Guard::Password, 303, async |site| {
        let mut browser = site.browser(HOME).await;
        let ctx = browser.open(UI, TOKEN).await;
        let away = browser.get(&format!("/login?id=drive&ctx={ctx}"), &[]).await;
        away.won(away.leads_to_provider())
    })
    .await;
}
