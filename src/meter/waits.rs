//! Metrics of requests that wait.

use super::{Meter, list};

impl Meter {
    /// So many requests more wait.
    pub fn waiting(&self, more: f64) {
        self.0.families.gauge(&list::WAITING, &[]).add(more);
    }

    /// A request has waited, well or not.
    pub fn waited(&self, outcome: &'static str) {
        self.count(&list::WAITED, &[outcome]);
    }
}
