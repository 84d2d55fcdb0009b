//! `/revoke` and `/revoked`: the owner of an AuthID or of its revoke code revokes the login, here and, where that harms
//! no other login, at the provider (RFC 7009).

use crate::app::App;
use crate::authid::RevokeCode;
use crate::texts::Text;
use crate::tokens::{Opened, ProviderRevocation, ProviderRevocationMode, Revocable, Revocation};
use crate::web::audience::AUTHID_HEADER;
use crate::web::request::csrf::OwnForm;
use crate::web::request::{authid, form};
use crate::web::response::rejection::Rejection;
use crate::web::response::{names, page, reason_text};
use crate::web::{audit, client, exchange, request_id};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::json;

#[derive(Default, Serialize)]
struct FormPage<'a> {
    /// What was wrong with what was sent.
    error: Option<String>,
    /// It once more, where it is a code that people type and not an AuthID.
    typed: Option<&'a str>,
}

#[derive(Serialize)]
struct RevokedPage<'a> {
    grant: String,
    /// Whether the revocation is written down.
    durable: bool,
    provider: Option<&'a str>,
    outcome: &'static str,
    withdraw_url: Option<&'a str>,
    /// The AuthID once more, for the button that ends all logins at the provider.
    pasted: Option<&'a str>,
    request_id: String,
}

/// `GET /revoke`: the page to paste into.
pub(in crate::web) async fn get(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    page::show(&request, &app, StatusCode::OK, "revoke.html", FormPage::default())
}

/// `POST /revoked` with form field `authid` (a page comes back) or header `X-AuthID` (JSON comes back): an AuthID or a
/// revoke code. `at_provider` in form or query is `yes`, even if that ends other logins too, or `no`.
pub(in crate::web) async fn post(request: HttpRequest, form: OwnForm, app: web::Data<App>) -> HttpResponse {
    let as_json = request.headers().contains_key(&AUTHID_HEADER);
    let refuse = |rejection: &Rejection, why: &Text, sent: &str| match as_json {
        true => error_to_program(rejection),
        false => ask_again(rejection, why, sent, &request, &app),
    };
    let authid = match authid::of(&request, &form.0, false) {
        Ok(authid) => authid,
        Err(why) => return refuse(&why.into(), &why.text(), ""),
    };
    let Some(at_provider) = at_provider(&request, &form) else {
        let rejection = Rejection::bad_request("at_provider must be yes or no, or left out");
        return refuse(&rejection, &Text::new("reason.bad_form"), "");
    };
    let revocable = match app.tokens().revocable(&authid).await {
        Ok(revocable) => revocable,
        Err(refused) => {
            let (rejection, why) = exchange::unopened_on_page(&refused, &authid, &request, &app);
            return refuse(&rejection, &why, &authid);
        }
    };
    let (client, grant) = (client::of(&request, &app), revocable.grant());
    if let Revocable::Login(opened) = &revocable
        && let Err((answer, why)) = prove(opened, &request, &app).await
    {
        return refuse(&answer, &why, &authid);
    }
    let admit = || app.limits().revocations.admits(client, Some(grant));
    let done = app.tokens().revoke(revocable, at_provider, admit).await;
    audit::revoked(&done, &request, &app);
    if as_json { to_program(&done, &app) } else { to_person(&done, &authid, &request, &app) }
}

/// An old AuthID may be made up, and each would leave a line for ever: its provider is asked first.
async fn prove(opened: &Opened, request: &HttpRequest, app: &App) -> Result<(), (Rejection, Text)> {
    if let Err(wait) = exchange::may_ask(opened, request, app) {
        return Err((exchange::too_many(wait, request), Text::new("reason.too_many")));
    }
    let proven = app.tokens().prove(opened).await;
    proven.map_err(|refused| {
        let rejection = exchange::log_refused(&refused, opened, request, app);
        let provider = names::provider_name(&opened.login.service, app.catalogue());
        (rejection, reason_text::refused(&refused).with("provider", provider))
    })
}

fn at_provider(request: &HttpRequest, form: &OwnForm) -> Option<ProviderRevocationMode> {
    let named = form.only("at_provider").ok()?.map(str::to_owned).or_else(|| form::query(request, "at_provider"));
    match named.as_deref() {
        None => Some(ProviderRevocationMode::IfHarmless),
        Some("yes") => Some(ProviderRevocationMode::Always),
        Some("no") => Some(ProviderRevocationMode::Never),
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
    let status = if durable { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let page = RevokedPage {
        grant: done.grant.to_string(),
        durable,
        provider: provider.map(|provider| provider.name()),
        outcome: done.at_provider.label(),
        withdraw_url: provider.and_then(|provider| provider.withdraw_url()),
        pasted: (done.at_provider == ProviderRevocation::WouldEndAllLogins).then_some(pasted),
        request_id: request_id::of(request),
    };
    page::show(request, app, status, "revoked.html", page)
}

fn error_to_program(rejection: &Rejection) -> HttpResponse {
    let response =
        HttpResponse::build(rejection.page_status()).json(json!({ "revoked": false, "error": rejection.sentence() }));
    with_wait(response, rejection)
}

/// The form once more, with what was wrong.
fn ask_again(rejection: &Rejection, why: &Text, sent: &str, request: &HttpRequest, app: &App) -> HttpResponse {
    let page = FormPage {
        error: Some(page::say(request, app, why)),
        typed: Some(sent).filter(|sent| RevokeCode::is_meant_by(sent)),
    };
    with_wait(page::show(request, app, rejection.page_status(), "revoke.html", page), rejection)
}

fn with_wait(mut response: HttpResponse, rejection: &Rejection) -> HttpResponse {
    if let Some(seconds) = rejection.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
