//! How the exchange of denylists between servers does, counted.

use super::metric::{Metric, counter, elsewhere, gauge};
use super::{Meter, seconds};

pub(super) const BEHIND: Metric = gauge(
    "authseal_replication_behind_seconds",
    &[elsewhere("source")],
    "For how long what others revoke may be missing here, by where it comes from; 0 if nothing is.",
);
pub(super) const UNSENT: Metric = gauge(
    "authseal_replication_unsent_rules",
    &[elsewhere("source")],
    "Rules of the own denylist that are not in the shared log yet.",
);
pub(super) const RECEIVED: Metric = counter(
    "authseal_replication_received_total",
    &[],
    "Rules of other servers that were written to the own denylist.",
);
pub(super) const REFUSED: Metric = counter(
    "authseal_replication_refused_total",
    &[],
    "Pieces of revocations that did not open with this keyring and were left out.",
);

impl Meter {
    /// Rules of other servers were written to the own denylist.
    pub fn replicated(&self, count: usize) {
        self.0.families.counter(&RECEIVED, &[]).inc_by(count as f64);
    }

    /// So many pieces of revocations did not open.
    pub fn replication_refused(&self, count: usize) {
        self.0.families.counter(&REFUSED, &[]).inc_by(count as f64);
    }

    /// For how many seconds a source has not been read to its end, and how many own rules it lacks.
    pub fn replication(&self, source: &str, behind: i64, unsent: usize) {
        self.set(&BEHIND, &[source], seconds(behind));
        self.set(&UNSENT, &[source], unsent as f64);
    }
}
