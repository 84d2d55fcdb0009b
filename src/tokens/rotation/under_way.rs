//! Which logins' providers are being asked right now with a refresh token that works once: what else spends that token
//! waits for the end of it.

use crate::authid::GrantId;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The logins whose provider is being asked right now with a token that works once.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<BTreeSet<GrantId>>);

impl UnderWay {
    /// Until what is returned is dropped.
    pub(super) fn begin(&self, grant: GrantId) -> impl Drop {
        self.grants().insert(grant);
        Asking(self, grant)
    }

    pub(super) fn grants(&self) -> MutexGuard<'_, BTreeSet<GrantId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Asking<'a>(&'a UnderWay, GrantId);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.grants().remove(&self.1);
    }
}
