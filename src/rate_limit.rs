//! Rate limits: how often something may happen in a minute. What opens is never counted, nor is what succeeds: limits
//! are for guesses, and for calls that somebody else pays for.
//!
//! Counted by network. Where the client's address is not known, all who come through the same proxy look alike, and one
//! of them must not lock out the others: there the count is far higher, or there is none. Everything is in memory and
//! bounded; a restart begins at zero. Not `governor`: a count that is given back is no part of its algorithm, and its
//! table of keys has no bound.

mod log;

pub use log::LogLimit;

use crate::authid::GrantId;
use crate::clock::Clock;
use crate::lru::Lru;
use crate::net::{Client, ClientNet};
use std::hash::Hash;
use std::time::Duration;

/// A count starts again after this time.
pub const MINUTE: Duration = Duration::from_secs(60);
/// Most keys that are counted at a time in one limit; above it the least recently seen are forgotten.
const MAX_KEYS: u64 = 100_000;
/// How many times as much is allowed to all those together who come through one proxy and cannot be told apart.
const SHARED: u32 = 12;

/// A count for each `K`. Clones count together.
#[derive(Clone)]
pub struct Limit<K> {
    windows: Lru<K, Window>,
    clock: Clock,
}

#[derive(Clone, Copy)]
struct Window {
    began: Duration,
    count: u32,
}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> Limit<K> {
    /// Nothing counted yet.
    pub fn new(clock: &Clock) -> Self {
        Self { windows: Lru::new(MAX_KEYS, 2 * MINUTE, clock), clock: clock.clone() }
    }

    /// Counts one more for `who`.
    ///
    /// # Errors
    /// When that would be more than `most` in a minute: the time until the count starts again. Nothing is counted then.
    pub fn admit(&self, who: K, most: u32) -> Result<(), Duration> {
        let (now, mut windows) = (self.clock.uptime(), self.windows.lock());
        let window = windows.get(&who).copied().filter(|window| now < window.began + MINUTE);
        let Window { began, count } = window.unwrap_or(Window { began: now, count: 0 });
        if count >= most {
            return Err((began + MINUTE).saturating_sub(now));
        }
        windows.insert(who, Window { began, count: count + 1 });
        Ok(())
    }

    /// What [`Limit::admit`] would say, without counting.
    ///
    /// # Errors
    /// As [`Limit::admit`].
    pub fn would_admit(&self, who: K, most: u32) -> Result<(), Duration> {
        let now = self.clock.uptime();
        let window = self.windows.get(&who).filter(|window| now < window.began + MINUTE && window.count >= most);
        window.map_or(Ok(()), |window| Err((window.began + MINUTE).saturating_sub(now)))
    }

    /// Takes one back that was counted.
    pub fn give_back(&self, who: K) {
        let mut windows = self.windows.lock();
        if let Some(Window { began, count }) = windows.get(&who).copied() {
            windows.insert(who, Window { began, count: count.saturating_sub(1) });
        }
    }
}

/// Whose count is used up by a client, and how much of it there is if `most` is there for one network.
pub fn share(client: Client, most: u32) -> (ClientNet, u32) {
    client.address.map_or_else(|| (client.peer, most.saturating_mul(SHARED)), |address| (address, most))
}

/// What may happen in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// AuthIDs that do not open, from one address.
    pub invalid_authids: u32,
    /// Calls to providers that a visitor caused, of one kind: from one network, and for one login.
    pub provider_calls: u32,
    /// The same from everywhere.
    pub provider_calls_in_all: u32,
}

/// The limits of what anybody may ask of this server.
#[derive(Clone)]
pub struct Limits {
    rates: Rates,
    invalid: Limit<ClientNet>,
    /// Logins that are ended at their provider.
    pub revocations: CallLimit,
    /// AuthIDs that are tested at their provider.
    pub tests: CallLimit,
    /// Tokens that users made at the provider and pasted here.
    pub pastes: CallLimit,
    /// Lines of the log that clients bring about.
    pub log: LogLimit,
}

impl Limits {
    /// Nothing counted yet.
    pub fn new(rates: Rates, clock: &Clock) -> Self {
        let calls = || CallLimit::new(rates, clock);
        let (invalid, log) = (Limit::new(clock), LogLimit::default());
        Self { rates, invalid, revocations: calls(), tests: calls(), pastes: calls(), log }
    }

    /// The same counts, held against other limits.
    pub fn with(&self, rates: Rates) -> Self {
        let calls = |limit: &CallLimit| CallLimit { rates, ..limit.clone() };
        let Self { invalid, revocations, tests, pastes, log, .. } = self;
        Self {
            rates,
            invalid: invalid.clone(),
            revocations: calls(revocations),
            tests: calls(tests),
            pastes: calls(pastes),
            log: log.clone(),
        }
    }

    /// Whether an AuthID that may be a guess may cost anything: whether there were not too many that did not open.
    ///
    /// # Errors
    /// When there were: the time until the count starts again.
    pub fn may_guess(&self, client: Client) -> Result<(), Duration> {
        counted(client).map_or(Ok(()), |address| self.invalid.would_admit(address, self.rates.invalid_authids))
    }

    /// Counts an AuthID that does not open. A refusal costs this server next to nothing, so nothing is counted where it might
    /// hit others: of a client that is not known, or on this machine, where a proxy may be that says nothing of clients.
    ///
    /// # Errors
    /// When there were too many: the time until the count starts again.
    pub fn invalid_authid(&self, client: Client) -> Result<(), Duration> {
        counted(client).map_or(Ok(()), |address| self.invalid.admit(address, self.rates.invalid_authids))
    }
}

/// Whose AuthIDs that do not open are counted.
fn counted(client: Client) -> Option<ClientNet> {
    client.address.filter(|address| !address.is_loopback())
}

/// A limit for what is a call to a provider each time: for each network, a /48 of IPv6; for each login; and for all.
#[derive(Clone)]
pub struct CallLimit {
    rates: Rates,
    networks: Limit<ClientNet>,
    logins: Limit<GrantId>,
    all: Limit<()>,
}

impl CallLimit {
    fn new(rates: Rates, clock: &Clock) -> Self {
        Self { rates, networks: Limit::new(clock), logins: Limit::new(clock), all: Limit::new(clock) }
    }

    /// Counts a call, unless there were too many; returns whether there were not. `login` is whose it is, if that is
    /// known. Of what is refused, nothing is counted anywhere.
    pub fn admits(&self, client: Client, login: Option<GrantId>) -> bool {
        let (network, most) = share(client.site(), self.rates.provider_calls);
        if login.is_some_and(|login| self.logins.admit(login, self.rates.provider_calls).is_err()) {
            return false;
        }
        let in_all = || {
            let admitted = self.all.admit((), self.rates.provider_calls_in_all);
            admitted.inspect_err(|_| self.networks.give_back(network))
        };
        let admitted = self.networks.admit(network, most).and_then(|()| in_all());
        let give_back = |_: &_| login.into_iter().for_each(|login| self.logins.give_back(login));
        admitted.inspect_err(give_back).is_ok()
    }

    /// Takes a call back that succeeded and was nobody's in particular.
    pub fn give_back(&self, client: Client) {
        self.networks.give_back(share(client.site(), 0).0);
        self.all.give_back(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const RATES: Rates = Rates { invalid_authids: 3, provider_calls: 2, provider_calls_in_all: 30 };

    fn net(text: &str) -> ClientNet {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn known(text: &str) -> Client {
        Client { address: Some(net(text)), peer: net("192.0.2.99") }
    }

    fn unknown() -> Client {
        Client { address: None, peer: net("192.0.2.99") }
    }

    #[test]
    fn a_count_is_for_a_minute_and_for_each_by_itself() {
        let clock = Clock::system();
        let limit = Limit::new(&clock);
        assert!((0..3).all(|_| limit.admit("a", 3).is_ok()));
        clock.advance(Duration::from_secs(20));
        let wait = limit.admit("a", 3).unwrap_err();
        assert!(wait <= Duration::from_secs(40) && wait > Duration::from_secs(30), "{wait:?}");
        assert!(limit.admit("b", 3).is_ok());
        limit.give_back("a");
        assert!(limit.admit("a", 3).is_ok() && limit.admit("a", 3).is_err());
        limit.give_back("never counted");
        assert!((0..3).all(|_| limit.admit("never counted", 3).is_ok()) && limit.admit("never counted", 3).is_err());
        clock.advance(Duration::from_secs(40));
        assert!((0..3).all(|_| limit.admit("a", 3).is_ok()) && limit.admit("a", 3).is_err());
    }

    #[test]
    fn invalid_authids_are_counted_by_address_and_of_nobody_who_cannot_be_told_apart() {
        let limits = Limits::new(RATES, &Clock::system());
        let admits = |client| limits.invalid_authid(client).is_ok();
        assert!((0..3).all(|_| admits(known("2001:db8::1"))) && !admits(known("2001:db8::2")));
        let may = |address| limits.may_guess(known(address)).is_ok();
        assert!(!may("2001:db8::3") && may("192.0.2.1") && may("192.0.2.1") && limits.may_guess(unknown()).is_ok());
        assert!(admits(known("2001:db8:0:1::1")) && admits(known("192.0.2.1")));
        assert!((0..1000).all(|_| admits(unknown()) && admits(known("127.0.0.1")) && admits(known("::1"))));
    }

    #[test]
    fn calls_are_counted_by_network_by_login_and_in_all() {
        let clock = Clock::system();
        let calls = || CallLimit::new(RATES, &clock);
        let login = GrantId::new([1; 16]);

        let by_network = calls();
        assert!(by_network.admits(known("2001:db8:1:1::1"), None) && by_network.admits(known("2001:db8:1:2::1"), None));
        assert!(!by_network.admits(known("2001:db8:1:3::1"), None), "one /48");
        assert!(by_network.admits(known("2001:db8:2::1"), None));
        by_network.give_back(known("2001:db8:1:4::1"));
        assert!(by_network.admits(known("2001:db8:1:5::1"), None));

        let by_login = calls();
        let from = |host| known(&format!("192.0.2.{host}"));
        assert!(by_login.admits(from(1), Some(login)) && by_login.admits(from(2), Some(login)));
        assert!(!by_login.admits(from(3), Some(login)) && by_login.admits(from(3), Some(GrantId::new([2; 16]))));

        let shared = calls();
        assert!((0..24).all(|_| shared.admits(unknown(), None)) && !shared.admits(unknown(), None));
        assert!((0..6).all(|host| shared.admits(from(host), None)), "they leave room for others");
        assert!(!shared.admits(from(7), None), "thirty in all");
        clock.advance(MINUTE);
        assert!(shared.admits(from(7), None));
    }

    #[test]
    fn a_call_that_one_limit_refuses_is_counted_by_none() {
        let login = |number| GrantId::new([number; 16]);
        let from = |host: u8| known(&format!("192.0.2.{host}"));

        let by_network = CallLimit::new(RATES, &Clock::system());
        assert!((1..=2).all(|number| by_network.admits(from(1), Some(login(number)))));
        assert!((0..9).all(|_| !by_network.admits(from(1), Some(login(3)))));
        assert!((2..=3).all(|host| by_network.admits(from(host), Some(login(3)))), "the login has both of its calls");
        assert!(!by_network.admits(from(4), Some(login(3))));
        assert!((0..9).all(|_| !by_network.admits(from(4), Some(login(3)))));
        assert!((4..=5).all(|number| by_network.admits(from(4), Some(login(number)))), "and the network");

        let rates = Rates { provider_calls_in_all: 1, ..RATES };
        let in_all = CallLimit::new(rates, &Clock::system());
        assert!(in_all.admits(from(1), None));
        assert!((0..9).all(|_| !in_all.admits(from(2), Some(login(1)))));
        in_all.give_back(from(1));
        assert!(in_all.admits(from(2), Some(login(1))), "neither network nor login has used up its calls");
        assert!(!in_all.admits(from(2), Some(login(1))));
    }
}
