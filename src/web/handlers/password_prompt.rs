//! The page that asks for the password, where the operator wants one before a login.

use crate::app::App;
use crate::login::BrowserCookie;
use crate::mitigation::{self, Mitigation};
use crate::password::{PasswordError, SharedPassword};
use crate::web::cookie::Cookie;
use crate::web::handlers::start_link::Wanted;
use crate::web::response::page;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    ctx: &'a str,
    /// Ids of services: the only one to be shown, and the one to begin at once.
    only: Option<&'a str>,
    at_once: Option<&'a str>,
    /// The key of what was wrong.
    error: Option<&'static str>,
}

/// Whether this browser has to give the password before a login.
pub(in crate::web) fn is_shut(request: &HttpRequest, app: &App) -> bool {
    let admits = |shared: &SharedPassword| Cookie::Pass.read(request, app).is_some_and(|pass| shared.admits(pass));
    mitigation::on(Mitigation::Password) && app.password().is_some_and(|shared| !admits(shared))
}

/// The page that asks for the password, once more if it was `refused`.
pub(in crate::web) fn ask(
    refused: Option<&PasswordError>,
    ctx: &str,
    browser_cookie: &BrowserCookie,
    wanted: &Wanted,
    request: &HttpRequest,
    app: &App,
) -> HttpResponse {
    let (status, error) = match refused {
        None => (StatusCode::OK, None),
        Some(PasswordError::Wrong) => (StatusCode::FORBIDDEN, Some("password.wrong")),
        Some(PasswordError::TooMany { .. }) => (StatusCode::TOO_MANY_REQUESTS, Some("password.too_many")),
        Some(PasswordError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, Some("password.busy")),
        Some(PasswordError::Fault) => (StatusCode::INTERNAL_SERVER_ERROR, Some("password.fault")),
    };
    let page = Page {
        ctx,
        only: wanted.only.as_ref().map(|service| service.id.as_str()),
        at_once: wanted.at_once.as_ref().map(|service| service.id.as_str()),
        error,
    };
    let mut response = page::show(request, app, status, "password.html", page);
    let retry_after = match refused {
        Some(PasswordError::TooMany { retry_after }) => Some(retry_after.as_secs() + 1),
        Some(PasswordError::Busy) => Some(1),
        _ => None,
    };
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Cookie::Browser.set(&browser_cookie.to_cookie(), &mut response, app);
    response
}
