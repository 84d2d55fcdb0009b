//! A circuit breaker for each provider. When calls to one fail one after the other, for several logins, it is the
//! provider or the way to it: then nobody asks it but a probe now and then, everybody else is told the last failure at
//! once or waits, and the first call that it answers closes the breaker again.
//!
//! What fails for few logins alone never opens it, nor does an answer that says something about the login. Those who wait
//! come back by themselves, each after a pause of its own, so they do not come all at once.

use super::ExchangeError;
use crate::authid::GrantId;
use crate::clock::Clock;
use crate::meter::Meter;
use crate::provider::ProviderError::{self, Busy, Disturbed, Refused, TimedOut, Unclear, Unreachable};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many calls have to fail one after the other.
const FAILED: u32 = 20;
/// And of so many logins.
const LOGINS: usize = 5;
/// The time between two probes. A call may take 20 s, so at most 20 are under way.
const PROBE: Duration = Duration::from_secs(1);
/// It is longer where the provider asks for a pause, but no longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// The breakers of all providers.
pub(super) struct Breakers {
    providers: Mutex<HashMap<String, Breaker>>,
    clock: Clock,
    meter: Meter,
}

/// What is known of a provider.
#[derive(Default)]
struct Breaker {
    /// Since the last answer that was about a login.
    failed: u32,
    /// Some of the logins that this was for.
    logins: HashSet<GrantId>,
    open: Option<Open>,
}

/// Calls are not made.
struct Open {
    /// The last one, and its HTTP status if there was an answer.
    failure: (ProviderError, Option<u16>),
    since: Duration,
    probe_at: Duration,
}

impl Breakers {
    pub(super) fn new(clock: Clock, meter: Meter) -> Self {
        Self { providers: Mutex::default(), clock, meter }
    }

    /// Whether a provider is only asked by probes now.
    pub(super) fn is_open(&self, provider: &str) -> bool {
        let providers = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        providers.get(provider).is_some_and(|this| this.open.is_some())
    }

    /// Why a provider is not to be asked now; who gets no reason may ask, perhaps as a probe.
    pub(super) fn holds(&self, provider: &str) -> Option<ExchangeError> {
        let now = self.clock.uptime();
        let mut providers = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        let open = providers.get_mut(provider)?.open.as_mut()?;
        if now < open.probe_at {
            let (failure, status) = match open.failure {
                (Busy { retry_after: Some(_) }, status) => (Busy { retry_after: Some(open.probe_at - now) }, status),
                other => other,
            };
            return Some(ExchangeError::Provider(failure, status));
        }
        open.probe_at = now + PROBE;
        None
    }

    /// What is known of providers says nothing any more: they are asked in another way.
    pub(super) fn forget(&self) {
        for (provider, this) in self.providers.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            if this.open.is_some() {
                self.meter.suspended(&provider, false);
            }
        }
    }

    /// What came of a call to a provider for a login: `failed`, if it brought no access token. Returns whether that is
    /// why the provider is only asked by probes from now on.
    pub(super) fn called(&self, provider: &str, login: GrantId, failed: Option<&ExchangeError>) -> bool {
        let now = self.clock.uptime();
        let mut providers = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failure) = failed.and_then(outage) else {
            // A refusal is an answer too. What says nothing of the provider changes nothing.
            let answered = failed.is_none_or(|failure| matches!(failure, ExchangeError::Provider(Refused(_), _)));
            let before = if answered { providers.remove(provider) } else { None };
            if let Some(open) = before.and_then(|this| this.open) {
                self.meter.suspended(provider, false);
                let seconds = now.saturating_sub(open.since).as_secs();
                tracing::warn!(provider, seconds, "a provider answers again");
            }
            return false;
        };
        let this = providers.entry(provider.to_owned()).or_default();
        this.failed = this.failed.saturating_add(1);
        if this.logins.len() < LOGINS {
            this.logins.insert(login);
        }
        let pause = match failure.0 {
            Busy { retry_after: Some(pause) } => pause.clamp(PROBE, LONGEST),
            _ => PROBE,
        };
        if let Some(open) = &mut this.open {
            open.failure = failure;
            if pause > PROBE {
                open.probe_at = now + pause;
            }
        } else if this.failed >= FAILED && this.logins.len() >= LOGINS {
            this.open = Some(Open { failure, since: now, probe_at: now + pause });
            self.meter.suspended(provider, true);
            tracing::warn!(provider, why = %failure.0, "a provider answers nobody; until it does it is asked once a second");
            return true;
        }
        false
    }
}

/// A failure that is the provider's own, or of the way to it.
fn outage(failure: &ExchangeError) -> Option<(ProviderError, Option<u16>)> {
    match failure {
        ExchangeError::Provider(failure, status) | ExchangeError::Unclear(failure, status) => match failure {
            Unreachable | Disturbed | TimedOut | Unclear { status: 500.. } | Busy { .. } => Some((*failure, *status)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ErrorClass;
    use crate::provider::ProviderError::{BadAnswer, Crowded, Misconfigured};

    fn login(number: u8) -> GrantId {
        GrantId::new([number; 16])
    }

    fn failed(failure: ProviderError) -> ExchangeError {
        ExchangeError::Provider(failure, None)
    }

    fn breakers() -> (Breakers, Clock) {
        let clock = Clock::system();
        (Breakers::new(clock.clone(), Meter::default()), clock)
    }

    /// How many of the calls opened it.
    fn call(breakers: &Breakers, logins: impl Iterator<Item = u8>, failure: Option<ProviderError>) -> usize {
        let failure = failure.map(failed);
        logins.filter(|number| breakers.called("p", login(*number), failure.as_ref())).count()
    }

    #[test]
    fn a_provider_that_answers_nobody_is_asked_once_a_second_until_it_does() {
        for failure in [Unreachable, Disturbed, TimedOut, Unclear { status: 500 }, Busy { retry_after: None }] {
            for answer in [None, Some(Refused(ErrorClass::LoginAgain))] {
                let (breakers, clock) = breakers();
                assert_eq!(call(&breakers, 1..20, Some(failure)), 0);
                assert!(breakers.holds("p").is_none());
                assert_eq!(call(&breakers, 20..30, Some(failure)), 1);
                assert_eq!(breakers.holds("p").unwrap().to_string(), failed(failure).to_string());
                assert!(breakers.holds("other").is_none());
                for _ in 0..9 {
                    clock.advance(PROBE);
                    let asked = (0..1000).filter(|_| breakers.holds("p").is_none()).count();
                    assert_eq!(asked, 1);
                    call(&breakers, 1..2, Some(failure));
                }
                call(&breakers, 1..2, answer);
                assert_eq!((0..1000).filter(|_| breakers.holds("p").is_none()).count(), 1000);
                call(&breakers, 1..20, Some(failure));
                assert!(breakers.holds("p").is_none(), "it counts from the beginning");
            }
        }
    }

    #[test]
    fn what_fails_for_few_logins_or_now_and_then_or_says_something_of_the_login_opens_nothing() {
        let (breakers, _) = breakers();
        call(&breakers, (0..4).cycle().take(1000), Some(Unclear { status: 500 }));
        call(&breakers, 0..1, None);
        for number in 0..200 {
            let failure = (number % 20 != 0).then_some(TimedOut);
            call(&breakers, number..=number, failure);
        }
        for failure in [Refused(ErrorClass::Locked), Misconfigured, BadAnswer, Crowded, Unclear { status: 400 }] {
            call(&breakers, 0..100, Some(failure));
        }
        assert!(breakers.holds("p").is_none());
    }

    #[test]
    fn a_provider_that_asks_everybody_for_a_pause_is_left_alone_for_so_long_and_each_is_told_the_rest() {
        let seconds = Duration::from_secs;
        for (asked, kept) in [(1, 1), (5, 5), (30, 30), (3600, 60)] {
            let (breakers, clock) = breakers();
            let busy = || Some(Busy { retry_after: Some(seconds(asked)) });
            call(&breakers, 0..20, busy());
            for _ in 0..3 {
                for left in (1..=kept).rev() {
                    let Some(ExchangeError::Provider(Busy { retry_after: Some(rest) }, _)) = breakers.holds("p") else {
                        panic!("{asked}: nobody is held")
                    };
                    assert!(rest <= seconds(left) && rest + PROBE > seconds(left), "{asked}: {rest:?}");
                    clock.advance(PROBE);
                }
                assert_eq!((0..1000).filter(|_| breakers.holds("p").is_none()).count(), 1);
                call(&breakers, 1..2, busy());
            }
        }
    }

    #[test]
    fn what_says_nothing_of_the_provider_closes_nothing() {
        let (breakers, _) = breakers();
        call(&breakers, 0..20, Some(Unreachable));
        call(&breakers, 0..20, Some(BadAnswer));
        breakers.called("p", login(1), Some(&ExchangeError::StoreDown));
        assert!(breakers.holds("p").is_some());
    }
}
