//! The protocol of an exchange, without any I/O: what has happened goes in, what to do next comes out. Callers on any
//! number of replicas each follow it for the same login, meeting only in the store. The driver beside this file follows
//! it against the real store and provider; a model in the tests follows it through every order of events.
//!
//! Two things keep callers apart. The *lease* makes them wait for each other; it ends by itself when its holder dies.
//! The *mark*, written into the record before the provider is asked, says that its refresh token may have been spent: for
//! [`HOLD_OFF`] nobody else tries it, lease or not. If the provider did see the call that the mark speaks of, the token
//! that came of it is lost whatever is done, so after that time the old one is tried again.

use crate::clock::UnixTime;

/// How long a refresh token is left alone that may have been spent, in seconds from the mark. Longer than a provider call
/// can take, so that two calls with the same token are never under way together.
pub(super) const HOLD_OFF: i64 = 20;

/// When a call must be over, in seconds from the mark: well before anybody else may try its token, so that clocks which
/// differ by a second or two do no harm.
pub(super) const CALL_ENDS: i64 = HOLD_OFF - 3;

/// What is known of a record without looking at its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// How many times the refresh token has changed.
    pub(super) generation: u64,
    /// When the provider was asked with this token, if what came of it is not known.
    pub(super) asked_at: Option<UnixTime>,
    /// Until when the access token in the record can be handed out.
    pub(super) fresh_until: UnixTime,
}

impl View {
    fn is_fresh(&self, now: UnixTime) -> bool {
        now < self.fresh_until
    }

    /// Seconds that the token must be left alone.
    fn hold_off(&self, now: UnixTime) -> Option<i64> {
        // A mark from the future was made by a clock that was set back since; it is not waited for any longer.
        let left = self.asked_at? + HOLD_OFF - now;
        (1..=HOLD_OFF).contains(&left).then_some(left)
    }
}

/// What to do next. What came of it is the next [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Command {
    /// Read the record.
    Read,
    /// Try to get the lease.
    TakeLease,
    /// Somebody else has it: wait a moment.
    Pause,
    /// Write the mark into the record as it was read.
    Mark,
    /// Ask the provider with the record's token, or with the login's own where there is no record.
    Ask,
    /// Write the answer in the place of the record as this caller left it.
    WriteAnswer,
    /// Take the mark out again.
    Unmark,
    /// Give the lease back, and then that is the end.
    Release(End),
    /// That is the end; there is no lease to give back.
    Finish(End),
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// The record was read.
    Record(Option<View>),
    /// Whether the lease is ours.
    Lease(bool),
    /// The pause is over.
    Paused,
    /// Whether the record was written: not if it was no longer what it had been.
    Wrote(bool),
    /// What the provider said.
    Asked(Outcome),
    /// The store did not do what it was asked to.
    StoreFailed,
    /// There is no time left to wait any longer.
    Late,
}

/// What came of asking the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// It gave tokens.
    Answered,
    /// It does not accept the refresh token.
    Refused,
    /// It did not look at the token, or was never reached.
    TurnedAway,
    /// Nobody can say whether it carried the call out.
    Unknown,
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// With the access token in the record that was read last.
    Recorded,
    /// With the provider's answer, which is written down.
    Answered,
    /// With the provider's answer, which could not be written down yet.
    Unwritten,
    /// With what the provider said instead of tokens.
    Failed,
    /// The record is not there: the token that would be living is not known.
    Missing,
    /// The token may have been spent; it must be left alone for so many seconds.
    HeldOff(i64),
    /// Somebody else is at it for too long.
    Busy,
    /// The store fails.
    StoreDown,
}

impl End {
    /// The kind in a word, for what is counted.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Answered => "answered",
            Self::Unwritten => "unwritten",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::HeldOff(_) => "held_off",
            Self::Busy => "busy",
            Self::StoreDown => "store",
        }
    }
}

/// One caller's way through an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Exchange {
    /// Whether a refresh token can be used once only. If not, a token that may have been spent can be tried again, and
    /// the login's own token is of use where there is no record.
    single_use: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Reading without the lease.
    Looking,
    /// Trying to get the lease.
    Taking,
    /// Waiting for another holder.
    Waiting,
    /// Reading with the lease.
    Holding,
    Marking(View),
    Asking(Option<View>),
    /// Writing the answer that came for this record.
    Writing(Option<View>),
    /// Reading what is in the place where the answer was to be written.
    Comparing(Option<View>),
    /// The provider refused this record's token: reading whether there is a newer one.
    Doubting(Option<View>),
    Unmarking,
}

impl Exchange {
    /// The way, and the first step on it.
    pub(super) fn begin(single_use: bool) -> (Self, Command) {
        (Self { single_use, stage: Stage::Looking }, Command::Read)
    }

    /// The next step after what has happened at `now`.
    pub(super) fn next(&mut self, event: Event, now: UnixTime) -> Command {
        let (stage, command) = self.step(event, now);
        self.stage = stage;
        command
    }

    fn step(&self, event: Event, now: UnixTime) -> (Stage, Command) {
        match (self.stage, event) {
            (Stage::Looking, Event::Record(None)) if self.single_use => self.finish(End::Missing),
            (Stage::Looking, Event::Record(Some(view))) if view.is_fresh(now) => self.finish(End::Recorded),
            // A mark may be the lease holder's, who is at work: only the lease tells.
            (Stage::Looking, Event::Record(_)) => (Stage::Taking, Command::TakeLease),
            (Stage::Taking, Event::Lease(true)) => (Stage::Holding, Command::Read),
            (Stage::Taking, Event::Lease(false)) => (Stage::Waiting, Command::Pause),
            (Stage::Waiting, Event::Paused) => (Stage::Looking, Command::Read),
            (Stage::Looking | Stage::Taking | Stage::Waiting, Event::Late) => self.finish(End::Busy),
            (Stage::Looking | Stage::Taking | Stage::Waiting, _) => self.finish(End::StoreDown),

            (Stage::Holding, Event::Record(view)) => self.hold(view, now),
            (Stage::Marking(view), Event::Wrote(true)) => {
                let marked = View { asked_at: Some(now), ..view };
                (Stage::Asking(Some(marked)), Command::Ask)
            }
            // Somebody wrote in spite of the lease: it had ended. What there is now is looked at anew.
            (Stage::Marking(_), Event::Wrote(false)) => (Stage::Holding, Command::Read),

            (Stage::Asking(view), Event::Asked(Outcome::Answered)) => (Stage::Writing(view), Command::WriteAnswer),
            (Stage::Asking(view), Event::Asked(Outcome::Refused)) => (Stage::Doubting(view), Command::Read),
            (Stage::Asking(Some(_)), Event::Asked(Outcome::TurnedAway)) if self.single_use => {
                (Stage::Unmarking, Command::Unmark)
            }
            (Stage::Asking(_), _) => self.release(End::Failed),

            (Stage::Writing(_), Event::Wrote(true)) => self.release(End::Answered),
            (Stage::Writing(view), Event::Wrote(false)) => (Stage::Comparing(view), Command::Read),
            (Stage::Comparing(view), Event::Record(found)) => match found {
                // Another caller came as far, with a token that is newer or the same.
                Some(found) if found.generation > generation(view) => self.release(End::Answered),
                // The store was emptied or set back: what we have is the newest.
                _ => (Stage::Writing(view), Command::WriteAnswer),
            },
            (Stage::Writing(_) | Stage::Comparing(_), _) => self.release(End::Unwritten),

            (Stage::Doubting(asked), Event::Record(Some(found))) if found.generation > generation(asked) => {
                self.hold(Some(found), now)
            }
            (Stage::Doubting(Some(_)), Event::Record(Some(_))) if self.single_use => {
                (Stage::Unmarking, Command::Unmark)
            }
            (Stage::Doubting(_), _) => self.release(End::Failed),
            // If the mark stays, the next caller waits for nothing; no harm else.
            (Stage::Unmarking, _) => self.release(End::Failed),
            (Stage::Holding | Stage::Marking(_), _) => self.release(End::StoreDown),
        }
    }

    /// What to do about a record that was read under the lease.
    fn hold(&self, view: Option<View>, now: UnixTime) -> (Stage, Command) {
        match view {
            None if self.single_use => self.release(End::Missing),
            Some(view) if view.is_fresh(now) => self.release(End::Recorded),
            Some(view) if self.single_use => match view.hold_off(now) {
                Some(seconds) => self.release(End::HeldOff(seconds)),
                None => (Stage::Marking(view), Command::Mark),
            },
            view => (Stage::Asking(view), Command::Ask),
        }
    }

    fn finish(&self, end: End) -> (Stage, Command) {
        (self.stage, Command::Finish(end))
    }

    fn release(&self, end: End) -> (Stage, Command) {
        (self.stage, Command::Release(end))
    }
}

fn generation(view: Option<View>) -> u64 {
    view.map_or(0, |view| view.generation)
}
