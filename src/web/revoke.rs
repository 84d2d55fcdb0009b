//! `/revoke` and `/revoked`: the owner of an AuthID or of its revoke code revokes the login.

use super::page::{self, ErrorPage, alone};
use super::reason::Answer;
use super::{audit, authid, client, exchange, form, headers, unfit, visitor};
use crate::app::App;
use crate::tokens::{AtProvider, Revocation, Withdrawal};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use form::Form;
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct RevokedPage<'a> {
    title: &'static str,
    grant: String,
    /// Whether the revocation is written down.
    durable: bool,
    provider: &'a str,
    outcome: &'static str,
    /// The same in words.
    outcome_words: &'static str,
    withdraw_url: Option<&'a str>,
    /// The AuthID once more, for the button that ends all logins at the provider.
    pasted: Option<&'a str>,
    request_id: String,
}

/// `GET /revoke`: the page to paste into.
pub(super) async fn get(app: web::Data<App>) -> HttpResponse {
    alone(page::show(&app, StatusCode::OK, "revoke.html", json!({ "title": "Revoke access" })))
}

/// `POST /revoked` with form field `authid` (a page comes back) or header `X-AuthID` (JSON comes back): an AuthID or a
/// revoke code. `at_provider` in form or query is `yes`, even if that ends other logins too, or `no`.
pub(super) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    if visitor::is_foreign_form(&request, &app) {
        return alone(unfit::answer(&request, StatusCode::FORBIDDEN));
    }
    let as_json = request.headers().contains_key(&authid::HEADER);
    let authid = match authid::of(&request, &form.0, false) {
        Ok(authid) => authid,
        Err(why) => return refuse(&why.into(), as_json, &request, &app),
    };
    let Some(at_provider) = at_provider(&request, &form) else {
        let why = Answer::bad_request("at_provider must be yes or no, or left out.");
        return refuse(&why, as_json, &request, &app);
    };
    let revocable = match app.tokens().revocable(&authid) {
        Ok(revocable) => revocable,
        Err(refused) => return refuse(&exchange::unopened(&refused, &authid, &request, &app), as_json, &request, &app),
    };
    let (client, grant) = (client::of(&request, &app), revocable.grant());
    let admit = || app.limits().revocations.admits(client, Some(grant));
    let done = app.tokens().revoke(revocable, at_provider, admit).await;
    audit::revoked(&done, &request, &app);
    alone(if as_json { to_program(&done, &app) } else { to_person(&done, &authid, &request, &app) })
}

fn at_provider(request: &HttpRequest, form: &Form) -> Option<AtProvider> {
    let named = form.only("at_provider").ok()?.map(str::to_owned).or_else(|| form::query(request, "at_provider"));
    match named.as_deref() {
        None => Some(AtProvider::IfHarmless),
        Some("yes") => Some(AtProvider::Always),
        Some("no") => Some(AtProvider::Never),
        Some(_) => None,
    }
}

fn to_program(done: &Revocation, app: &App) -> HttpResponse {
    let service = app.catalogue().find(done.service.as_str());
    let status = if done.here.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    HttpResponse::build(status).json(done.json(service.and_then(|service| service.provider.withdraw_url())))
}

fn to_person(done: &Revocation, pasted: &str, request: &HttpRequest, app: &App) -> HttpResponse {
    let provider = app.catalogue().find(done.service.as_str()).map(|service| &service.provider);
    let durable = done.here.is_ok();
    let (title, status) = match durable {
        true => ("Access revoked", StatusCode::OK),
        false => ("Not durably revoked", StatusCode::INTERNAL_SERVER_ERROR),
    };
    let page = RevokedPage {
        title,
        grant: done.grant.to_string(),
        durable,
        provider: provider.map_or("the storage provider", |provider| provider.name()),
        outcome: done.at_provider.word(),
        outcome_words: done.at_provider.words(),
        withdraw_url: provider.and_then(|provider| provider.withdraw_url()),
        pasted: (done.at_provider == Withdrawal::WouldEndAllLogins).then_some(pasted),
        request_id: headers::request_id(request),
    };
    page::show(app, status, "revoked.html", page)
}

fn refuse(answer: &Answer, as_json: bool, request: &HttpRequest, app: &App) -> HttpResponse {
    // Nothing to log in to here, so never 401.
    let status = if answer.status.is_client_error() { StatusCode::BAD_REQUEST } else { answer.status };
    let mut response = alone(if as_json {
        HttpResponse::build(status).json(json!({ "revoked": false, "error": answer.reason }))
    } else {
        ErrorPage::new(
            "This cannot be revoked here",
            answer.reason.clone(),
            "Paste the whole AuthID or the whole revoke code, as it was shown to you.",
        )
        .action("/revoke", "Try again")
        .show(app, request, status)
    });
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
