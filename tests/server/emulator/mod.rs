//! A strict pretend provider on loopback. It refuses what the real one refuses, in the real one's words, and misbehaves
//! on demand. A test starts one, points authseal at it with [`Emulator::provider_toml`], and asks it afterwards what
//! it was called with.

mod authorize;
mod ledger;
mod fault;
mod profile;
mod refusal;
mod token;
mod honeypot;
mod wire;

pub(crate) use authorize::Consent;
pub(crate) use fault::Fault;
pub(crate) use honeypot::Honeypot;
pub(crate) use ledger::{CANARY, Tokens, secret};
pub(crate) use profile::{Profile, REDIRECT_URI, Renewal};
pub(crate) use wire::Call;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use authseal::clock::Clock;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ledger::Ledger;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// What the handle and the server's threads both hold.
struct Shared {
    who: Profile,
    base: String,
    ledger: Mutex<Ledger>,
    /// Registered clients, each with its secret.
    clients: Mutex<HashMap<String, Option<String>>>,
    redirect_uris: Mutex<Vec<String>>,
    consents: Mutex<VecDeque<Consent>>,
    region: Mutex<Option<(String, String)>>,
    faults: Mutex<Option<Armed>>,
    discovery: Mutex<bool>,
    held: watch::Sender<bool>,
    authorizations: Mutex<Vec<String>>,
    calls: Mutex<Vec<Call>>,
    honeypot: Honeypot,
}

/// A fault that waits for calls.
struct Armed {
    fault: Fault,
    /// How many calls it hits; None: all.
    left: Option<usize>,
    /// Whether the provider does its part before it fails to say so.
    done_first: bool,
}

/// A running pretend provider; it stops when it is dropped.
pub(crate) struct Emulator {
    /// Its time; it ages codes and tokens when it is moved ahead.
    pub(crate) clock: Clock,
    shared: Arc<Shared>,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Starts one with a time of its own.
    pub(crate) fn start(who: Profile) -> Self {
        Self::start_at(who, Clock::system())
    }

    /// Starts one that shares a clock.
    pub(crate) fn start_at(who: Profile, clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let region = ("1".to_owned(), "api.pcloud.com".to_owned());
        let shared = Arc::new(Shared {
            who,
            base,
            ledger: Mutex::new(Ledger::new(who, clock.clone())),
            clients: Mutex::new([(who.client_id.to_owned(), who.secret.map(str::to_owned))].into()),
            redirect_uris: Mutex::new(vec![REDIRECT_URI.to_owned()]),
            consents: Mutex::default(),
            region: Mutex::new(Some(region)),
            faults: Mutex::default(),
            discovery: Mutex::new(true),
            held: watch::Sender::new(false),
            authorizations: Mutex::default(),
            calls: Mutex::default(),
            honeypot: Honeypot::open(),
        });
        let (handles, handle) = mpsc::channel();
        let state = Data::from(shared.clone());
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(state.clone()).default_service(web::to(serve));
                let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(0);
                let server = server.on_connect(fault::keep_socket).listen(listener).unwrap().run();
                handles.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { clock, shared, server: handle.recv().unwrap(), thread: Some(thread) }
    }

    /// Who it is.
    pub(crate) fn who(&self) -> &Profile {
        &self.shared.who
    }

    /// `http://127.0.0.1:<port>`, also its issuer.
    pub(crate) fn base(&self) -> &str {
        &self.shared.base
    }

    /// Configuration that points authseal's provider of this name here, with the registered client.
    pub(crate) fn provider_toml(&self) -> String {
        let (who, base) = (self.who(), self.base());
        let mut toml = format!("[providers.{}]\n", who.provider);
        if who.basic {
            // Everything else is discovered.
            let _ = write!(toml, "name = \"Example\"\nissuer = \"{base}\"\npkce = true\nrotation = \"none\"\n");
            let _ =
                write!(toml, "[services.{}]\nprovider = \"{}\"\nname = \"Example Drive\"\n", who.service, who.provider);
            let _ = writeln!(toml, "scopes = {:?}", who.scopes);
        } else {
            for (key, path) in [("authorize_url", who.authorize), ("token_url", who.token), ("revoke_url", who.revoke)]
            {
                if !path.is_empty() {
                    let _ = writeln!(toml, "{key} = \"{base}{path}\"");
                }
            }
        }
        let _ = writeln!(toml, "[clients.{}]\nid = \"{}\"", who.provider, who.client_id);
        if let Some(secret) = who.secret {
            let _ = writeln!(toml, "secret = \"{secret}\"");
        }
        toml
    }

    /// Registers another redirect URI beside the usual one.
    pub(crate) fn register(&self, redirect_uri: &str) {
        self.shared.redirect_uris.lock().unwrap().push(redirect_uri.to_owned());
    }

    /// What the next person does; after that, people agree again.
    pub(crate) fn next_person(&self, consent: Consent) {
        self.shared.consents.lock().unwrap().push_back(consent);
    }

    /// Which API host the account lives at (pCloud); None: the callback does not say.
    pub(crate) fn set_region(&self, location_and_host: Option<(&str, &str)>) {
        let owned = location_and_host.map(|(location, host)| (location.to_owned(), host.to_owned()));
        *self.shared.region.lock().unwrap() = owned;
    }

    /// Seconds that access tokens live from now on; None: it does not say.
    pub(crate) fn set_access_life(&self, seconds: Option<u64>) {
        self.shared.ledger.lock().unwrap().access_life = seconds;
    }

    /// Whether the discovery document can be had.
    pub(crate) fn set_discovery(&self, there: bool) {
        *self.shared.discovery.lock().unwrap() = there;
    }

    /// A login that was made before the test: its tokens, with all scopes.
    pub(crate) fn log_in(&self) -> Tokens {
        self.log_in_at(self.who().client_id)
    }

    /// The same of another client.
    pub(crate) fn log_in_at(&self, client: &str) -> Tokens {
        let scope = self.who().scopes.iter().map(|&scope| scope.to_owned()).collect();
        self.shared.ledger.lock().unwrap().log_in(scope, true, client)
    }

    /// The client that a refresh token was issued to.
    pub(crate) fn client_of(&self, refresh_token: &str) -> Option<String> {
        self.shared.ledger.lock().unwrap().client_of(refresh_token).map(str::to_owned)
    }

    /// Registers a client, or gives it another secret.
    pub(crate) fn set_client(&self, id: &str, secret: &str) {
        self.shared.clients.lock().unwrap().insert(id.to_owned(), Some(secret.to_owned()));
    }

    /// A login that was made before the test, somewhere else: with this refresh token.
    pub(crate) fn knows(&self, refresh_token: &str) {
        self.log_in();
        self.shared.ledger.lock().unwrap().rename(refresh_token);
    }

    /// A personal login token as its owner copies it: base64url of JSON. Its link leads into the honeypot.
    pub(crate) fn login_token(&self) -> String {
        let token = self.shared.ledger.lock().unwrap().new_login_token();
        let link = self.shared.honeypot.url();
        let json = serde_json::json!({
            "username": "emulated@example.com",
            "realm": "jottacloud",
            "well_known_link": link,
            "auth_token": token,
        });
        BASE64URL.encode(json.to_string())
    }

    /// A call to the provider's API with an access token: whether it is let in.
    pub(crate) fn use_access_token(&self, token: &str) -> bool {
        self.shared.ledger.lock().unwrap().use_access(token)
    }

    /// Whether a refresh token would still bring something.
    pub(crate) fn is_alive(&self, refresh_token: &str) -> bool {
        self.shared.ledger.lock().unwrap().is_alive(refresh_token)
    }

    /// The person withdraws the access at the provider.
    pub(crate) fn withdraw(&self, refresh_token: &str) {
        self.shared.ledger.lock().unwrap().revoke(refresh_token, false).unwrap();
    }

    /// Every token call goes wrong like this, until [`Emulator::behave`].
    pub(crate) fn misbehave(&self, fault: Fault) {
        *self.shared.faults.lock().unwrap() = Some(Armed { fault, left: None, done_first: false });
    }

    /// The next token calls go wrong like this.
    pub(crate) fn misbehave_times(&self, calls: usize, fault: Fault) {
        *self.shared.faults.lock().unwrap() = Some(Armed { fault, left: Some(calls), done_first: false });
    }

    /// The next token calls are carried out, and then their answer goes wrong like this.
    pub(crate) fn lose_answers(&self, calls: usize, fault: Fault) {
        *self.shared.faults.lock().unwrap() = Some(Armed { fault, left: Some(calls), done_first: true });
    }

    /// No more misbehaviour.
    pub(crate) fn behave(&self) {
        *self.shared.faults.lock().unwrap() = None;
    }

    /// Token calls get no answer until [`Emulator::release`].
    pub(crate) fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Answers what is held, and everything after it at once.
    pub(crate) fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// All calls of the token and revocation endpoints so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// The URLs of all visits to the authorization endpoint so far.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.shared.authorizations.lock().unwrap().clone()
    }

    /// How many connections went where no connection should go.
    pub(crate) fn trapped(&self) -> usize {
        self.shared.honeypot.caught()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The command is sent at once; the future is only its echo.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The fault that hits this call, and whether the call is carried out first.
    fn fault(&self) -> Option<(Fault, bool)> {
        let mut faults = self.faults.lock().unwrap();
        let armed = faults.as_mut()?;
        let hit = (armed.fault.clone(), armed.done_first);
        if let Some(left) = &mut armed.left {
            *left -= 1;
            if *left == 0 {
                *faults = None;
            }
        }
        Some(hit)
    }
}

async fn serve(req: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let (path, who) = (req.path(), &shared.who);
    let is = |pattern: &str| wire::route(pattern, path).is_some();
    match req.method().as_str() {
        "GET" if is(who.authorize) => authorize(&req, &shared),
        "GET" if who.basic && path == "/.well-known/openid-configuration" => discover(&shared),
        "POST" if is(who.token) => {
            let call = record(&req, &body, &shared);
            // An error means that the emulator is being dropped.
            let _ = shared.held.subscribe().wait_for(|held| !held).await;
            match shared.fault() {
                None => {
                    let (status, body) = token::answer(&shared, &call);
                    json(status, body.to_string())
                }
                // Without the provider's part done, a dripped or torn answer is one that looks right.
                Some((fault, done_first)) => {
                    let looks = serde_json::json!({"access_token": secret("", "torn"), "expires_in": 3600});
                    let (status, body) = if done_first { token::answer(&shared, &call) } else { (200, looks) };
                    fault.answer(&req, &shared.honeypot, (status, body.to_string())).await
                }
            }
        }
        "POST" if is(who.revoke) => {
            let call = record(&req, &body, &shared);
            let (status, body) = token::revoke(&shared, &call);
            json(status, body)
        }
        _ if is(who.token) || is(who.authorize) || is(who.revoke) => {
            record(&req, &body, &shared);
            HttpResponse::MethodNotAllowed().finish()
        }
        _ => HttpResponse::NotFound().finish(),
    }
}

fn authorize(req: &HttpRequest, shared: &Shared) -> HttpResponse {
    shared.authorizations.lock().unwrap().push(req.uri().to_string());
    match authorize::answer(shared, req.path(), req.query_string(), &shared.base) {
        Ok(back) => HttpResponse::Found().append_header(("location", back.as_str())).finish(),
        Err(refusal) => json(400, refusal.answer(shared.who.dialect).1.to_string()),
    }
}

fn discover(shared: &Shared) -> HttpResponse {
    match *shared.discovery.lock().unwrap() {
        true => json(200, authorize::discovery(shared, &shared.base).to_string()),
        false => HttpResponse::ServiceUnavailable().finish(),
    }
}

fn record(req: &HttpRequest, body: &[u8], shared: &Shared) -> Call {
    let headers = req.headers().iter();
    let call = Call {
        method: req.method().to_string(),
        path: req.path().to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        params: wire::params(body),
    };
    shared.calls.lock().unwrap().push(call.clone());
    call
}

fn json(status: u16, body: String) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
    HttpResponse::build(status).content_type("application/json; charset=utf-8").body(body)
}
