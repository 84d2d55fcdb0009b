//! What does not depend on who asks: style and script, privacy policy, signs of life, files for ACME.

use super::{form, page, unfit};
use crate::app::App;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::collections::BTreeSet;

/// The longest ACME http-01 token, in characters; in use are 43 (RFC 8555 section 8.3).
const MAX_ACME_TOKEN: usize = 128;
/// The longest text that `/isalive` echoes, in bytes.
const MAX_ECHO: usize = 256;

#[derive(Serialize)]
struct Privacy<'a> {
    title: &'static str,
    providers: BTreeSet<&'a str>,
    store: &'a str,
    /// Whether a login begins with a password, which a cookie remembers.
    asks_password: bool,
    custom_url: Option<&'a str>,
}

/// `GET /static/{name}`.
pub(super) async fn asset(name: web::Path<String>, request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    serve(&format!("static/{name}"), &request, &app)
}

/// `GET /favicon.ico`.
pub(super) async fn favicon(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    serve("static/favicon.svg", &request, &app)
}

fn serve(name: &str, request: &HttpRequest, app: &App) -> HttpResponse {
    let Some(asset) = app.pages().asset(name) else { return unfit::answer(request, StatusCode::NOT_FOUND) };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, asset.content_type))
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(asset.content.clone())
}

/// `GET /privacy-policy` and `GET /privacy-policy.txt`.
pub(super) async fn privacy(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let providers = app.catalogue().offered().map(|service| service.provider.name()).collect();
    let custom_url = app.privacy_url().map(url::Url::as_str);
    let (store, asks_password) = (app.store().name(), app.access().is_some());
    let page = Privacy { title: "Privacy", providers, store, asks_password, custom_url };
    let template = if request.path().ends_with(".txt") { "privacy.txt" } else { "privacy.html" };
    page::show(&app, StatusCode::OK, template, page)
}

/// `GET /healthz`: the process is alive.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether this process wants more requests. Keys and denylist are loaded, else there would be no server.
/// Never asks a provider: its outage must not take this server out of a load balancer.
pub(super) async fn readyz(app: web::Data<App>) -> HttpResponse {
    if app.health().is_draining() {
        return HttpResponse::ServiceUnavailable().body("draining\n");
    }
    HttpResponse::Ok().body("ready\n")
}

/// `GET /isalive?data=…`: echoes `data`, as the predecessors' monitors expect.
pub(super) async fn isalive(request: HttpRequest) -> HttpResponse {
    let data = form::query(&request, "data").unwrap_or_default();
    if data.len() > MAX_ECHO {
        return HttpResponse::BadRequest().body("data is too long\n");
    }
    HttpResponse::Ok().content_type(header::ContentType::plaintext()).body(data)
}

/// `GET /.well-known/acme-challenge/{token}`: what an ACME client left for http-01 (RFC 8555 section 8.3).
pub(super) async fn acme(token: web::Path<String>, request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let is_token = token.len() <= MAX_ACME_TOKEN && token.bytes().all(allowed) && !token.is_empty();
    let path = app.acme_challenge_dir().filter(|_| is_token).map(|folder| folder.join(token.as_str()));
    let content = match path {
        Some(path) => web::block(move || std::fs::read(path)).await.ok().and_then(Result::ok),
        None => None,
    };
    match content {
        Some(content) => HttpResponse::Ok().content_type("application/octet-stream").body(content),
        None => unfit::answer(&request, StatusCode::NOT_FOUND),
    }
}
