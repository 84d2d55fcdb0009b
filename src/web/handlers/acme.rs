//! What does not depend on who asks: style and script, privacy policy, signs of life, files for ACME.

use crate::app::App;
use crate::web::request::form;
use crate::web::response::{page, rejection};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use rustix::fs::OFlags;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The longest ACME http-01 token, in characters; in use are 43 (RFC 8555 section 8.3).
const MAX_ACME_TOKEN: usize = 128;
/// The longest answer to it, in bytes: a token, a dot, and a thumbprint of 43 characters (RFC 8555 section 8.1).
const MAX_ACME_ANSWER: u64 = 1024;
/// The longest text that `/isalive` echoes, in bytes.
const MAX_ECHO: usize = 256;

#[derive(Serialize)]
struct Privacy<'a> {
    providers: BTreeSet<&'a str>,
    store: &'a str,
    /// Whether a login begins with a password, which a cookie remembers.
    asks_password: bool,
    revoke_url: String,
}

/// `GET /static/{name}`.
pub(in crate::web) async fn asset(name: web::Path<String>, request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    serve(&format!("static/{name}"), &request, &app)
}

/// `GET /favicon.ico`.
pub(in crate::web) async fn favicon(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    serve("static/favicon.svg", &request, &app)
}

fn serve(name: &str, request: &HttpRequest, app: &App) -> HttpResponse {
    let Some(asset) = app.pages().asset(name) else { return rejection::answer(request, StatusCode::NOT_FOUND) };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, asset.content_type))
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(asset.content.clone())
}

/// `GET /privacy-policy` and `GET /privacy-policy.txt`.
pub(in crate::web) async fn privacy(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let providers = app.catalogue().offered().map(|service| service.provider.name()).collect();
    let (store, asks_password) = (app.store().name(), app.access().is_some());
    let revoke_url = page::revoke_url(&app);
    let page = Privacy { providers, store, asks_password, revoke_url };
    let template = if request.path().ends_with(".txt") { "privacy.txt" } else { "privacy.html" };
    page::show(&request, &app, StatusCode::OK, template, page)
}

/// `GET /healthz`: the process is alive.
pub(in crate::web) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether this process wants more requests. Keys and denylist are loaded, else there would be no server.
/// Never asks a provider: its outage must not take this server out of a load balancer.
pub(in crate::web) async fn readyz(app: web::Data<App>) -> HttpResponse {
    if app.health().is_draining() {
        return HttpResponse::ServiceUnavailable().body("draining\n");
    }
    HttpResponse::Ok().body("ready\n")
}

/// `GET /isalive?data=…`: echoes `data`, as the predecessors' monitors expect.
pub(in crate::web) async fn isalive(request: HttpRequest) -> HttpResponse {
    let data = form::query(&request, "data").unwrap_or_default();
    if data.len() > MAX_ECHO {
        return HttpResponse::BadRequest().body("data is too long\n");
    }
    HttpResponse::Ok().content_type(header::ContentType::plaintext()).body(data)
}

/// `GET /.well-known/acme-challenge/{token}`: what an ACME client left for http-01 (RFC 8555 section 8.3).
pub(in crate::web) async fn acme(token: web::Path<String>, request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let is_token = token.len() <= MAX_ACME_TOKEN && token.bytes().all(allowed) && !token.is_empty();
    let path = app.http().acme_challenge_dir.as_ref().filter(|_| is_token).map(|folder| folder.join(token.as_str()));
    let answer = match path {
        Some(path) => web::block(move || acme_answer(&path)).await.ok().and_then(Result::ok),
        None => None,
    };
    match answer {
        Some(answer) => HttpResponse::Ok().content_type(header::ContentType::plaintext()).body(answer),
        None => rejection::answer(&request, StatusCode::NOT_FOUND),
    }
}

/// Whoever may write into the folder may be somebody else than who runs this server. So a link out of it is not followed,
/// and a pipe is not waited for.
fn acme_answer(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut answer = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MAX_ACME_ANSWER + 1).read_to_end(&mut answer)?;
    }
    let fits = (1..=MAX_ACME_ANSWER).contains(&(answer.len() as u64));
    if fits { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}
