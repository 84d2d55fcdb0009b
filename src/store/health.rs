//! How a store does: judged by what came of the last request, told to the log when it changes and not before.

use super::StoreError;
use crate::clock::{Clock, UnixTime};
use crate::meter::Meter;
use std::sync::{Mutex, PoisonError};

/// How a store does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last request was answered, or there was none yet.
    Good,
    /// Requests fail.
    Failing {
        /// Since when.
        since: UnixTime,
        /// Why the last one did. Holds no name and no content of anything stored.
        cause: String,
    },
}

/// The health of one store.
pub(super) struct Watched {
    health: Mutex<Health>,
    meter: Option<(&'static str, Meter)>,
    clock: Clock,
}

impl Watched {
    pub(super) fn new(clock: Clock) -> Self {
        Self { health: Mutex::new(Health::Good), meter: None, clock }
    }

    /// Has failures counted, for a store of that kind.
    pub(super) fn count(&mut self, kind: &'static str, meter: Meter) {
        self.meter = Some((kind, meter));
    }

    pub(super) fn now(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes notice of what came of a request.
    pub(super) fn note<T>(&self, verb: &'static str, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Err(_), Some((kind, meter))) = (&outcome, &self.meter) {
            meter.store_failed(kind, verb);
        }
        match (&outcome, &mut *health) {
            (Ok(_), Health::Good) | (Err(StoreError::TooLong), _) => {}
            (Ok(_), Health::Failing { since, .. }) => {
                let seconds = self.clock.now() - *since;
                tracing::info!(seconds, "the state store answers again");
                *health = Health::Good;
            }
            (Err(error), Health::Good) => {
                tracing::error!(verb, %error, "the state store fails; it is tried again with each request");
                *health = Health::Failing { since: self.clock.now(), cause: error.to_string() };
            }
            (Err(error), Health::Failing { cause, .. }) => *cause = error.to_string(),
        }
        drop(health);
        outcome
    }
}
