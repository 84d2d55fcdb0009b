//! `/refresh`: an AuthID in, an access token out, as Duplicati's clients expect it. The protocol is Duplicati's own;
//! the same with RFC 6749's words is `/token`.

use crate::app::App;
use crate::authid::{AuthId, ServiceId};
use crate::login::FetchToken;
use crate::web::exchange;
use crate::web::request::authid::{self, NoAuthId};
use crate::web::request::form::{self, Form};
use crate::web::response::json::json;
use crate::web::response::page;
use crate::web::response::rejection::Rejection;
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
pub(in crate::web) async fn get(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    match authid::of(&request, &[], app.http().allow_query_authid) {
        Ok(authid) => answer(&request, &app, &authid).await,
        // Duplicati's newer page opens whatever address it was configured with in a browser window.
        Err(NoAuthId::Missing) if authid::is_browser(&request) => Ok(to_login(&request)),
        Err(why) => Err(why.into()),
    }
}

/// `POST /refresh` with form field `authid`, or the header.
pub(in crate::web) async fn post(
    request: HttpRequest,
    form: Form,
    app: web::Data<App>,
) -> Result<HttpResponse, Rejection> {
    let authid = authid::of(&request, &form.0, app.http().allow_query_authid)?;
    answer(&request, &app, &authid).await
}

async fn answer(request: &HttpRequest, app: &App, authid: &str) -> Result<HttpResponse, Rejection> {
    let granted = exchange::exchange(request, app, authid).await.map_err(|rejection| rejection.about(authid))?;
    let access_token = granted.access.token.expose_secret();
    let service = granted.service.as_str();
    let v2_authid = granted.resealed.as_ref().map(AuthId::expose);
    let texts = access_token.len() + service.len() + v2_authid.map_or(0, str::len);
    let expires = granted.expires_in.min(MAX_EXPIRES);
    json(HttpResponse::Ok(), &Body { access_token, expires, service, v2_authid }, texts)
}

fn to_login(request: &HttpRequest) -> HttpResponse {
    let service = form::query(request, "type").and_then(|id| ServiceId::parse(&id));
    let service = service.map(|id| format!("type={id}"));
    let token = form::query(request, "token").and_then(|token| FetchToken::parse(&token));
    let token = token.map(|token| format!("token={}", token.expose()));
    match service.into_iter().chain(token).collect::<Vec<_>>().join("&") {
        query if query.is_empty() => page::see_other("/"),
        query => page::see_other(&format!("/?{query}")),
    }
}
