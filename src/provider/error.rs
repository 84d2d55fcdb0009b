//! Why a call to a provider failed, in the kinds that callers treat differently, and whether a retry is safe.

use super::ErrorClass;
use std::time::Duration;
use thiserror::Error;

/// Why a call to a provider failed. Says nothing in the provider's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// The login is dead, or somebody at the user's side has to act: any [`ErrorClass`] but `Unclear`, `Operator` and
    /// `Later`. For a code or a pasted token: it is not good, or not good any more.
    #[error("the provider does not accept this login any more")]
    Refused(ErrorClass),
    /// This server's registration at the provider, or what was configured about the provider, is at fault.
    #[error("the provider does not accept this server's client, or its configuration is wrong")]
    Misconfigured,
    /// It answered with an error that does not tell whether the login, this server or the provider is at fault: a
    /// status from 400 to 500 without a code, a code that is not known, or one that some servers use for a dead login.
    #[error("the provider answered with an error that does not say what is wrong (HTTP {status})")]
    Unclear {
        /// The HTTP status.
        status: u16,
    },
    /// The provider is busy; it may have said for how long.
    #[error("the provider is busy")]
    Busy {
        /// Its `Retry-After`, at most a day.
        retry_after: Option<Duration>,
    },
    /// No connection, or it broke: names, routes, TLS.
    #[error("the provider cannot be reached")]
    Unreachable,
    /// It answered that it is disturbed: with HTTP 408, or from 501 on.
    #[error("the provider is disturbed")]
    Disturbed,
    /// It answered, but not with what was asked for: garbage, a redirect.
    #[error("the provider gave an answer that makes no sense")]
    BadAnswer,
    /// Too many calls to it are under way or wait for that. Nothing was sent.
    #[error("too many calls to the provider are under way")]
    Crowded,
    /// It did not answer in time.
    #[error("the provider did not answer in time")]
    TimedOut,
    /// The callback sends the code to a host that is not the provider's. Nothing was sent.
    #[error("the callback names a host that is not the provider's")]
    BadCallback,
    /// The service is not offered here, see [`Service::availability`](super::Service::availability). Nothing was sent.
    #[error("this server does not offer the service")]
    NotOffered,
}

/// A refresh that brought no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshError {
    /// Why.
    pub failure: ProviderError,
    /// Whether the provider may have carried it out all the same, and so have spent a token that works once.
    pub in_doubt: bool,
    /// The HTTP status of the provider's response, if there was one.
    pub status: Option<u16>,
}

impl ProviderError {
    /// The kind in a word, for what is counted.
    pub fn label(self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Misconfigured => "operator",
            Self::Unclear { .. } => "unclear",
            Self::Busy { .. } => "busy",
            Self::Unreachable => "unreachable",
            Self::Disturbed => "disturbed",
            Self::BadAnswer => "bad_answer",
            Self::Crowded => "no_room",
            Self::TimedOut => "timed_out",
            Self::BadCallback => "bad_callback",
            Self::NotOffered => "not_offered",
        }
    }

    /// After what time it may be over, as far as is known; `None` where waiting is of no use.
    pub fn passes_after(self) -> Option<Duration> {
        match self {
            Self::Unreachable | Self::Disturbed | Self::Crowded | Self::TimedOut | Self::Unclear { status: 500.. } => {
                Some(Duration::ZERO)
            }
            Self::Busy { retry_after } => Some(retry_after.unwrap_or_default()),
            Self::Unclear { .. }
            | Self::Refused(_)
            | Self::Misconfigured
            | Self::BadAnswer
            | Self::BadCallback
            | Self::NotOffered => None,
        }
    }
}

/// A second attempt is made only with this much time left.
const SECOND_NEEDS: Duration = Duration::from_secs(6);

/// When a failed attempt may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// At once: the request never left, so even a token that works once may be sent again. Known only of requests that
    /// got no connection. That is proof because nothing is sent before TLS is set up.
    Safe,
    /// At once, if a request that was carried out already does no harm when it comes again.
    IfIdempotent,
    /// When the provider's time has passed: it was turned away without being looked at.
    After(Duration),
    /// At once, but with other credentials of the client's. Whoever chose them sees to that, and until then nobody is told.
    Otherwise,
    /// The response would be the same.
    Never,
}

impl Retry {
    /// How long to wait before a second attempt, if there is to be one; no longer than `most` where the provider asks for
    /// a pause.
    pub(super) fn delay(self, idempotent: bool, remaining: Duration, most: Option<Duration>) -> Option<Duration> {
        let wait = match self {
            Self::Safe => Duration::ZERO,
            Self::IfIdempotent if idempotent => Duration::ZERO,
            Self::After(wait) if most.is_some_and(|most| wait <= most) => wait,
            _ => return None,
        };
        // Servers that failed together must not come back together.
        let [jitter] = crate::seal::random().unwrap_or_default();
        let pause = wait + Duration::from_millis(100 + u64::from(jitter));
        (remaining >= pause + SECOND_NEEDS).then_some(pause)
    }
}

/// The failure of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttemptError {
    pub(super) failure: ProviderError,
    pub(super) retry: Retry,
    /// The HTTP status of the response, if there was one.
    pub(super) status: Option<u16>,
}

impl AttemptError {
    /// Without a response.
    pub(super) fn new(failure: ProviderError, retry: Retry) -> Self {
        Self { failure, retry, status: None }
    }

    /// As the outcome of a refresh. What was not said plainly may have happened.
    pub(super) fn as_refresh_error(self) -> RefreshError {
        let plain = match self.failure {
            ProviderError::Unreachable
            | ProviderError::Disturbed
            | ProviderError::BadAnswer
            | ProviderError::TimedOut => false,
            ProviderError::Unclear { status } => status < 500,
            _ => true,
        };
        let in_doubt = !plain && self.retry != Retry::Safe;
        RefreshError { failure: self.failure, in_doubt, status: self.status }
    }

    /// Turned away until later.
    pub(super) fn later(retry_after: Option<Duration>) -> Self {
        Self::new(ProviderError::Busy { retry_after }, retry_after.map_or(Retry::Never, Retry::After))
    }

    /// Answered without sense.
    pub(super) fn bad_answer() -> Self {
        ProviderError::BadAnswer.into()
    }
}

impl From<ProviderError> for AttemptError {
    /// Not to be repeated.
    fn from(failure: ProviderError) -> Self {
        Self::new(failure, Retry::Never)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    #[test]
    fn a_second_attempt_is_made_only_if_it_is_harmless_and_in_time() {
        let second = |retry: Retry, idempotent, remaining| {
            retry.delay(idempotent, Duration::from_secs(remaining), Some(WAIT)).is_some()
        };
        assert!(second(Retry::Safe, false, 12));
        assert!(second(Retry::IfIdempotent, true, 7));
        assert!(!second(Retry::IfIdempotent, false, 12));
        assert!(!second(Retry::IfIdempotent, true, 6));
        assert!(!second(Retry::Never, true, 12));
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        assert!(second(after(5), false, 12));
        assert!(!second(after(5), false, 11));
        assert!(!second(after(6), true, 20));
        let time = Duration::from_secs(20);
        assert!(after(5).delay(true, time, Some(WAIT)).unwrap() >= Duration::from_secs(5));
        assert_eq!([0, 1, 5].map(|seconds| after(seconds).delay(true, time, None)), [None; 3]);
    }
}
