//! Access tokens that can be handed out again, and what the provider lately refused.
//!
//! Both live in memory, bounded, and are gone with the process: a restart costs one provider call per login.

use crate::authid::GrantId;
use crate::clock::{Clock, UnixTime};
use crate::provider::{Failure, Tokens};
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
/// How long a token is taken to live whose provider says that it does not end.
const ENDLESS: Duration = Duration::from_secs(3600);
/// The longest that a refusal is remembered.
const MAX_REFUSAL: Duration = Duration::from_secs(300);

/// An access token, and the refresh token that came with it.
pub struct Access {
    /// The provider's access token.
    pub token: SecretString,
    /// A new refresh token that replaces the sealed one.
    pub successor: Option<SecretString>,
    /// When both came.
    pub fetched_at: UnixTime,
    /// The end of its life, by [`Clock::uptime`].
    ends: Duration,
    /// When to ask for a new one.
    stale: Duration,
}

impl Access {
    /// What a provider just gave.
    pub(super) fn new(tokens: Tokens, clock: &Clock) -> Self {
        let (now, life) = (clock.uptime(), life(&tokens));
        Self {
            token: tokens.access_token,
            successor: tokens.refresh_token,
            fetched_at: clock.now(),
            ends: now + life,
            stale: now + reusable(life),
        }
    }

    /// What a provider gave some time ago, perhaps to another replica.
    pub(super) fn recalled(token: SecretString, fetched_at: UnixTime, life: Duration, clock: &Clock) -> Self {
        let age = Duration::from_secs(u64::try_from(clock.now() - fetched_at).unwrap_or_default());
        let now = clock.uptime();
        let left = |life: Duration| now + life.saturating_sub(age);
        Self { token, successor: None, fetched_at, ends: left(life), stale: left(reusable(life)) }
    }

    /// Seconds it has left; never more than it really has.
    pub fn seconds_left(&self, clock: &Clock) -> u64 {
        self.ends.saturating_sub(clock.uptime()).as_secs()
    }
}

/// How long an access token is taken to live.
pub(super) fn life(tokens: &Tokens) -> Duration {
    tokens.expires_in.unwrap_or(ENDLESS)
}

/// How long an access token of that life is handed out again.
pub(super) fn reusable(life: Duration) -> Duration {
    life - RESERVE.min(life / 2)
}

/// Names a refresh token without holding it: the login, and the first 16 bytes of the token's SHA-256.
pub(super) type TokenName = (GrantId, [u8; 16]);

#[derive(Clone, Copy)]
struct Refusal {
    failure: Failure,
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

    /// What was lately said of this refresh token, if it still counts; of a pause, the rest of it.
    pub(super) fn failure(&self, name: &TokenName) -> Option<Failure> {
        let Refusal { failure, until } = self.refusals.get(name)?;
        let rest = until.checked_sub(self.clock.uptime()).filter(|rest| !rest.is_zero())?;
        Some(match failure {
            Failure::Later { retry_after: Some(_) } => Failure::Later { retry_after: Some(rest) },
            other => other,
        })
    }

    pub(super) fn remember(&self, name: TokenName, failure: Failure, time: Duration) {
        self.refusals.insert(name, Refusal { failure, until: self.clock.uptime() + time.min(MAX_REFUSAL) });
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
        let tokens = |life| Tokens {
            access_token: "t".to_owned().into(),
            expires_in: Some(Duration::from_secs(life)),
            refresh_token: None,
            scopes: None,
            refresh_token_expires_in: None,
        };
        let access = |life| Arc::new(Access::new(tokens(life), &clock));
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

    #[test]
    fn of_a_pause_the_rest_is_told() {
        let clock = Clock::system();
        let outcomes = Outcomes::new(clock.clone());
        let name = (GrantId::new([1; 16]), [1; 16]);
        let pause = |seconds| Failure::Later { retry_after: Some(Duration::from_secs(seconds)) };
        outcomes.remember(name, pause(40), Duration::from_secs(40));
        clock.advance(Duration::from_secs(15));
        let Some(Failure::Later { retry_after: Some(rest) }) = outcomes.failure(&name) else { panic!("forgotten") };
        assert!(rest <= Duration::from_secs(25) && rest > Duration::from_secs(20), "{rest:?}");
        clock.advance(Duration::from_secs(25));
        assert_eq!(outcomes.failure(&name), None);
    }
}
