//! What the attacks are made at: a server with its provider, browsers, and the proof itself.

use crate::app::{App, LiveApp};
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::mitigation::{self, Mitigation};
use crate::password::hash;
use crate::seal::testing::keyring_text;
use crate::web::service;
use actix_web::http::header;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{HttpResponse, HttpServer, dev, web};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use tempfile::TempDir;

pub(super) const OWN: &str = "https://authseal.test";
pub(super) const UI: &str = "http://localhost:8200/";
pub(super) const EVIL: &str = "https://evil.test";
pub(super) const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";
pub(super) const HOME: &str = "203.0.113.7:5000";
pub(super) const ELSEWHERE: &str = "198.51.100.9:5000";
/// Ends TLS for the server and says for whom.
pub(super) const PROXY: &str = "192.0.2.200:5000";
pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const ASKS_FOR_PASSWORD: &str = "[access]\npassword_file = \"password\"\n";
static PASSWORD_HASH: LazyLock<String> = LazyLock::new(|| hash(PASSWORD).unwrap());
pub(super) const FROM_EVIL: &[(&str, &str)] = &[("origin", EVIL), ("sec-fetch-site", "cross-site")];

/// Nothing when the attacker got what he wanted, otherwise the status that he got instead.
pub(super) type Outcome = Result<(), u16>;

/// Makes an attack at a fresh server without the mitigation, and at another one with it, which answers `status`.
pub(super) async fn prove(mitigation: Mitigation, status: u16, attack: impl AsyncFn(&Site) -> Outcome) {
    prove_with("", mitigation, status, attack).await;
}

/// [`prove`] at servers with further configuration.
pub(super) async fn prove_with(
    tables: &str,
    mitigation: Mitigation,
    status: u16,
    attack: impl AsyncFn(&Site) -> Outcome,
) {
    let off = mitigation::without(mitigation);
    assert_eq!(attack(&Site::start(tables)).await, Ok(()), "even without {mitigation:?} the attack fails");
    drop(off);
    assert_eq!(attack(&Site::start(tables)).await, Err(status), "{mitigation:?}");
}

/// A server, and a provider that gives tokens to whoever asks.
pub(super) struct Site {
    pub(super) app: web::Data<LiveApp>,
    pub(super) clock: Clock,
    provider: dev::ServerHandle,
    pub(super) folder: TempDir,
}

impl Site {
    pub(super) fn start(tables: &str) -> Self {
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
        write("keys.toml", keyring_text(1, &[1]));
        write("denylist", "authseal-denylist 1\n".to_owned());
        write("password", PASSWORD_HASH.clone());
        write(
            "authseal.toml",
            format!(
                "public_url = \"{OWN}\"\nserver.trusted_proxies = [\"192.0.2.200\"]\n\
                 [keyring]\nfile = \"keys.toml\"\n[denylist]\nfile = \"denylist\"\n\
                 [clients.cloud]\nid = \"authseal\"\nsecret = \"b6f2e0a94c\"\n\
                 [providers.cloud]\nname = \"Cloud\"\nrotation = \"none\"\npkce = true\nissuer = \"{at}\"\n\
                 authorize_url = \"{at}/authorize\"\ntoken_url = \"{at}/token\"\nrevoke_url = \"{at}/revoke\"\n\
                 [services.drive]\nprovider = \"cloud\"\nname = \"Drive\"\nscopes = [\"files\"]\naliases = [\"disk\"]\n\
                 [clients.shop]\nid = \"authseal\"\n\
                 [providers.shop]\nname = \"Shop\"\nrotation = \"none\"\nflow = \"paste\"\npaste_url = \"{at}\"\ntoken_url = \"{at}/token\"\n\
                 [services.shelf]\nprovider = \"shop\"\nname = \"Shelf\"\nscopes = [\"files\"]\n{}",
                tables.replace("PROVIDER", &at)
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
        let app = web::Data::new(App::build(config, public_url, clock.clone()).unwrap().into());
        Self { app, clock, provider, folder }
    }

    /// A browser somewhere that has been here before, so it has a browser cookie of its own.
    pub(super) async fn browser(&self, address: &'static str) -> Browser<'_> {
        let mut browser = Browser { site: self, address, direct: false, cookies: BTreeMap::new() };
        browser.get("/", &[]).await;
        browser
    }

    /// The same at a peer of the server that is not its proxy.
    pub(super) async fn direct(&self, address: &'static str) -> Browser<'_> {
        Browser { direct: true, ..self.browser(address).await }
    }

    /// Asks for the AuthID that waits, as somebody at `address`.
    pub(super) async fn fetch(&self, address: &'static str, token: &str) -> Outcome {
        self.fetch_as(address, token, &[]).await
    }

    /// [`Site::fetch`] with further headers; from the interface's page unless they name another.
    pub(super) async fn fetch_as(&self, address: &'static str, token: &str, headers: &[(&str, &str)]) -> Outcome {
        let mut asker = self.browser(address).await;
        let named = headers.iter().any(|(name, _)| *name == "referer");
        let page = (!named).then_some(("referer", UI));
        let headers: Vec<_> = headers.iter().copied().chain(page).collect();
        let answer = asker.get(&format!("/fetch?callback=cb&token={token}"), &headers).await;
        answer.won(answer.body.contains("authid"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.provider.stop(false)); // sent at once; what is dropped is only the waiting
    }
}

pub(super) struct Browser<'a> {
    site: &'a Site,
    address: &'static str,
    direct: bool,
    pub(super) cookies: BTreeMap<String, String>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    location: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn won(&self, won: bool) -> Outcome {
        if won { Ok(()) } else { Err(self.status) }
    }

    pub(super) fn between(&self, start: &str, end: &str) -> String {
        let found = self.body.split_once(start).and_then(|(_, rest)| rest.split_once(end));
        found.unwrap_or_else(|| panic!("{start} is not in: {} {}", self.status, self.body)).0.to_owned()
    }

    pub(super) fn leads_to_provider(&self) -> bool {
        self.location.contains("/authorize?")
    }

    pub(super) fn has_authid(&self) -> bool {
        self.status == 200 && self.body.contains("v3:")
    }
}

impl Browser<'_> {
    async fn send(&mut self, request: TestRequest, headers: &[(&str, &str)]) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.insert_header(("cookie", cookies.join("; "))).insert_header(("host", "authseal.test"));
        let request = if self.direct {
            request.peer_addr(self.address.parse().unwrap())
        } else {
            request.peer_addr(PROXY.parse().unwrap()).insert_header(("x-forwarded-for", self.address))
        };
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        let response = call_service(&init_service(service(self.site.app.clone())).await, request.to_request()).await;
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers().get(header::LOCATION).map_or("", |url| url.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        Answer { status, location, body: String::from_utf8(read_body(response).await.to_vec()).unwrap() }
    }

    pub(super) async fn get(&mut self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(TestRequest::get().uri(uri), headers).await
    }

    pub(super) async fn post(&mut self, uri: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        self.send(TestRequest::post().uri(uri).set_form(fields), headers).await
    }

    /// The `ctx` that our page has for this browser, in its links or in its form, when `opener` opens it.
    pub(super) async fn open(&mut self, opener: &str, token: &str) -> String {
        self.open_for("drive", opener, token).await
    }

    async fn open_for(&mut self, service: &str, opener: &str, token: &str) -> String {
        let page = self.get(&format!("/?type={service}&token={token}"), &[("referer", opener)]).await;
        let in_form = "name=\"ctx\" value=\"";
        page.between(if page.body.contains(in_form) { in_form } else { "ctx=" }, "\"")
    }

    /// The `state` with which the provider sends this browser back.
    pub(super) async fn leave(&mut self, opener: &str, token: &str) -> String {
        self.leave_for("drive", opener, token).await
    }

    pub(super) async fn leave_for(&mut self, service: &str, opener: &str, token: &str) -> String {
        let ctx = self.open_for(service, opener, token).await;
        let away = self.get(&format!("/login?id={service}&ctx={ctx}"), &[]).await;
        let url = url::Url::parse(&away.location).unwrap();
        url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
    }

    pub(super) async fn come_back(&mut self, state: &str) -> Answer {
        self.get(&format!("/logged-in?code=code&state={state}"), &[]).await
    }

    pub(super) async fn log_in(&mut self, opener: &str, token: &str) -> Answer {
        let state = self.leave(opener, token).await;
        let page = self.come_back(&state).await;
        assert!(page.has_authid(), "{} {}", page.status, page.body);
        page
    }
}
