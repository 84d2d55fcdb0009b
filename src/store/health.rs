//! How a store does, reading and writing apart: a full one is read as before. Each is judged by what came of the last
//! request of its kind, told to the log when it changes and not before, and counted.

use super::StoreError;
use crate::clock::{Clock, UnixTime};
use crate::meter::Meter;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Since when requests fail; `None` where the last one did not, or there was none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Those that read or remove.
    pub reading: Option<UnixTime>,
    /// Those that put something there.
    pub writing: Option<UnixTime>,
}

impl Health {
    /// Since when any of them fail.
    pub fn failing(self) -> Option<UnixTime> {
        self.reading.into_iter().chain(self.writing).min()
    }
}

/// What a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Ask,
    Follow,
    List,
    Publish,
    Put,
    Read,
    Swap,
    Take,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Follow => "follow",
            Self::List => "list",
            Self::Publish => "publish",
            Self::Put => "put",
            Self::Read => "read",
            Self::Swap => "swap",
            Self::Take => "take",
        }
    }

    /// What can be removed says nothing of whether there is room for more.
    fn writes(self) -> bool {
        matches!(self, Self::Publish | Self::Put | Self::Swap)
    }
}

/// The health of one store.
pub(super) struct Watched {
    health: Mutex<Health>,
    meter: Option<(&'static str, Meter)>,
    pub(super) clock: Clock,
}

impl Watched {
    pub(super) fn new(clock: Clock) -> Self {
        Self { health: Mutex::default(), meter: None, clock }
    }

    /// Has requests counted, for a store of that kind.
    pub(super) fn count(&mut self, kind: &'static str, meter: Meter) {
        self.meter = Some((kind, meter));
    }

    pub(super) fn now(&self) -> Health {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes notice of what came of a request, and after what time.
    pub(super) fn note<T>(&self, verb: Verb, time: Duration, outcome: &Result<T, StoreError>) {
        if let Some((kind, meter)) = &self.meter {
            meter.store_asked(kind, verb.as_str(), time.as_secs_f64(), outcome.is_ok());
        }
        match outcome {
            Ok(_) if verb == Verb::Swap => {} // It may have found something else there: see `swapped`.
            Ok(_) => self.works(verb),
            Err(error) => {
                let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
                let side = if verb.writes() { &mut health.writing } else { &mut health.reading };
                if side.is_none() {
                    *side = Some(self.clock.now());
                    let verb = verb.as_str();
                    tracing::error!(verb, %error, "the state store fails; it is tried again with each request");
                }
            }
        }
    }

    /// A swap has put something there.
    pub(super) fn swapped(&self) {
        self.works(Verb::Put);
    }

    fn works(&self, verb: Verb) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let (side, what) = match verb.writes() {
            true => (&mut health.writing, "writing"),
            false => (&mut health.reading, "reading"),
        };
        if let Some(since) = side.take() {
            let seconds = self.clock.now() - since;
            tracing::info!(seconds, what, "the state store answers again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_fails_since_its_first_request_failed_that_did_not_succeed_since() {
        let clock = Clock::system();
        let watched = Watched::new(clock.clone());
        let note = |verb, works| {
            let outcome = if works { Ok(()) } else { Err(StoreError::TimedOut) };
            watched.note(verb, Duration::ZERO, &outcome);
        };
        let began = clock.now();
        note(Verb::Read, false);
        clock.advance(Duration::from_secs(60));
        note(Verb::Put, false);
        note(Verb::Take, false);
        let both = watched.now();
        assert!(both.reading.is_some_and(|since| since <= began + 1) && both.writing >= Some(began + 60));
        assert_eq!(both.failing(), both.reading);
        note(Verb::List, true);
        assert_eq!((watched.now().reading, watched.now().failing()), (None, both.writing));
        note(Verb::Swap, true);
        assert!(watched.now().writing.is_some(), "it may have written nothing");
        watched.swapped();
        assert_eq!(watched.now().failing(), None);
    }

    #[test]
    fn each_kind_of_request_is_counted_by_its_own_word() {
        let (mut watched, meter) = (Watched::new(Clock::system()), Meter::default());
        watched.count("memory", meter.clone());
        use Verb::*;
        for (verb, word) in [Ask, Follow, List, Publish, Put, Read, Swap, Take]
            .into_iter()
            .zip(["ask", "follow", "list", "publish", "put", "read", "swap", "take"])
        {
            watched.note(verb, Duration::ZERO, &Ok(()));
            assert!(meter.render().contains(&format!("=\"{word}\"")), "{word}");
        }
    }
}
