//! A pretend cloud storage that speaks OAuth over HTTP like any stranger: for `authseal demo` and for trying things
//! out without an account anywhere. Nothing behind it is real.
//!
//! Refresh tokens are sealed with a key of its own, so that they survive a restart when the key does; codes and
//! revocations live in memory.

mod grants;
mod walk;

pub use walk::{WalkError, Walked, walk};

use crate::config::Site;
use crate::seal::{Key, SealError, random};
use crate::texts::{Language, Texts};
use actix_web::http::{StatusCode, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev, web};
use grants::{Grants, Request};
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How long an access token lives, in seconds.
const ACCESS_TOKEN_LIFE: u64 = 3600;

/// A running demo provider.
pub struct DemoProvider {
    /// Where it listens.
    pub address: SocketAddr,
    /// The client id that it knows.
    pub client_id: &'static str,
    /// That client's secret.
    pub client_secret: SecretString,
    /// Answers requests until dropped or stopped.
    pub server: dev::Server,
}

struct State {
    grants: Grants,
    client_secret: SecretString,
    redirect_uri: String,
    pages: Environment<'static>,
}

const CLIENT_ID: &str = "authseal-demo";

impl DemoProvider {
    /// Starts the provider at a free loopback port, for one client that is called back at `redirect_uri`. `key` seals
    /// its refresh tokens.
    ///
    /// # Errors
    /// When there is no port or no randomness to be had.
    pub fn start(key: &Zeroizing<[u8; 32]>, redirect_uri: String) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let client_secret = SecretString::from(token().map_err(io::Error::other)?);
        let mut pages = Environment::new();
        Arc::new(Texts::built_in().map_err(io::Error::other)?).teach(&mut pages);
        pages.add_global("site", Value::from(Serde(Site::default())));
        let templates = [
            ("base.html", include_str!("../../templates/base.html")),
            ("demo_consent.html", include_str!("../../templates/demo_consent.html")),
        ];
        for (name, text) in templates {
            pages.add_template(name, text).map_err(io::Error::other)?;
        }
        let grants = Grants::new(Key::new(key));
        let state = web::Data::new(State { grants, client_secret: client_secret.clone(), redirect_uri, pages });
        let factory = move || {
            App::new()
                .app_data(state.clone())
                .route("/authorize", web::get().to(authorize))
                .route("/consent", web::post().to(consent))
                .route("/token", web::post().to(exchange))
                .route("/revoke", web::post().to(revoke))
                .route("/static/authseal.css", web::get().to(style))
                .route("/static/favicon.svg", web::get().to(icon))
        };
        let server = HttpServer::new(factory).workers(1).disable_signals().listen(listener)?.run();
        Ok(Self { address, client_id: CLIENT_ID, client_secret, server })
    }
}

/// `GET /authorize` (RFC 6749 section 4.1.1): asks the person.
async fn authorize(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let query = request.query_string();
    let Some(wanted) = state.read(query) else {
        return HttpResponse::BadRequest().body("The demo provider does not know this client or its redirect URI.\n");
    };
    let scopes: Vec<String> = wanted.scope.split_whitespace().map(str::to_owned).collect();
    let context = context! {
        language => Language::of(&request).tag(), client_name => "authseal", scopes, request => query, action => "/consent",
    };
    match state.pages.get_template("demo_consent.html").and_then(|page| page.render(context)) {
        Ok(page) => HttpResponse::Ok()
            .insert_header((
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'",
            ))
            .content_type(header::ContentType::html())
            .body(page),
        Err(error) => HttpResponse::InternalServerError().body(format!("{error:#}\n")),
    }
}

/// `POST /consent`: the person's decision.
async fn consent(form: web::Form<Vec<(String, String)>>, state: web::Data<State>) -> HttpResponse {
    let field = |name| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let Some(wanted) = state.read(field("request")) else {
        return HttpResponse::BadRequest().body("The demo provider does not know this request.\n");
    };
    let Ok(mut back) = url::Url::parse(&state.redirect_uri) else {
        return HttpResponse::BadRequest().body("The registered redirect URI is no URL.\n");
    };
    if let Some(value) = &wanted.state {
        back.query_pairs_mut().append_pair("state", value);
    }
    match field("decision") {
        "allow" => match state.grants.code(wanted) {
            Ok(code) => back.query_pairs_mut().append_pair("code", &code),
            Err(error) => return HttpResponse::InternalServerError().body(format!("{error}\n")),
        },
        _ => back.query_pairs_mut().append_pair("error", "access_denied"),
    };
    HttpResponse::Found().insert_header((header::LOCATION, back.as_str())).finish()
}

/// `POST /token` (RFC 6749 sections 4.1.3 and 6).
async fn exchange(form: web::Form<Vec<(String, String)>>, state: web::Data<State>) -> HttpResponse {
    let field = |name| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    if field("client_id") != CLIENT_ID || field("client_secret") != state.client_secret.expose_secret() {
        return error(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let Ok(access_token) = token() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable");
    };
    let mut answer = json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": ACCESS_TOKEN_LIFE });
    match field("grant_type") {
        "authorization_code" => match state.grants.redeem(field("code"), field("redirect_uri"), field("code_verifier"))
        {
            Some((refresh_token, scope)) => {
                answer["refresh_token"] = refresh_token.expose_secret().into();
                answer["scope"] = scope.into();
            }
            None => return error(StatusCode::BAD_REQUEST, "invalid_grant"),
        },
        "refresh_token" if state.grants.is_alive(field("refresh_token")) => {}
        "refresh_token" => return error(StatusCode::BAD_REQUEST, "invalid_grant"),
        _ => return error(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    }
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(answer)
}

/// `POST /revoke` (RFC 7009).
async fn revoke(form: web::Form<Vec<(String, String)>>, state: web::Data<State>) -> HttpResponse {
    if let Some((_, token)) = form.iter().find(|(key, _)| key == "token") {
        state.grants.revoke(token);
    }
    HttpResponse::Ok().finish()
}

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(include_str!("../../templates/static/authseal.css"))
}

async fn icon() -> HttpResponse {
    HttpResponse::Ok().content_type("image/svg+xml").body(include_str!("../../templates/static/favicon.svg"))
}

fn error(status: StatusCode, code: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": code }))
}

/// 128 random bits as text.
fn token() -> Result<String, SealError> {
    let bytes = random::<16>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl State {
    /// Reads an authorization request; `None` unless it is from the one client and leads back to it.
    fn read(&self, query: &str) -> Option<Request> {
        let request = Request::parse(query)?;
        (request.client_id == CLIENT_ID && request.redirect_uri == self.redirect_uri).then_some(request)
    }
}
