//! `/token`: the same as `/refresh`, spoken as RFC 6749 section 6, so that any OAuth library can use this server as its
//! token endpoint: the AuthID is its refresh token.

use crate::app::App;
use crate::web::exchange;
use crate::web::request::form::Form;
use crate::web::response::rejection;
use actix_web::http::{StatusCode, header};
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
pub(in crate::web) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    let bad = |error, description| rejection::oauth_error(StatusCode::BAD_REQUEST, error, description);
    let grant_type = match form.only("grant_type") {
        Ok(Some(grant_type)) => grant_type,
        _ => return bad("invalid_request", "Exactly one parameter grant_type is required."),
    };
    if grant_type != "refresh_token" {
        return bad("unsupported_grant_type", "This server answers grant_type=refresh_token only.");
    }
    let authid = match form.only("refresh_token") {
        Ok(Some(authid)) => authid,
        _ => return bad("invalid_request", "Exactly one parameter refresh_token is required: the AuthID."),
    };
    match exchange::exchange(&request, &app, authid).await {
        Ok(granted) => HttpResponse::Ok().insert_header((header::PRAGMA, "no-cache")).json(Body {
            access_token: granted.access.token.expose_secret(),
            token_type: "Bearer",
            expires_in: granted.expires_in,
            refresh_token: granted.resealed.as_ref().map(|authid| authid.expose()),
        }),
        Err(answer) => {
            let (status, error) = answer.oauth();
            let mut response = rejection::oauth_error(status, error, &answer.reason);
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(header::RETRY_AFTER, answer.wait().into());
            }
            response
        }
    }
}
