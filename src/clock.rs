//! What time it is. Everything that waits for a time or compares with one asks here, so that tests move the time
//! instead of waiting for it.
//!
//! Two readings: [`Clock::now`] is the wall clock, for what is written down or shown (it may jump, both ways);
//! [`Clock::uptime`] only goes forward, for caches and hold-offs, and does not count the time that the machine sleeps.
//! [`Clock::since_boot`] goes forward and counts that too, for what outlives the process on this machine.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixTime = i64;

/// Both readings of a [`Clock`] at one time.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The machine's own.
    pub instant: Instant,
    /// [`Clock::now`].
    pub now: UnixTime,
    /// [`Clock::uptime`].
    pub uptime: Duration,
}

/// A shared clock; clones move together.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// Added to all readings, in milliseconds.
    ahead: Arc<AtomicU64>,
    /// Added to the wall clock alone, in seconds.
    off: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { started: Instant::now(), ahead: Arc::default(), off: Arc::default() }
    }

    /// The wall clock.
    pub fn now(&self) -> UnixTime {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = i64::try_from((system + self.ahead()).as_secs()).unwrap_or(i64::MAX);
        ahead.saturating_add(self.off.load(Ordering::Relaxed))
    }

    /// Time since this clock was made; never goes back.
    pub fn uptime(&self) -> Duration {
        self.uptime_at(Instant::now())
    }

    fn uptime_at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.started) + self.ahead()
    }

    /// Time since the machine started; the same for all its processes.
    pub fn since_boot(&self) -> Duration {
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default() + self.ahead()
    }

    /// Both readings.
    pub fn moment(&self) -> Moment {
        let instant = Instant::now();
        Moment { instant, now: self.now(), uptime: self.uptime_at(instant) }
    }

    /// Moves both readings of this clock and its clones forward by `step`. For tests.
    pub fn advance(&self, step: Duration) {
        let millis = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        self.ahead.fetch_add(millis, Ordering::Relaxed);
    }

    /// Moves the wall clock alone, forward or back: a machine that slept, a clock that was set. For tests.
    pub fn step(&self, seconds: i64) {
        self.off.fetch_add(seconds, Ordering::Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead.load(Ordering::Relaxed))
    }
}

/// `time` as RFC 3339 in UTC, for users: `2026-11-23T10:00:00Z`.
pub fn rfc3339(time: UnixTime) -> String {
    jiff::Timestamp::from_second(time).map_or_else(|_| "an impossible time".to_owned(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_clock_move_together() {
        let (clock, before) = (Clock::system(), Clock::system().now());
        let clone = clock.clone();
        clock.advance(Duration::from_secs(3600));
        assert!(clone.now() >= before + 3600);
        assert!(clone.uptime() >= Duration::from_secs(3600));
    }

    #[test]
    fn a_step_moves_the_wall_clock_alone() {
        let (clock, before) = (Clock::system(), Clock::system().now());
        clock.step(7200);
        assert!(clock.clone().now() >= before + 7200);
        clock.step(-10_000);
        assert!(clock.now() <= Clock::system().now() - 2800);
        assert!(clock.uptime() < Duration::from_secs(60));
    }

    #[test]
    fn the_time_since_the_start_of_the_machine_is_the_same_for_all_and_moves_along() {
        let (one, two) = (Clock::system(), Clock::system());
        let before = one.since_boot();
        assert!(!before.is_zero() && two.since_boot() >= before);
        one.step(-7200);
        assert!(one.since_boot() >= before && one.since_boot() < before + Duration::from_secs(3600));
        one.advance(Duration::from_secs(3600));
        assert!(one.since_boot() >= before + Duration::from_secs(3600));
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(rfc3339(1_795_428_000), "2026-11-23T10:00:00Z");
    }
}
