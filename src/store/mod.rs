//! Sealed blobs with a lifetime, by name. Knows nothing of what is in them.
//!
//! The only kind so far lives in the process's memory: bounded, and gone with the process.

use crate::clock::Clock;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::time::Duration;

/// Most blobs held at a time; above it the least recently used go first.
const MAX_BLOBS: u64 = 10_000;
/// The longest blob, in bytes.
const MAX_BLOB_LEN: usize = 8 * 1024;
/// No blob lives longer, whatever was asked for.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// What a blob is stored under: 32 bytes that look random.
pub type Name = [u8; 32];

/// Blobs in memory.
pub struct Store {
    blobs: Cache<Name, Blob>,
    clock: Clock,
}

#[derive(Clone)]
struct Blob {
    bytes: Vec<u8>,
    until: Duration,
}

impl Store {
    /// An empty store.
    pub fn memory(clock: Clock) -> Self {
        let blobs = Cache::builder()
            .max_capacity(MAX_BLOBS)
            // The default policy may turn new entries away; here the new one is the one that somebody waits for.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(MAX_LIFETIME)
            .build();
        Self { blobs, clock }
    }

    /// Keeps `bytes` for `lifetime`. Returns whether they were taken: too long a blob is not.
    pub fn put(&self, name: Name, bytes: Vec<u8>, lifetime: Duration) -> bool {
        let fits = bytes.len() <= MAX_BLOB_LEN;
        if fits {
            self.blobs.insert(name, Blob { bytes, until: self.clock.uptime() + lifetime });
        }
        fits
    }

    /// Removes a blob and returns it; of several callers exactly one gets it.
    pub fn take(&self, name: &Name) -> Option<Vec<u8>> {
        self.blobs.remove(name).filter(|blob| self.alive(blob)).map(|blob| blob.bytes)
    }

    /// A copy of a blob, which stays where it is.
    pub fn look(&self, name: &Name) -> Option<Vec<u8>> {
        self.blobs.get(name).filter(|blob| self.alive(blob)).map(|blob| blob.bytes)
    }

    /// Whether there is a blob of that name.
    pub fn holds(&self, name: &Name) -> bool {
        self.blobs.get(name).is_some_and(|blob| self.alive(&blob))
    }

    fn alive(&self, blob: &Blob) -> bool {
        self.clock.uptime() < blob.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_taken_once_and_only_in_time() {
        let clock = Clock::system();
        let store = Store::memory(clock.clone());
        let minute = Duration::from_secs(60);
        assert!(store.put([1; 32], b"one".to_vec(), minute));
        assert!(store.put([2; 32], b"two".to_vec(), minute));
        assert!(store.holds(&[1; 32]));
        assert_eq!(store.look(&[1; 32]).unwrap(), b"one");
        assert_eq!(store.take(&[1; 32]).unwrap(), b"one");
        assert_eq!(store.take(&[1; 32]), None);
        clock.advance(minute);
        assert!(!store.holds(&[2; 32]));
        assert_eq!(store.take(&[2; 32]), None);
    }

    #[test]
    fn of_many_takers_one_gets_it() {
        let store = Store::memory(Clock::system());
        store.put([1; 32], b"one".to_vec(), Duration::from_secs(60));
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..50).map(|_| scope.spawn(|| store.take(&[1; 32]).is_some())).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).filter(|got| *got).count()
        });
        assert_eq!(taken, 1);
    }

    #[test]
    fn the_newest_blob_is_always_kept_and_a_huge_one_never() {
        let store = Store::memory(Clock::system());
        assert!(!store.put([0; 32], vec![0; MAX_BLOB_LEN + 1], Duration::from_secs(60)));
        for n in 0..MAX_BLOBS + 100 {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&n.to_be_bytes());
            store.put(name, vec![1], Duration::from_secs(60));
            assert!(store.holds(&name));
        }
        store.blobs.run_pending_tasks();
        assert!(store.blobs.entry_count() <= MAX_BLOBS);
    }
}
