//! `/refresh`: an AuthID in, an access token out, as Duplicati's clients expect it; and how whoever sends an AuthID is
//! refused, wherever that is. Duplicati's backends show what they are told in many ways; this one they all show whole.

use crate::app::App;
use crate::authid::ServiceId;
use crate::login::FetchToken;
use crate::tokens::Granted;
use crate::web::request::authid::{self, NoAuthId};
use crate::web::request::form::{self, Form};
use crate::web::response::errors::Answer;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;

/// The largest number of seconds that the client can read; it adds to it, so it is one less than fits.
const MAX_EXPIRES: u64 = i32::MAX as u64 - 1;

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
pub(in crate::web) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    match authid::of(&request, &[], app.http().allow_query_authid) {
        Ok(authid) => answer(&request, &app, &authid).await,
        // Duplicati's newer page opens whatever address it was configured with in a browser window.
        Err(NoAuthId::Missing) if authid::is_browser(&request) => to_login(&request),
        Err(why) => refuse(&request, &why.into()),
    }
}

/// `POST /refresh` with form field `authid`, or the header.
pub(in crate::web) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    match authid::of(&request, &form.0, app.http().allow_query_authid) {
        Ok(authid) => answer(&request, &app, &authid).await,
        Err(why) => refuse(&request, &why.into()),
    }
}

async fn answer(request: &HttpRequest, app: &App, authid: &str) -> HttpResponse {
    match crate::web::access(request, app, authid).await {
        Ok(granted) => HttpResponse::Ok().json(body(&granted)),
        Err(answer) => refuse_authid(request, &answer, Some(authid)),
    }
}

fn body(granted: &Granted) -> Body<'_> {
    Body {
        access_token: granted.access.token.expose_secret(),
        expires: granted.expires_in.min(MAX_EXPIRES),
        service: granted.service.as_str(),
        v2_authid: granted.resealed.as_ref().map(|authid| authid.expose()),
    }
}

/// Refuses a request with the AuthID that is in its header, if one is.
pub(in crate::web) fn refuse(request: &HttpRequest, answer: &Answer) -> HttpResponse {
    refuse_authid(request, answer, authid::in_header(request).as_deref())
}

/// The reason goes into `X-Reason`, which most backends show, and into the body, which the others do.
fn refuse_authid(request: &HttpRequest, answer: &Answer, authid: Option<&str>) -> HttpResponse {
    let own = request.app_data::<web::Data<App>>().map_or("", |app| app.own_origin().as_str());
    let mut response = told(answer, authid, own);
    if !request.headers().contains_key(&authid::HEADER) && wants_json(request) {
        let json = serde_json::json!({ "error": answer.reason }).to_string();
        response = response.set_body(BoxBody::new(json));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// What Duplicati is told, by the server at `own`, when it sends this AuthID or none.
pub(in crate::web) fn told(answer: &Answer, authid: Option<&str>, own: &str) -> HttpResponse {
    let status = answer.at_refresh(authid.is_some());
    let response = refusal(answer, status);
    // Duplicati puts this link behind the reason itself, but for Box.
    if status == StatusCode::UNAUTHORIZED && authid.is_some_and(authid::says_box) {
        let body = format!("{}. Create a new AuthID at {own}/?type=box.com", answer.reason);
        return response.set_body(BoxBody::new(body));
    }
    response
}

/// The answer without regard to who asks.
pub(in crate::web) fn refusal(answer: &Answer, status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    if let Ok(value) = HeaderValue::from_str(&answer.reason) {
        response.insert_header((HeaderName::from_static("x-reason"), value));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.insert_header((header::RETRY_AFTER, answer.wait()));
    }
    response.content_type(ContentType::plaintext()).body(answer.reason.clone().into_owned())
}

fn wants_json(request: &HttpRequest) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let is_json =
        |kind: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    accepted.any(|value| value.split(',').any(is_json))
}

fn to_login(request: &HttpRequest) -> HttpResponse {
    let service = form::query(request, "type").and_then(|id| ServiceId::parse(&id));
    let service = service.map(|id| format!("type={id}"));
    let token = form::query(request, "token").and_then(|token| FetchToken::parse(&token));
    let token = token.map(|token| format!("token={}", token.expose()));
    match service.into_iter().chain(token).collect::<Vec<_>>().join("&") {
        query if query.is_empty() => crate::web::see_other("/"),
        query => crate::web::see_other(&format!("/?{query}")),
    }
}
