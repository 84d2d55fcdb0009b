//! How far the exchange with one source is: for whoever runs it.

use crate::clock::{Clock, UnixTime};
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// How long nothing is said of what does not open after it was said once, in seconds: who can write to the log could fill
/// ours otherwise.
const QUIET: i64 = 600;

/// How far the exchange with one source is.
pub struct Progress {
    name: String,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When all that there was had been read, at first the time of the start.
    caught_up_at: UnixTime,
    failing: bool,
    was_caught_up: bool,
    unsent: usize,
    warned_at: Option<UnixTime>,
}

impl Progress {
    /// With a source of this name, from now on.
    pub(super) fn new(name: &str, clock: Clock) -> Self {
        // Until it was read for the first time, all of it may be missing.
        let state = State { caught_up_at: clock.now(), failing: true, ..State::default() };
        Self { name: name.to_owned(), clock, state: Mutex::new(state) }
    }

    /// `redis`, or the URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Since when what others revoke may be missing here; `None` if all that there was has been read.
    pub fn behind_since(&self) -> Option<UnixTime> {
        let state = self.state();
        state.failing.then_some(state.caught_up_at)
    }

    /// Whether it was read to its end once.
    pub(super) fn was_caught_up(&self) -> bool {
        self.state().was_caught_up
    }

    /// For how many seconds that is so, 0 if it is not.
    pub fn behind(&self) -> i64 {
        self.behind_since().map_or(0, |since| (self.clock.now() - since).max(0))
    }

    /// How many rules of the own denylist others do not know of yet, as far as that was found out.
    pub fn unsent(&self) -> usize {
        self.state().unsent
    }

    pub(super) fn set_unsent(&self, count: usize) {
        self.state().unsent = count;
    }

    /// Everything that there was has been read.
    pub(super) fn caught_up(&self) {
        let mut state = self.state();
        state.was_caught_up = true;
        let begun = std::mem::replace(&mut state.caught_up_at, self.clock.now());
        if std::mem::take(&mut state.failing) {
            let seconds = state.caught_up_at - begun;
            tracing::info!(from = self.name, seconds, "revocations of other servers arrive");
        }
    }

    /// It could not be.
    pub(super) fn failed(&self, error: impl Display) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.failing, true) || state.warned_at.is_none() {
            state.warned_at = Some(self.clock.now());
            tracing::warn!(from = self.name, %error, "revocations of other servers do not arrive; it is tried again");
        }
    }

    /// Whether enough time has passed since the last warning.
    pub(super) fn may_warn(&self) -> bool {
        let (mut state, now) = (self.state(), self.clock.now());
        let may = state.warned_at.is_none_or(|last| now - last >= QUIET);
        if may {
            state.warned_at = Some(now);
        }
        may
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
