//! `/cli-token` and `/cli-token-login`: a login with a token that the user made at the provider and pasted here. It
//! takes the place of the authorization request and its response.

use crate::app::App;
use crate::login::LoginError;
use crate::provider::{Availability, Flow, Service};
use crate::web::handlers::login::{self, Named};
use crate::web::handlers::{login_errors, password_prompt, start_link};
use crate::web::request::csrf::OwnForm;
use crate::web::request::form;
use crate::web::response::page;
use crate::web::response::rejection::Rejection;
use crate::web::{audit, client, cookie};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    service: Named<'a>,
    paste_url: Option<&'a str>,
    ctx: &'a str,
    /// Whether Duplicati's page closes this window after some time.
    hurry: bool,
    /// Whether what was pasted is no such token.
    bad: bool,
}

/// `GET /cli-token` with `id` and `ctx`: the page to paste into.
pub(in crate::web) async fn get(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    let service = form::query(&request, "id").and_then(|id| app.catalogue().find(&id).cloned());
    let Some(service) = service.filter(|service| service.provider.flow() == Flow::LoginToken) else {
        return Err(login_errors::unknown_service());
    };
    let ctx = form::query(&request, "ctx").unwrap_or_default();
    let offered = service.availability() == Availability::Offered && app.tokens().paused(&service).is_none();
    if ctx.is_empty() || !offered || password_prompt::is_shut(&request, &app) {
        return Ok(start_link::redirect(&service.id, &ctx, &request, &app));
    }
    Ok(show(&service, &ctx, false, false, &request, &app))
}

/// `POST /cli-token-login` with form `id`, `token` and `ctx`.
pub(in crate::web) async fn post(
    request: HttpRequest,
    form: OwnForm,
    app: web::Data<App>,
) -> Result<HttpResponse, Rejection> {
    let Some(service) = app.catalogue().find(form.field("id")).cloned() else {
        return Err(login_errors::unknown_service());
    };
    let (ctx, token) = (form.field("ctx"), SecretString::from(form.field("token").to_owned()));
    if password_prompt::is_shut(&request, &app) {
        return Ok(start_link::redirect(&service.id, ctx, &request, &app));
    }
    let (browser_cookie, client) = (cookie::browser_cookie(&request, &app), client::of(&request, &app));
    let (pastes, admit) = (&app.limits().pastes, || app.limits().pastes.admits(client, None));
    match app.logins().exchange_login_token(&service, ctx, browser_cookie.as_ref(), client, &token, admit).await {
        Ok(logged_in) => {
            pastes.give_back(client);
            Ok(login::show(&logged_in, &request, &app))
        }
        Err(error @ LoginError::BadPaste(_)) => {
            audit::login_refused(&error, false, &request, &app);
            Ok(show(&service, ctx, false, true, &request, &app))
        }
        Err(LoginError::StaleLink) => Ok(start_link::redirect(&service.id, ctx, &request, &app)),
        Err(error) => {
            Err(login_errors::reject(&error, start_link::resumed(ctx, &request, &app).as_ref(), &request, &app))
        }
    }
}

/// The page to paste into, for a visitor who may log in; `ctx` is the context, sealed.
pub(in crate::web) fn show(
    service: &Service,
    ctx: &str,
    hurry: bool,
    bad: bool,
    request: &HttpRequest,
    app: &App,
) -> HttpResponse {
    let page = Page { service: Named::of(service), paste_url: service.provider.paste_url(), ctx, hurry, bad };
    let status = if bad { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page::show(request, app, status, "paste.html", page)
}
