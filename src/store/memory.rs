//! The store in this process's memory: bounded, and gone with the process.

use super::{Name, Shelf};
use crate::clock::Clock;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::time::Duration;

/// Most blobs held at a time; above it the least recently used go first.
pub(super) const MAX_BLOBS: u64 = 10_000;
/// No blob lives longer, whatever was asked for.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

pub(super) struct Memory {
    pub(super) blobs: Cache<(Shelf, Name), Blob>,
    clock: Clock,
}

#[derive(Clone)]
pub(super) struct Blob {
    bytes: Vec<u8>,
    until: Duration,
}

impl Memory {
    pub(super) fn new(clock: Clock) -> Self {
        let blobs = Cache::builder()
            .max_capacity(MAX_BLOBS)
            // The default policy may turn new entries away; here the new one is the one that somebody waits for.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(MAX_LIFETIME)
            .build();
        Self { blobs, clock }
    }

    pub(super) fn put(&self, shelf: Shelf, name: &Name, bytes: &[u8], lifetime: Duration) {
        self.blobs.insert((shelf, *name), self.blob(bytes, lifetime));
    }

    pub(super) fn read(&self, shelf: Shelf, name: &Name) -> Option<Vec<u8>> {
        self.living(self.blobs.get(&(shelf, *name)))
    }

    pub(super) fn take(&self, shelf: Shelf, name: &Name) -> Option<Vec<u8>> {
        self.living(self.blobs.remove(&(shelf, *name)))
    }

    pub(super) fn swap(
        &self,
        shelf: Shelf,
        name: &Name,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        lifetime: Duration,
    ) -> bool {
        let mut matched = false;
        let done = self.blobs.entry((shelf, *name)).and_compute_with(|entry| {
            matched = self.living(entry.map(moka::Entry::into_value)).as_deref() == expected;
            match new {
                _ if !matched => Op::Nop,
                Some(new) => Op::Put(self.blob(new, lifetime)),
                None => Op::Remove,
            }
        });
        debug_assert!(matched || matches!(done, CompResult::Unchanged(_) | CompResult::StillNone(_)));
        matched
    }

    pub(super) fn heads(&self, shelf: Shelf, length: usize, each: &mut (dyn FnMut(&[u8]) + Send)) {
        for (key, blob) in &self.blobs {
            if key.0 == shelf && self.clock.uptime() < blob.until {
                each(blob.bytes.get(..length).unwrap_or(&blob.bytes));
            }
        }
    }

    fn blob(&self, bytes: &[u8], lifetime: Duration) -> Blob {
        Blob { bytes: bytes.to_vec(), until: self.clock.uptime() + lifetime }
    }

    fn living(&self, blob: Option<Blob>) -> Option<Vec<u8>> {
        blob.filter(|blob| self.clock.uptime() < blob.until).map(|blob| blob.bytes)
    }
}
