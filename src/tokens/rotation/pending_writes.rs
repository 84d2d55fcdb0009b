//! New refresh tokens that the store did not take. The provider has given them and takes no other, so they are kept in
//! memory, sealed, and offered to the store every second until it takes them. If this process ends before, those logins
//! are lost; so it says so loudly, and a metric counts them.

use super::record;
use super::records::Records;
use crate::authid::GrantId;
use crate::meter::Meter;
use crate::store::{Name, Shelf, StoreError};
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often they are offered to the store.
const RETRY: Duration = Duration::from_secs(1);
/// How many at once.
const AT_ONCE: usize = 16;
/// How long at the end of the process, before they are given up.
const LAST: Duration = Duration::from_secs(5);

/// A record that waits to be written down.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) grant: GrantId,
    pub(super) generation: u64,
    pub(super) blob: Arc<[u8]>,
    pub(super) life: Duration,
}

pub(super) struct PendingWrites {
    records: Arc<Records>,
    waiting: Mutex<HashMap<Name, Pending>>,
    meter: Meter,
    /// Whether a task is at work on them.
    at_work: AtomicBool,
}

impl PendingWrites {
    pub(super) fn new(records: Arc<Records>, meter: Meter) -> Self {
        Self { records, waiting: Mutex::default(), meter, at_work: AtomicBool::new(false) }
    }

    pub(super) fn count(&self) -> usize {
        self.waiting().len()
    }

    /// Keeps a record, and writes it down as soon as the store takes it.
    pub(super) fn keep(self: &Arc<Self>, name: Name, pending: Pending) {
        self.waiting().insert(name, pending);
        self.meter.unwritten_rotations(self.count());
        if !self.at_work.swap(true, Ordering::AcqRel) {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    // Under the lock, so that nobody adds one between the last look and the end.
                    if this.clear_if_empty() {
                        return;
                    }
                    sleep(RETRY).await;
                    this.write_all().await;
                }
            });
        }
    }

    /// Drops what waits under one name, up to a generation.
    pub(super) fn drop_until(&self, name: &Name, generation: u64) {
        let mut waiting = self.waiting();
        if waiting.get(name).is_some_and(|pending| pending.generation <= generation) {
            waiting.remove(name);
        }
        drop(waiting);
        self.meter.unwritten_rotations(self.count());
    }

    fn clear_if_empty(&self) -> bool {
        let waiting = self.waiting();
        let empty = waiting.is_empty();
        if empty {
            self.at_work.store(false, Ordering::Release);
        }
        drop(waiting);
        empty
    }

    /// Writes down what waits under one name.
    pub(super) async fn write(&self, name: &Name) -> Result<(), StoreError> {
        let Some(Pending { grant, generation, blob, life }) = self.waiting().get(name).cloned() else {
            return Ok(());
        };
        let store = &self.records.store;
        loop {
            let there = store.read(Shelf::Records, name).await?;
            let is_newer = there.as_deref().and_then(record::generation_of) >= Some(generation);
            // What a failed write left may be read and yet be gone after a loss of power, so it is written once more,
            // as it is: somebody may have set a mark.
            let new = if is_newer { there.as_deref().unwrap_or(&blob) } else { &blob };
            let epoch = there.as_deref().and_then(record::epoch_of);
            if !is_newer && epoch.is_some_and(|epoch| self.records.keyring.load().keys(epoch).is_err()) {
                // Whoever has its key knows more of it than is known here.
                return Err(StoreError::Interrupted);
            }
            if store.swap(Shelf::Records, name, there.as_deref(), Some(new), life).await? {
                tracing::info!(%grant, superseded = is_newer, "a refresh token that waited is written down");
                self.drop_until(name, generation);
                return Ok(());
            }
        }
    }

    async fn write_all(&self) {
        let names: Vec<_> = self.waiting().keys().copied().collect();
        // One that fails does not keep others out; the store itself says that it fails.
        let write = async |name: Name| drop(self.write(&name).await);
        stream::iter(names).for_each_concurrent(AT_ONCE, write).await;
    }

    /// Tries once more before the process ends, for some time. Returns whether nothing is left.
    pub(super) async fn settle(&self) -> bool {
        let tries = async {
            loop {
                self.write_all().await;
                if self.count() == 0 {
                    return;
                }
                sleep(RETRY).await;
            }
        };
        let _ = timeout(LAST, tries).await;
        let logins: Vec<_> = self.waiting().values().map(|pending| pending.grant.to_string()).collect();
        // The task that offers them every second may have had more luck with the last of them.
        if logins.is_empty() {
            return true;
        }
        tracing::error!(grants = logins.join(" "), "these logins are lost: the store did not take their new tokens");
        false
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Name, Pending>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
