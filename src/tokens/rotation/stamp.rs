//! When a token was fetched, noted so that its age can be told later. The wall clock may be set, and after a start of
//! the machine it may be wrong until the network corrects it; the time since that start is neither. Where both readings
//! are of one start, the token is as old as the older of the two says.
//!
//! Which start it was says an id of the system. Where that is hidden, each process has an id of its own: what another one
//! fetched then counts as fetched before a restart, which costs a call to the provider and never hands out an old token.

use super::state_machine::SKEW;
use crate::clock::{Clock, UnixTime};
use sha2::{Digest, Sha256};
use std::fs;
use std::time::Duration;

/// Linux: another one after each start, the same for all processes and containers of a machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// By the wall clock.
    pub(super) wall: UnixTime,
    /// Which start of the machine it was after, and by how many seconds.
    pub(super) start: Option<(u64, u64)>,
}

impl Stamp {
    /// Now, after that start of the machine.
    pub(super) fn now(start: u64, clock: &Clock) -> Self {
        Self { wall: clock.now(), start: Some((start, clock.since_boot().as_secs())) }
    }

    /// The moment `then`, which was after the same start of the machine, by the wall clock of now.
    pub(super) fn back_to(self, then: Self) -> Self {
        let passed = self.since_start(then).unwrap_or_default();
        Self { wall: self.wall.saturating_sub_unsigned(passed), ..then }
    }

    /// How much time has passed since `then`; `None` where nobody can know, as that is in the future, or was before a
    /// restart of this machine, which alone makes such notes.
    pub(super) fn since(self, then: Self, alone: bool) -> Option<Duration> {
        let by_wall = self.wall.saturating_sub(then.wall);
        let by_start = self.since_start(then);
        if by_wall < -SKEW || alone && by_start.is_none() {
            return None;
        }
        let by_wall = u64::try_from(by_wall).unwrap_or_default();
        Some(Duration::from_secs(by_wall.max(by_start.unwrap_or_default())))
    }

    fn since_start(self, then: Self) -> Option<u64> {
        let ((this, now), (other, then)) = (self.start?, then.start?);
        (this == other).then(|| now.saturating_sub(then))
    }
}

/// A number for this start of the machine.
pub(super) fn start() -> u64 {
    let id = fs::read(BOOT_ID).ok().map(|id| Sha256::digest(id).into()).or_else(|| crate::seal::random().ok());
    id.and_then(|id: [u8; 32]| id.first_chunk().copied()).map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_the_machine_has_one_number() {
        assert_ne!(start(), 0);
        assert_eq!(start(), start());
    }

    #[test]
    fn a_token_is_as_old_as_the_older_clock_says_and_of_unknown_age_after_a_restart() {
        const FETCHED: Stamp = Stamp { wall: 1_795_428_000, start: Some((7, 500)) };
        // By the wall clock, by the time since the start, after which start; and the age where one machine alone makes
        // such notes, and where several do.
        let cases = [
            ((1000, 1000, 7), (Some(1000), Some(1000))),
            ((7200, 1000, 7), (Some(7200), Some(7200))),
            ((400, 3400, 7), (Some(3400), Some(3400))),
            ((-SKEW, 3400, 7), (Some(3400), Some(3400))),
            ((-SKEW - 1, 3400, 7), (None, None)),
            ((1000, 1000, 8), (None, Some(1000))),
            ((-SKEW, 1000, 8), (None, Some(0))),
            ((-SKEW - 1, 1000, 8), (None, None)),
        ];
        for ((wall, up, start), ages) in cases {
            let now = Stamp { wall: FETCHED.wall + wall, start: Some((start, 500 + up)) };
            let seconds = |alone| now.since(FETCHED, alone).map(|age| age.as_secs());
            assert_eq!((seconds(true), seconds(false)), ages, "{wall} {up} {start}");
        }
        let unknown = Stamp { start: None, ..FETCHED };
        assert_eq!((FETCHED.since(unknown, true), FETCHED.since(unknown, false)), (None, Some(Duration::ZERO)));
        let extreme = |wall| Stamp { wall, start: None };
        assert_eq!(extreme(UnixTime::MIN).since(extreme(UnixTime::MAX), false), None, "no arithmetic goes astray");
        assert!(extreme(UnixTime::MAX).since(extreme(UnixTime::MIN), false) > Some(Duration::from_secs(1 << 62)));
        let slept = Stamp { wall: FETCHED.wall - 40, start: Some((7, 520)) };
        assert_eq!(slept.back_to(FETCHED), Stamp { wall: FETCHED.wall - 60, ..FETCHED });
    }
}
