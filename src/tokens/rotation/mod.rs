//! Logins whose refresh token changes when it is used. An AuthID cannot change at the user's, so the store remembers the
//! newest token of each such login, and this room sees to it that no two callers, here or on other replicas, spend one
//! twice. `steps` decides what is done in which order; this file does it.

mod lease;
mod record;
mod steps;
#[cfg(test)]
mod tests;
mod unwritten;

use super::cache::Access;
use super::refused::Refused;
use crate::authid::Login;
use crate::clock::{Clock, UnixTime};
use crate::keyfile::LiveKeyring;
use crate::meter::Meter;
use crate::provider::{Failure, RefreshFailure, Tokens};
use crate::seal::{Epoch, NoKey};
use crate::store::{Name, Shelf, Store, StoreError};
use futures_util::future::BoxFuture;
use lease::Lease;
use record::{Record, Unopened};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use steps::{CALL_ENDS, Command, End, Event, Exchange, Outcome, View};
use tokio::time::{Instant, sleep, timeout};
use unwritten::{Pending, Unwritten};

/// How long a caller waits before looking again whether another one has finished, at least; and up to twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// A provider call is begun only with this much time left: one that is cut short leaves a token in doubt.
const CALL_NEEDS: Duration = Duration::from_secs(9);
/// A record is kept for this long after the provider would have ended an unused login; or this long, where it is not
/// known when that is. Whoever comes after that is told to log in again.
const MARGIN_DAYS: u64 = 30;
const UNKNOWN_DAYS: u64 = 370;

/// How a provider changes refresh tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether one can be used once only.
    pub(super) single_use: bool,
    /// How many days one lives that is not used, where that is known.
    pub(super) days: Option<u32>,
}

impl Manner {
    fn record_life(self) -> Duration {
        let days = self.days.map_or(UNKNOWN_DAYS, u64::from) + MARGIN_DAYS;
        Duration::from_secs(days * 86_400)
    }
}

/// Asks a provider with a refresh token, in a given time.
pub(super) type Ask<'a> =
    dyn Fn(SecretString, Duration) -> BoxFuture<'a, Result<Tokens, RefreshFailure>> + Send + Sync + 'a;

/// The newest refresh tokens, remembered.
pub(super) struct Rotation {
    store: Arc<Store>,
    keyring: Arc<LiveKeyring>,
    clock: Clock,
    unwritten: Arc<Unwritten>,
    meter: Meter,
}

/// What a caller knows on its way through an exchange.
struct Known {
    /// The record as it was last read or written by this caller, sealed and open. The latter may be missing while the
    /// former is there: damaged.
    blob: Option<Vec<u8>>,
    record: Option<Record>,
    /// Whose access token will not do.
    unwanted: Unwanted,
    /// What the provider gave.
    answer: Option<Record>,
    /// What it said instead.
    failure: Failure,
    /// The key that is missing for the record.
    no_key: Option<(Epoch, NoKey)>,
}

/// Access tokens that are remembered, but will not do.
enum Unwanted {
    /// There are none such.
    None,
    /// That of the record which will be read first.
    First,
    /// Those up to this generation.
    Generation(u64),
}

impl Rotation {
    pub(super) fn new(store: Arc<Store>, keyring: Arc<LiveKeyring>, clock: Clock, meter: Meter) -> Self {
        let unwritten = Arc::new(Unwritten::new(store.clone(), keyring.clone(), meter.clone()));
        Self { store, keyring, clock, unwritten, meter }
    }

    /// Remembers a login that was just made.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn begin(&self, login: &Login, tokens: Tokens, manner: Manner) -> Result<(), StoreError> {
        let record = Record::new(None, &login.refresh_token, tokens, self.clock.now());
        let blob = record.seal(login, &self.keyring.load()).map_err(|_| StoreError::Interrupted)?;
        self.store.put(Shelf::Records, &record::name(login), &blob, manner.record_life()).await
    }

    /// A login around its newest refresh token; `None` where nothing newer is known.
    pub(super) async fn newest(&self, login: &Login) -> Option<Login> {
        let blob = self.store.read(Shelf::Records, &record::name(login)).await.ok().flatten()?;
        let record = Record::open(&blob, login, &self.keyring.load()).ok()?;
        Some(Login { sealed_at: record.fetched_at, refresh_token: record.token, ..login.clone() })
    }

    /// Forgets a login that was ended at its provider.
    pub(super) async fn forget(&self, login: &Login) {
        // If it stays, it ends by itself.
        let _ = self.store.take(Shelf::Records, &record::name(login)).await;
    }

    /// How many answers of providers could not be written down yet.
    #[cfg(test)]
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.count()
    }

    /// Gives what could not be written down a last chance, for some seconds.
    pub(super) async fn settle(&self) {
        self.unwritten.settle().await;
    }

    /// An access token for a login: the remembered one while it is fresh, unless `recall` is off; else by asking the
    /// provider. Ends by `deadline`.
    ///
    /// # Errors
    /// Says why there is none.
    pub(super) async fn exchange(
        &self,
        login: &Login,
        manner: Manner,
        recall: bool,
        deadline: Instant,
        ask: &Ask<'_>,
    ) -> Result<Access, Refused> {
        let name = record::name(login);
        let lease = Lease::new(&self.store, name)?;
        let failure = Failure::TimedOut;
        let unwanted = if recall { Unwanted::None } else { Unwanted::First };
        let mut known = Known { blob: None, record: None, unwanted, answer: None, failure, no_key: None };
        let (mut exchange, mut command) = Exchange::begin(manner.single_use);
        let end = loop {
            let event = match command {
                Command::Read => self.read(login, &name, &mut known).await,
                Command::TakeLease => lease.take().await.map_or(Event::StoreFailed, Event::Lease),
                Command::Pause if Instant::now() + 2 * PAUSE >= deadline => Event::Late,
                Command::Pause => {
                    sleep(PAUSE + PAUSE.mul_f64(jitter())).await;
                    Event::Paused
                }
                Command::Mark => {
                    let marked = known.record.as_ref().map(|record| record.with_mark(Some(self.clock.now())));
                    self.write(login, manner, &name, marked, &mut known).await
                }
                Command::Unmark => {
                    let unmarked = known.record.as_ref().map(|record| record.with_mark(None));
                    self.write(login, manner, &name, unmarked, &mut known).await
                }
                Command::Ask => Event::Asked(self.ask(login, deadline, ask, &lease, &mut known).await),
                Command::WriteAnswer => {
                    let answer = known.answer.clone();
                    self.write(login, manner, &name, answer, &mut known).await
                }
                Command::Release(end) => {
                    lease.give_back().await;
                    break end;
                }
                Command::Finish(end) => break end,
            };
            command = exchange.next(event, self.clock.now());
        };
        self.meter.rotation(end.word());
        tracing::debug!(grant = %login.grant, ?end, "an exchange ended");
        self.outcome(end, login, manner, deadline, ask, known).await
    }

    async fn outcome(
        &self,
        end: End,
        login: &Login,
        manner: Manner,
        deadline: Instant,
        ask: &Ask<'_>,
        known: Known,
    ) -> Result<Access, Refused> {
        let access = |record: Option<Record>| record.map(|record| record.access(&self.clock)).ok_or(Refused::Internal);
        match end {
            End::Recorded => access(known.record),
            End::Answered => access(known.answer),
            End::Unwritten => {
                tracing::error!(
                    grant = %login.grant,
                    "a new refresh token could not be written down; it is kept in memory and tried again every second"
                );
                if let Some(record) = known.answer.clone() {
                    let (login, life) = (login.clone(), manner.record_life());
                    self.unwritten.keep(Pending { login, record, life });
                }
                access(known.answer)
            }
            End::Failed => Err(Refused::Provider(known.failure)),
            End::Missing => Err(Refused::Forgotten),
            End::HeldOff(seconds) => Err(Refused::InDoubt(seconds.unsigned_abs())),
            End::Busy => Err(Refused::TimedOut),
            End::StoreDown => match known.no_key {
                Some((epoch, no_key)) => Err(Refused::NoKey(epoch, no_key)),
                // A token that lives on when it is used does not need the store today.
                None if !manner.single_use => self.without_store(login, deadline, ask).await,
                None => Err(Refused::StoreDown),
            },
        }
    }

    /// An exchange with the login's own token, for a provider where that stays good for some time.
    async fn without_store(&self, login: &Login, deadline: Instant, ask: &Ask<'_>) -> Result<Access, Refused> {
        let time = deadline.saturating_duration_since(Instant::now());
        if time < CALL_NEEDS {
            return Err(Refused::StoreDown);
        }
        match ask(login.refresh_token.clone(), time).await {
            Ok(tokens) => Ok(Access::new(tokens, &self.clock)),
            // A newer token, which the store has, may be better.
            Err(RefreshFailure { failure: Failure::Refused(_), .. }) => Err(Refused::StoreDown),
            Err(RefreshFailure { failure, .. }) => Err(Refused::Provider(failure)),
        }
    }

    async fn read(&self, login: &Login, name: &Name, known: &mut Known) -> Event {
        if self.unwritten.write(name).await.is_err() {
            return Event::StoreFailed;
        }
        let Ok(blob) = self.store.read(Shelf::Records, name).await else { return Event::StoreFailed };
        let opened = blob.as_ref().map(|blob| Record::open(blob, login, &self.keyring.load())).transpose();
        (known.blob, known.record) = match opened {
            Ok(record) => (blob, record),
            Err(Unopened::Damaged) => {
                tracing::warn!(grant = %login.grant, "the store holds something else than this login's record");
                (blob, None)
            }
            Err(Unopened::NoKey(epoch, no_key)) => {
                known.no_key = Some((epoch, no_key));
                return Event::StoreFailed;
            }
        };
        let view = known.record.as_ref().map(Record::view);
        if let (Unwanted::First, Some(view)) = (&known.unwanted, view) {
            known.unwanted = Unwanted::Generation(view.generation);
        }
        let unwanted = |view: &View| matches!(known.unwanted, Unwanted::Generation(old) if view.generation <= old);
        Event::Record(view.map(|view| if unwanted(&view) { View { fresh_until: 0, ..view } } else { view }))
    }

    /// Writes `record` in the place of what was read or written last.
    async fn write(
        &self,
        login: &Login,
        manner: Manner,
        name: &Name,
        record: Option<Record>,
        known: &mut Known,
    ) -> Event {
        let Some(record) = record else { return Event::StoreFailed }; // the steps never come here without one
        let Ok(blob) = record.seal(login, &self.keyring.load()) else { return Event::StoreFailed };
        let expected = known.blob.as_deref();
        match self.store.swap(Shelf::Records, name, expected, Some(&blob), manner.record_life()).await {
            Ok(true) => {
                (known.blob, known.record) = (Some(blob), Some(record));
                Event::Wrote(true)
            }
            Ok(false) => Event::Wrote(false),
            Err(_) => Event::StoreFailed,
        }
    }

    /// Asks the provider, and keeps the lease meanwhile.
    async fn ask(
        &self,
        login: &Login,
        deadline: Instant,
        ask: &Ask<'_>,
        lease: &Lease<'_>,
        known: &mut Known,
    ) -> Outcome {
        let before = known.record.as_ref();
        let time = deadline.saturating_duration_since(Instant::now());
        // A machine that slept since the mark was written must not act on it as if it were new.
        let time = match before.and_then(|record| record.asked_at) {
            Some(asked_at) => time.min(seconds_until(asked_at + CALL_ENDS, self.clock.now())),
            None => time,
        };
        if time < CALL_NEEDS {
            known.failure = Failure::TimedOut;
            return Outcome::TurnedAway;
        }
        let token = before.map_or(&login.refresh_token, |record| &record.token).clone();
        let mut call = pin!(ask(token, time));
        let answer = loop {
            match timeout(lease::RENEW, &mut call).await {
                Ok(answer) => break answer,
                Err(_) => lease.renew().await,
            }
        };
        match answer {
            Ok(tokens) => {
                let now = self.clock.now();
                known.answer = Some(Record::new(before, &login.refresh_token, tokens, now));
                if before.is_none()
                    && let Some(answer) = &mut known.answer
                {
                    // The login's own token was generation 0, though it was never written down.
                    answer.generation = 1;
                }
                Outcome::Answered
            }
            Err(RefreshFailure { failure, in_doubt }) => {
                known.failure = failure;
                match failure {
                    _ if in_doubt => Outcome::Unknown,
                    Failure::Refused(_) => Outcome::Refused,
                    _ => Outcome::TurnedAway,
                }
            }
        }
    }
}

/// How many records there are under each epoch, and how many that are none.
///
/// # Errors
/// When the store fails.
pub async fn records_by_epoch(store: &Store) -> Result<BTreeMap<Option<Epoch>, u64>, StoreError> {
    let mut counts = BTreeMap::new();
    let count = |head: &[u8]| *counts.entry(record::epoch_of(head)).or_default() += 1;
    store.heads(Shelf::Records, record::HEAD_LEN, count).await?;
    Ok(counts)
}

fn seconds_until(end: UnixTime, now: UnixTime) -> Duration {
    Duration::from_secs(u64::try_from(end - now).unwrap_or_default())
}

/// 0 to 1: those who wait should not all ask at the same moment.
fn jitter() -> f64 {
    let [byte] = crate::seal::random().unwrap_or_default();
    f64::from(byte) / 255.0
}
