//! An AuthID for an access token: what the endpoints `/refresh` and `/token` share, with its metrics and the log. Each
//! exchange that failed has a line with all that its operator needs to find the machine that sent it, and each that
//! went well has one at debug level.

use crate::app::App;
use crate::authid::{Envelope, GrantId, ParseError};
use crate::provider::Service;
use crate::seal::Epoch;
use crate::texts::Text;
use crate::tokens::{ExchangeError, Granted, Opened, Repeat};
use crate::web::audience::SentAuthId;
use crate::web::request_id::{self, milliseconds};
use crate::web::response::rejection::Rejection;
use crate::web::response::{names, reason_text};
use crate::web::{audit, client, expected};
use actix_web::HttpRequest;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{Instrument, Level, field};

/// Exchanges an AuthID: without opening it if it came before, from what is remembered if possible, otherwise with
/// everything that is worth a log line.
pub(in crate::web) async fn exchange(request: &HttpRequest, app: &App, authid: &str) -> Result<Granted, Rejection> {
    let begun = Instant::now();
    if let Some(Repeat { granted, grant, epoch }) = app.tokens().repeat(authid, begun) {
        log_refreshed(&granted, grant, Some(epoch), begun, request);
        return Ok(granted);
    }
    let deadline = app.tokens().deadline();
    let opened = app.tokens().open_until(authid, deadline).await.map_err(|refused| {
        app.meter().refreshed(None, None, refused.label(), begun.elapsed());
        request_id::span(request).in_scope(|| log_unopened(&refused, authid, request, app))
    })?;
    let epoch = opened.epoch().map(Epoch::number);
    let count = |outcome| app.meter().refreshed(Some(opened.login.service.as_str()), epoch, outcome, begun.elapsed());
    let saw_epoch = || epoch.into_iter().for_each(|epoch| app.meter().saw_epoch(epoch));
    if let Some(granted) = app.tokens().cached(&opened) {
        count(granted.source.label());
        saw_epoch();
        app.tokens().remember(authid, &opened);
        log_refreshed(&granted, opened.login.id, opened.epoch(), begun, request);
        return Ok(granted);
    }
    if let Err(wait) = may_ask(&opened, request, app) {
        app.meter().refreshed(None, None, "invalid", begun.elapsed());
        return Err(too_many(wait, request));
    }
    let span = request_id::span(request);
    span.record("grant", tracing::field::display(opened.login.id));
    let address = || client::of(request, app).address;
    let outcome = app.tokens().refresh(&opened, deadline, address).instrument(span.clone()).await;
    count(outcome.as_ref().map_or_else(ExchangeError::label, |granted| granted.source.label()));
    if let Err(refused @ ExchangeError::Denied(rule)) = &outcome {
        span.in_scope(|| audit::denied(&opened, *rule, request, app));
        return Err(Rejection::of(refused, ""));
    }
    saw_epoch();
    let granted = outcome.map_err(|refused| span.in_scope(|| log_refused(&refused, &opened, request, app)))?;
    log_refreshed(&granted, opened.login.id, opened.epoch(), begun, request);
    Ok(granted)
}

/// It went well.
fn log_refreshed(granted: &Granted, grant: GrantId, epoch: Option<Epoch>, begun: Instant, request: &HttpRequest) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        request_id::span(request).in_scope(|| {
            tracing::debug!(
                service = %granted.service,
                %grant,
                epoch = epoch.map(Epoch::number),
                source = granted.source.label(),
                duration_ms = milliseconds(begun),
                "refreshed"
            );
        });
    }
}

/// An AuthID that opened brought no access token. Returns what the client is told.
pub(in crate::web) fn log_refused(
    refused: &ExchangeError,
    opened: &Opened,
    request: &HttpRequest,
    app: &App,
) -> Rejection {
    let rejection = Rejection::of(refused, &names::provider_name(&opened.login.service, app.catalogue()));
    let mut rejection = Rejection { authid: Some(SentAuthId::of(&opened.login.service)), ..rejection };
    let service = app.catalogue().find(opened.login.service.as_str());
    if opened.old().is_some() && refused.is_nobodys() {
        // It is told and logged all the same: only the next of them has to wait.
        let _ = app.limits().invalid_authid(client::of(request, app));
        rejection.level = Level::INFO;
    }
    log(refused, rejection, service, opened.epoch().map(Epoch::number), request, app)
}

/// Whether a provider may be asked about an AuthID now: about one that may be made up, not by a client that came with many
/// that were.
///
/// # Errors
/// The time until it may.
pub(in crate::web) fn may_ask(opened: &Opened, request: &HttpRequest, app: &App) -> Result<(), Duration> {
    if app.tokens().is_unproven(opened) { app.limits().may_guess(client::of(request, app)) } else { Ok(()) }
}

/// For a client that may not guess any more, until that time is over.
pub(in crate::web) fn too_many(wait: Duration, request: &HttpRequest) -> Rejection {
    expected::expect(request);
    Rejection::too_many(wait)
}

/// [`log_refused`] for what did not open. Where too many guesses come from one address, they are neither logged nor
/// told apart.
pub(in crate::web) fn log_unopened(
    refused: &ExchangeError,
    authid: &str,
    request: &HttpRequest,
    app: &App,
) -> Rejection {
    let counted = || app.limits().invalid_authid(client::of(request, app));
    if let ExchangeError::Guessed(wait) = refused {
        return too_many(*wait, request);
    }
    match refused.is_guess().then(counted) {
        Some(Err(wait)) => too_many(wait, request),
        _ => {
            // What it says of itself may be made up, so only a service that there is gets into the log.
            let named = match (refused, Envelope::parse(authid)) {
                (ExchangeError::Parse(ParseError::Version2(id)), _) => id.clone(),
                (_, Ok(envelope)) => Some(envelope.service),
                _ => None,
            };
            let service = named.and_then(|id| app.catalogue().find(id.as_str()));
            log(refused, Rejection::of(refused, ""), service, None, request, app)
        }
    }
}

/// [`log_unopened`], and what the page says.
pub(in crate::web) fn unopened_on_page(
    refused: &ExchangeError,
    pasted: &str,
    request: &HttpRequest,
    app: &App,
) -> (Rejection, Text) {
    let rejection = log_unopened(refused, pasted, request, app);
    // Nothing else that does not open has to wait.
    let is_limited = rejection.retry_after.is_some();
    (rejection, if is_limited { Text::new("reason.too_many") } else { reason_text::refused(refused) })
}

fn log(
    refused: &ExchangeError,
    rejection: Rejection,
    service: Option<&Arc<Service>>,
    epoch: Option<u32>,
    request: &HttpRequest,
    app: &App,
) -> Rejection {
    let about = format!("{} {}", service.map_or("none", |service| service.id.as_str()), refused.label());
    if !app.limits().log.admits("no access token", about) {
        return rejection;
    }
    let (client, peer) = audit::client_and_peer(request, app);
    macro_rules! tell {
        ($level:ident) => {
            tracing::$level!(
                why = %refused,
                service = service.map(|service| field::display(&service.id)),
                provider = service.map(|service| service.provider.id()),
                epoch,
                client,
                %peer,
                upstream_status = refused.upstream_status(),
                "no access token"
            )
        };
    }
    match rejection.level {
        Level::ERROR => tell!(error),
        Level::WARN => tell!(warn),
        _ => tell!(info),
    }
    rejection
}
