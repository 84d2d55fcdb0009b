//! How many different things one client may try in a minute. What it tries again counts once, so a page that polls is
//! never slowed down; what succeeds is taken back.

use super::Logins;
use super::client::{Client, ClientNet};
use super::fetch_token::FetchToken;
use crate::clock::Clock;
use crate::guard::{self, Guard};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A count begins anew after this time.
const MINUTE: Duration = Duration::from_secs(60);
/// Most clients counted at a time; above it the least recently seen are forgotten.
const MAX_CLIENTS: u64 = 100_000;

/// Different fetch tokens that one client may ask with in vain in a minute.
const MAX_FETCHES: usize = 20;
/// Pasted tokens, and AuthIDs to be tested, that one client may try in a minute; each is a call to a provider.
const MAX_CALLS: usize = 5;
/// What all may try of either together in a minute.
const MAX_ALL_CALLS: usize = 60;

/// All limits. What is counted is in memory: a restart begins anew.
pub(super) struct Limits {
    /// Those of pages that may be openers, and all others: a foreign page in the same browser uses up its own only.
    fetches: Limit<(ClientNet, bool)>,
    /// Makes numbers of fetch tokens that nobody can choose.
    hasher: RandomState,
    trades: CallLimit,
    tests: CallLimit,
}

impl Limits {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            fetches: Limit::new(MAX_FETCHES, clock.clone()),
            hasher: RandomState::new(),
            trades: CallLimit::new(&clock),
            tests: CallLimit::new(&clock),
        }
    }

    /// Whether a fetch token may be looked up, for a page of an origin that is `trusted` or is not.
    pub(super) fn admit_fetch(&self, client: Client, trusted: bool, token: &FetchToken) -> bool {
        self.fetches.admits((client.limited(), trusted), self.hasher.hash_one(token.expose()))
    }

    /// That look-up found something.
    pub(super) fn forget_fetch(&self, client: Client, trusted: bool, token: &FetchToken) {
        self.fetches.forget((client.limited(), trusted), self.hasher.hash_one(token.expose()));
    }

    /// Whether a pasted token may be tried.
    pub(super) fn admit_trade(&self, client: Client) -> bool {
        self.trades.admits(client)
    }
}

impl Logins {
    /// Whether this client may have an AuthID tested at its provider now.
    pub fn admit_test(&self, client: Client) -> bool {
        !guard::on(Guard::TestLimit) || self.limits.tests.admits(client)
    }
}

/// A limit for what is a call to a provider each time, the same thing too.
struct CallLimit {
    each: Limit<ClientNet>,
    all: Limit<()>,
    count: AtomicU64,
}

impl CallLimit {
    fn new(clock: &Clock) -> Self {
        let (each, all) = (Limit::new(MAX_CALLS, clock.clone()), Limit::new(MAX_ALL_CALLS, clock.clone()));
        Self { each, all, count: AtomicU64::new(0) }
    }

    fn admits(&self, client: Client) -> bool {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.each.admits(client.limited(), count) && self.all.admits((), count)
    }
}

/// A limit for each `K`, of things that are known by a number.
struct Limit<K> {
    most: usize,
    windows: Cache<K, Arc<Mutex<Window>>>,
    clock: Clock,
}

struct Window {
    began: Duration,
    tried: HashSet<u64>,
}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> Limit<K> {
    /// At most `most` different things a minute.
    fn new(most: usize, clock: Clock) -> Self {
        let windows = Cache::builder()
            .max_capacity(MAX_CLIENTS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(2 * MINUTE)
            .build();
        Self { most, windows, clock }
    }

    /// Counts `thing`, unless there were too many others; returns whether there were not.
    fn admits(&self, who: K, thing: u64) -> bool {
        let now = self.clock.uptime();
        let window = self.windows.get_with(who, || Arc::new(Mutex::new(Window { began: now, tried: HashSet::new() })));
        let mut window = lock(&window);
        if now.saturating_sub(window.began) >= MINUTE {
            *window = Window { began: now, tried: HashSet::new() };
        }
        let known = window.tried.contains(&thing);
        if !known && window.tried.len() < self.most {
            return window.tried.insert(thing);
        }
        known
    }

    /// Takes `thing` back: it succeeded.
    fn forget(&self, who: K, thing: u64) {
        if let Some(window) = self.windows.get(&who) {
            lock(&window).tried.remove(&thing);
        }
    }
}

fn lock(window: &Mutex<Window>) -> MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_things_are_counted_for_a_minute_and_each_client_by_itself() {
        let clock = Clock::system();
        let limit = Limit::new(3, clock.clone());
        assert!((1..=3).all(|thing| limit.admits("a", thing)));
        assert!(!limit.admits("a", 4) && limit.admits("b", 4));
        assert!((0..1000).all(|_| limit.admits("a", 2)), "what is tried again counts once");
        limit.forget("a", 2);
        assert!(limit.admits("a", 5) && !limit.admits("a", 2));
        clock.advance(MINUTE);
        assert!(limit.admits("a", 6));
    }
}
