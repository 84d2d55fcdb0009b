//! The store in this process's memory: bounded, and gone with the process.

use super::{Name, Shelf};
use crate::clock::Clock;
use crate::lru::Lru;
use std::time::Duration;

/// Most blobs held at a time; above it the least recently used go first.
pub(super) const MAX_BLOBS: u64 = 10_000;
/// No blob lives longer, whatever was asked for.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

pub(super) struct Memory(Lru<(Shelf, Name), Vec<u8>>);

impl Memory {
    pub(super) fn new(clock: &Clock) -> Self {
        Self(Lru::new(MAX_BLOBS, MAX_LIFETIME, clock))
    }

    pub(super) fn put(&self, shelf: Shelf, name: &Name, bytes: &[u8], lifetime: Duration) {
        self.0.lock().insert_with((shelf, *name), bytes.to_vec(), 1, lifetime.min(MAX_LIFETIME));
    }

    pub(super) fn read(&self, shelf: Shelf, name: &Name) -> Option<Vec<u8>> {
        self.0.get(&(shelf, *name))
    }

    pub(super) fn take(&self, shelf: Shelf, name: &Name) -> Option<Vec<u8>> {
        self.0.remove(&(shelf, *name))
    }

    pub(super) fn swap(
        &self,
        shelf: Shelf,
        name: &Name,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        lifetime: Duration,
    ) -> bool {
        let (mut blobs, key) = (self.0.lock(), (shelf, *name));
        let matched = blobs.get(&key).map(Vec::as_slice) == expected;
        match new {
            _ if !matched => {}
            Some(new) => drop(blobs.insert_with(key, new.to_vec(), 1, lifetime.min(MAX_LIFETIME))),
            None => drop(blobs.remove(&key)),
        }
        matched
    }

    pub(super) fn heads(&self, shelf: Shelf, length: usize, each: &mut (dyn FnMut(&[u8]) + Send)) {
        for (key, blob) in self.0.lock().iter() {
            if key.0 == shelf {
                each(blob.get(..length).unwrap_or(blob));
            }
        }
    }
}
