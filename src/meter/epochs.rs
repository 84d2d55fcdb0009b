//! Metrics of the keyring's epochs: which there are, and when each was last in use.

use super::{Inner, Meter, flag, list, seconds, words};
use crate::clock::UnixTime;
use itoa::Buffer;
use std::collections::BTreeSet;

impl Meter {
    /// An AuthID of this epoch of the keyring is in use.
    pub fn saw_epoch(&self, epoch: u32) {
        self.0.last_seen.with_label_values(&[Buffer::new().format(epoch)]).set(seconds(self.0.clock.now()));
    }

    /// When [`Meter::saw_epoch`] was last called for this epoch of the keyring.
    pub fn last_seen(&self, epoch: u32) -> Option<UnixTime> {
        let seen = self.0.last_seen.with_label_values(&[Buffer::new().format(epoch)]).get();
        (seen > 0.0).then_some(seen as UnixTime)
    }

    /// The epochs of the keyring, each with its state.
    pub fn keyring(&self, states: &BTreeSet<(u32, &'static str)>) {
        let mut shown = self.states();
        for (epoch, state) in states {
            if words::OPENING.contains(state) {
                self.begin_epoch(&epoch.to_string());
            }
        }
        shown.extend(states);
        for series in shown.iter() {
            let (epoch, state) = series;
            self.set(&list::KEYRING_STATES, &[&epoch.to_string(), state], flag(states.contains(series)));
        }
    }

    /// From now on an AuthID of this epoch may come.
    fn begin_epoch(&self, epoch: &str) {
        let Inner { families, names, last_seen, .. } = &*self.0;
        let names = names.load();
        last_seen.with_label_values(&[epoch]);
        let of = |services: &BTreeSet<String>, outcomes: &[&'static str]| {
            for (service, outcome) in services.iter().flat_map(|id| outcomes.iter().map(move |word| (id, word))) {
                families.counter(&list::REFRESHES, &[epoch, outcome, service]);
            }
        };
        of(&names.services, &words::OPENED);
        of(&names.others, &words::NOT_OFFERED);
    }
}
