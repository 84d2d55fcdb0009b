//! `/token`: an OAuth token endpoint for `grant_type=refresh_token` (RFC 6749 section 6), so that any OAuth library can
//! use this server: the AuthID is its refresh token.

use crate::app::App;
use crate::authid::AuthId;
use crate::web::exchange;
use crate::web::request::form::Form;
use crate::web::response::json::json;
use crate::web::response::rejection::Rejection;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;

/// RFC 6749 section 5.1.
#[derive(Serialize)]
struct Body<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    /// The AuthID to keep from now on, when there is a better one.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// `POST /token`. Client credentials are not looked at: the AuthID is the only secret.
pub(in crate::web) async fn post(
    request: HttpRequest,
    form: Form,
    app: web::Data<App>,
) -> Result<HttpResponse, Rejection> {
    let Ok(Some(grant_type)) = form.only("grant_type") else {
        return Err(Rejection::oauth("invalid_request", "Exactly one parameter grant_type is required."));
    };
    if grant_type != "refresh_token" {
        return Err(Rejection::oauth("unsupported_grant_type", "This server answers grant_type=refresh_token only."));
    }
    let Ok(Some(authid)) = form.only("refresh_token") else {
        let description = "Exactly one parameter refresh_token is required: the AuthID.";
        return Err(Rejection::oauth("invalid_request", description));
    };
    let granted = exchange::exchange(&request, &app, authid).await?;
    let access_token = granted.access.token.expose_secret();
    let refresh_token = granted.resealed.as_ref().map(AuthId::expose);
    let texts = access_token.len() + refresh_token.map_or(0, str::len);
    let mut response = HttpResponse::Ok();
    response.insert_header((header::PRAGMA, "no-cache"));
    json(response, &Body { access_token, token_type: "Bearer", expires_in: granted.expires_in, refresh_token }, texts)
}
