//! What labels may name beyond the words of this code: it is the configuration's, so a reload may change it.

use super::waits::{MASS_REFUSAL, SUSPENDED};
use super::{Meter, NONE, list, seconds};
use crate::clock::UnixTime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What labels may name beyond the words of this code.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The services that are offered.
    pub services: BTreeSet<String>,
    /// Those that are known and not offered.
    pub others: BTreeSet<String>,
    /// The providers of the offered ones.
    pub providers: BTreeSet<String>,
    /// When the secrets of clients end, where the configuration tells.
    pub secrets: BTreeMap<String, UnixTime>,
}

impl Meter {
    /// From now on these are all that a label may name. What was counted under other names stays.
    pub fn rename(&self, names: Names) {
        let families = &self.0.families;
        families.begin(&names);
        families.gauges(&list::APP_LOGINS).reset();
        let ends = families.gauges(&list::SECRET_EXPIRES);
        ends.reset();
        for (client, end) in &names.secrets {
            ends.with_label_values(&[client]).set(seconds(*end));
        }
        for provider in &names.providers {
            for metric in [&MASS_REFUSAL, &SUSPENDED] {
                families.gauge(metric, &[provider]); // 0 from the beginning
            }
        }
        self.0.names.store(Arc::new(names));
    }

    /// The configuration was read again, and this came of it.
    pub fn reloaded(&self, outcome: &'static str) {
        self.count(&list::RELOADS, &[outcome]);
    }

    /// As a label has it: an id that no service has may be anybody's text.
    pub(super) fn service<'a>(&self, id: Option<&'a str>) -> &'a str {
        let names = self.0.names.load();
        id.filter(|id| names.services.contains(*id) || names.others.contains(*id)).unwrap_or(NONE)
    }
}
