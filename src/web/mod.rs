//! HTTP: the route table, and one file for each act. Handlers are a few calls and an answer; they touch neither keys
//! nor caches nor providers.
//!
//! Errors for Duplicati are made in `reason`, for visitors in `page` and `login_error`; errors for operators are
//! log lines.

mod audit;
mod client;
mod cookie;
mod exchange;
mod handlers;
mod middleware;
mod request;
mod response;
mod server;

pub use response::errors::verdict;
pub use server::running::Running;
pub use server::{Server, listen, service};

use crate::app::App;
use crate::meter::Meter;
use crate::provider::{Availability, Service};
use crate::texts::Text;
use crate::tokens::{ExchangeError, Granted};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard, web};
use handlers::{acme, cli_token, deliver, fetch, index, inspect, login, password, refresh, revoke, token};
use response::errors::Answer;
use response::page::ErrorPage;
use response::{reason_text, rejection};
use std::time::Instant;
use tracing::Instrument;

/// Every route of the public listener. What `GET` shows, `HEAD` may ask for, except where `GET` uses something up.
fn routes(config: &mut web::ServiceConfig, meter: &Meter) {
    use web::{get, post};
    let head_too = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let mut at = |path: &str, allow: &'static str, methods: Vec<Route>| {
        let resource = methods.into_iter().fold(web::resource(path), Resource::route);
        config.service(resource.default_service(rejection::method_not_allowed(allow)));
        meter.route(path, allow);
    };
    at("/", "GET, HEAD", vec![head_too().to(index::get)]);
    at("/access", "POST", vec![post().to(password::post)]);
    at("/login", "GET", vec![get().to(login::begin)]);
    at("/logged-in", "GET, POST", vec![get().to(login::complete), post().to(login::confirm)]);
    at("/cli-token", "GET", vec![get().to(cli_token::get)]);
    at("/cli-token-login", "POST", vec![post().to(cli_token::post)]);
    at("/deliver", "POST", vec![post().to(deliver::post)]);
    at("/fetch", "GET", vec![get().to(fetch::fetch)]);
    at("/token-state", "GET", vec![get().to(fetch::state)]);
    at("/refresh", "GET, POST", vec![get().to(refresh::get), post().to(refresh::post)]);
    at("/token", "POST", vec![post().to(token::post)]);
    at("/revoke", "GET, HEAD", vec![head_too().to(revoke::get)]);
    at("/revoked", "POST", vec![post().to(revoke::post)]);
    at("/inspect", "GET, HEAD, POST", vec![head_too().to(inspect::get), post().to(inspect::post)]);
    at("/privacy-policy", "GET, HEAD", vec![head_too().to(acme::privacy)]);
    at("/privacy-policy.txt", "GET, HEAD", vec![head_too().to(acme::privacy)]);
    at("/static/{name}", "GET, HEAD", vec![head_too().to(acme::asset)]);
    at("/favicon.ico", "GET, HEAD", vec![head_too().to(acme::favicon)]);
    at("/isalive", "GET, HEAD", vec![head_too().to(acme::isalive)]);
    at("/healthz", "GET, HEAD", vec![head_too().to(acme::healthz)]);
    at("/readyz", "GET, HEAD", vec![head_too().to(acme::readyz)]);
    at("/.well-known/acme-challenge/{token}", "GET, HEAD", vec![head_too().to(acme::acme)]);
}

/// Exchanges an AuthID: from what is remembered if possible, otherwise with everything that is worth a log line.
async fn access(request: &HttpRequest, app: &App, authid: &str) -> Result<Granted, Answer> {
    let (begun, deadline) = (Instant::now(), app.tokens().deadline());
    let opened = app.tokens().open_until(authid, deadline).await.map_err(|refused| {
        app.meter().refreshed(None, None, refused.word(), begun.elapsed());
        middleware::span(request).in_scope(|| exchange::unopened(&refused, authid, request, app))
    })?;
    let epoch = opened.epoch.number();
    let count =
        |outcome| app.meter().refreshed(Some(opened.login.service.as_str()), Some(epoch), outcome, begun.elapsed());
    if let Some(granted) = app.tokens().recall(&opened) {
        count(granted.source.word());
        app.meter().saw_epoch(epoch);
        exchange::refreshed(&opened, &granted, begun, request);
        return Ok(granted);
    }
    let span = middleware::span(request);
    span.record("grant", tracing::field::display(opened.login.id));
    let outcome = app.tokens().access(&opened, deadline).instrument(span.clone()).await;
    count(outcome.as_ref().map_or_else(ExchangeError::word, |granted| granted.source.word()));
    if let Err(refused @ ExchangeError::Denied(rule)) = &outcome {
        span.in_scope(|| audit::denied(&opened, *rule, request, app));
        return Err(Answer::of(refused, ""));
    }
    app.meter().saw_epoch(epoch);
    let granted = outcome.map_err(|refused| span.in_scope(|| exchange::refused(&refused, &opened, request, app)))?;
    exchange::refreshed(&opened, &granted, begun, request);
    Ok(granted)
}

/// Why a service cannot be chosen, for visitors; `None` if it can.
fn unavailable(service: &Service) -> Option<Text> {
    match service.availability() {
        Availability::Offered => None,
        Availability::NotConfigured | Availability::SwitchedOff => Some(Text::new("unavailable.not_configured")),
        Availability::NeedsStore => Some(Text::new("unavailable.needs_store")),
        Availability::Gone { reason, .. } => Some(reason_text::gone(reason)),
    }
}

/// Sends a browser on to another page of ours. With the policy of our pages, `same-origin`, it would forget which page
/// opened the window, and with it where the AuthID may go.
fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::REFERRER_POLICY, "strict-origin-when-cross-origin"))
        .finish()
}

fn unknown_service(request: &HttpRequest, app: &App) -> HttpResponse {
    ErrorPage::new("unknown_service").action("/", "action.all_services").show(request, app, StatusCode::NOT_FOUND)
}

#[cfg(test)]
mod tests;
