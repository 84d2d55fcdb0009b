//! `/access`: the password that a login begins with, where the operator wants one.
//!
//! Who opened our page is known from its first request alone, so the sealed context travels in the form, and the
//! answer to the right password is the page that was asked for, not a redirect to it.

use crate::access::{Access, Refused};
use crate::app::App;
use crate::login::{Binder, LoginError};
use crate::mitigation::{self, Mitigation};
use crate::web::client;
use crate::web::cookie::Cookie;
use crate::web::handlers::index::{self, Wanted};
use crate::web::handlers::login_errors;
use crate::web::request::csrf;
use crate::web::request::form::Form;
use crate::web::response::{page, rejection};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
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
    let admits = |access: &Access| Cookie::Pass.read(request, app).is_some_and(|pass| access.admits(pass));
    mitigation::on(Mitigation::Password) && app.access().is_some_and(|access| !admits(access))
}

/// The page that asks for the password, once more if it was `refused`.
pub(in crate::web) fn ask(
    refused: Option<&Refused>,
    ctx: &str,
    binder: &Binder,
    wanted: &Wanted,
    request: &HttpRequest,
    app: &App,
) -> HttpResponse {
    let (status, error) = match refused {
        None => (StatusCode::OK, None),
        Some(Refused::Wrong) => (StatusCode::FORBIDDEN, Some("password.wrong")),
        Some(Refused::TooMany { .. }) => (StatusCode::TOO_MANY_REQUESTS, Some("password.too_many")),
        Some(Refused::Busy) => (StatusCode::SERVICE_UNAVAILABLE, Some("password.busy")),
        Some(Refused::Fault) => (StatusCode::INTERNAL_SERVER_ERROR, Some("password.fault")),
    };
    let page = Page {
        ctx,
        only: wanted.only.as_ref().map(|service| service.id.as_str()),
        at_once: wanted.at_once.as_ref().map(|service| service.id.as_str()),
        error,
    };
    let mut response = page::show(request, app, status, "password.html", page);
    let retry_after = match refused {
        Some(Refused::TooMany { retry_after }) => Some(retry_after.as_secs() + 1),
        Some(Refused::Busy) => Some(1),
        _ => None,
    };
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Cookie::Binder.set(&binder.to_cookie(), &mut response, app);
    response
}

/// `POST /access` with form `password` and what [`ask`] put beside it: `ctx`, `type`, `redirect`.
pub(in crate::web) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    let Some(access) = app.access() else {
        return rejection::answer(&request, StatusCode::NOT_FOUND);
    };
    if csrf::is_foreign_form(&request, &app) {
        return rejection::answer(&request, StatusCode::FORBIDDEN);
    }
    let field = |name: &str| form.only(name).ok().flatten().map(str::to_owned);
    let wanted = Wanted::read(&app, field);
    let (ctx, binder) = (field("ctx").unwrap_or_default(), csrf::binder(&request, &app));
    let (context, binder) = match (app.logins().context(&ctx, binder.as_ref()), binder) {
        (Ok(context), Some(binder)) => (context, binder),
        (Err(error @ LoginError::NoCookie), _) => return login_errors::show(error, None, &request, &app),
        // Too old: from the start, as with a login link.
        _ => {
            let asked_for = wanted.at_once.or(wanted.only);
            return crate::web::see_other(&index::address(asked_for.as_ref().map(|service| service.id.as_str()), None));
        }
    };
    // Sealed anew, so that the links of the next page live as long as those of a first one.
    let Ok(ctx) = app.logins().welcome(&context) else {
        return rejection::answer(&request, StatusCode::INTERNAL_SERVER_ERROR);
    };
    let password = SecretString::from(field("password").unwrap_or_default());
    let held = Cookie::Pass.read(&request, &app);
    match access.check(password, client::of(&request, &app), held).await {
        Ok(pass) => {
            let mut response = index::show(&context, &ctx, &binder, wanted, &request, &app);
            Cookie::Pass.set(&pass, &mut response, &app);
            response
        }
        Err(refused) => ask(Some(&refused), &ctx, &binder, &wanted, &request, &app),
    }
}
