//! Requests to the state store, counted.

use super::{Meter, list, words};

impl Meter {
    /// There is a store of this kind.
    pub fn has_store(&self, kind: &'static str) {
        for verb in words::STORE_VERBS {
            self.0.families.histogram(&list::STORE_REQUESTS, &[kind, verb]);
            self.0.families.counter(&list::STORE_FAILURES, &[kind, verb]);
        }
    }

    /// A store of some kind answered a request, or failed.
    pub fn store_asked(&self, kind: &'static str, verb: &'static str, seconds: f64, well: bool) {
        self.observe(&list::STORE_REQUESTS, &[kind, verb], seconds);
        if !well {
            self.count(&list::STORE_FAILURES, &[kind, verb]);
        }
    }

    /// Fewer replicas of Redis than asked for have a record.
    pub fn store_unacknowledged(&self) {
        self.count(&list::STORE_UNACKNOWLEDGED, &[]);
    }
}
