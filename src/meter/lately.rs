//! What happened lately, for an operator who asks how a server does: the last calls to each provider, and the last warnings
//! and errors of the log. Of a line of the log only its fixed text is kept, not what it was about.

use crate::clock::UnixTime;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How many different lines of the log are remembered.
const MOST_LINES: usize = 30;
/// How those calls are counted that a provider answered as it should: a login that has ended is refused.
const WELL: [&str; 2] = ["ok", "refused"];

/// The last calls to a provider.
#[derive(Clone, Default, Debug)]
pub struct Calls {
    /// When one was last answered well.
    pub well: Option<UnixTime>,
    /// When one last was not, and how that is counted.
    pub failed: Option<(UnixTime, &'static str)>,
}

/// By the providers' ids.
#[derive(Default)]
pub(super) struct Providers(Mutex<BTreeMap<String, Calls>>);

impl Providers {
    pub(super) fn called(&self, provider: &str, outcome: &'static str, now: UnixTime) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(provider) {
            all.insert(provider.to_owned(), Calls::default());
        }
        let Some(calls) = all.get_mut(provider) else { return };
        match WELL.contains(&outcome) {
            true => calls.well = Some(now),
            false => calls.failed = Some((now, outcome)),
        }
    }

    pub(super) fn all(&self) -> BTreeMap<String, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A warning or an error that the log had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// `WARN` or `ERROR`.
    pub level: &'static str,
    /// The line's fixed text.
    pub message: String,
    /// How often it came since this process started.
    pub times: u64,
    /// When it last came, in seconds since the epoch.
    #[serde(serialize_with = "as_text")]
    pub last: UnixTime,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn as_text<S: serde::Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::clock::rfc3339(*time))
}

/// The lines of the log that were warnings or errors, each once; the one that last came is the last. Of the process, since
/// the log begins before any meter.
pub static ALARMS: Alarms = Alarms(Mutex::new(Vec::new()));

/// See [`ALARMS`].
pub struct Alarms(Mutex<Vec<Alarm>>);

impl Alarms {
    /// Such a line came.
    pub fn note(&self, level: &'static str, message: String, now: UnixTime) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|alarm| alarm.level == level && alarm.message == message);
        let times = known.map_or(0, |at| all.remove(at).times) + 1;
        if all.len() == MOST_LINES {
            all.remove(0);
        }
        all.push(Alarm { level, message, times, last: now });
    }

    /// All that are remembered.
    pub fn all(&self) -> Vec<Alarm> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_kept_once_and_the_oldest_are_forgotten() {
        let alarms = Alarms(Mutex::default());
        (0..40).for_each(|at| alarms.note("WARN", format!("line {at}"), at));
        alarms.note("WARN", "line 20".to_owned(), 50);
        alarms.note("ERROR", "line 20".to_owned(), 51);
        let all = alarms.all();
        assert_eq!(all.len(), MOST_LINES);
        let last = |at: usize| &all[all.len() - at];
        assert_eq!((last(1).level, last(1).times, last(1).last), ("ERROR", 1, 51));
        assert_eq!((last(2).message.as_str(), last(2).times, last(2).last), ("line 20", 2, 50));
    }

    #[test]
    fn of_a_provider_the_last_good_and_the_last_bad_call_are_known() {
        let providers = Providers::default();
        for (word, at) in [("ok", 1), ("busy", 2), ("refused", 3), ("timed_out", 4)] {
            providers.called("box", word, at);
        }
        let calls = &providers.all()["box"];
        assert_eq!((calls.well, calls.failed), (Some(3), Some((4, "timed_out"))));
    }
}
