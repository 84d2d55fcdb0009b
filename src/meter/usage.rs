//! Metrics of what an operator waits for to end: AuthIDs of an older server, and logins of an app registration.

use super::{Meter, list, seconds};

impl Meter {
    /// An AuthID of duplicati/oauth-server brought an access token; so many different ones of its kind have, so far.
    pub fn old_authid(&self, service: &str, version: &str, authids: u64) {
        let labels = [version, self.service(Some(service))];
        self.count(&list::LEGACY_REFRESHES, &labels);
        self.set(&list::LEGACY_AUTHIDS, &labels, authids as f64);
        self.set(&list::LEGACY_LAST_SEEN, &labels, seconds(self.0.clock.now()));
    }

    /// Another handler was asked for what it has of an old AuthID.
    pub fn exported(&self, outcome: &'static str) {
        self.count(&list::LEGACY_EXPORTS, &[outcome]);
    }

    /// So many different logins of an app registration at a provider came lately.
    pub fn app_logins(&self, provider: &str, app: &str, logins: u64) {
        self.set(&list::APP_LOGINS, &[app, provider], logins as f64);
    }
}
