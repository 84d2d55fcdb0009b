//! Whether an epoch is still in use, as far as replicas have seen. They only know what came since they started, so
//! "not seen" is claimed for as long as every one of them has watched, and what is beyond that is called unknown.

use crate::cli::counted::counted;
use crate::cli::replicas::{Replica, ReplicaKeyring};
use crate::clock::UnixTime;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// An epoch that was seen within this time is called in use: backups run daily or weekly.
const IN_USE: i64 = 7 * DAY;
/// Watching for less than this time says nothing: most backups run once a day.
const TOO_SHORT: i64 = DAY;

/// What all replicas together know of an epoch's use.
#[derive(Clone, Copy)]
pub(super) struct EpochUsage {
    pub(super) last_seen: Option<UnixTime>,
    /// Since when every replica has watched; `None` where one did not answer, or none was asked.
    pub(super) watched_since: Option<UnixTime>,
}

impl EpochUsage {
    pub(super) fn new(epoch: u32, replicas: &[Replica]) -> Self {
        let answers = replicas.iter().flat_map(|replica| &replica.answer);
        let watched = replicas.iter().map(|replica| replica.answer.as_ref().ok().map(ReplicaKeyring::watching_since));
        Self {
            last_seen: answers.filter_map(|answer| answer.last_seen(epoch)).max(),
            watched_since: watched.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()),
        }
    }

    /// For people, at `now`: `in use 2 h ago`.
    pub(super) fn describe(self, now: UnixTime) -> String {
        let ago = |time: UnixTime| span(now - time);
        match (self.last_seen, self.watched_since) {
            (Some(seen), _) if now - seen < IN_USE => format!("in use {} ago", ago(seen)),
            (Some(seen), Some(since)) if since <= seen => format!("not seen for {}", ago(seen)),
            (Some(seen), Some(since)) => format!("unknown (seen {} ago, watched for {} only)", ago(seen), ago(since)),
            (Some(seen), None) => format!("unknown (seen {} ago, not every replica answers)", ago(seen)),
            (None, Some(since)) if now - since >= TOO_SHORT => format!("not seen in {} of watching", ago(since)),
            (None, Some(since)) => format!("unknown (watched for {} only)", ago(since)),
            (None, None) => "unknown (not every replica answers)".to_owned(),
        }
    }

    /// Whether it is certain at `now` that nothing was sealed or opened under the epoch for so many days.
    ///
    /// # Errors
    /// Why it is not: the end of a sentence that begins with the epoch.
    pub(super) fn unused_for(self, days: u32, now: UnixTime) -> Result<(), String> {
        let begin = now - i64::from(days) * DAY;
        match (self.last_seen, self.watched_since) {
            (Some(seen), _) if seen > begin => Err(format!("was in use {} ago", span(now - seen))),
            (_, None) => Err("may be in use: not every replica says that it is not".to_owned()),
            (_, Some(since)) if since > begin => Err(format!(
                "may be in use: the replicas have watched for {} only, not for the {} that are asked for",
                span(now - since),
                counted(days, "day")
            )),
            _ => Ok(()),
        }
    }
}

/// A span of time in its largest unit.
pub(in crate::cli) fn span(seconds: i64) -> String {
    match (seconds / DAY, seconds / HOUR, seconds / MINUTE) {
        (1.., ..) => counted(seconds / DAY, "day"),
        (_, 1.., _) => format!("{} h", seconds / HOUR),
        (_, _, 1..) => format!("{} min", seconds / MINUTE),
        _ => "less than a minute".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::rfc3339;

    const NOW: UnixTime = 1_795_428_000;

    /// A replica that has watched since then and saw epoch 3 then.
    fn replica(since: i64, seen: Option<i64>) -> Replica {
        let seen = seen.map(|ago| rfc3339(NOW - ago));
        let epochs = serde_json::json!([{ "epoch": 3, "state": "open", "fingerprint": "0", "last_seen": seen }]);
        let body = serde_json::json!({ "digest": "0", "watching_since": rfc3339(NOW - since), "epochs": epochs });
        Replica { url: String::new(), answer: Ok(serde_json::from_value(body).unwrap()) }
    }

    fn silent() -> Replica {
        Replica { url: String::new(), answer: Err("does not answer".to_owned()) }
    }

    fn describe(replicas: &[Replica]) -> String {
        EpochUsage::new(3, replicas).describe(NOW)
    }

    #[test]
    fn what_was_seen_lately_is_in_use_whoever_else_is_silent() {
        assert_eq!(describe(&[replica(DAY, Some(2 * HOUR)), replica(HOUR, None), silent()]), "in use 2 h ago");
        assert_eq!(
            describe(&[replica(90 * DAY, Some(30 * DAY)), replica(90 * DAY, Some(6 * DAY))]),
            "in use 6 days ago"
        );
        assert_eq!(describe(&[replica(DAY, Some(-5))]), "in use less than a minute ago", "a clock that is ahead");
    }

    #[test]
    fn not_seen_is_said_only_of_time_that_all_have_watched() {
        assert_eq!(describe(&[replica(90 * DAY, Some(40 * DAY)), replica(41 * DAY, None)]), "not seen for 40 days");
        let young = describe(&[replica(90 * DAY, Some(40 * DAY)), replica(3 * HOUR, None)]);
        assert_eq!(young, "unknown (seen 40 days ago, watched for 3 h only)");
        let silent_one = describe(&[replica(90 * DAY, Some(40 * DAY)), silent()]);
        assert_eq!(silent_one, "unknown (seen 40 days ago, not every replica answers)");
        assert_eq!(describe(&[replica(90 * DAY, None), replica(12 * DAY, None)]), "not seen in 12 days of watching");
        assert_eq!(describe(&[replica(90 * DAY, None), replica(3 * HOUR, None)]), "unknown (watched for 3 h only)");
        assert_eq!(describe(&[replica(90 * DAY, None), silent()]), "unknown (not every replica answers)");
    }

    #[test]
    fn unused_is_certain_only_after_watching_for_so_long() {
        let unused = |replicas: &[Replica]| EpochUsage::new(3, replicas).unused_for(90, NOW);
        assert_eq!(unused(&[replica(91 * DAY, None), replica(200 * DAY, Some(100 * DAY))]), Ok(()));
        assert_eq!(unused(&[replica(90 * DAY, Some(90 * DAY))]), Ok(()));
        assert_eq!(unused(&[replica(91 * DAY, Some(89 * DAY))]), Err("was in use 89 days ago".to_owned()));
        assert_eq!(unused(&[replica(3 * DAY, Some(5 * MINUTE)), silent()]), Err("was in use 5 min ago".to_owned()));
        let short = "may be in use: the replicas have watched for 89 days only, not for the 90 days that are asked for";
        assert_eq!(unused(&[replica(90 * DAY, None), replica(89 * DAY, None)]), Err(short.to_owned()));
        for unknown in [&[replica(91 * DAY, None), silent()][..], &[]] {
            assert_eq!(unused(unknown), Err("may be in use: not every replica says that it is not".to_owned()));
        }
        assert_eq!(EpochUsage::new(3, &[replica(DAY, None)]).unused_for(1, NOW), Ok(()));
    }
}
