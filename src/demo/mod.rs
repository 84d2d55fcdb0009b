//! Demo OAuth providers for `authseal demo`, and for trying things out without an account anywhere: pretend cloud storages
//! that speak OAuth over HTTP like any other. One is the demo's own, the others take the places of the real ones, so that
//! Duplicati's own links work. Nothing behind them is real.
//!
//! Refresh tokens are sealed with a key of the demo's own, so that they survive a restart when the key does; codes and
//! revocations live in memory.

mod grants;
mod stand;
mod walk;

pub use walk::{WalkError, Walked, walk};

use crate::config::Site;
use crate::provider::{Availability, Catalogue, Flow};
use crate::seal::{Key, SealError, random};
use crate::texts::{Language, Texts};
use actix_web::http::{StatusCode, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev, web};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use grants::{Grants, Request};
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use stand::Stand;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How long an access token lives, in seconds.
const ACCESS_TOKEN_LIFE: u64 = 3600;

/// The running demo providers.
pub struct DemoProvider {
    /// The tables that lead a server to them.
    pub configuration: String,
    /// Answers requests until dropped or stopped.
    pub server: dev::Server,
}

struct State {
    stands: BTreeMap<String, Stand>,
    grants: Grants,
    client_secret: SecretString,
    redirect_uri: String,
    pages: Environment<'static>,
}

const CLIENT_ID: &str = "authseal-demo";

impl DemoProvider {
    /// Starts the providers at a free loopback port, for one client that is called back at `redirect_uri`: the demo's own,
    /// and one for each of `catalogue` that has not ended. `key` seals their refresh tokens.
    ///
    /// # Errors
    /// When there is no port or no randomness to be had.
    pub fn start(key: &Zeroizing<[u8; 32]>, redirect_uri: String, catalogue: &Catalogue) -> io::Result<Self> {
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
        let alive = catalogue.all().filter(|service| !matches!(service.availability(), Availability::Gone { .. }));
        let stands = alive.map(|service| Stand::for_real(&service.provider)).chain([Stand::own()]);
        let stands: BTreeMap<_, _> = stands.map(|stand| (stand.id.clone(), stand)).collect();
        let tables = stands.values().map(|it| it.configuration(address, CLIENT_ID, client_secret.expose_secret()));
        let configuration = tables.collect::<String>();
        let grants = Grants::new(Key::new(key));
        let state = web::Data::new(State { stands, grants, client_secret, redirect_uri, pages });
        let factory = move || {
            App::new()
                .app_data(state.clone())
                .route("/static/authseal.css", web::get().to(style))
                .route("/static/favicon.svg", web::get().to(icon))
                .route("/{stand}/authorize", web::get().to(authorize))
                .route("/{stand}/consent", web::post().to(consent))
                .route("/{stand}/login-token", web::get().to(login_token))
                .route("/{stand}/access", web::get().to(access))
                .route("/{stand}/token", web::post().to(exchange))
                .route("/{stand}/{host}/token", web::post().to(exchange))
                .route("/{stand}/revoke", web::post().to(revoke))
        };
        let server = HttpServer::new(factory).workers(1).disable_signals().listen(listener)?.run();
        Ok(Self { configuration, server })
    }
}

/// `GET /<stand>/authorize` (RFC 6749 section 4.1.1): asks the person.
async fn authorize(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let query = request.query_string();
    let (Some(stand), Some(wanted)) = (state.stand(&request), state.read(query)) else {
        return HttpResponse::BadRequest().body("The demo provider does not know this client or its redirect URI.\n");
    };
    let scopes: Vec<String> = wanted.scope.split_whitespace().map(str::to_owned).collect();
    let action = format!("/{}/consent", stand.id);
    state.page(&request, stand, context! { client_name => "authseal", scopes, request => query, action })
}

/// `POST /<stand>/consent`: the person's decision.
async fn consent(
    request: HttpRequest,
    form: web::Form<Vec<(String, String)>>,
    state: web::Data<State>,
) -> HttpResponse {
    let field = |name| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let (Some(stand), Some(wanted)) = (state.stand(&request), state.read(field("request"))) else {
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
            Ok(code) => {
                let host = stand.token_host.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
                back.query_pairs_mut().append_pair("code", &code).extend_pairs(host);
            }
            Err(error) => return HttpResponse::InternalServerError().body(format!("{error}\n")),
        },
        _ => {
            back.query_pairs_mut().append_pair("error", "access_denied");
        }
    }
    HttpResponse::Found().insert_header((header::LOCATION, back.as_str())).finish()
}

/// `GET /<stand>/login-token`: what a person pastes where there is no browser login, as such a provider makes it.
async fn login_token(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let Some(stand) = state.stand(&request).filter(|stand| stand.flow == Flow::LoginToken) else {
        return HttpResponse::NotFound().finish();
    };
    match state.grants.login_token() {
        Ok(token) => {
            let token = json!({ "username": "demo", "realm": stand.id, "auth_token": token });
            state.page(&request, stand, context! { login_token => BASE64URL.encode(token.to_string()) })
        }
        Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
    }
}

/// `GET /<stand>/access`: where a real provider lists the apps that have access.
async fn access(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    match state.stand(&request) {
        Some(stand) => state.page(&request, stand, context! { empty => true }),
        None => HttpResponse::NotFound().finish(),
    }
}

/// `POST /<stand>/token` (RFC 6749 sections 4.1.3, 4.3.2 and 6).
async fn exchange(
    request: HttpRequest,
    form: web::Form<Vec<(String, String)>>,
    state: web::Data<State>,
) -> HttpResponse {
    let field = |name| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let Some(stand) = state.stand(&request) else { return error(StatusCode::NOT_FOUND, "invalid_request") };
    let known = match &stand.public_client_id {
        Some(id) => field("client_id") == id,
        None => field("client_id") == CLIENT_ID && field("client_secret") == state.client_secret.expose_secret(),
    };
    if !known {
        return error(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let mut scope = field("scope").to_owned();
    let refresh_token = match field("grant_type") {
        "authorization_code" => {
            let redeemed = state.grants.redeem(field("code"), field("redirect_uri"), field("code_verifier"));
            redeemed.map(|granted| {
                scope = granted;
                state.grants.begin(stand)
            })
        }
        "password" if stand.flow == Flow::LoginToken => {
            state.grants.spend_login_token(field("password")).then(|| state.grants.begin(stand))
        }
        "refresh_token" => state.grants.renew(stand, field("refresh_token")),
        _ => return error(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    let Some(refresh_token) = refresh_token else { return error(StatusCode::BAD_REQUEST, "invalid_grant") };
    let tokens = refresh_token.and_then(|refresh| Ok((state.grants.access(&refresh)?, refresh)));
    let Ok((access_token, refresh_token)) = tokens else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable");
    };
    let mut answer = json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": ACCESS_TOKEN_LIFE });
    if refresh_token.expose_secret() != field("refresh_token") {
        answer["refresh_token"] = refresh_token.expose_secret().into();
    }
    if !scope.is_empty() {
        answer["scope"] = scope.into();
    }
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(answer)
}

/// `POST /<stand>/revoke` (RFC 7009): the token is in the form, or the bearer's.
async fn revoke(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_form = url::form_urlencoded::parse(&body).find(|(key, _)| key == "token").map(|(_, value)| value);
    let token = in_form.or_else(|| Some(bearer?.strip_prefix("Bearer ")?.into()));
    if let (Some(stand), Some(token)) = (state.stand(&request), token) {
        state.grants.revoke(stand, &token);
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
    /// The provider that a request is for.
    fn stand(&self, request: &HttpRequest) -> Option<&Stand> {
        self.stands.get(request.match_info().get("stand")?)
    }

    /// Reads an authorization request; `None` unless it is from the one client and leads back to it.
    fn read(&self, query: &str) -> Option<Request> {
        let request = Request::parse(query)?;
        (request.client_id == CLIENT_ID && request.redirect_uri == self.redirect_uri).then_some(request)
    }

    /// The one page that there is, plainly somebody else's than ours.
    fn page(&self, request: &HttpRequest, stand: &Stand, more: minijinja::Value) -> HttpResponse {
        let context =
            context! { language => Language::from_request(request).tag(), stands_for => stand.name.clone(), ..more };
        match self.pages.get_template("demo_consent.html").and_then(|page| page.render(context)) {
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
}
