//! Rate limit for fetch tokens: how many different ones a client may ask with in vain in a minute. What it asks again
//! counts once, so a page that polls is never slowed down.

use super::fetch_token::FetchToken;
use crate::clock::Clock;
use crate::lru::Lru;
use crate::net::{Client, ClientNet};
use crate::rate_limit::{Limit, MINUTE, share};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Different fetch tokens for one client.
const MAX_FETCHES: u32 = 20;
/// Most pairs of client and token that are remembered; a client that is forgotten is counted once more.
const MAX_ASKED: u64 = 100_000;

/// Who asks: a client, and whether its page may be an opener. A foreign page in the same browser uses up its own only.
type Asker = (ClientNet, bool);

/// What was asked for in vain. In memory: a restart begins at zero.
pub(super) struct FetchLimit {
    limit: Limit<Asker>,
    asked: Lru<(Asker, u64), ()>,
    /// Makes numbers of fetch tokens that nobody can choose.
    hasher: RandomState,
}

impl FetchLimit {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { limit: Limit::new(clock), asked: Lru::new(MAX_ASKED, MINUTE, clock), hasher: RandomState::new() }
    }

    /// Whether a fetch token may be looked up, for a page of an origin that is `trusted` or is not.
    pub(super) fn admits(&self, client: Client, trusted: bool, token: &FetchToken) -> bool {
        let (net, most) = share(client, MAX_FETCHES);
        let asker = (net, trusted);
        let pair = (asker, self.hasher.hash_one(token.expose()));
        let admitted = self.asked.get(&pair).is_some() || self.limit.admit(asker, most).is_ok();
        if admitted {
            self.asked.insert(pair, ());
        }
        admitted
    }

    /// That look-up found something.
    pub(super) fn forget(&self, client: Client, trusted: bool, token: &FetchToken) {
        let asker = (share(client, 0).0, trusted);
        self.asked.remove(&(asker, self.hasher.hash_one(token.expose())));
        self.limit.give_back(asker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn different_tokens_are_counted_and_each_client_by_itself() {
        let fetches = FetchLimit::new(&Clock::system());
        let token = |number: u32| FetchToken::parse(&format!("abcdefghijkl{number:04}")).unwrap();
        let client = |host: u32| {
            let net = format!("192.0.2.{host}").parse::<IpAddr>().unwrap().into();
            Client { address: Some(net), peer: net }
        };
        assert!((0..20).all(|number| fetches.admits(client(1), true, &token(number))));
        assert!(!fetches.admits(client(1), true, &token(20)) && !fetches.admits(client(1), true, &token(20)));
        assert!((0..1000).all(|_| fetches.admits(client(1), true, &token(7))), "what is asked again counts once");
        assert!(fetches.admits(client(2), true, &token(20)));
        fetches.forget(client(1), true, &token(7));
        assert!(fetches.admits(client(1), true, &token(20)) && !fetches.admits(client(1), true, &token(7)));
        assert!(fetches.admits(client(1), false, &token(21)), "another page's tries are its own");
        let unknown = Client { address: None, ..client(3) };
        assert!((0..240).all(|number| fetches.admits(unknown, true, &token(number))), "they share a proxy");
    }
}
