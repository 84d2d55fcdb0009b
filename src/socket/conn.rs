//! One connection, as seen from outside of the task that serves it: what it waits for, since when, and whether it was
//! told to end. Only its own task changes the first two; only the crowd tells.

use crate::clock::Clock;
use crate::net::ClientNet;
use futures_util::task::AtomicWaker;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

/// The most bytes of a request: 4 KiB of address, 16 of form, and twice that for headers and chunk sizes.
const MAX_REQUEST: usize = 40 * 1024;
/// The most bytes of a body that nobody wanted and that is read only so that the client comes to read its response.
const MAX_UNWANTED: usize = 1024 * 1024;
/// How long a connection that was told to read no more may take to be gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// The length of a body that comes in chunks, which say where it ends.
pub(super) const CHUNKED: usize = usize::MAX;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client's part of the TLS handshake.
    Handshake,
    /// The first byte.
    Opened,
    /// The first byte of another request.
    Idle,
    /// The rest of a request's head.
    Head,
    /// The rest of its body.
    Body,
    /// Us.
    Serving,
    /// The rest of a body that the response did not wait for.
    Unwanted,
    /// The client, to read what was written.
    Writing,
}

const PHASES: [Phase; 8] = {
    use Phase::*;
    [Handshake, Opened, Idle, Head, Body, Serving, Unwanted, Writing]
};

impl Phase {
    /// How long it may last, and what an end for that is called; `None` while a request is served.
    pub(super) fn bound(self) -> Option<(Duration, Reason)> {
        let (seconds, reason) = match self {
            Self::Serving => return None,
            Self::Handshake => (5, Reason::SlowHandshake),
            Self::Opened => (10, Reason::Silent),
            Self::Head => (10, Reason::SlowRequest),
            // From the first byte of the head on.
            Self::Body => (20, Reason::SlowRequest),
            Self::Unwanted => (10, Reason::SlowRequest),
            Self::Idle => (30, Reason::Idle),
            // Until all of it is written.
            Self::Writing => (30, Reason::SlowReader),
        };
        Some((Duration::from_secs(seconds), reason))
    }

    /// Whether more is read: not while a response is owed or waits to be written.
    pub(super) fn reads(self) -> bool {
        !matches!(self, Self::Serving | Self::Writing)
    }
}

/// Why a connection was ended, or a request refused before it was one. A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    SlowHandshake,
    BadHandshake,
    Silent,
    SlowRequest,
    SlowReader,
    Idle,
    TooLarge,
    Malformed,
    TlsOnPlainPort,
    HttpOnTlsPort,
    ProxyProtocol,
    Http2,
    Crowded,
}

impl Reason {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::SlowHandshake => "slow_handshake",
            Self::BadHandshake => "bad_handshake",
            Self::Silent => "silent",
            Self::SlowRequest => "slow_request",
            Self::SlowReader => "slow_reader",
            Self::Idle => "idle",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::TlsOnPlainPort => "tls_on_plain_port",
            Self::HttpOnTlsPort => "http_on_tls_port",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Http2 => "http2",
            Self::Crowded => "crowded",
        }
    }
}

/// What a connection was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// To read no more, as if the client had said that it sends no more; what is owed may still be written.
    ReadNoMore,
    /// To be gone.
    Gone,
}

pub(super) struct Conn {
    /// Where it comes from; `None` for who may have any number: our own proxies and this machine.
    pub(super) network: Option<ClientNet>,
    clock: Clock,
    /// When the phase began, in milliseconds of the clock, and in the lowest four bits the phase.
    state: AtomicU64,
    /// Bytes handed out since the last response.
    taken: AtomicUsize,
    /// Bytes of the body that were not handed out yet.
    left: AtomicUsize,
    told: AtomicU8,
    task: AtomicWaker,
}

impl Conn {
    pub(super) fn new(network: Option<ClientNet>, phase: Phase, clock: Clock) -> Self {
        let (state, taken, left, told, task) = Default::default();
        let conn = Self { network, clock, state, taken, left, told, task };
        conn.enter(phase);
        conn
    }

    pub(super) fn enter(&self, phase: Phase) {
        // Nobody asks since when a phase without bound lasts.
        let since = if phase.bound().is_some() { self.clock.uptime() } else { Duration::ZERO };
        self.set(phase, since);
    }

    fn set(&self, phase: Phase, since: Duration) {
        let millis = u64::try_from(since.as_millis()).unwrap_or_default();
        self.state.store(millis << 4 | phase as u64, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> (Phase, Duration) {
        let state = self.state.load(Ordering::Relaxed);
        let phase = usize::try_from(state & 0xf).ok().and_then(|at| PHASES.get(at));
        (phase.copied().unwrap_or(Phase::Idle), Duration::from_millis(state >> 4))
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().0
    }

    /// Bytes are handed out. Whether that may be.
    pub(super) fn took(&self, bytes: usize) -> bool {
        let phase = self.phase();
        if matches!(phase, Phase::Opened | Phase::Idle) {
            self.enter(Phase::Head);
        }
        if let Some(left) = self.body_left() {
            self.left.store(left.saturating_sub(bytes), Ordering::Relaxed);
            if left <= bytes {
                self.enter(Phase::Serving);
            }
        }
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        taken <= if phase == Phase::Unwanted { MAX_UNWANTED } else { MAX_REQUEST }
    }

    /// A request's head is whole, and it is being served. Of its body so many bytes are to come; `CHUNKED` if that is
    /// not said.
    pub(super) fn called(&self, body: usize) {
        self.left.store(body, Ordering::Relaxed);
        match self.state() {
            _ if body == 0 => self.enter(Phase::Serving),
            (Phase::Head, since) => self.set(Phase::Body, since),
            _ => self.enter(Phase::Body),
        }
    }

    /// How many bytes of a body are to come, where that is known.
    pub(super) fn body_left(&self) -> Option<usize> {
        let left = self.left.load(Ordering::Relaxed);
        (self.phase() == Phase::Body && left != CHUNKED).then_some(left)
    }

    /// No more of the body comes. What is served is served all the same.
    pub(super) fn cut_off(&self) {
        if self.phase() == Phase::Body {
            self.enter(Phase::Serving);
        }
    }

    /// Its response is there, to be written next.
    pub(super) fn answered(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.enter(if self.phase() == Phase::Body { Phase::Unwanted } else { Phase::Idle });
    }

    /// The client does not take what is written. What is owed to it beyond that has its own bound.
    pub(super) fn blocked(&self) {
        if !matches!(self.phase(), Phase::Body | Phase::Serving | Phase::Writing) {
            self.enter(Phase::Writing);
        }
    }

    /// All is written.
    pub(super) fn flushed(&self) {
        if self.phase() == Phase::Writing {
            self.enter(Phase::Idle);
        }
    }

    /// What it was told, now and, by waking the task of `cx`, later.
    pub(super) fn told(&self, cx: &Context<'_>) -> Told {
        self.task.register(cx.waker());
        self.was_told()
    }

    pub(super) fn was_told(&self) -> Told {
        match self.told.load(Ordering::Acquire) {
            0 => Told::Nothing,
            1 => Told::ReadNoMore,
            _ => Told::Gone,
        }
    }

    /// Ends it, more firmly if it was told before. Whether it had not been.
    pub(super) fn end(&self) -> bool {
        let firm = matches!(self.phase(), Phase::Handshake | Phase::Writing) || self.was_told() != Told::Nothing;
        let told = if firm { Told::Gone } else { Told::ReadNoMore };
        let before = self.told.fetch_max(told as u8, Ordering::AcqRel);
        self.task.wake();
        before == Told::Nothing as u8
    }

    /// Why it is to be ended at `now`, if it is.
    pub(super) fn overdue(&self, now: Duration) -> Option<Reason> {
        let (phase, since) = self.state();
        let (bound, reason) = phase.bound()?;
        let more = if self.was_told() == Told::Nothing { Duration::ZERO } else { FAREWELL };
        (now.saturating_sub(since) >= bound + more).then_some(reason)
    }

    /// Whether nothing is owed to it, so that it may be told to end when all end.
    pub(super) fn may_leave(&self) -> bool {
        let owed = matches!(self.phase(), Phase::Body | Phase::Serving | Phase::Writing);
        !owed && self.was_told() == Told::Nothing
    }

    /// Since when it waits for its client; `None` while the client waits.
    pub(super) fn waits_since(&self) -> Option<Duration> {
        let (phase, since) = self.state();
        phase.bound().map(|_| since)
    }
}
