//! Metrics of requests that wait, of what is renewed so that they need not, and of providers that are not asked.

use super::metric::{Metric, Values, counter, gauge, label, outcome};
use super::{Meter, flag, words};

pub(super) const WAITING: Metric = gauge(
    "authseal_refresh_waiting",
    &[],
    "Requests for an access token that wait: for a provider, the state store, a key or another replica.",
);
pub(super) const WAITED: Metric = counter(
    "authseal_refresh_waits_total",
    &[outcome(&words::WAITS)],
    "Requests for an access token that have waited, by how that ended.",
);
pub(super) const MASS_REFUSAL: Metric = gauge(
    "authseal_mass_refusal",
    &[label("provider", Values::Providers)],
    "1 while a provider refuses so many logins that worked that this server's app there must be at fault.",
);
pub(super) const SUSPENDED: Metric = gauge(
    "authseal_provider_suspended",
    &[label("provider", Values::Providers)],
    "1 while a provider answers nobody, so that it is only asked once a second whether it does again.",
);
pub(super) const RENEWALS: Metric = counter(
    "authseal_renewals_total",
    &[outcome(&words::RENEWALS)],
    "Access tokens in use that were renewed ahead of their end, in the background, by how that ended.",
);

impl Meter {
    /// So many requests more wait.
    pub fn waiting(&self, more: f64) {
        self.0.families.gauge(&WAITING, &[]).add(more);
    }

    /// A brake for mass refusals came on, 1, or was released, -1.
    pub fn mass_refusal(&self, provider: &str, more: f64) {
        self.0.families.gauge(&MASS_REFUSAL, &[provider]).add(more);
    }

    /// Whether a provider is left alone because it answers nobody.
    pub fn suspended(&self, provider: &str, is: bool) {
        self.set(&SUSPENDED, &[provider], flag(is));
    }

    /// An access token was renewed ahead of its end, or was not.
    pub fn renewed(&self, outcome: &'static str) {
        self.count(&RENEWALS, &[outcome]);
    }

    /// A request has waited, well or not.
    pub fn waited(&self, outcome: &'static str) {
        self.count(&WAITED, &[outcome]);
    }
}
