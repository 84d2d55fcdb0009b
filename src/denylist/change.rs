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
use std::collections::HashMap;
use std::fmt;
use std::io;

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
        let (at, rule) = (at.parse().ok().filter(|at| *at >= 0)?, Rule::parse(rule).ok()?);
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

    /// Takes changes up, as whoever reads all of them in any order would.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) {
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
        let rules = self.rules();
        let news: Vec<_> = changes.iter().filter(|change| rules.lack(change)).collect();
        if news.is_empty() {
            return Ok(0);
        }
        self.refuse(news.iter().filter(|change| !change.removed).filter_map(|change| match change.rule {
            Rule::Grant(grant, _) => Some(grant),
            _ => None,
        }));
        let removed = news.iter().filter(|change| change.removed);
        let removals: HashMap<_, _> = removed.map(|change| (&change.rule, change.at)).collect();
        let goes = |line: &Line<'_>| {
            let removed = |rule: &Rule| Some((*removals.get(&rule.bare())?, rule.at()));
            line.rule.as_ref().and_then(removed).is_some_and(|(removed, at)| at.is_none_or(|at| at < removed))
        };
        let text: String = news.iter().map(|change| change.line()).collect();
        let mut file = Locked::open(self.path())?;
        for _ in 0..WRITES {
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
            file.append(&text)?;
            if file.in_place()? {
                drop(file);
                self.reload();
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
