//! Access tokens that can be handed out again, and what the provider lately refused.
//!
//! Both live in memory, bounded, and are gone with the process: a restart costs one provider call per login.

use super::Refused;
use crate::authid::GrantId;
use crate::clock::Clock;
use moka::sync::Cache;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;

/// Most access tokens remembered.
const MAX_TOKENS: u64 = 200_000;
/// Most refusals remembered.
const MAX_REFUSALS: u64 = 50_000;
/// No access token is remembered for longer, whatever the provider says.
const MAX_LIFE: Duration = Duration::from_secs(86_400);
/// A token is handed out again until this long before its end, or until half its life if that is later.
const RESERVE: Duration = Duration::from_secs(120);
/// The longest that a refusal is remembered.
const MAX_REFUSAL: Duration = Duration::from_secs(300);

/// An access token, and the refresh token that came with it.
pub struct Access {
    /// The provider's access token.
    pub token: SecretString,
    /// A new refresh token that replaces the sealed one.
    pub successor: Option<SecretString>,
    /// The end of its life, by [`Clock::uptime`].
    ends: Duration,
    /// When to ask for a new one.
    stale: Duration,
}

impl Access {
    /// An access token that lives for `life` from now.
    pub(super) fn new(token: SecretString, successor: Option<SecretString>, life: Duration, clock: &Clock) -> Self {
        let ends = clock.uptime() + life;
        Self { token, successor, ends, stale: ends - RESERVE.min(life / 2) }
    }

    /// Seconds it has left; never more than it really has.
    pub fn seconds_left(&self, clock: &Clock) -> u64 {
        self.ends.saturating_sub(clock.uptime()).as_secs()
    }
}

/// Names a refresh token without holding it: the login, and the first 16 bytes of the token's SHA-256.
pub(super) type TokenName = (GrantId, [u8; 16]);

#[derive(Clone)]
struct Refusal {
    refused: Refused,
    until: Duration,
}

/// Recent outcomes of provider calls.
pub(super) struct Outcomes {
    tokens: Cache<GrantId, Arc<Access>>,
    refusals: Cache<TokenName, Refusal>,
    clock: Clock,
}

impl Outcomes {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            tokens: Cache::builder().max_capacity(MAX_TOKENS).time_to_live(MAX_LIFE).build(),
            refusals: Cache::builder().max_capacity(MAX_REFUSALS).time_to_live(MAX_REFUSAL).build(),
            clock,
        }
    }

    /// A token for this login that can be handed out again.
    pub(super) fn token(&self, grant: GrantId) -> Option<Arc<Access>> {
        self.tokens.get(&grant).filter(|access| self.clock.uptime() < access.stale)
    }

    pub(super) fn keep(&self, grant: GrantId, access: Arc<Access>) {
        self.tokens.insert(grant, access);
    }

    /// What was lately said of this refresh token, if it still counts.
    pub(super) fn refusal(&self, name: &TokenName) -> Option<Refused> {
        self.refusals.get(name).filter(|refusal| self.clock.uptime() < refusal.until).map(|refusal| refusal.refused)
    }

    pub(super) fn remember(&self, name: TokenName, refused: Refused, time: Duration) {
        self.refusals.insert(name, Refusal { refused, until: self.clock.uptime() + time.min(MAX_REFUSAL) });
    }

    /// Forgets the access token of a login that was revoked.
    pub(super) fn forget(&self, grant: GrantId) {
        self.tokens.invalidate(&grant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_reused_until_two_minutes_before_its_end_or_for_half_its_life() {
        let clock = Clock::system();
        let outcomes = Outcomes::new(clock.clone());
        let (long, short) = (GrantId::new([1; 16]), GrantId::new([2; 16]));
        let access = |life| Arc::new(Access::new("t".to_owned().into(), None, Duration::from_secs(life), &clock));
        outcomes.keep(long, access(3600));
        outcomes.keep(short, access(60));
        clock.advance(Duration::from_secs(28));
        assert!(outcomes.token(short).is_some_and(|access| access.seconds_left(&clock) <= 32));
        clock.advance(Duration::from_secs(2));
        assert!(outcomes.token(short).is_none());
        clock.advance(Duration::from_secs(3440));
        assert!(outcomes.token(long).is_some());
        clock.advance(Duration::from_secs(20));
        assert!(outcomes.token(long).is_none());
    }
}
