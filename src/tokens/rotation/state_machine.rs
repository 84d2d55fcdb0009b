//! The protocol of an exchange, without any I/O: what has happened goes in, what to do next comes out. Callers on any
//! number of replicas each follow it for the same login, meeting only in the store. `driver` follows it against the
//! real store and provider; a model in the tests follows it through every order of events.
//!
//! One thing keeps callers apart: the *mark*, written into the record by compare-and-swap before the provider is asked.
//! Of several who try, one succeeds, and that one asks; it renews the mark while it waits for the answer. Whoever finds
//! a mark waits until it is gone or has shown no sign of life. Then the old token is tried once more: if the provider
//! did see the first call, the token that came of it is lost whatever is done.

use crate::clock::UnixTime;
use std::time::Duration;

/// How long a refresh token is left alone that may have been spent, in seconds from the last sign of life of the mark.
pub(super) const HOLD_OFF: i64 = 20;
/// How often the one who asks renews its mark.
pub(super) const RENEW: Duration = Duration::from_secs(5);
/// Clocks of replicas may differ by so many seconds without anything being waited for in vain.
pub(super) const SKEW: i64 = 5;
/// A mark is taken for dead only after it was seen unchanged for this long, whatever its time says: one whose clock is
/// wrong by minutes still renews it more often than that. A renewal, and twice what the store may take.
pub(super) const QUIET: Duration = Duration::from_secs(9);

/// What is known of a record without looking at its secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RecordHeader {
    /// How many times the refresh token has changed.
    pub(super) generation: u64,
    /// The mark: when somebody last said that the provider is being asked with this token.
    pub(super) asked_at: Option<UnixTime>,
    /// Which write brought it. No two are alike, while marks can be: of a holder whose clock was set back, and of two
    /// holders.
    pub(super) write: u64,
    /// Whether the access token in the record can be handed out.
    pub(super) fresh: bool,
}

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// By the wall clock, which other replicas' clocks resemble.
    pub(super) wall: UnixTime,
    /// By a clock that only goes forward.
    pub(super) uptime: Duration,
}

/// What to do next. What came of it is the next [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Command {
    /// Read the record.
    Read,
    /// Somebody else is at work, or was: wait a moment.
    Pause,
    /// Write the mark into the record as it was read.
    Mark,
    /// Ask the provider with the record's token, or with the login's own where there is no record, and renew the mark
    /// meanwhile.
    Ask,
    /// Write the answer in the place of the record as it was last seen.
    WriteAnswer,
    /// Take the mark out again.
    Unmark,
    /// That is the end.
    Finish(Outcome),
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// The record was read.
    Record(Option<RecordHeader>),
    /// The pause is over.
    Paused,
    /// Whether the record was written: not if it was no longer what it had been.
    Wrote(bool),
    /// What the provider said.
    Asked(ProviderOutcome),
    /// The store did not do what it was asked to.
    StoreFailed,
    /// There is no time left to wait any longer; or, before the provider was asked, too much time has passed since the
    /// mark was written.
    Late,
}

/// What came of asking the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ProviderOutcome {
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
pub(super) enum Outcome {
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
    /// An exchange broke off, so the token must be left alone for a while.
    HeldOff,
    /// Somebody else is asking the provider, for too long to be waited for.
    Busy,
    /// The store fails.
    StoreDown,
}

impl Outcome {
    /// The kind in a word, for what is counted.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Answered => "answered",
            Self::Unwritten => "unwritten",
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::HeldOff => "held_off",
            Self::Busy => "busy",
            Self::StoreDown => "store",
        }
    }
}

/// Which access tokens in the record will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// Any that is fresh.
    Any,
    /// Any that is fresh but that of the record which will be read first.
    NotFirst,
    /// Any that is fresh of a later generation.
    After(u64),
    /// None: it is not for an access token that the provider is asked.
    None,
}

/// One caller's way through an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Exchange {
    /// Whether a refresh token can be used once only. If not, there are no marks: a second use does no harm, and the
    /// login's own token is of use where there is no record.
    single_use: bool,
    wanted: Wanted,
    /// The write of the mark that is waited for, and since when, by the uptime.
    watched: Option<(u64, Duration)>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Looking,
    /// Waiting for somebody else's mark to go.
    Waiting,
    Marking(RecordHeader),
    Asking(Option<RecordHeader>),
    /// Writing the answer that came for this record.
    Writing(Option<RecordHeader>),
    /// Reading what is in the place where the answer was to be written.
    Comparing(Option<RecordHeader>),
    /// The provider refused this record's token: reading whether there is a newer one.
    Doubting(Option<RecordHeader>),
    /// Taking the mark out; of a token that was refused, to look whether there is a newer one if somebody else wrote.
    Unmarking(RecordHeader, ProviderOutcome),
}

impl Exchange {
    /// The way, and the first step on it.
    pub(super) fn begin(single_use: bool, wanted: Wanted) -> (Self, Command) {
        (Self { single_use, wanted, watched: None, stage: Stage::Looking }, Command::Read)
    }

    /// The next step after what has happened at `now`.
    pub(super) fn next(&mut self, event: Event, now: Now) -> Command {
        let (stage, command) = self.step(event, now);
        self.stage = stage;
        command
    }

    fn step(&mut self, event: Event, now: Now) -> (Stage, Command) {
        match (self.stage, event) {
            (Stage::Looking, Event::Record(view)) => self.look(view, now),
            (Stage::Waiting, Event::Paused) => (Stage::Looking, Command::Read),
            (Stage::Waiting, Event::Late) => {
                self.finish(if self.is_quiet(now) { Outcome::HeldOff } else { Outcome::Busy })
            }
            (Stage::Marking(view), Event::Wrote(true)) => (Stage::Asking(Some(view)), Command::Ask),
            // Somebody else was quicker, or this caller slept on its mark: what there is now is looked at again.
            (Stage::Marking(_), Event::Wrote(false)) | (Stage::Asking(_), Event::Late) => {
                (Stage::Looking, Command::Read)
            }

            (Stage::Asking(view), Event::Asked(ProviderOutcome::Answered)) => {
                (Stage::Writing(view), Command::WriteAnswer)
            }
            (
                Stage::Asking(Some(view)),
                Event::Asked(outcome @ (ProviderOutcome::Refused | ProviderOutcome::TurnedAway)),
            ) if self.single_use => (Stage::Unmarking(view, outcome), Command::Unmark),
            (Stage::Asking(view), Event::Asked(ProviderOutcome::Refused)) => (Stage::Doubting(view), Command::Read),
            (Stage::Asking(_), _) => self.finish(Outcome::Failed),

            (Stage::Writing(_), Event::Wrote(true)) => self.finish(Outcome::Answered),
            (Stage::Writing(view), Event::Wrote(false)) => (Stage::Comparing(view), Command::Read),
            (Stage::Comparing(view), Event::Record(found)) => match found {
                // Another caller came as far, with a token that is newer or the same.
                Some(found) if found.generation > generation(view) => self.finish(Outcome::Answered),
                // A renewal of the mark, or somebody who took this caller for dead: what we have is the newest.
                _ => (Stage::Writing(view), Command::WriteAnswer),
            },
            (Stage::Writing(_) | Stage::Comparing(_), _) => self.finish(Outcome::Unwritten),

            (Stage::Unmarking(view, ProviderOutcome::Refused), Event::Wrote(false)) => {
                (Stage::Doubting(Some(view)), Command::Read)
            }
            // If the mark stays, the next caller waits for nothing; no other harm.
            (Stage::Unmarking(..), _) => self.finish(Outcome::Failed),
            (Stage::Doubting(asked), Event::Record(Some(found))) if found.generation > generation(asked) => {
                self.look(Some(found), now)
            }
            (Stage::Doubting(_), _) => self.finish(Outcome::Failed),
            (Stage::Looking | Stage::Waiting | Stage::Marking(_), _) => self.finish(Outcome::StoreDown),
        }
    }

    /// What to do about a record that was read.
    fn look(&mut self, view: Option<RecordHeader>, now: Now) -> (Stage, Command) {
        if let (Wanted::NotFirst, Some(view)) = (self.wanted, view) {
            self.wanted = Wanted::After(view.generation);
        }
        match view {
            None if self.single_use => self.finish(Outcome::Missing),
            Some(view) if self.wants(view) => self.finish(Outcome::Recorded),
            Some(view) if self.single_use && self.is_held(view, now) => (Stage::Waiting, Command::Pause),
            Some(view) if self.single_use => (Stage::Marking(view), Command::Mark),
            view => (Stage::Asking(view), Command::Ask),
        }
    }

    fn wants(&self, view: RecordHeader) -> bool {
        let is_wanted = match self.wanted {
            Wanted::Any => true,
            Wanted::After(old) => view.generation > old,
            Wanted::NotFirst | Wanted::None => false,
        };
        view.fresh && is_wanted
    }

    /// Whether the record has a mark that may be somebody's who is at work, or was until lately.
    fn is_held(&mut self, view: RecordHeader, now: Now) -> bool {
        let Some(mark) = view.asked_at else { return false };
        if self.watched.is_none_or(|(watched, _)| watched != view.write) {
            self.watched = Some((view.write, now.uptime));
        }
        // A mark from further ahead was made by a clock that is wrong: only how long it stays the same counts.
        let left = mark.saturating_add(HOLD_OFF).saturating_sub(now.wall);
        (1..=HOLD_OFF + SKEW).contains(&left) || !self.is_quiet(now)
    }

    /// Whether the mark was seen to stay the same for long enough to be nobody's.
    fn is_quiet(&self, now: Now) -> bool {
        self.watched.is_some_and(|(_, since)| now.uptime >= since + QUIET)
    }

    fn finish(&self, end: Outcome) -> (Stage, Command) {
        (self.stage, Command::Finish(end))
    }
}

fn generation(view: Option<RecordHeader>) -> u64 {
    view.map_or(0, |view| view.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_works_more_than_once_is_never_marked_and_after_a_refusal_a_newer_one_is_looked_for() {
        let at = |generation, fresh| Some(RecordHeader { generation, asked_at: None, write: 0, fresh });
        let now = Now { wall: 1_795_428_000, uptime: Duration::ZERO };
        for (found, next) in [
            (at(2, true), Command::Finish(Outcome::Recorded)),
            (at(2, false), Command::Ask),
            (at(1, false), Command::Finish(Outcome::Failed)),
            (None, Command::Finish(Outcome::Failed)),
        ] {
            let (mut exchange, first) = Exchange::begin(false, Wanted::Any);
            assert_eq!(first, Command::Read);
            assert_eq!(exchange.next(Event::Record(at(1, false)), now), Command::Ask);
            assert_eq!(exchange.next(Event::Asked(ProviderOutcome::Refused), now), Command::Read);
            assert_eq!(exchange.next(Event::Record(found), now), next, "{found:?}");
        }
    }

    #[test]
    fn an_answer_gives_way_to_a_later_record_alone() {
        let at = |generation| Some(RecordHeader { generation, asked_at: Some(1_795_428_000), write: 0, fresh: false });
        let now = Now { wall: 1_795_428_000, uptime: Duration::ZERO };
        for (found, next) in [
            (at(8), Command::Finish(Outcome::Answered)),
            (at(7), Command::WriteAnswer),
            (at(6), Command::WriteAnswer),
            (None, Command::WriteAnswer),
        ] {
            let (mut exchange, _) = Exchange::begin(false, Wanted::None);
            assert_eq!(exchange.next(Event::Record(at(7)), now), Command::Ask);
            assert_eq!(exchange.next(Event::Asked(ProviderOutcome::Answered), now), Command::WriteAnswer);
            assert_eq!(exchange.next(Event::Wrote(false), now), Command::Read);
            assert_eq!(exchange.next(Event::Record(found), now), next, "{found:?}");
        }
    }
}
