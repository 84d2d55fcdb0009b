//! What the log says of exchanges of AuthIDs: a line for each that failed, with all that its operator needs to find the
//! machine that sent it, and one at debug for each that went well.

use crate::app::App;
use crate::authid::{Envelope, ParseError};
use crate::provider::Service;
use crate::tokens::{ExchangeError, Granted, Opened};
use crate::web::middleware::{self, milliseconds};
use crate::web::response::errors::{self, Answer};
use crate::web::{audit, client};
use actix_web::HttpRequest;
use std::sync::Arc;
use std::time::Instant;
use tracing::field;

/// It went well.
pub(in crate::web) fn refreshed(opened: &Opened, granted: &Granted, begun: Instant, request: &HttpRequest) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        middleware::span(request).in_scope(|| {
            tracing::debug!(
                service = %granted.service,
                grant = %opened.login.id,
                epoch = opened.epoch.number(),
                source = granted.source.word(),
                duration_ms = milliseconds(begun),
                "refreshed"
            );
        });
    }
}

/// An AuthID that opened brought no access token. Returns what the client is told.
pub(in crate::web) fn refused(refused: &ExchangeError, opened: &Opened, request: &HttpRequest, app: &App) -> Answer {
    let answer = Answer::of(refused, &errors::provider_name(&opened.login.service, app.catalogue()));
    let service = app.catalogue().find(opened.login.service.as_str());
    log(refused, answer, service, Some(opened.epoch.number()), request, app)
}

/// The same for what did not open. Where too many guesses come from one address, they are neither logged nor told apart.
pub(in crate::web) fn unopened(refused: &ExchangeError, authid: &str, request: &HttpRequest, app: &App) -> Answer {
    let counted = || app.limits().invalid_authid(client::of(request, app));
    match refused.is_guess().then(counted) {
        Some(Err(wait)) => Answer::too_many(wait),
        _ => {
            // What it says of itself may be made up, so only a service that there is gets into the log.
            let named = match (refused, Envelope::parse(authid)) {
                (ExchangeError::Parse(ParseError::Version2(id)), _) => id.clone(),
                (_, Ok(envelope)) => Some(envelope.service),
                _ => None,
            };
            let service = named.and_then(|id| app.catalogue().find(id.as_str()));
            log(refused, Answer::of(refused, ""), service, None, request, app)
        }
    }
}

fn log(
    refused: &ExchangeError,
    answer: Answer,
    service: Option<&Arc<Service>>,
    epoch: Option<u32>,
    request: &HttpRequest,
    app: &App,
) -> Answer {
    let (client, peer) = audit::whence(request, app);
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
    match answer.level {
        tracing::Level::ERROR => tell!(error),
        tracing::Level::WARN => tell!(warn),
        _ => tell!(info),
    }
    answer
}
