//! `/refresh`: an AuthID in, an access token out, as Duplicati's clients expect it.

use super::authid::{self, NoAuthId};
use super::form::{self, Form};
use super::reason::Answer;
use crate::app::App;
use crate::authid::ServiceId;
use crate::login::FetchToken;
use crate::tokens::Granted;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;

/// The answer that Duplicati reads. `expires` is in seconds.
#[derive(Serialize)]
struct Body<'a> {
    access_token: &'a str,
    expires: u64,
    #[serde(rename = "type")]
    service: &'a str,
    /// Replaces the AuthID in the client's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    v2_authid: Option<&'a str>,
}

/// `GET /refresh` with header `X-AuthID`.
pub(super) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    match authid::of(&request, &[], app.allow_query_authid()) {
        Ok(authid) => answer(&request, &app, &authid).await,
        // Duplicati's newer page opens whatever address it was configured with in a browser window.
        Err(NoAuthId::Missing) if authid::is_browser(&request) => to_login(&request),
        Err(why) => refuse(&why.into()),
    }
}

/// `POST /refresh` with form field `authid`, or the header.
pub(super) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    match authid::of(&request, &form.0, app.allow_query_authid()) {
        Ok(authid) => answer(&request, &app, &authid).await,
        Err(why) => refuse(&why.into()),
    }
}

async fn answer(request: &HttpRequest, app: &App, authid: &str) -> HttpResponse {
    match super::access(request, app, authid).await {
        Ok(granted) => HttpResponse::Ok().json(body(&granted)),
        Err(answer) => refuse(&answer),
    }
}

fn body(granted: &Granted) -> Body<'_> {
    Body {
        access_token: granted.access.token.expose_secret(),
        expires: granted.expires_in,
        service: granted.service.as_str(),
        v2_authid: granted.resealed.as_ref().map(|authid| authid.expose()),
    }
}

/// The reason goes into `X-Reason`, which Duplicati shows, and into the body, which other people read.
pub(super) fn refuse(answer: &Answer) -> HttpResponse {
    let mut response = HttpResponse::build(answer.status);
    if let Ok(value) = HeaderValue::from_str(&answer.reason) {
        response.insert_header((HeaderName::from_static("x-reason"), value));
    }
    if let Some(seconds) = answer.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    response.json(serde_json::json!({ "error": answer.reason }))
}

fn to_login(request: &HttpRequest) -> HttpResponse {
    let service = form::query(request, "type").and_then(|id| ServiceId::parse(&id));
    let service = service.map(|id| format!("type={id}"));
    let token = form::query(request, "token").and_then(|token| FetchToken::parse(&token));
    let token = token.map(|token| format!("token={}", token.expose()));
    match service.into_iter().chain(token).collect::<Vec<_>>().join("&") {
        query if query.is_empty() => super::see_other("/"),
        query => super::see_other(&format!("/?{query}")),
    }
}
