//! New refresh tokens that the store did not take. The provider has given them and takes no other, so they are kept in
//! memory and offered to the store every second until it takes them. If this process ends before, those logins are lost;
//! so it says so loudly, and a metric counts them.

use super::record::{self, Record};
use crate::authid::Login;
use crate::keyfile::LiveKeyring;
use crate::meter::Meter;
use crate::store::{Name, Shelf, Store, StoreError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How often they are offered to the store.
const RETRY: Duration = Duration::from_secs(1);
/// How often at the end of the process, before they are given up.
const LAST_TRIES: u32 = 5;

/// A token that waits to be written down.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) login: Login,
    pub(super) record: Record,
    pub(super) life: Duration,
}

pub(super) struct Unwritten {
    store: Arc<Store>,
    keyring: Arc<LiveKeyring>,
    waiting: Mutex<HashMap<Name, Pending>>,
    meter: Meter,
    /// Whether a task is at work on them.
    at_work: AtomicBool,
}

impl Unwritten {
    pub(super) fn new(store: Arc<Store>, keyring: Arc<LiveKeyring>, meter: Meter) -> Self {
        Self { store, keyring, waiting: Mutex::default(), meter, at_work: AtomicBool::new(false) }
    }

    pub(super) fn count(&self) -> usize {
        self.waiting().len()
    }

    /// Keeps a token, and writes it down as soon as the store takes it.
    pub(super) fn keep(self: &Arc<Self>, pending: Pending) {
        self.waiting().insert(record::name(&pending.login), pending);
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
        let Some(Pending { login, record, life }) = self.waiting().get(name).cloned() else { return Ok(()) };
        loop {
            let there = self.store.read(Shelf::Records, name).await?;
            let opened = there.as_ref().and_then(|blob| Record::open(blob, &login, &self.keyring.load()).ok());
            let superseded = opened.is_some_and(|there| there.generation >= record.generation);
            let Ok(blob) = record.seal(&login, &self.keyring.load()) else { return Err(StoreError::Interrupted) };
            if superseded || self.store.swap(Shelf::Records, name, there.as_deref(), Some(&blob), life).await? {
                tracing::info!(grant = %login.grant, superseded, "a refresh token that waited is written down");
                self.waiting().remove(name);
                self.meter.unwritten_rotations(self.count());
                return Ok(());
            }
        }
    }

    async fn write_all(&self) {
        let names: Vec<_> = self.waiting().keys().copied().collect();
        for name in names {
            // The first failure speaks for all; the store itself says that it fails.
            if self.write(&name).await.is_err() {
                return;
            }
        }
    }

    /// Tries some more times before the process ends.
    pub(super) async fn settle(&self) {
        for _ in 0..LAST_TRIES {
            self.write_all().await;
            if self.count() == 0 {
                return;
            }
            sleep(RETRY).await;
        }
        let logins: Vec<_> = self.waiting().values().map(|pending| pending.login.grant.to_string()).collect();
        tracing::error!(grants = logins.join(" "), "these logins are lost: the store did not take their new tokens");
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Name, Pending>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
