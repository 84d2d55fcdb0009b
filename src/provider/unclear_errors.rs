//! When an error that does not say what is wrong is the end of a login. Some servers answer a dead refresh token with a
//! bare 400, others with a page for a crash of their own; both also come of outages, which must never make users log in
//! again. So a login is taken for dead only if the same response comes for it once more while others of its client
//! work; a crash a minute later or more.
//!
//! What speaks for an outage: a login that had such a response works again, or more than a few have it at the same
//! time. Kept in memory and bounded; a restart, which forgets it, only takes longer to be sure.

use super::ProviderError;
use crate::clock::Clock;
use crate::lru::Lru;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many logins are remembered that had such a response.
const MAX_DOUBTS: u64 = 10_000;
/// How long: a backup that runs once a day must come to the same response twice.
const KEPT: Duration = Duration::from_secs(3 * 86_400);
/// How much later the same crash has to come: what is tried again within seconds tells nothing new.
const APART: Duration = Duration::from_secs(60);
/// With more other logins than these that had such a response in the last hour, it is an outage.
const FEW: usize = 3;
const LATELY: Duration = Duration::from_secs(3600);

/// A refresh token, by the first half of its SHA-256: as long as nothing comes of it, it is its login's.
pub(super) type TokenName = [u8; 16];

pub(super) struct UnclearErrors {
    all: Lru<TokenName, UnclearError>,
    clients: Mutex<BTreeMap<String, Worked>>,
    clock: Clock,
}

#[derive(Clone)]
struct UnclearError {
    client: String,
    failure: ProviderError,
    /// How many refreshes of its client had worked when the response came last.
    worked: u64,
    /// When that was, by the clock's uptime.
    at: Duration,
    is_dead: bool,
}

/// The refreshes of a client that worked since the start.
#[derive(Default)]
struct Worked {
    count: u64,
    /// The last of them whose login had been in doubt before.
    recovered: u64,
}

impl UnclearErrors {
    pub(super) fn new(clock: Clock) -> Self {
        let all = Lru::new(MAX_DOUBTS, KEPT, &clock);
        Self { all, clients: Mutex::default(), clock }
    }

    /// A refresh of this client worked.
    pub(super) fn worked(&self, client: &str, token: &TokenName) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let worked = clients.entry(client.to_owned()).or_default();
        worked.count += 1;
        if self.all.remove(token).is_some() {
            worked.recovered = worked.count;
        }
    }

    /// Whether a failure means that the login is dead.
    pub(super) fn is_dead(&self, client: &str, token: TokenName, failure: ProviderError) -> bool {
        if !matches!(failure, ProviderError::Unclear { .. }) {
            return false;
        }
        let now = self.clock.uptime();
        let (count, recovered) = {
            let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            clients.get(client).map_or((0, 0), |worked| (worked.count, worked.recovered))
        };
        let mut all = self.all.lock();
        let before = all.get(&token).cloned().filter(|doubt| doubt.failure == failure && doubt.client == client);
        let again = failure.passes_after().is_some();
        if let Some(doubt) = before.as_ref().filter(|doubt| again && now.saturating_sub(doubt.at) < APART) {
            return doubt.is_dead && recovered <= doubt.worked;
        }
        let is_dead = before.is_some_and(|doubt| {
            let lately = |other: &UnclearError| other.client == client && now.saturating_sub(other.at) < LATELY;
            let others = || all.iter().filter(|(name, other)| **name != token && lately(other)).count();
            recovered <= doubt.worked && (doubt.is_dead || count > doubt.worked && others() <= FEW)
        });
        all.insert(token, UnclearError { client: client.to_owned(), failure, worked: count, at: now, is_dead });
        is_dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: ProviderError = ProviderError::Unclear { status: 400 };
    const CRASH: ProviderError = ProviderError::Unclear { status: 500 };

    fn name(login: u16) -> TokenName {
        u128::from(login).to_be_bytes()
    }

    #[test]
    fn the_same_answer_again_while_others_work_is_the_end_of_a_login() {
        for failure in [BARE, CRASH] {
            let clock = Clock::system();
            let doubts = UnclearErrors::new(clock.clone());
            doubts.worked("c", &name(2));
            assert!(!doubts.is_dead("c", name(1), failure), "the first time");
            clock.advance(APART);
            assert!(!doubts.is_dead("c", name(1), failure), "nobody else was there since");
            clock.advance(APART);
            doubts.worked("other", &name(3));
            assert!(!doubts.is_dead("c", name(1), failure), "another client says nothing");
            doubts.worked("c", &name(2));
            assert!(!doubts.is_dead("c", name(1), ProviderError::BadAnswer));
            clock.advance(APART);
            assert!(doubts.is_dead("c", name(1), failure));
            assert!(doubts.is_dead("c", name(1), failure), "and stays");
            doubts.worked("c", &name(1));
            assert!(!doubts.is_dead("c", name(1), failure), "it was alive");
        }
        let doubts = UnclearErrors::new(Clock::system());
        assert!(!doubts.is_dead("c", name(1), BARE));
        doubts.worked("c", &name(2));
        assert!(!doubts.is_dead("c", name(1), CRASH), "another answer");
    }

    #[test]
    fn a_crash_that_is_tried_again_within_a_minute_tells_nothing_new() {
        let clock = Clock::system();
        let doubts = UnclearErrors::new(clock.clone());
        for _ in 0..6 {
            assert!(!doubts.is_dead("c", name(1), CRASH));
            doubts.worked("c", &name(2));
            clock.advance(APART / 6 - Duration::from_millis(100));
        }
        clock.advance(APART);
        assert!(doubts.is_dead("c", name(1), CRASH));
        assert!(doubts.is_dead("c", name(1), CRASH), "and stays");
    }

    #[test]
    fn an_outage_is_the_end_of_few_logins_at_most() {
        // Everybody fails, then the first work again, and it fails once more.
        let clock = Clock::system();
        let doubts = UnclearErrors::new(clock.clone());
        for round in 0..3 {
            clock.advance(APART);
            for login in 0..2000 {
                assert!(!doubts.is_dead("c", name(login), CRASH), "{round} {login}");
            }
            (0..5).for_each(|login| doubts.worked("c", &name(login)));
        }
        // A part of the logins fails all the time while the others work.
        let doubts = UnclearErrors::new(clock.clone());
        let mut dead = 0;
        for _ in 0..3 {
            clock.advance(APART);
            for login in 0..2000 {
                match login % 20 {
                    0 => dead += usize::from(doubts.is_dead("c", name(login), CRASH)),
                    _ => doubts.worked("c", &name(login)),
                }
            }
        }
        assert_eq!(dead, 0);
        // Each answers with an error at times.
        let doubts = UnclearErrors::new(clock.clone());
        let mut dead = 0;
        for call in 0..20_000_u16 {
            let login = call % 1000;
            if login == 0 {
                clock.advance(APART);
            }
            match call.wrapping_mul(40_503).rotate_left(5) % 4 {
                0 => dead += usize::from(doubts.is_dead("c", name(login), CRASH)),
                _ => doubts.worked("c", &name(login)),
            }
        }
        assert!(dead <= FEW, "{dead}");
        // When it is long over, one that is dead is found.
        clock.advance(LATELY);
        doubts.worked("c", &name(2000));
        assert!(!doubts.is_dead("c", name(3000), CRASH));
        clock.advance(APART);
        doubts.worked("c", &name(2000));
        assert!(doubts.is_dead("c", name(3000), CRASH));
    }
}
