//! The records of all logins as this replica sees them: in the store, and in memory the last one that was seen of each,
//! sealed as it was. A store that is behind what is remembered (a failover, a copy put back) is set right before
//! anything is done with what it says. Memory holds nothing here that opens without the AuthID.

use super::super::cache::AccessToken;
use super::record::{self, Record, Unopened};
use super::stamp::{self, Stamp};
use super::state_machine::RecordHeader;
use crate::authid::Grant;
use crate::clock::{Clock, Moment};
use crate::keyring_file::LiveKeyring;
use crate::lru::Lru;
use crate::seal::{Epoch, NoKey};
use crate::store::{Name, Shelf, Store, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes remembered; above it the least recently used go first. 30,000 records of Box, 3,000 of Microsoft.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// What an entry takes beside its blob, about.
const ENTRY: usize = 160;
/// How long what the store said of a login is taken to hold without asking again.
const CURRENT: Duration = Duration::from_secs(60);

pub(super) struct Records {
    pub(super) store: Arc<Store>,
    pub(super) keyring: Arc<LiveKeyring>,
    pub(super) clock: Clock,
    /// Which start of the machine this is.
    pub(super) start: u64,
    /// Whether the store is this machine's alone.
    alone: bool,
    newest: Lru<Name, Newest>,
}

#[derive(Clone)]
struct Newest {
    generation: u64,
    blob: Arc<[u8]>,
    /// When the store last agreed, by [`Clock::uptime`].
    agreed_at: Duration,
}

/// What the store holds of a login. The record may be missing while the blob is there: damaged.
#[derive(Default)]
pub(super) struct Found {
    pub(super) blob: Option<Vec<u8>>,
    pub(super) record: Option<Record>,
}

/// Why a record could not be read.
pub(super) enum Unread {
    /// The store fails.
    Store,
    /// There is no key for the record that is there.
    NoKey(Vec<u8>, Epoch, NoKey),
}

impl From<StoreError> for Unread {
    /// The store itself says what failed.
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

impl Records {
    pub(super) fn new(store: Arc<Store>, keyring: Arc<LiveKeyring>, clock: Clock) -> Self {
        let newest = Lru::new(MAX_BYTES, Duration::MAX, &clock);
        let alone = !store.is_shared();
        Self { store, keyring, clock, start: stamp::start(), alone, newest }
    }

    /// Puts the first record of a login in its place.
    pub(super) async fn begin(&self, login: &Grant, record: &Record, life: Duration) -> Result<(), StoreError> {
        let name = record::name(login);
        let blob = self.seal(login, record)?;
        self.store.put(Shelf::Records, &name, &blob, life).await?;
        self.remember(name, record.generation, &blob);
        Ok(())
    }

    /// Reads the record of a login. If the store is behind what is remembered here, it is set right first.
    pub(super) async fn read(&self, login: &Grant, life: Duration) -> Result<Found, Unread> {
        let name = record::name(login);
        loop {
            let blob = self.store.read(Shelf::Records, &name).await?;
            let opened = blob.as_deref().map(|blob| Record::open(blob, login, &self.keyring.load())).transpose();
            let record = match (opened, &blob) {
                (Ok(record), _) => record,
                (Err(Unopened::NoKey(epoch, why)), Some(blob)) => {
                    return Err(Unread::NoKey(blob.clone(), epoch, why));
                }
                (Err(_), _) => {
                    tracing::warn!(grant = %login.id, "the store holds something else than this login's record");
                    None
                }
            };
            let generation = record.as_ref().map(|record| record.generation);
            match self.newest.get(&name) {
                // The same, of which the key was replaced since, is not worth writing.
                Some(newest) if generation < Some(newest.generation) && blob.as_deref() != Some(&*newest.blob) => {
                    tracing::warn!(
                        grant = %login.id,
                        "the state store is behind what is remembered here of a login; it is set right"
                    );
                    self.store.swap(Shelf::Records, &name, blob.as_deref(), Some(&newest.blob), life).await?;
                }
                _ => {
                    if let (Some(blob), Some(generation)) = (&blob, generation) {
                        self.remember(name, generation, blob);
                    }
                    return Ok(Found { blob, record });
                }
            }
        }
    }

    /// Writes a record in the place of `expected`, and returns it as it is there now; `None` if that was not there.
    pub(super) async fn swap(
        &self,
        login: &Grant,
        expected: Option<&[u8]>,
        record: Record,
        life: Duration,
    ) -> Result<Option<Found>, StoreError> {
        let name = record::name(login);
        let blob = self.seal(login, &record)?;
        if !self.store.swap(Shelf::Records, &name, expected, Some(&blob), life).await? {
            return Ok(None);
        }
        self.remember(name, record.generation, &blob);
        Ok(Some(Found { blob: Some(blob), record: Some(record) }))
    }

    /// Forgets what was seen under a name.
    pub(super) fn forget(&self, name: &Name) {
        self.newest.remove(name);
    }

    /// Removes the record of a login.
    pub(super) async fn remove(&self, login: &Grant) -> Result<(), StoreError> {
        let name = record::name(login);
        self.forget(&name);
        self.store.take(Shelf::Records, &name).await.map(drop)
    }

    /// Whether the store agreed within the last minute with what is remembered here.
    pub(super) fn is_current(&self, record: &Name, at: Moment) -> bool {
        self.newest.get(record).is_some_and(|newest| at.uptime < newest.agreed_at + CURRENT)
    }

    /// The access token that came with the newest refresh token of a login, as far as this process has seen; `None`
    /// where its age cannot be told.
    pub(super) fn remembered(&self, login: &Grant) -> Option<AccessToken> {
        let newest = self.newest.get(&record::name(login))?;
        let record = Record::open(&newest.blob, login, &self.keyring.load()).ok()?;
        Some(record.access(self.age(&record)?, &self.clock))
    }

    /// How many times the refresh token of a login has changed, as far as this process has seen.
    pub(super) fn generation(&self, record: &Name) -> Option<u64> {
        self.newest.get(record).map(|newest| newest.generation)
    }

    /// What the steps need to know of a record.
    pub(super) fn view(&self, record: &Record) -> RecordHeader {
        let fresh = self.age(record).is_some_and(|age| record.is_fresh(age));
        RecordHeader { generation: record.generation, asked_at: record.asked_at, write: record.write, fresh }
    }

    /// The access token in a record, to be handed out.
    pub(super) fn access(&self, record: &Record) -> AccessToken {
        record.access(self.age(record).unwrap_or(Duration::MAX), &self.clock)
    }

    fn age(&self, record: &Record) -> Option<Duration> {
        self.stamp().since(record.fetched, self.alone)
    }

    /// Now.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp::now(self.start, &self.clock)
    }

    pub(super) fn seal(&self, login: &Grant, record: &Record) -> Result<Vec<u8>, StoreError> {
        record.seal(login, &self.keyring.load()).map_err(|_| StoreError::Interrupted)
    }

    pub(super) fn remember(&self, name: Name, generation: u64, blob: &[u8]) {
        let weight = u32::try_from(blob.len() + ENTRY).unwrap_or(u32::MAX);
        let newest = Newest { generation, blob: blob.into(), agreed_at: self.clock.uptime() };
        self.newest.lock().insert_with(name, newest, weight, Duration::MAX);
    }
}

/// How many records there are under each epoch, and how many that are none.
///
/// # Errors
/// When the store fails.
pub async fn records_by_epoch(store: &Store) -> Result<BTreeMap<Option<Epoch>, u64>, StoreError> {
    let mut counts = BTreeMap::new();
    let count = |head: &[u8]| *counts.entry(record::epoch_of(head)).or_default() += 1;
    store.heads(Shelf::Records, record::HEAD_LEN, count).await?;
    Ok(counts)
}
