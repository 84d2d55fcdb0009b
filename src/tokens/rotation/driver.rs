//! One refresh against the real store and provider: does what `state_machine` says, and tells it what came of it.

use super::super::waiting::jitter;
use super::pending_writes::{Pending, PendingWrites};
use super::record::{self, Record};
use super::records::{Found, Records, Unread};
use super::stamp::Stamp;
use super::state_machine::{Command, Event, Exchange, Now, Outcome, ProviderOutcome, RENEW, Wanted};
use super::under_way::UnderWay;
use super::{Ask, Rotation, RotationPolicy};
use crate::authid::Grant;
use crate::provider::{ProviderError, RefreshError, TokenResponse};
use crate::seal::{Epoch, NoKey};
use crate::store::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a caller waits before looking again whether another one has finished, at least; and up to twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the answer to a token that works once is waited for: it is lost if it comes later. Clients are answered
/// before, and find it when they come again.
const LONGEST_CALL: Duration = Duration::from_secs(120);

/// A caller on its way.
pub(super) struct Run<'a, 'b> {
    pub(super) records: &'a Records,
    pub(super) pending_writes: &'a Arc<PendingWrites>,
    pub(super) under_way: &'a UnderWay,
    pub(super) login: &'a Grant,
    pub(super) policy: RotationPolicy,
    /// Until when others are waited for. A call that has begun with a token that works once may take longer.
    pub(super) deadline: Instant,
    pub(super) ask: &'a Ask<'b>,
    /// The record as it was last read or written by this caller.
    pub(super) seen: Found,
    /// When it last set about to mark the record.
    pub(super) marked_at: Stamp,
    /// What the provider gave.
    pub(super) answer: Option<Record>,
    /// What it said instead.
    pub(super) failure: Option<RefreshError>,
    /// The key that is missing for the record.
    pub(super) no_key: Option<(Epoch, NoKey)>,
}

impl Rotation {
    /// A caller that has not begun.
    pub(super) fn run<'a, 'b>(
        &'a self,
        login: &'a Grant,
        policy: RotationPolicy,
        deadline: Instant,
        ask: &'a Ask<'b>,
    ) -> Run<'a, 'b> {
        let Self { records, pending_writes, under_way, .. } = self;
        Run {
            records,
            pending_writes,
            under_way,
            login,
            policy,
            deadline,
            ask,
            seen: Found::default(),
            marked_at: records.stamp(),
            answer: None,
            failure: None,
            no_key: None,
        }
    }
}

impl Run<'_, '_> {
    /// Goes all the way.
    pub(super) async fn go(&mut self, wanted: Wanted) -> Outcome {
        let (mut exchange, mut command) = Exchange::begin(self.policy.single_use, wanted);
        loop {
            let event = match command {
                Command::Read => self.read().await,
                Command::Pause if Instant::now() + 2 * PAUSE >= self.deadline => Event::Late,
                Command::Pause => {
                    sleep(PAUSE + PAUSE.mul_f64(jitter())).await;
                    Event::Paused
                }
                Command::Mark => {
                    self.marked_at = self.records.stamp();
                    let mut marked = self.seen.record.as_ref().map(|record| self.marked(record));
                    if let (Some(marked), Some(before)) = (&mut marked, &self.seen.record) {
                        // One that was waited for in vain tells that an exchange broke off.
                        marked.broke_off |= before.asked_at.is_some();
                    }
                    self.write(marked).await
                }
                Command::Unmark => {
                    let unmarked = self.seen.record.as_ref().map(|record| record.with_mark(None));
                    self.write(unmarked).await
                }
                Command::Ask => self.ask().await,
                Command::WriteAnswer => self.write(self.answer.clone()).await,
                Command::Finish(end) => {
                    tracing::debug!(grant = %self.login.id, ?end, "an exchange ended");
                    if end == Outcome::Unwritten {
                        self.keep_answer();
                    }
                    return end;
                }
            };
            command = exchange.next(event, self.now());
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.records.clock.now(), uptime: self.records.clock.uptime() }
    }

    async fn read(&mut self) -> Event {
        if self.pending_writes.write(&record::name(self.login)).await.is_err() {
            return Event::StoreFailed;
        }
        match self.records.read(self.login, self.policy.record_life()).await {
            Ok(found) => {
                self.seen = found;
                Event::Record(self.seen.record.as_ref().map(|record| self.records.view(record)))
            }
            // The AuthID's own token lives on: what never opens again does not stand in its way.
            Err(Unread::NoKey(blob, _, why)) if !self.policy.single_use && why != NoKey::Newer => {
                self.seen = Found { blob: Some(blob), record: None };
                Event::Record(None)
            }
            Err(Unread::NoKey(_, epoch, why)) => {
                self.no_key = Some((epoch, why));
                Event::StoreFailed
            }
            Err(Unread::Store) => Event::StoreFailed,
        }
    }

    /// Writes `record` in the place of what was seen last.
    async fn write(&mut self, record: Option<Record>) -> Event {
        let Some(record) = record else { return Event::StoreFailed }; // the steps never come here without one
        match self.swap(record).await {
            Ok(written) => Event::Wrote(written),
            Err(_) => Event::StoreFailed,
        }
    }

    async fn swap(&mut self, record: Record) -> Result<bool, StoreError> {
        let life = self.policy.record_life();
        let Some(written) = self.records.swap(self.login, self.seen.blob.as_deref(), record, life).await? else {
            return Ok(false);
        };
        self.seen = written;
        Ok(true)
    }

    /// Asks the provider, and renews the mark beside the call.
    pub(super) async fn ask(&mut self) -> Event {
        let before = self.seen.record.clone();
        let mut time = self.deadline.saturating_duration_since(Instant::now());
        if self.policy.single_use {
            // A machine that slept since the mark was written must not act on it as if it were new, also where its clock
            // was set back meanwhile.
            let age = self.records.stamp().since(self.marked_at, false);
            let is_new = age.is_some_and(|age| age <= RENEW);
            if !is_new || before.as_ref().and_then(|record| record.asked_at) > Some(self.records.clock.now()) {
                return Event::Late;
            }
            time = LONGEST_CALL;
        }
        let token = before.as_ref().map_or(&self.login.refresh_token, |record| &record.token).clone();
        let begun = self.records.stamp();
        let answer = {
            let _under_way = self.policy.single_use.then(|| self.under_way.begin(self.login.id));
            let (call, renews) = ((self.ask)(token, time), before.as_ref().is_some_and(|b| b.asked_at.is_some()));
            tokio::select! {
                answer = call => answer,
                () = self.renew_all_the_time(), if renews => return Event::StoreFailed, // it never ends
            }
        };
        match answer {
            Ok(tokens) => {
                self.answer = Some(self.answer(before, tokens, begun));
                Event::Asked(ProviderOutcome::Answered)
            }
            Err(failed @ RefreshError { failure, in_doubt, .. }) => {
                self.failure = Some(failed);
                Event::Asked(match failure {
                    _ if in_doubt => ProviderOutcome::Unknown,
                    ProviderError::Refused(_) => ProviderOutcome::Refused,
                    _ => ProviderOutcome::TurnedAway,
                })
            }
        }
    }

    /// What the provider gave when it was asked at `begun`: it may have done so long before its answer was here.
    fn answer(&self, before: Option<Record>, tokens: TokenResponse, begun: Stamp) -> Record {
        let asked = self.records.stamp().back_to(begun);
        let mut answer = Record::new(before.as_ref(), &self.login.refresh_token, tokens, asked);
        // The login's own token was generation 0, also where it was never written down.
        answer.generation = answer.generation.max(1);
        answer
    }

    fn marked(&self, record: &Record) -> Record {
        record.with_mark(Some(self.records.clock.now()))
    }

    async fn renew_all_the_time(&mut self) {
        loop {
            sleep(RENEW).await;
            self.renew().await;
        }
    }

    /// Gives a sign of life. If the store fails, the next one may get through.
    async fn renew(&mut self) {
        for _ in 0..2 {
            let Some(ours) = self.seen.record.as_ref().map(|record| self.marked(record)) else { return };
            if let Ok(true) | Err(_) = self.swap(ours.clone()).await {
                return;
            }
            // An earlier renewal that seemed to fail; or a store that was set back. Never over a newer token.
            match self.records.read(self.login, self.policy.record_life()).await {
                Ok(found) if found.record.as_ref().is_none_or(|record| record.generation <= ours.generation) => {
                    self.seen = Found { blob: found.blob, record: Some(ours) };
                }
                _ => return,
            }
        }
    }

    /// Keeps an answer in memory until the store takes it.
    fn keep_answer(&mut self) {
        let Some(answer) = &self.answer else { return };
        tracing::error!(
            grant = %self.login.id,
            "a new refresh token could not be written down; it is kept in memory and tried again every second"
        );
        let grant = self.login.id;
        let generation = answer.generation;
        let life = self.policy.record_life();
        match self.records.seal(self.login, answer) {
            Ok(blob) => {
                let name = record::name(self.login);
                self.records.remember(name, generation, &blob);
                self.pending_writes.keep(name, Pending { grant, generation, blob: blob.into(), life });
            }
            Err(error) => tracing::error!(%grant, %error, "this login is lost: its new token cannot be sealed"),
        }
    }
}
