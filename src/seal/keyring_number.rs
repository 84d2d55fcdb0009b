//! The number of a keyring: which reading of it something was opened under. Numbers are given out in the order of reading
//! and never twice in a process, so that a keyring that was put back is another one than before. Not an address in memory,
//! which is given out again, and not a digest, which costs more than a comparison.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tells one keyring of this process from all others, equal ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyringNumber(u64);

impl KeyringNumber {
    pub(super) fn next() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self(COUNT.fetch_add(1, Ordering::Relaxed))
    }
}
