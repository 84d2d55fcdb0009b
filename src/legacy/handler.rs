//! Asks duplicati/oauth-handler, which the Duplicati project hosts, for what it has of an AuthID of version 1: `GET` of its
//! `/export` with its API key (`X-APIKey`) and the AuthID (`X-AuthID`) answers with what the provider last told of that
//! login, and its service. What is to be remembered of it is left to `tokens`.
//!
//! Who holds no AuthID must not use this server to try passwords there, so wrong ones are counted, and remembered for a
//! while. Only what that handler itself says of an AuthID, in its `X-Reason`, counts against the AuthID: a 404 without it
//! comes from somebody in between, and nobody must be told to log in again for that.

use super::export::{Export, ExportError};
use super::old::Digest;
use super::stored::{Stored, service_id};
use crate::authid::ServiceId;
use crate::clock::Clock;
use crate::lru::Lru;
use crate::meter::Meter;
use crate::provider::ProviderClient;
use crate::rate_limit::Limit;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

/// How long it may take: it may have to start first, and the provider has to be asked after it.
const LIMIT: Duration = Duration::from_secs(10);
/// How many are asked for at a time, how many may wait for that, and how long.
const AT_A_TIME: usize = 8;
const QUEUE: usize = 512;
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure of the handler as a whole nobody asks it for this time.
const REST: Duration = Duration::from_secs(2);
/// Of how many AuthIDs it is remembered that it told nothing.
const MOST_REFUSED: u64 = 50_000;
/// How many AuthIDs in a minute it may not know: with one name, and in all.
const GUESSES: u32 = 10;
const GUESSES_IN_ALL: u32 = 300;
/// The longest answer that is read, in bytes: some providers' tokens take several KiB.
const MAX_BODY: usize = 64 * 1024;
/// The longest password that is sent; it makes some of 21 characters.
const MAX_PASSWORD: usize = 128;

/// What its JSON has that is of use here.
#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "service_id")]
    service: ServiceId,
    refresh_token: SecretString,
}

/// The handler, and what it did not take.
pub struct Handler {
    export: Export,
    refused: Lru<Digest, ExportError>,
    /// Of those that it does not know, by name.
    guesses: Limit<u128>,
    guesses_in_all: Limit<()>,
    /// Why it is not asked, and until when.
    rest: Mutex<Option<(Duration, ExportError)>>,
    queue: Semaphore,
    places: Semaphore,
    clock: Clock,
    meter: Meter,
}

impl Handler {
    /// Not asked yet.
    pub fn new(export: Export, clock: Clock, meter: Meter) -> Self {
        let refused = Lru::new(MOST_REFUSED, REST, &clock);
        let (guesses, guesses_in_all) = (Limit::new(&clock), Limit::new(&clock));
        let (queue, places) = (Semaphore::new(QUEUE), Semaphore::new(AT_A_TIME));
        Self { export, refused, guesses, guesses_in_all, rest: Mutex::default(), queue, places, clock, meter }
    }

    /// Whether it is asked there, with that key.
    pub fn is(&self, export: &Export) -> bool {
        self.export.url == export.url && self.export.key.expose_secret() == export.key.expose_secret()
    }

    /// What it has for an AuthID of this digest: of this name, 30 to 32 hex digits, with this password.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub async fn ask(
        &self,
        providers: &ProviderClient,
        digest: Digest,
        name: &str,
        password: &SecretString,
    ) -> Result<Stored, ExportError> {
        self.may_ask(digest)?;
        let _waits = self.queue.try_acquire().map_err(|_| ExportError::Busy)?;
        let place = timeout(PATIENCE, self.places.acquire()).await.ok().and_then(Result::ok);
        let _place = place.ok_or(ExportError::Busy)?;
        // Much may have come of others meanwhile.
        self.may_ask(digest)?;
        let number = u128::from_str_radix(name, 16).unwrap_or_default();
        self.guesses_in_all.admit((), GUESSES_IN_ALL).map_err(ExportError::Guessed)?;
        if let Err(wait) = self.guesses.admit(number, GUESSES) {
            self.guesses_in_all.give_back(());
            return Err(ExportError::Guessed(wait));
        }
        let deadline = Instant::now() + LIMIT;
        let outcome = self.fetch(providers, name, password, deadline).await;
        self.meter.exported(outcome.as_ref().map_or_else(|error| error.label(), |_| "ok"));
        match &outcome {
            Err(error) if error.is_guess() => {}
            _ => {
                self.guesses_in_all.give_back(());
                self.guesses.give_back(number);
            }
        }
        if let Err(error) = outcome {
            let rest = Some((self.clock.uptime() + REST, error));
            match error.holds() {
                Some(time) => drop(self.refused.lock().insert_with(digest, error, 1, time)),
                None => *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = rest,
            }
        }
        outcome
    }

    /// Fails as the last try did, with this AuthID or as a whole, where that was just now.
    fn may_ask(&self, digest: Digest) -> Result<(), ExportError> {
        let resting = || *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let still = |(until, error)| (self.clock.uptime() < until).then_some(error);
        self.refused.get(&digest).or_else(|| resting().and_then(still)).map_or(Ok(()), Err)
    }

    async fn fetch(
        &self,
        providers: &ProviderClient,
        name: &str,
        password: &SecretString,
        deadline: Instant,
    ) -> Result<Stored, ExportError> {
        let password = password.expose_secret();
        // It never made another one.
        if password.len() > MAX_PASSWORD || !password.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ExportError::Unknown);
        }
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).map_err(|_| ExportError::Unknown)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let authid = Zeroizing::new(format!("{name}:{password}"));
        let mut headers = HeaderMap::new();
        headers.insert("x-apikey", secret(self.export.key.expose_secret())?);
        headers.insert("x-authid", secret(&authid)?);
        let answered = providers.elsewhere(&self.export.url, headers, deadline).await;
        let (status, headers, body) = answered.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => ExportError::TimedOut,
            io::ErrorKind::FileTooLarge => ExportError::NoExport,
            _ => ExportError::Unreachable,
        })?;
        let reason = headers.get("x-reason").and_then(|reason| reason.to_str().ok()).unwrap_or_default();
        told(status, reason, &body)
    }
}

/// What a response says, by its status, its `X-Reason` and its body.
pub(super) fn told(status: u16, reason: &str, body: &[u8]) -> Result<Stored, ExportError> {
    match (status, reason) {
        (200, _) if body.len() > MAX_BODY => Err(ExportError::NoExport),
        (200, _) => read(body),
        (404, "No such key" | "No such user") => Err(ExportError::Unknown),
        (400, "Invalid authid password") => Err(ExportError::WrongPassword),
        (400, "Invalid authid in query") => Err(ExportError::Unknown),
        (401 | 403, _) => Err(ExportError::KeyRefused),
        (500, "Server error") => Err(ExportError::Fails),
        (status, _) => Err(ExportError::Status(status)),
    }
}

/// What an answer holds. That it is an export is known by its service, which that handler puts into each.
fn read(body: &[u8]) -> Result<Stored, ExportError> {
    // Not as a struct, which may be a list too.
    let members: HashMap<String, IgnoredAny> = serde_json::from_slice(body).map_err(|_| ExportError::NoExport)?;
    if !members.contains_key("service") {
        return Err(ExportError::NoExport);
    }
    let Answer { service, refresh_token } = serde_json::from_slice(body).map_err(|_| ExportError::Unusable)?;
    let is_token = !refresh_token.expose_secret().is_empty();
    is_token.then_some(Stored { service_id: service, refresh_token }).ok_or(ExportError::Unusable)
}
