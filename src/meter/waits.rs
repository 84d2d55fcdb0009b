//! Metrics of requests that wait, and of providers that are not asked.

use super::{Meter, flag, list};

impl Meter {
    /// So many requests more wait.
    pub fn waiting(&self, more: f64) {
        self.0.families.gauge(&list::WAITING, &[]).add(more);
    }

    /// A brake for mass refusals came on, 1, or was released, -1.
    pub fn mass_refusal(&self, provider: &str, more: f64) {
        self.0.families.gauge(&list::MASS_REFUSAL, &[provider]).add(more);
    }

    /// Whether a provider is left alone because it answers nobody.
    pub fn suspended(&self, provider: &str, is: bool) {
        self.set(&list::SUSPENDED, &[provider], flag(is));
    }

    /// A request has waited, well or not.
    pub fn waited(&self, outcome: &'static str) {
        self.count(&list::WAITED, &[outcome]);
    }
}
