//! How the last order went, and how soon the next may follow: whoever shares the folder goes by it, so that an authority
//! is asked as seldom by many replicas, or by one that is restarted again and again, as by one that runs.

use crate::clock::UnixTime;
use serde::{Deserialize, Serialize};

/// After a first failure, in seconds; it doubles each time. Let's Encrypt takes five failed proofs in an hour.
const FIRST: i64 = 5 * 60;
/// The same where the authority was not reached, so that nothing was asked of it.
const FIRST_UNREACHED: i64 = 10;
/// And at most.
const LONGEST: i64 = 12 * 3600;
/// Longer than any authority tells one to wait: a clock was wrong.
const ABSURD: i64 = 8 * 24 * 3600;

/// The last attempt at an order.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Attempt {
    pub(super) tried: Option<UnixTime>,
    /// In a row.
    pub(super) failures: u32,
    pub(super) fault: Option<String>,
    /// Before this time the authority wants none.
    not_before: Option<UnixTime>,
    /// Whether the authority had something to do with it.
    pub(super) gentle: bool,
}

impl Attempt {
    /// One that went well.
    pub(super) fn done(now: UnixTime) -> Self {
        Self { tried: Some(now), ..Self::default() }
    }

    /// One more, which failed.
    pub(super) fn failed(&self, now: UnixTime, fault: String, not_before: Option<UnixTime>) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { tried: Some(now), failures, fault: Some(fault), not_before, gentle: true }
    }

    /// When the next may be made; `None`: at any time. A process that did not try yet (`again` is false) waits as after
    /// one failure only: somebody may have fixed what was wrong, and started it for that.
    pub(super) fn earliest(&self, now: UnixTime, again: bool) -> Option<UnixTime> {
        let tried = self.tried.filter(|tried| *tried <= now && self.failures > 0)?;
        let doublings = if again { self.failures.saturating_sub(1).min(20) } else { 0 };
        let first = if self.gentle { FIRST } else { FIRST_UNREACHED };
        let pause = (first << doublings).min(LONGEST);
        let told = self.not_before.filter(|told| told - now < ABSURD);
        Some(told.unwrap_or(tried).max(tried + pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_half_a_day_and_a_new_process_begins_with_the_first() {
        let mut attempt = Attempt::default();
        assert_eq!(attempt.earliest(1000, true), None);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            attempt = attempt.failed(1000, String::new(), None);
            pauses.push(attempt.earliest(1000, true).unwrap() - 1000);
            assert_eq!(attempt.earliest(1000, false), Some(1300));
        }
        assert_eq!(pauses[..5], [300, 600, 1200, 2400, 4800]);
        assert!(pauses[8..].iter().all(|pause| *pause == LONGEST), "{pauses:?}");
        attempt.gentle = false;
        assert_eq!(attempt.earliest(1000, false), Some(1010));
    }

    #[test]
    fn what_the_authority_says_counts_and_what_a_wrong_clock_wrote_does_not() {
        let told = Attempt::default().failed(1000, String::new(), Some(5000));
        assert_eq!((told.earliest(1000, true), told.earliest(1000, false)), (Some(5000), Some(5000)));
        let absurd = Attempt::default().failed(1000, String::new(), Some(1000 + ABSURD));
        assert_eq!(absurd.earliest(1000, true), Some(1300));
        assert_eq!(told.earliest(999, true), None, "it was made in the future");
    }
}
