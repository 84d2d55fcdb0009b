//! In-memory cache of what providers lately gave or said: access tokens that can be handed out again, errors,
//! revocations.
//!
//! Bounded, and gone with the process: a restart costs one provider call per login. No AuthID is ever in it. A token is
//! as old as the older of two clocks says: the one that only goes forward stops while the machine sleeps, the wall
//! clock may be set.

use super::provider_revocation::ProviderRevocation;
use crate::authid::GrantId;
use crate::clock::{Clock, Moment, UnixTime};
use crate::lru::Lru;
use crate::provider::{ProviderError, TokenResponse};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The room for access tokens, in bytes; above it the least recently used go. About 60,000 short ones.
const TOKEN_ROOM: u64 = 64 * 1024 * 1024;
/// What an entry takes beside its texts, in bytes, roughly.
const ENTRY: usize = 512;
/// Most failures remembered, and most revocations.
const MAX_FAILURES: u64 = 50_000;
const MAX_REVOCATIONS: u64 = 10_000;
/// A token is handed out again until this long before its end, or until half its life if that is later.
const RESERVE: Duration = Duration::from_secs(120);
/// In the last part of that time, one in this many of its life, it may be renewed ahead; see `ahead`.
const AHEAD: u32 = 10;
/// And until this long before its end while the provider gives no other.
const SPARE: Duration = Duration::from_secs(30);
/// How long a token is taken to live whose provider says that it does not end.
const ENDLESS: Duration = Duration::from_secs(3600);
/// A token that came further in the future than this, in seconds, came before the clock was set back: nobody knows how
/// old it is. Clocks of replicas may be as far apart.
const SKEW: i64 = 60;
/// How long a refusal is remembered: Duplicati's first retries stay here, and a repaired login is seen soon.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest that any failure is remembered.
const LONGEST: Duration = Duration::from_secs(300);
/// How long another failure is remembered: first this, then twice as long each time, up to the second. One that may be
/// over within seconds is found to be over within seconds. By login alone: what ails one login must not stop another,
/// and the provider's health is watched elsewhere.
const SHORT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
const LONG: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// How long the outcome of a revocation is remembered.
const REVOKED: Duration = Duration::from_secs(600);

/// An access token, and the refresh token that came with it.
pub struct AccessToken {
    /// The provider's access token.
    pub token: SecretString,
    /// A new refresh token that replaces the sealed one.
    pub new_refresh_token: Option<SecretString>,
    /// When both came.
    pub fetched_at: UnixTime,
    /// When they came to this process, by [`Clock::uptime`], and how old they were then.
    came: Duration,
    age: Duration,
    /// How long it lives from `fetched_at` on.
    life: Duration,
    /// How often it was asked for in the last part of its time.
    asked_late: AtomicU32,
}

impl AccessToken {
    /// What a provider just gave.
    pub(super) fn new(tokens: TokenResponse, clock: &Clock) -> Self {
        let life = lifetime(&tokens);
        let token = tokens.access_token;
        let new_refresh_token = tokens.refresh_token;
        let (fetched_at, came, age) = (clock.now(), clock.uptime(), Duration::ZERO);
        Self { token, new_refresh_token, fetched_at, came, age, life, asked_late: AtomicU32::new(0) }
    }

    /// What a provider gave some time ago, perhaps to another replica: at `fetched_at` by the clock there, which is `age`
    /// ago.
    pub(super) fn from_record(
        token: SecretString,
        fetched_at: UnixTime,
        age: Duration,
        life: Duration,
        clock: &Clock,
    ) -> Self {
        let (new_refresh_token, came) = (None, clock.uptime());
        Self { token, new_refresh_token, fetched_at, came, age, life, asked_late: AtomicU32::new(0) }
    }

    /// What is left of its life, by the clock that says less.
    pub(super) fn left(&self, at: Moment) -> Duration {
        let by_wall = at.now.saturating_sub(self.fetched_at);
        if by_wall < -SKEW {
            return Duration::ZERO;
        }
        let by_wall = Duration::from_secs(u64::try_from(by_wall).unwrap_or_default());
        self.life.saturating_sub(by_wall.max(self.age.saturating_add(at.uptime.saturating_sub(self.came))))
    }

    /// Seconds it has left; never more than it really has.
    pub fn seconds_left(&self, clock: &Clock) -> u64 {
        self.left(clock.moment()).as_secs()
    }

    /// Whether it is handed out without asking the provider.
    fn is_fresh(&self, at: Moment) -> bool {
        self.left(at) > self.life - reusable(self.life)
    }

    /// Whether it lives for a while yet, for when there is no other.
    pub(super) fn is_spare(&self, at: Moment) -> bool {
        self.left(at) >= SPARE
    }

    /// Whether it is in the last part of the time in which it is handed out, and was not asked for twice there. When
    /// that part begins differs from login to login, so that those who came together are not renewed together.
    pub(super) fn is_late(&self, grant: GrantId, at: Moment) -> bool {
        let [byte, ..] = grant.as_bytes();
        let ahead = self.life / (256 * AHEAD) * (64 + u32::from(byte / 4 * 3));
        self.asked_late.load(Ordering::Relaxed) < 2 && self.left(at) <= self.life - reusable(self.life) + ahead
    }

    /// Counts a request in that part. One is told to renew it: the second, since the first may be the last.
    pub(super) fn is_to_be_renewed(&self) -> bool {
        self.asked_late.fetch_add(1, Ordering::Relaxed) == 1
    }
}

/// How long an access token is taken to live.
pub(super) fn lifetime(tokens: &TokenResponse) -> Duration {
    tokens.expires_in.unwrap_or(ENDLESS)
}

/// How long an access token of that life is handed out again.
pub(super) fn reusable(life: Duration) -> Duration {
    life - RESERVE.min(life / 2)
}

/// Names a refresh token without holding it: the login, and the first 16 bytes of the token's SHA-256.
pub(super) type TokenName = (GrantId, [u8; 16]);

#[derive(Clone, Copy)]
struct Failed {
    failure: ProviderError,
    status: Option<u16>,
    at: Duration,
    pause: Duration,
}

/// Recent outcomes of provider calls. Clones remember the same.
#[derive(Clone)]
pub(super) struct TokenCache {
    tokens: Lru<GrantId, Arc<AccessToken>>,
    failures: Lru<TokenName, Failed>,
    revocations: Lru<GrantId, ProviderRevocation>,
    clock: Clock,
}

fn failures(clock: &Clock) -> Lru<TokenName, Failed> {
    Lru::new(MAX_FAILURES, LONGEST, clock)
}

impl TokenCache {
    pub(super) fn new(clock: Clock) -> Self {
        Self::with_room(TOKEN_ROOM, clock)
    }

    fn with_room(bytes: u64, clock: Clock) -> Self {
        Self {
            // An entry ends with its token.
            tokens: Lru::new(bytes, ENDLESS, &clock),
            failures: failures(&clock),
            revocations: Lru::new(MAX_REVOCATIONS, REVOKED, &clock),
            clock,
        }
    }

    /// The same without the failures: what they came from may have been repaired.
    pub(super) fn without_failures(&self) -> Self {
        Self { failures: failures(&self.clock), ..self.clone() }
    }

    /// A token for this login that can be handed out again `at` this time.
    pub(super) fn token(&self, grant: GrantId, at: Moment) -> Option<Arc<AccessToken>> {
        self.tokens.get(&grant).filter(|access| access.is_fresh(at))
    }

    /// A token for this login that lives for a while yet, for when there is no other.
    pub(super) fn spare(&self, grant: GrantId) -> Option<Arc<AccessToken>> {
        self.tokens.get(&grant).filter(|access| access.is_spare(self.clock.moment()))
    }

    /// Remembers what the provider gave; its failures are forgotten.
    pub(super) fn keep(&self, name: &TokenName, access: Arc<AccessToken>) {
        self.failures.remove(name);
        let (weight, life) = (weight(&access), access.left(self.clock.moment()));
        self.tokens.lock().insert_with(name.0, access, weight, life);
    }

    /// What was lately said of this refresh token, with which status, if it still counts; of a pause, the rest of it.
    pub(super) fn failure(&self, name: &TokenName) -> Option<(ProviderError, Option<u16>)> {
        let Failed { failure, status, at, pause } = self.failures.get(name)?;
        let passed = self.clock.uptime().saturating_sub(at);
        let failure = match failure {
            ProviderError::Busy { retry_after: Some(time) } => {
                ProviderError::Busy { retry_after: Some(time.saturating_sub(passed)) }
            }
            other => other,
        };
        (passed < pause).then_some((failure, status))
    }

    /// How long this refresh token is to be left alone because of that.
    pub(super) fn rest(&self, name: &TokenName) -> Option<Duration> {
        let Failed { at, pause, .. } = self.failures.get(name)?;
        Some((at + pause).saturating_sub(self.clock.uptime())).filter(|rest| !rest.is_zero())
    }

    /// Remembers a failure. One that is `in_doubt` is remembered for a moment only: a late answer may end it.
    pub(super) fn failed(&self, name: TokenName, failure: ProviderError, status: Option<u16>, in_doubt: bool) {
        let (first, last) = if failure.passes_after().is_some() { SHORT } else { LONG };
        let before = || self.failures.get(&name).filter(|before| !matches!(before.failure, ProviderError::Refused(_)));
        let pause = match failure {
            ProviderError::Refused(_) => PAUSE,
            ProviderError::Busy { retry_after: Some(time) } => time.min(LONGEST),
            _ if in_doubt => first,
            _ => before().map_or(first, |before| (2 * before.pause).clamp(first, last)),
        };
        self.failures.insert(name, Failed { failure, status, at: self.clock.uptime(), pause });
    }

    /// What became of a login at its provider when it was lately revoked.
    pub(super) fn revocation(&self, grant: GrantId) -> Option<ProviderRevocation> {
        self.revocations.get(&grant)
    }

    /// Remembers a login that was durably revoked, and forgets its access token.
    pub(super) fn revoked(&self, grant: GrantId, withdrawal: Option<ProviderRevocation>) {
        self.tokens.remove(&grant);
        if let Some(withdrawal) = withdrawal {
            self.revocations.insert(grant, withdrawal);
        }
    }
}

/// In bytes, roughly.
fn weight(access: &AccessToken) -> u32 {
    let new_refresh_token = access.new_refresh_token.as_ref().map_or(0, |token| token.expose_secret().len());
    u32::try_from(ENTRY + access.token.expose_secret().len() + new_refresh_token).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ErrorClass;

    const NAME: TokenName = (GrantId::new([1; 16]), [1; 16]);

    fn cache() -> (TokenCache, Clock) {
        let clock = Clock::system();
        (TokenCache::new(clock.clone()), clock)
    }

    fn access(token: &str, life: u64, clock: &Clock) -> Arc<AccessToken> {
        let tokens = TokenResponse {
            access_token: token.to_owned().into(),
            expires_in: Some(Duration::from_secs(life)),
            refresh_token: None,
            scopes: None,
            refresh_token_expires_in: None,
        };
        Arc::new(AccessToken::new(tokens, clock))
    }

    /// One from the store, of an hour.
    fn stored(fetched_at: UnixTime, age: u64, clock: &Clock) -> AccessToken {
        let (age, life) = (Duration::from_secs(age), Duration::from_secs(3600));
        AccessToken::from_record("12345".to_owned().into(), fetched_at, age, life, clock)
    }

    #[test]
    fn a_token_is_reused_until_two_minutes_before_its_end_or_for_half_its_life() {
        let (cache, clock) = cache();
        let long = GrantId::new([1; 16]);
        let short = GrantId::new([2; 16]);
        cache.keep(&(long, [0; 16]), access("t", 3600, &clock));
        cache.keep(&(short, [0; 16]), access("t", 60, &clock));
        clock.advance(Duration::from_secs(28));
        assert!(cache.token(short, clock.moment()).is_some_and(|access| access.seconds_left(&clock) <= 32));
        clock.advance(Duration::from_secs(2));
        assert!(cache.token(short, clock.moment()).is_none());
        clock.advance(Duration::from_secs(3440));
        assert!(cache.token(long, clock.moment()).is_some());
        clock.advance(Duration::from_secs(20));
        assert!(cache.token(long, clock.moment()).is_none());
    }

    /// What happens to the clocks after a token of an hour came: both go forward, then the wall clock alone is set; and
    /// what is left of the token then.
    #[test]
    fn a_token_is_as_old_as_the_older_clock_says() {
        const FRESH: bool = true;
        let cases: [(&str, u64, i64, bool, u64); 12] = [
            ("nothing", 0, 0, FRESH, 3600),
            ("half an hour", 1800, 0, FRESH, 1800),
            ("to the last fresh second", 3475, 0, FRESH, 125),
            ("to the end of the reserve", 3485, 0, !FRESH, 115),
            ("to its end", 3605, 0, !FRESH, 0),
            ("asleep for half an hour", 0, 1800, FRESH, 1800),
            ("asleep for two hours", 0, 7200, !FRESH, 0),
            ("awake and asleep", 1000, 1000, FRESH, 1600),
            ("awake and asleep beyond its end", 1900, 1750, !FRESH, 0),
            ("set back by a little", 1800, -30, FRESH, 1800),
            ("set back by less than its age", 1800, -1800, FRESH, 1800),
            ("set back to before it came", 600, -7200, !FRESH, 0),
        ];
        for (what, both, wall, is_fresh, left) in cases {
            let clock = Clock::system();
            let fetched = access("t", 3600, &clock);
            let stored = stored(clock.now(), 0, &clock);
            clock.advance(Duration::from_secs(both));
            clock.step(wall);
            for access in [&*fetched, &stored] {
                assert_eq!(access.is_fresh(clock.moment()), is_fresh, "{what}");
                let seconds = access.seconds_left(&clock);
                assert!(seconds <= left && seconds + 3 >= left, "{what}: {seconds} instead of {left}");
            }
        }
    }

    #[test]
    fn a_token_from_the_store_keeps_the_age_that_it_came_with_when_the_clock_is_set_back() {
        let clock = Clock::system();
        let access = stored(clock.now() - 1800, 1800, &clock);
        clock.step(-1500);
        clock.advance(Duration::from_secs(600));
        assert!((1190..=1200).contains(&access.seconds_left(&clock)), "{}", access.seconds_left(&clock));
        assert!(!stored(0, u64::MAX, &clock).is_fresh(clock.moment()));
    }

    /// When a token came by a clock that may have been another replica's, against now; and what is left of its hour.
    #[test]
    fn a_token_from_the_store_is_as_old_as_it_says_and_none_comes_from_the_future() {
        for (ago, left) in [(0, 3600), (1000, 2600), (3600, 0), (90_000, 0), (i64::MAX, 0), (-30, 3600), (-90, 0)] {
            let clock = Clock::system();
            let fetched_at = clock.now().saturating_sub(ago);
            let access = stored(fetched_at, 0, &clock);
            let seconds = access.seconds_left(&clock);
            assert!(seconds <= left && seconds + 3 >= left, "{ago} s ago: {seconds} instead of {left}");
            assert_eq!(access.is_fresh(clock.moment()), left > 120, "{ago} s ago");
        }
    }

    #[test]
    fn what_an_entry_takes_grows_with_both_of_its_tokens() {
        let access = |new_refresh_token: Option<&str>| AccessToken {
            new_refresh_token: new_refresh_token.map(|token| token.to_owned().into()),
            ..stored(0, 0, &Clock::system())
        };
        assert_eq!(weight(&access(None)) as usize, ENTRY + 5);
        assert_eq!(weight(&access(Some("1234567"))) as usize, ENTRY + 5 + 7);
    }

    #[test]
    fn near_its_end_a_token_is_renewed_once_and_each_login_at_a_time_of_its_own() {
        for (byte, ahead) in [(0, 90), (3, 90), (128, 225), (255, 355)] {
            let mut bytes = [7; 16];
            bytes[0] = byte;
            let (grant, clock) = (GrantId::new(bytes), Clock::system());
            let access = access("t", 3600, &clock);
            clock.advance(Duration::from_secs(3600 - (120 + ahead) - 4));
            assert!(!access.is_late(grant, clock.moment()), "{byte}");
            clock.advance(Duration::from_secs(5));
            assert!(access.is_late(grant, clock.moment()), "{byte}");
            assert_eq!([access.is_to_be_renewed(), access.is_late(grant, clock.moment())], [false, true]);
            assert_eq!([access.is_to_be_renewed(), access.is_late(grant, clock.moment())], [true, false]);
            assert!(!access.is_to_be_renewed());
        }
    }

    #[test]
    fn a_token_is_a_spare_one_until_half_a_minute_before_its_end() {
        let (cache, clock) = cache();
        cache.keep(&NAME, access("t", 3600, &clock));
        clock.advance(Duration::from_secs(3565));
        assert!(cache.token(NAME.0, clock.moment()).is_none());
        assert!(cache.spare(NAME.0).is_some_and(|access| access.seconds_left(&clock) <= 35));
        clock.advance(Duration::from_secs(6));
        assert!(cache.spare(NAME.0).is_none());
    }

    #[test]
    fn an_entry_ends_with_its_token() {
        let clock = Clock::system();
        let (access, cache) = (access("t", 3600, &clock), TokenCache::new(clock.clone()));
        clock.advance(Duration::from_secs(600));
        cache.keep(&NAME, access);
        clock.advance(Duration::from_secs(2990));
        assert!(cache.tokens.get(&NAME.0).is_some());
        clock.advance(Duration::from_secs(10));
        assert!(cache.tokens.get(&NAME.0).is_none());
    }

    #[test]
    fn when_the_room_is_full_the_least_recently_used_goes_and_the_newest_stays() {
        let clock = Clock::system();
        let cache = TokenCache::with_room(100 * 1024, clock.clone());
        let grant = |number: u8| GrantId::new([number; 16]);
        let keep = |number| cache.keep(&(grant(number), [0; 16]), access(&"x".repeat(10 * 1024), 3600, &clock));
        for number in 0..50 {
            keep(number);
            assert!(cache.token(grant(0), clock.moment()).is_some(), "{number}: it is in use");
            assert!(cache.token(grant(number), clock.moment()).is_some(), "{number}: it came last");
        }
        assert_eq!(cache.tokens.lock().iter().count(), 9, "as many as there is room for");
        assert!(cache.token(grant(1), clock.moment()).is_none());
    }

    #[test]
    fn there_is_room_for_tens_of_thousands_of_short_tokens_and_no_more() {
        let (cache, clock) = cache();
        let grant = |number: u32| GrantId::new(u128::from(number).to_be_bytes());
        let short = access("a short access token", 3600, &clock);
        (0..150_000).for_each(|number| cache.keep(&(grant(number), [0; 16]), short.clone()));
        let kept = cache.tokens.lock().iter().count();
        assert!((60_000..150_000).contains(&kept), "{kept}");
        assert!(cache.token(grant(149_999), clock.moment()).is_some());
    }

    #[test]
    fn of_a_pause_the_rest_is_told() {
        let (cache, clock) = cache();
        let pause = |seconds| ProviderError::Busy { retry_after: Some(Duration::from_secs(seconds)) };
        cache.failed(NAME, pause(40), Some(503), false);
        clock.advance(Duration::from_secs(15));
        let Some((ProviderError::Busy { retry_after: Some(rest) }, Some(503))) = cache.failure(&NAME) else {
            panic!("forgotten")
        };
        assert!(rest <= Duration::from_secs(25) && rest > Duration::from_secs(20), "{rest:?}");
        clock.advance(Duration::from_secs(25));
        assert_eq!(cache.failure(&NAME), None);

        cache.failed(NAME, pause(3600), Some(503), false);
        clock.advance(Duration::from_secs(290));
        let Some((ProviderError::Busy { retry_after: Some(rest) }, Some(503))) = cache.failure(&NAME) else {
            panic!("forgotten")
        };
        assert!(rest > Duration::from_secs(3300), "the provider's word, not the bound of this memory: {rest:?}");
        clock.advance(Duration::from_secs(10));
        assert_eq!(cache.failure(&NAME), None, "the provider is asked every five minutes all the same");
    }

    #[test]
    fn a_failure_is_remembered_for_twice_as_long_each_time_until_a_success() {
        const SOON: &[u64] = &[500, 1000, 2000, 4000, 5000, 5000];
        const LASTING: &[u64] = &[2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
        for (failure, pauses) in [
            (ProviderError::Unreachable, SOON),
            (ProviderError::Disturbed, SOON),
            (ProviderError::TimedOut, SOON),
            (ProviderError::Unclear { status: 500 }, SOON),
            (ProviderError::Busy { retry_after: None }, SOON),
            (ProviderError::BadAnswer, LASTING),
            (ProviderError::Unclear { status: 400 }, LASTING),
            (ProviderError::Misconfigured, LASTING),
        ] {
            let (cache, clock) = cache();
            let lasts = |millis: &u64| {
                cache.failed(NAME, failure, Some(503), false);
                clock.advance(Duration::from_millis(millis - 400));
                assert_eq!(cache.failure(&NAME), Some((failure, Some(503))), "{millis}");
                assert!(cache.rest(&NAME).is_some_and(|rest| rest <= Duration::from_millis(400)));
                clock.advance(Duration::from_millis(400));
                assert_eq!((cache.failure(&NAME), cache.rest(&NAME)), (None, None), "{millis}");
            };
            pauses.iter().for_each(lasts);
            cache.failed(NAME, failure, Some(503), false);
            cache.keep(&NAME, access("t", 3600, &clock));
            assert_eq!(cache.failure(&NAME), None);
            lasts(&pauses[0]);
            cache.failed(NAME, failure, Some(503), true);
            clock.advance(Duration::from_millis(pauses[0]));
            assert_eq!(cache.failure(&NAME), None, "in doubt, so for a moment only");
        }
        let (cache, clock) = cache();
        cache.failed(NAME, ProviderError::Refused(ErrorClass::LoginAgain), Some(503), true);
        clock.advance(Duration::from_secs(9));
        assert!(cache.failure(&NAME).is_some() && cache.failure(&(NAME.0, [2; 16])).is_none());
    }

    #[test]
    fn a_revocation_is_remembered_for_ten_minutes() {
        let (cache, clock) = cache();
        cache.keep(&NAME, access("t", 3600, &clock));
        cache.revoked(NAME.0, Some(ProviderRevocation::Done));
        assert!(cache.spare(NAME.0).is_none());
        clock.advance(Duration::from_secs(599));
        assert_eq!(cache.revocation(NAME.0), Some(ProviderRevocation::Done));
        clock.advance(Duration::from_secs(1));
        assert_eq!(cache.revocation(NAME.0), None);
    }
}
