//! The rules in force, laid out for the question that is asked on every request.

use super::rule::{Removal, Rule};
use crate::authid::{GrantId, ServiceId};
use crate::clock::UnixTime;
use crate::seal::Epoch;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Which kind of rule refuses an AuthID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    /// All of its epoch are refused.
    Epoch,
    /// All of its epoch for its service are.
    Service,
    /// Its login is too old for its epoch.
    LoginBefore,
    /// This login was revoked.
    Grant,
}

impl fmt::Display for Denied {
    /// What the rule names, as seen from the AuthID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epoch => "its epoch",
            Self::Service => "its service in its epoch",
            Self::LoginBefore => "logins as old as its own",
            Self::Grant => "its login",
        })
    }
}

/// The rules of a denylist. A grant takes 16 bytes and is found by halving.
#[derive(Debug, Default)]
pub struct Rules {
    epochs: BTreeMap<Epoch, EpochRules>,
    /// Sorted, each once, after [`Rules::finish`]. As numbers they are found in half the time that bytes take.
    grants: Vec<u128>,
    /// Bare rules that were taken out, and when last. One that is among the rules above was added again.
    removed: HashMap<Rule, UnixTime>,
}

#[derive(Debug, Default)]
struct EpochRules {
    whole: bool,
    services: BTreeSet<ServiceId>,
    login_before: Option<UnixTime>,
}

impl Rules {
    /// The first rule, from the widest to the narrowest, that refuses an AuthID sealed under `epoch` for the login
    /// `grant` at `service`, made at `login_at`.
    pub fn denies(&self, service: &ServiceId, epoch: Epoch, grant: GrantId, login_at: UnixTime) -> Option<Denied> {
        self.denies_all(service, epoch, login_at).or_else(|| self.holds(grant).then_some(Denied::Grant))
    }

    /// The first rule that refuses every AuthID sealed under `epoch` for a login at `service` made at `login_at`,
    /// whichever login that is.
    pub fn denies_all(&self, service: &ServiceId, epoch: Epoch, login_at: UnixTime) -> Option<Denied> {
        let rules = self.epochs.get(&epoch)?;
        if rules.whole {
            return Some(Denied::Epoch);
        }
        if rules.services.contains(service) {
            return Some(Denied::Service);
        }
        rules.login_before.is_some_and(|time| login_at < time).then_some(Denied::LoginBefore)
    }

    /// Whether a rule about `epoch` is for one service alone.
    pub(super) fn names_services(&self, epoch: Epoch) -> bool {
        self.epochs.get(&epoch).is_some_and(|rules| !rules.services.is_empty())
    }

    /// Whether there is a rule for this very grant.
    pub(super) fn holds(&self, grant: GrantId) -> bool {
        self.grants.binary_search(&number(grant)).is_ok()
    }

    /// Whether all that `rule` refuses is refused by a rule of its own kind.
    pub fn has(&self, rule: &Rule) -> bool {
        let of = |epoch| self.epochs.get(epoch);
        match rule {
            Rule::Epoch(epoch) => of(epoch).is_some_and(|rules| rules.whole),
            Rule::Service(epoch, service) => of(epoch).is_some_and(|rules| rules.services.contains(service)),
            Rule::LoginBefore(epoch, time) => of(epoch).is_some_and(|rules| rules.login_before >= Some(*time)),
            Rule::Grant(grant, _) => self.holds(*grant),
            Rule::Legacy(digest) => self.holds(digest.grant()),
        }
    }

    /// How many different rules there are.
    pub fn count(&self) -> usize {
        let of_epochs = self
            .epochs
            .values()
            .map(|rules| usize::from(rules.whole) + rules.services.len() + usize::from(rules.login_before.is_some()));
        of_epochs.sum::<usize>() + self.grants.len()
    }

    pub(super) fn extend(&mut self, rule: Option<Rule>) {
        match rule {
            None => {}
            Some(Rule::Grant(grant, _)) => self.grants.push(number(grant)),
            Some(Rule::Legacy(digest)) => self.grants.push(number(digest.grant())),
            Some(Rule::Epoch(epoch)) => self.epochs.entry(epoch).or_default().whole = true,
            Some(Rule::Service(epoch, service)) => {
                self.epochs.entry(epoch).or_default().services.insert(service);
            }
            Some(Rule::LoginBefore(epoch, time)) => {
                let login_before = &mut self.epochs.entry(epoch).or_default().login_before;
                *login_before = (*login_before).max(Some(time)); // the later one refuses all that both do
            }
        }
    }

    /// When `rule` was last taken out.
    pub fn removed_at(&self, rule: &Rule) -> Option<UnixTime> {
        self.removed.get(&rule.bare()).copied()
    }

    pub(super) fn remember(&mut self, Removal { rule, at }: Removal) {
        let last = self.removed.entry(rule).or_insert(at);
        *last = (*last).max(at);
    }

    /// Takes a rule out.
    pub(super) fn drop_rule(&mut self, rule: &Rule) {
        match rule {
            Rule::Grant(grant, _) => self.grants.retain(|other| *other != number(*grant)),
            Rule::Legacy(digest) => self.grants.retain(|other| *other != number(digest.grant())),
            Rule::Epoch(epoch) | Rule::Service(epoch, _) | Rule::LoginBefore(epoch, _) => {
                let Some(rules) = self.epochs.get_mut(epoch) else { return };
                match rule {
                    Rule::Service(_, service) => {
                        rules.services.remove(service);
                    }
                    Rule::LoginBefore(_, time) => rules.login_before = rules.login_before.filter(|other| other != time),
                    _ => rules.whole = false,
                }
            }
        }
    }

    /// Whether all of these rules are among `other`'s, or were taken out there.
    pub fn are_known_to(&self, other: &Self) -> bool {
        let known = |rule: &Rule| other.has(rule) || other.removed.contains_key(rule);
        let of_epoch = |(epoch, rules): (&Epoch, &EpochRules)| {
            (!rules.whole || known(&Rule::Epoch(*epoch)))
                && rules.services.iter().all(|service| known(&Rule::Service(*epoch, service.clone())))
                && rules.login_before.is_none_or(|time| known(&Rule::LoginBefore(*epoch, time)))
        };
        let removed: BTreeSet<u128> = other
            .removed
            .keys()
            .filter_map(|rule| match rule {
                Rule::Grant(grant, _) => Some(number(*grant)),
                Rule::Legacy(digest) => Some(number(digest.grant())),
                _ => None,
            })
            .collect();
        let grant = |grant: &u128| other.grants.binary_search(grant).is_ok() || removed.contains(grant);
        self.epochs.iter().all(of_epoch) && self.grants.iter().all(grant)
    }

    /// To be called after the last [`Rules::extend`].
    pub(super) fn finish(&mut self) {
        self.grants.sort_unstable();
        self.grants.dedup();
        self.grants.shrink_to_fit();
    }
}

fn number(grant: GrantId) -> u128 {
    u128::from_be_bytes(*grant.as_bytes())
}
