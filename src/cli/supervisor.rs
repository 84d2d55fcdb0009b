//! Who started this process and waits for it: systemd, or another that does as sd_notify(3) says, and the predecessor that
//! handed its sockets over. Without either, nothing here does anything.

use crate::socket::{Pulse, READY};
use sd_notify::NotifyState;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Who waits for this process.
#[derive(Default)]
pub(super) struct Supervisor {
    /// Until it is told.
    predecessor: Mutex<Option<UnixDatagram>>,
}

impl Supervisor {
    /// A predecessor among them, if there is one.
    pub(super) fn new(predecessor: Option<UnixDatagram>) -> Self {
        Self { predecessor: Mutex::new(predecessor) }
    }

    /// It serves. The manager of a service is told so too by a successor, and does not listen to that yet.
    pub(super) fn ready(&self) {
        let predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(predecessor) = predecessor
            && let Err(error) = predecessor.send(READY)
        {
            tracing::warn!(%error, "the predecessor could not be told that this process is ready");
        }
        tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// It reads its files again, until it is ready.
    pub(super) fn reloading(&self) {
        // Both at once, or systemd waits for another reload than this (sd_notify(3), RELOADING=1).
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now, NotifyState::Status("reading all files again")]);
        }
    }

    /// It ends.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is under way")]);
    }

    /// Another process is the service from now on.
    pub(super) fn succeeded_by(&self, process: u32) {
        tell(&[NotifyState::MainPid(process), NotifyState::Status("handed over to a new process")]);
    }
}

/// Tells a watchdog that all is well, as often as it wants, as long as every thread serves. Ends with the runtime.
pub(super) fn reassure(pulse: Pulse) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        let mut well = true;
        loop {
            let before = std::mem::replace(&mut well, pulse.is_there((patience / 2).max(Duration::from_secs(2))));
            match (before, well) {
                (_, true) => tell(&[NotifyState::Watchdog]),
                (true, false) => {
                    tracing::error!("a thread that serves requests is stuck; the watchdog will end this process")
                }
                (false, false) => {}
            }
            tokio::time::sleep(patience / 4).await;
        }
    });
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told how this process does");
    }
}
