//! How the exchange of denylists between servers does, counted.

use super::{Meter, list, seconds};

impl Meter {
    /// Rules of other servers were written to the own denylist.
    pub fn replicated(&self, count: usize) {
        self.0.families.counter(&list::REPLICATION_RECEIVED, &[]).inc_by(count as f64);
    }

    /// So many pieces of revocations did not open.
    pub fn replication_refused(&self, count: usize) {
        self.0.families.counter(&list::REPLICATION_REFUSED, &[]).inc_by(count as f64);
    }

    /// For how many seconds a source has not been read to its end, and how many own rules it lacks.
    pub fn replication(&self, source: &str, behind: i64, unsent: usize) {
        self.set(&list::REPLICATION_BEHIND, &[source], seconds(behind));
        self.set(&list::REPLICATION_UNSENT, &[source], unsent as f64);
    }
}
