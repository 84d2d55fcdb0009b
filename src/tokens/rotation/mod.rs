//! Refresh token rotation (RFC 9700 section 4.14) with an external record, a lease and compare-and-swap. An AuthID
//! cannot change at the user's, so the store remembers the newest refresh token of each login whose token changes when
//! it is used, and this module sees to it that no two callers, here or on other replicas, spend one twice.
//!
//! `state_machine` decides what is done in which order, without I/O; `driver` does it; `records` and `record` are what
//! it is done with; `pending_writes` keeps what the store did not take.

mod adopt;
mod driver;
mod pending_writes;
mod record;
mod records;
mod stamp;
mod state_machine;
#[cfg(test)]
mod tests;
mod under_way;

use super::cache::AccessToken;
use super::error::ExchangeError;
use super::obtain::Requester;
use crate::authid::{Grant, GrantId};
use crate::clock::{Clock, Moment};
use crate::keyring_file::LiveKeyring;
use crate::meter::Meter;
use crate::provider::{ErrorClass, ProviderError, RefreshError, TokenResponse};
use crate::store::{Name, Store, StoreError};
use driver::Run;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pending_writes::PendingWrites;
use record::Record;
pub(super) use record::name;
use records::Records;
pub use records::records_by_epoch;
use secrecy::SecretString;
use state_machine::{Outcome, Wanted};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use under_way::UnderWay;

/// A record is kept for this long after the provider would have ended an unused login; or this long, where it is not
/// known when that is. Whoever comes after that is told to log in again.
const MARGIN_DAYS: u64 = 30;
const UNKNOWN_DAYS: u64 = 370;

/// How a provider changes refresh tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct RotationPolicy {
    /// Whether one can be used once only.
    pub(super) single_use: bool,
    /// How many days one lives that is not used, where that is known.
    pub(super) days: Option<u32>,
}

impl RotationPolicy {
    fn record_life(self) -> Duration {
        let days = self.days.map_or(UNKNOWN_DAYS, u64::from) + MARGIN_DAYS;
        Duration::from_secs(days * 86_400)
    }
}

/// Asks a provider with a refresh token, in a given time.
pub(super) type Ask<'a> =
    dyn Fn(SecretString, Duration) -> BoxFuture<'a, Result<TokenResponse, RefreshError>> + Send + Sync + 'a;

/// The newest refresh tokens, remembered.
pub(super) struct Rotation {
    records: Arc<Records>,
    pending_writes: Arc<PendingWrites>,
    under_way: UnderWay,
    meter: Meter,
}

/// What became of an act upon the newest refresh token of a login.
pub(super) enum Acted<T> {
    /// It was done, with the token that lives if any does.
    Surely(T),
    /// It was done with a token that may have been replaced: an exchange had broken off.
    Perhaps(T),
    /// The store knows no token of this login.
    Unknown,
    /// It was not done: somebody was exchanging the token all the time, or the store fails.
    Not,
}

impl Rotation {
    pub(super) fn new(store: Arc<Store>, keyring: Arc<LiveKeyring>, clock: Clock, meter: Meter) -> Self {
        let records = Arc::new(Records::new(store, keyring, clock));
        let pending_writes = Arc::new(PendingWrites::new(records.clone(), meter.clone()));
        Self { records, pending_writes, under_way: UnderWay::default(), meter }
    }

    /// Remembers a login that was just made.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn begin(
        &self,
        login: &Grant,
        tokens: TokenResponse,
        policy: RotationPolicy,
    ) -> Result<(), StoreError> {
        let record = Record::new(None, &login.refresh_token, tokens, self.records.stamp());
        self.records.begin(login, &record, policy.record_life()).await
    }

    /// A login around its newest refresh token; `None` where nothing newer is known.
    pub(super) async fn with_newest_token(&self, login: &Grant, policy: RotationPolicy) -> Option<Grant> {
        // What waits to be written down is remembered too; the store is set right with it if it can be.
        let _ = self.pending_writes.write(&record::name(login)).await;
        let record = self.records.read(login, policy.record_life()).await.ok()?.record?;
        Some(login.renewed(record.token, record.fetched.wall))
    }

    /// Forgets a login that was ended at its provider.
    pub(super) async fn forget(&self, login: &Grant) {
        self.pending_writes.drop_until(&record::name(login), u64::MAX);
        // If it stays, it ends by itself.
        let _ = self.records.remove(login).await;
    }

    /// Whether what this process remembers of a login was in the store within the last minute.
    pub(super) fn is_current(&self, record: &Name, at: Moment) -> bool {
        self.records.is_current(record, at)
    }

    /// The access token in the record of a login that was last seen here, however old.
    pub(super) fn remembered(&self, login: &Grant) -> Option<AccessToken> {
        self.records.remembered(login)
    }

    /// How many answers of providers could not be written down yet.
    #[cfg(test)]
    pub(super) fn pending_writes(&self) -> usize {
        self.pending_writes.count()
    }

    /// Gives what could not be written down a last chance, for 5 s, and names the logins that are lost if the process
    /// ends now. Returns whether there are none.
    pub(super) async fn settle(&self) -> bool {
        let written = self.pending_writes.settle().await;
        let asked: Vec<_> = self.under_way.grants().iter().map(GrantId::to_string).collect();
        if !asked.is_empty() {
            tracing::error!(
                grants = asked.join(" "),
                "the provider has not answered yet; if it takes the refresh tokens that it was asked with, these logins are lost"
            );
        }
        written && asked.is_empty()
    }

    /// An access token for a login: the recorded one while it is fresh, if it will do for `requester`; else by asking
    /// the provider. Others who ask it are waited for until `deadline`; a call with a token that works once may take
    /// longer.
    ///
    /// # Errors
    /// Says why there is none.
    pub(super) async fn exchange(
        &self,
        login: &Grant,
        policy: RotationPolicy,
        requester: Requester,
        deadline: Instant,
        ask: &Ask<'_>,
    ) -> Result<AccessToken, ExchangeError> {
        let wanted = match requester {
            Requester::Client | Requester::Loop(_) => Wanted::Any,
            // Another replica may have renewed it.
            Requester::Renewal => self.records.generation(&name(login)).map_or(Wanted::NotFirst, Wanted::After),
            Requester::Tester => Wanted::NotFirst,
        };
        let (mut run, mut end) = self.go(login, policy, deadline, ask, wanted).await?;
        // Another one who came with the same may just have taken it out.
        if end == Outcome::Missing && Self::is_adopted(login, policy) {
            (run, end) = self.go(login, policy, deadline, ask, wanted).await?;
        }
        self.meter.rotation(end.label());
        let access =
            |record: Option<Record>| record.map(|record| self.records.access(&record)).ok_or(ExchangeError::Internal);
        match (end, run.failure) {
            (Outcome::Recorded, _) => access(run.seen.record),
            (Outcome::Answered | Outcome::Unwritten, _) => access(run.answer),
            (Outcome::Failed, Some(RefreshError { failure, in_doubt, status })) => {
                if Self::is_adopted(login, policy) && !in_doubt {
                    self.disown(login, policy, run.seen.blob.as_deref()).await;
                }
                let broke_off = run.seen.record.is_some_and(|record| record.broke_off);
                Err(match failure {
                    ProviderError::Refused(_) if broke_off => {
                        ExchangeError::Provider(ProviderError::Refused(ErrorClass::AnswerLost), status)
                    }
                    _ if in_doubt && policy.single_use => ExchangeError::Unclear(failure, status),
                    _ => ExchangeError::Provider(failure, status),
                })
            }
            (Outcome::Failed, None) => Err(ExchangeError::Internal),
            (Outcome::Missing, _) => Err(ExchangeError::NoRecord),
            (Outcome::HeldOff, _) => Err(ExchangeError::MaybeSpent),
            (Outcome::Busy, _) => Err(ExchangeError::Unclear(ProviderError::TimedOut, None)),
            // A token that lives on when it is used needs neither the store nor the record today.
            (Outcome::StoreDown, _) if !policy.single_use => self.without_store(login, deadline, ask).await,
            (Outcome::StoreDown, _) => Err(run
                .no_key
                .map_or(ExchangeError::StoreDown, |(epoch, why)| ExchangeError::NoKeyForRecord(epoch, why))),
        }
    }

    async fn go<'a, 'b>(
        &'a self,
        login: &'a Grant,
        policy: RotationPolicy,
        deadline: Instant,
        ask: &'a Ask<'b>,
        wanted: Wanted,
    ) -> Result<(Run<'a, 'b>, Outcome), ExchangeError> {
        self.adopt(login, policy).await.map_err(|_| ExchangeError::StoreDown)?;
        let mut run = self.run(login, policy, deadline, ask);
        let end = run.go(wanted).await;
        Ok((run, end))
    }

    /// Does something with the newest refresh token of a login, while nobody exchanges it. Exchanges under way are waited
    /// for until `deadline`.
    pub(super) async fn alone<'a, T: Send>(
        &self,
        login: &Grant,
        policy: RotationPolicy,
        deadline: Instant,
        act: impl Fn(SecretString) -> BoxFuture<'a, T> + Send + Sync,
    ) -> Acted<T> {
        let act = &act;
        let done = &Mutex::new(None);
        let ask = |token, _| {
            async move {
                let outcome = act(token).await;
                *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                // So that the mark is taken out again.
                Err(RefreshError { failure: ProviderError::NotOffered, in_doubt: false, status: None })
            }
            .boxed()
        };
        let mut run = self.run(login, policy, deadline, &ask);
        let end = run.go(Wanted::None).await;
        let seen = run.seen.record.take();
        let sure = match &seen {
            Some(record) if policy.single_use => !record.broke_off,
            // There is no mark that keeps others away.
            _ => {
                let now = self.records.read(login, policy.record_life()).await.ok();
                let generation = |record: &Option<Record>| record.as_ref().map(|record| record.generation);
                now.is_some_and(|now| generation(&now.record) == generation(&seen))
            }
        };
        let outcome = done.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (outcome, end) {
            (Some(outcome), _) if sure => Acted::Surely(outcome),
            (Some(outcome), _) => Acted::Perhaps(outcome),
            (None, Outcome::Missing) => Acted::Unknown,
            (None, _) => Acted::Not,
        }
    }

    /// An exchange with the login's own token, for a provider where that stays good for some time.
    async fn without_store(
        &self,
        login: &Grant,
        deadline: Instant,
        ask: &Ask<'_>,
    ) -> Result<AccessToken, ExchangeError> {
        let time = deadline.saturating_duration_since(Instant::now());
        match ask(login.refresh_token.clone(), time).await {
            Ok(tokens) => Ok(AccessToken::new(tokens, &self.records.clock)),
            // A newer token, which the store has, may be better.
            Err(RefreshError { failure: ProviderError::Refused(_), .. }) => Err(ExchangeError::StoreDown),
            Err(RefreshError { failure, status, .. }) => Err(ExchangeError::Provider(failure, status)),
        }
    }
}
