//! Has records copied to replicas of Redis before they count as written. A connection that waits for replicas serves
//! nobody else, so this has one of its own, on which writes take turns.
//!
//! Where fewer have a record in time it counts all the same: Redis has it, and whoever took that for a failed write
//! would spend a token that is spent. It is told and counted, and for some time nobody waits.

use super::line::{Answer, Line, requests};
use crate::meter::Meter;
use redis::{Cmd, RedisResult, Value};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long Redis waits for its replicas, in milliseconds.
const WAIT: u64 = 500;
/// For how long they are not waited for after one of these times was not enough.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Copies {
    line: Line,
    wanted: u32,
    /// Whoever has it may wait for replicas; not before the time in it.
    turn: Mutex<Option<Instant>>,
    lacking: AtomicBool,
    meter: Option<Meter>,
}

impl Copies {
    /// On a line of their own, to so many replicas.
    pub(super) fn new(line: Line, wanted: u32) -> Self {
        Self { line, wanted, turn: Mutex::new(None), lacking: AtomicBool::new(false), meter: None }
    }

    /// Has writes counted that fewer have.
    pub(super) fn count(&mut self, meter: Meter) {
        self.meter = Some(meter);
    }

    pub(super) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Makes a request that writes a record, on `other` where replicas are not waited for.
    pub(super) async fn write(&self, other: &Line, request: Cmd) -> RedisResult<Answer> {
        let mut not_before = self.turn.lock().await;
        if not_before.is_some_and(|time| Instant::now() < time) {
            drop(not_before);
            self.lacks();
            return other.ask(&requests([request])).await;
        }
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.wanted).arg(WAIT);
        let answer = self.line.ask(&requests([request, wait])).await?;
        let copies = answer.others.first().and_then(|copies| copies.as_ref().ok());
        if matches!(copies, Some(Value::Int(copies)) if *copies >= i64::from(self.wanted)) {
            *not_before = None;
            if self.lacking.swap(false, Ordering::AcqRel) {
                tracing::info!("replicas of Redis acknowledge again what is written");
            }
        } else {
            *not_before = Some(Instant::now() + PAUSE);
            self.lacks();
        }
        Ok(answer)
    }

    fn lacks(&self) {
        self.meter.iter().for_each(Meter::store_unacknowledged);
        if !self.lacking.swap(true, Ordering::AcqRel) {
            let wanted = self.wanted;
            tracing::warn!(wanted, "fewer replicas of Redis than state.redis_wait have what was written; it counts");
        }
    }
}
