//! `/cli-token` and `/cli-token-login`: a login with a token that the person made at the provider and pasted here.

use super::form::Form;
use super::login::{self, Named};
use super::{access, audit, client, form, login_error, page, unfit, visitor};
use crate::app::App;
use crate::login::LoginError;
use crate::provider::{Availability, Flow, Service};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    service: Named<'a>,
    paste_url: Option<&'a str>,
    ctx: &'a str,
    /// Whether what was pasted is no such token.
    bad: bool,
}

/// `GET /cli-token` with `id` and `ctx`: the page to paste into.
pub(super) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let service = form::query(&request, "id").and_then(|id| app.catalogue().find(&id).cloned());
    let Some(service) = service.filter(|service| service.provider.flow() == Flow::Paste) else {
        return super::unknown_service(&request, &app);
    };
    if access::is_shut(&request, &app) {
        return super::to_index(&service.id);
    }
    match form::query(&request, "ctx").filter(|_| matches!(service.availability(), Availability::Offered)) {
        Some(ctx) => show(&service, &ctx, false, &request, &app),
        None => super::to_index(&service.id),
    }
}

/// `POST /cli-token-login` with form `id`, `token` and `ctx`.
pub(super) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    if visitor::is_foreign_form(&request, &app) {
        return unfit::answer(&request, StatusCode::FORBIDDEN);
    }
    let field = |name| form.only(name).ok().flatten().unwrap_or_default();
    let Some(service) = app.catalogue().find(field("id")).cloned() else {
        return super::unknown_service(&request, &app);
    };
    if access::is_shut(&request, &app) {
        return super::to_index(&service.id);
    }
    let (ctx, token) = (field("ctx"), SecretString::from(field("token").to_owned()));
    let (binder, client) = (visitor::binder(&request, &app), client::of(&request, &app));
    let (pastes, admit) = (&app.limits().pastes, || app.limits().pastes.admits(client, None));
    match app.logins().trade(&service, ctx, binder.as_ref(), client, &token, admit).await {
        Ok(logged_in) => {
            pastes.give_back(client);
            login::show(&logged_in, &request, &app)
        }
        Err(error @ LoginError::BadPaste(_)) => {
            audit::login_refused(&error, false, &request, &app);
            show(&service, ctx, true, &request, &app)
        }
        Err(LoginError::StaleLink) => super::to_index(&service.id),
        Err(error) => login_error::show(error, &request, &app),
    }
}

fn show(service: &Service, ctx: &str, bad: bool, request: &HttpRequest, app: &App) -> HttpResponse {
    let page = Page {
        service: Named { id: service.id.as_str(), name: &service.name },
        paste_url: service.provider.paste_url(),
        ctx,
        bad,
    };
    let status = if bad { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    page::show(request, app, status, "paste.html", page)
}
