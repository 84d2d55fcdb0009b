//! What replicas tell each other of their denylists, rule by rule, and what one of them does with that: its own file
//! changes, under the file's lock like every other change.
//!
//! Of a rule that was added and taken out the later event counts, by the times in the changes and not by the order in
//! which they come: so what is told twice, late or in another order does no harm. A rule whose time nobody knows is older
//! than every removal.

use super::edit::lines;
use super::error::DenylistError;
use super::file::{Locked, WRITES, replaced_time_and_again};
use super::live::Denylist;
use super::parse::Line;
use super::rule::{Removal, Rule};
use super::rules::Rules;
use crate::clock::UnixTime;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;

/// Why nothing is added to a file whose lines do not come into force.
const FAULTY: &str = "it has a fault or cannot be read, `authseal denylist check` names it";

/// A rule that was added or taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The rule; of one that was taken out, [bare](Rule::bare).
    pub rule: Rule,
    /// When; 0 of one that was added and whose line does not tell.
    pub at: UnixTime,
    /// Whether it was taken out.
    pub removed: bool,
}

impl Change {
    /// Reads `+<seconds since 1970> <rule>` or, of one that was taken out, `-<seconds> <rule>`.
    pub fn parse(line: &str) -> Option<Self> {
        let (removed, rest) =
            line.strip_prefix('+').map(|rest| (false, rest)).or(line.strip_prefix('-').map(|rest| (true, rest)))?;
        let (at, rule) = rest.split_once(' ')?;
        // A line of a file has to hold it: one that cannot be read would keep all of that file from being taken up.
        let is_time = |at: &UnixTime| *at >= 0 && Timestamp::from_second(*at).is_ok();
        let (at, rule) = (at.parse().ok().filter(is_time)?, Rule::parse(rule).ok()?);
        Some(Self { rule: if removed { rule.bare() } else { rule }, at, removed })
    }

    /// What a line of a denylist with these rules has to tell, at `now`. A rule that was added again after it was taken
    /// out, and whose line does not say when, was so by now.
    pub(super) fn of(line: Line<'_>, rules: &Rules, now: UnixTime) -> Option<Self> {
        if let Some(Removal { rule, at }) = line.removal {
            return Some(Self { rule, at, removed: true });
        }
        let rule = line.rule?;
        let again = || rules.removed_at(&rule).map_or(0, |_| now);
        let at = rule.at().unwrap_or_else(again);
        Some(Self { rule, at, removed: false })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", if self.removed { '-' } else { '+' }, self.at, self.rule)
    }
}

impl Rules {
    /// Whether a change would change anything.
    pub fn lack(&self, change: &Change) -> bool {
        self.is_later(change) && (change.removed || !self.has(&change.rule))
    }

    /// Than what is remembered of its rule. A rule that came in the second of its removal is in force: the safe side.
    fn is_later(&self, change: &Change) -> bool {
        self.removed_at(&change.rule).is_none_or(|removed| removed < change.at + i64::from(!change.removed))
    }

    /// Those of `changes` that would change something, each rule's last ones once, in any order.
    fn news<'a>(&self, changes: &'a [Change]) -> Vec<&'a Change> {
        let mut removed: HashMap<&Rule, UnixTime> = HashMap::new();
        for change in changes.iter().filter(|change| change.removed && self.lack(change)) {
            let last = removed.entry(&change.rule).or_default();
            *last = change.at.max(*last);
        }
        let mut said = HashSet::new();
        let is_news = |change: &&Change| match removed.get(&change.rule.bare()) {
            None => self.lack(change),
            // The last removal, and what was added since: its line may be an older one, which goes.
            Some(last) => change.at >= *last,
        };
        changes.iter().filter(is_news).filter(|change| said.insert((change.removed, change.rule.bare()))).collect()
    }

    /// Takes changes up, by their times.
    pub fn apply(&mut self, mut changes: Vec<Change>) {
        changes.sort_by_key(|change| (change.at, !change.removed));
        for change in changes {
            if !self.is_later(&change) {
                continue;
            }
            let Change { rule, at, removed } = change;
            if removed {
                self.drop_rule(&rule);
                self.remember(Removal { rule, at });
            } else {
                self.extend(Some(rule));
            }
        }
        self.finish();
    }
}

impl Denylist {
    /// Hands what each line of the file has to tell to `visit`, until that says that it has enough; `now` is the time.
    ///
    /// # Errors
    /// When the file is missing, unreadable or faulty.
    pub fn changes(&self, now: UnixTime, mut visit: impl FnMut(Change) -> bool) -> Result<(), DenylistError> {
        let rules = self.rules();
        let mut more = true;
        lines(self.path(), |line| {
            if more && let Some(change) = Change::of(line, &rules, now) {
                more = visit(change);
            }
            Ok(())
        })
        .map(|_| ())
    }

    /// Makes the changes of others in the own file, those that it lacks; returns when they are on the disk, with how many
    /// there were. Logins are refused from the first moment, whatever the disk does. Blocks, as writing does.
    ///
    /// # Errors
    /// When they may not be on the disk.
    pub fn take(&self, changes: &[Change]) -> io::Result<usize> {
        let added = |change: &&Change| match change.rule {
            Rule::Grant(grant, _) if !change.removed => Some(grant),
            _ => None,
        };
        let news = self.rules().news(changes);
        if news.is_empty() {
            return Ok(0);
        }
        self.refuse(news.iter().filter_map(added));
        let mut file = Locked::open(self.path())?;
        for _ in 0..WRITES {
            // Others who write to the same file may have been told the same.
            self.catch_up(&file)?;
            if self.load_status().failed() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, FAULTY));
            }
            let rules = self.rules();
            let news = rules.news(changes);
            if news.is_empty() {
                return Ok(0);
            }
            let removed = news.iter().filter(|change| change.removed);
            let removals: HashMap<_, _> = removed.map(|change| (&change.rule, change.at)).collect();
            let goes = |line: &Line<'_>| {
                let removed = |rule: &Rule| Some((*removals.get(&rule.bare())?, rule.at()));
                line.rule.as_ref().and_then(removed).is_some_and(|(removed, at)| at.is_none_or(|at| at < removed))
            };
            // Where nothing goes, only the end of the file changes.
            if removals.keys().any(|rule| rules.has(rule)) {
                let replaced = file.rewrite(|line| !goes(line))?;
                file.reopen()?;
                match replaced {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(faults) => return Err(io::Error::new(io::ErrorKind::InvalidData, faults.to_string())),
                }
            }
            file.append(&news.iter().map(|change| change.line()).collect::<String>())?;
            if file.in_place()? {
                self.catch_up(&file)?;
                return Ok(news.len());
            }
            file.reopen()?;
        }
        Err(replaced_time_and_again(self.path()))
    }
}

impl Change {
    /// As a line of the file.
    fn line(&self) -> String {
        match self.removed {
            true => format!("{}\n", Removal { rule: self.rule.clone(), at: self.at }),
            false => format!("{}\n", self.rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authid::GrantId;
    use crate::seal::Epoch;
    use std::fs;
    use std::path::Path;

    const X: &str = "grant 00112233445566778899aabbccddeeff";

    fn fresh(folder: &Path) -> Denylist {
        let path = folder.join("denylist");
        fs::write(&path, "authseal-denylist 1\n").unwrap();
        Denylist::open(path).unwrap()
    }

    fn changes(lines: &[&str]) -> Vec<Change> {
        lines.iter().map(|line| Change::parse(line).unwrap()).collect()
    }

    /// All orders of some lines.
    fn orders<'a>(lines: &[&'a str]) -> Vec<Vec<&'a str>> {
        if lines.is_empty() {
            return vec![Vec::new()];
        }
        let with = |at: usize| {
            let mut rest = lines.to_vec();
            let first = rest.remove(at);
            orders(&rest).into_iter().map(move |order| [vec![first], order].concat())
        };
        (0..lines.len()).flat_map(with).collect()
    }

    #[test]
    fn the_last_event_of_a_rule_counts_in_whatever_order_and_however_often_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second: u8| format!("{X} through 1 at 1970-01-01T00:00:{second}Z");
        let (added, again) = (format!("+10 {}", at(10)), format!("+30 {}", at(30)));
        let (same, removed) = (format!("+20 {}", at(20)), format!("-20 {X}"));
        for (told, holds) in [
            (vec![added.as_str()], true),
            (vec![&added, &removed], false),
            (vec![&added, &removed, &again], true),
            (vec![&added, &removed, &again, "-40 epoch 3", "+0 epoch 3"], true),
            (vec!["+0 epoch 3", "-20 epoch 3"], false),
            (vec!["+0 epoch 3", "-20 epoch 3", "+30 epoch 3"], true),
            (vec![&same, &removed], true),
        ] {
            let rule = Change::parse(told[0]).unwrap().rule;
            for order in orders(&told) {
                // At once, twice, and with another reader's view.
                let denylist = fresh(folder.path());
                denylist.take(&changes(&order)).unwrap();
                assert_eq!(denylist.rules().has(&rule), holds, "{order:?}");
                let text = fs::read_to_string(folder.path().join("denylist")).unwrap();
                assert_eq!(
                    denylist.take(&changes(&[&order[..], &order[..]].concat())).unwrap(),
                    0,
                    "{order:?}\n{text}"
                );
                assert_eq!(fs::read_to_string(folder.path().join("denylist")).unwrap(), text);
                let mut view = Rules::default();
                view.apply(changes(&order));
                assert_eq!(view.has(&rule), holds, "{order:?}");
            }
            // One after the other as they came about; and by who knew the first alone, and hears of all at once.
            let denylist = fresh(folder.path());
            for line in &told {
                denylist.take(&changes(&[line])).unwrap();
            }
            assert_eq!(denylist.rules().has(&rule), holds, "{told:?}");
            if let Rule::Grant(grant, _) = rule {
                assert_eq!(denylist.denies_grant(grant), holds, "{told:?}");
            }
            for order in orders(&told) {
                let denylist = fresh(folder.path());
                denylist.take(&changes(&told[..1])).unwrap();
                denylist.take(&changes(&order)).unwrap();
                assert_eq!(denylist.rules().has(&rule), holds, "{order:?}");
                assert_eq!(Denylist::open(folder.path().join("denylist")).unwrap().rules().has(&rule), holds);
            }
        }
    }

    #[test]
    fn a_time_that_no_line_can_hold_makes_no_change() {
        let last = Timestamp::MAX.as_second();
        for time in [-1, last + 1, UnixTime::MAX] {
            assert_eq!(Change::parse(&format!("-{time} epoch 3")), None, "{time}");
            assert_eq!(Change::parse(&format!("+{time} epoch 3")), None, "{time}");
        }
        let folder = tempfile::tempdir().unwrap();
        let denylist = fresh(folder.path());
        assert_eq!(denylist.take(&changes(&["+0 epoch 3", &format!("-{last} epoch 3")])).unwrap(), 1);
        let again = Denylist::open(folder.path().join("denylist")).unwrap();
        assert_eq!(again.rules().removed_at(&Rule::parse("epoch 3").unwrap()), Some(last));
    }

    #[test]
    fn a_rule_of_each_kind_is_taken_out_alone() {
        let old = format!("legacy {:064x}", 7);
        let time = "epoch 4 login-before 2026-11-23T10:00:00Z";
        let rules = ["epoch 3", "epoch 3 service dropbox", "epoch 3 service box.com", time, X, &old];
        for out in rules {
            let mut view = Rules::default();
            view.apply(rules.iter().map(|rule| Change::parse(&format!("+0 {rule}")).unwrap()).collect());
            view.apply(changes(&[
                &format!("-20 {out}"),
                "-20 epoch 9",
                "-20 epoch 4 login-before 2026-11-22T10:00:00Z",
            ]));
            for rule in rules {
                assert_eq!(view.has(&Rule::parse(rule).unwrap()), rule != out, "{rule} without {out}");
            }
            assert_eq!(view.count(), rules.len() - 1);
        }
    }

    #[test]
    fn what_each_line_tells_is_told_until_somebody_has_enough() {
        let folder = tempfile::tempdir().unwrap();
        let denylist = fresh(folder.path());
        denylist.take(&changes(&["+0 epoch 3", "-20 epoch 4", "+0 epoch 5"])).unwrap();
        for enough in 1..=4 {
            let mut told = Vec::new();
            let visit = |change: Change| {
                told.push(change.to_string());
                told.len() < enough
            };
            denylist.changes(30, visit).unwrap();
            assert_eq!(told, ["+0 epoch 3", "-20 epoch 4", "+0 epoch 5"][..enough.min(3)]);
        }
    }

    #[test]
    fn many_who_write_to_one_file_and_are_told_the_same_write_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let one = fresh(folder.path());
        let two = Denylist::open(folder.path().join("denylist")).unwrap();
        let told = changes(&[&format!("+10 {X} through 1 at 1970-01-01T00:00:10Z"), "+0 epoch 3", "-20 epoch 4"]);
        assert_eq!([one.take(&told).unwrap(), two.take(&told).unwrap()], [3, 0]);
        // One of them revokes by itself, and is told of it before it has read that back.
        let Rule::Grant(grant, _) = Rule::parse(&X.replace("ff", "00")).unwrap() else { panic!() };
        one.append(grant, Epoch::FIRST, 30).unwrap();
        let told = changes(&[&format!("+30 grant {grant} through 1 at 1970-01-01T00:00:30Z")]);
        assert_eq!([one.take(&told).unwrap(), two.take(&told).unwrap()], [0, 0]);
        let text = fs::read_to_string(folder.path().join("denylist")).unwrap();
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn a_login_is_refused_although_the_file_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let denylist = fresh(folder.path());
        fs::remove_file(folder.path().join("denylist")).unwrap();
        let told = changes(&[&format!("+10 {X}")]);
        assert!(denylist.take(&told).is_err());
        let faulty = "authseal-denylist 1\nepoch x\n";
        fs::write(folder.path().join("denylist"), faulty).unwrap();
        assert!(denylist.take(&told).is_err());
        assert_eq!(fs::read_to_string(folder.path().join("denylist")).unwrap(), faulty, "and does not grow");
        let Rule::Grant(grant, _) = told[0].rule else { panic!("{told:?}") };
        assert!(denylist.denies_grant(grant) && !denylist.denies_grant(GrantId::new([1; 16])));
    }
}
