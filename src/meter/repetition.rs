//! Exchanges of one AuthID after another, counted without looking for their series.

use super::{Meter, seconds};
use crate::clock::UnixTime;
use itoa::Buffer;
use prometheus::{Counter, Gauge, Histogram};
use std::time::Duration;

/// The series of exchanges that end alike.
#[derive(Clone)]
pub struct Repetition {
    exchanges: Counter,
    time: Histogram,
    last_seen: Gauge,
}

impl Meter {
    /// Where [`Meter::refreshed`] and [`Meter::saw_epoch`] count exchanges of this kind.
    pub fn repetition(&self, service: &str, epoch: u32, outcome: &'static str) -> Repetition {
        let mut buffer = Buffer::new();
        let epoch = buffer.format(epoch);
        Repetition {
            exchanges: self.0.refreshes.with_label_values(&[epoch, outcome, self.service(Some(service))]),
            time: self.0.refresh_time.with_label_values(&[outcome]),
            last_seen: self.0.last_seen.with_label_values(&[epoch]),
        }
    }
}

impl Repetition {
    /// One ended now, and took so long.
    pub fn now(&self, took: Duration, now: UnixTime) {
        self.exchanges.inc();
        self.time.observe(took.as_secs_f64());
        self.last_seen.set(seconds(now));
    }
}
