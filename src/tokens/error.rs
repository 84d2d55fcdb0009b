//! Why an exchange of an AuthID gave no access token, by kind, and whether a retry may help. Which HTTP status and
//! sentence each becomes is decided in `web`.

use crate::authid::{OpenError, ParseError, ServiceId};
use crate::denylist::Denied;
use crate::provider::ProviderError;
use crate::seal::{Epoch, NoKey};
use std::time::Duration;
use thiserror::Error;

/// Why there is no access token, or what was sent cannot be taken at all.
#[derive(Clone, Debug, Error)]
pub enum ExchangeError {
    /// Not an AuthID, one of an older kind, or not spelled as it was handed out.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A revoke code in an AuthID's place.
    #[error("a revoke code, not an AuthID")]
    IsRevokeCode,
    /// Not sealed with the key of its epoch.
    #[error("sealed with another server's key, or damaged")]
    Forged,
    /// There is no key for its epoch.
    #[error("no key for its epoch {0}: {1}")]
    NoKey(Epoch, NoKey),
    /// A revoke code that was not made with the key of its epoch, or not spelled as it was handed out.
    #[error("a revoke code of another server's, or mistyped")]
    BadRevokeCode,
    /// A revoke code that there is no key for (any more).
    #[error("no key for the revoke code's epoch {0}: {1}")]
    NoKeyForRevokeCode(Epoch, NoKey),
    /// Revoked.
    #[error("on the denylist: {0}")]
    Denied(Denied),
    /// The service it is for is not offered (any more).
    #[error("service {0} is not offered here")]
    NotOffered(ServiceId),
    /// The app registration that it was made with is not configured (any more).
    #[error("the app registration of service {0} that it was made with is not configured")]
    UnknownApp(ServiceId),
    /// The service it is for has ended; the sentence says what to use instead.
    #[error("service {0} has ended")]
    Gone(ServiceId, String),
    /// The provider gave none; the HTTP status of its answer, if there was one.
    #[error("provider: {0}")]
    Provider(ProviderError, Option<u16>),
    /// The provider refuses so many logins that worked that it is this server's app there and not the login.
    #[error("the provider refuses nearly everybody, so that says nothing against the login")]
    MassRefusal,
    /// The state store has no record of this login, whose refresh token has changed since it was sealed.
    #[error("no record of this login in the state store")]
    NoRecord,
    /// The provider gave none, and nobody can say yet whether it spent a refresh token that works once.
    #[error("provider, and the refresh token may be spent: {0}")]
    Unclear(ProviderError, Option<u16>),
    /// The refresh token may have been spent by an exchange that broke off; it is left alone for some seconds.
    #[error("an exchange broke off; its refresh token is left alone for a while")]
    MaybeSpent,
    /// There is no key for what the state store remembers of this login.
    #[error("no key for the login's record, which is of epoch {0}: {1}")]
    NoKeyForRecord(Epoch, NoKey),
    /// The state store fails, and nothing can be done without it.
    #[error("the state store fails")]
    StoreDown,
    /// No answer from the provider in time.
    #[error("no answer in time")]
    TimedOut,
    /// Nothing can be said yet, and too many wait already.
    #[error("too many requests wait already")]
    NoRoom,
    /// An old AuthID that the old server's folder has no file for, or another password.
    #[error("an AuthID of version 1: {0}")]
    NotStored(String),
    /// The old server's folder, or its file for this AuthID, is not as it should be.
    #[error("an AuthID of version 1: {0}")]
    OldStore(String),
    /// Too many wrong passwords were tried for the file of an old AuthID; the time until the next may be.
    #[error("too many wrong passwords for a file of the old store")]
    Guessed(Duration),
    /// An error of this server's own.
    #[error("internal fault")]
    Internal,
}

impl ExchangeError {
    /// The kind in a word, for what is counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Parse(_) | Self::NotStored(_) | Self::Forged | Self::IsRevokeCode | Self::BadRevokeCode => "invalid",
            // No place to wait was asked for.
            Self::Guessed(_) => "invalid",
            Self::NoKey(..) | Self::NoKeyForRevokeCode(..) | Self::NoKeyForRecord(..) => "no_key",
            Self::Denied(_) => "denied",
            Self::NotOffered(_) | Self::UnknownApp(_) => "not_offered",
            Self::Gone(..) => "gone",
            Self::Provider(failure, _) => failure.label(),
            Self::MassRefusal => "mass_refusal",
            Self::NoRecord => "forgotten",
            Self::Unclear(failure, _) => failure.label(),
            Self::MaybeSpent => "in_doubt",
            Self::StoreDown | Self::OldStore(_) => "store",
            Self::TimedOut => "timed_out",
            Self::NoRoom => "no_room",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status of the provider's answer, where it is known.
    pub fn upstream_status(&self) -> Option<u16> {
        match self {
            Self::Provider(_, status) | Self::Unclear(_, status) => *status,
            _ => None,
        }
    }

    /// Whether it may be a guess: nobody here ever made it.
    pub fn is_guess(&self) -> bool {
        matches!(self, Self::Parse(ParseError::Malformed) | Self::NotStored(_) | Self::Forged | Self::BadRevokeCode)
    }

    /// Whether the login of an old AuthID may be nobody's.
    pub fn is_nobodys(&self) -> bool {
        matches!(self, Self::Provider(ProviderError::Refused(_), _) | Self::NotOffered(_) | Self::Gone(..))
    }

    /// Whether it says nothing against the login, so that a token fetched earlier may still be handed out.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Provider(failure, _) => !matches!(failure, ProviderError::Refused(_)),
            Self::Unclear(..)
            | Self::MassRefusal
            | Self::NoKeyForRecord(_, NoKey::Newer)
            | Self::MaybeSpent
            | Self::StoreDown
            | Self::TimedOut
            | Self::NoRoom
            | Self::Internal => true,
            _ => false,
        }
    }

    /// After what time it may be over, as far as is known; `None` where waiting is of no use.
    pub(super) fn passes_after(&self) -> Option<Duration> {
        match self {
            Self::Provider(failure, _) | Self::Unclear(failure, _) => failure.passes_after(),
            Self::NoKey(_, NoKey::Newer)
            | Self::NoKeyForRecord(_, NoKey::Newer)
            | Self::MaybeSpent
            | Self::StoreDown
            | Self::TimedOut => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// Whether it may be over while there is time `left`.
    pub(super) fn may_pass(&self, left: Duration) -> bool {
        self.passes_after().is_some_and(|time| time < left)
    }

    /// Why an AuthID that names `epoch` did not open.
    pub(super) fn unopened(epoch: Epoch, error: OpenError) -> Self {
        match error {
            OpenError::NoKey(why) => Self::NoKey(epoch, why),
            OpenError::Forged => Self::Forged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ErrorClass;

    fn service() -> ServiceId {
        ServiceId::parse("box.com").unwrap()
    }

    #[test]
    fn an_older_token_is_handed_out_only_where_nothing_speaks_against_the_login() {
        let epoch = Epoch::FIRST;
        for error in [
            ExchangeError::Provider(ProviderError::Unreachable, None),
            ExchangeError::Provider(ProviderError::Misconfigured, Some(401)),
            ExchangeError::Unclear(ProviderError::Refused(ErrorClass::LoginAgain), Some(400)),
            ExchangeError::MassRefusal,
            ExchangeError::NoKeyForRecord(epoch, NoKey::Newer),
            ExchangeError::MaybeSpent,
            ExchangeError::StoreDown,
            ExchangeError::TimedOut,
            ExchangeError::NoRoom,
            ExchangeError::Internal,
        ] {
            assert!(error.passes(), "{error}");
        }
        for error in [
            ExchangeError::Provider(ProviderError::Refused(ErrorClass::LoginAgain), Some(400)),
            ExchangeError::Denied(Denied::Grant),
            ExchangeError::Forged,
            ExchangeError::NoKey(epoch, NoKey::Retired),
            ExchangeError::NoKeyForRecord(epoch, NoKey::Retired),
            ExchangeError::NoRecord,
            ExchangeError::NotOffered(service()),
        ] {
            assert!(!error.passes(), "{error}");
        }
    }

    #[test]
    fn guesses_and_logins_of_nobody_are_told_from_those_of_users() {
        let refused = ExchangeError::Provider(ProviderError::Refused(ErrorClass::LoginAgain), Some(400));
        let busy = ExchangeError::Unclear(ProviderError::Busy { retry_after: None }, Some(429));
        let malformed = ExchangeError::Parse(ParseError::Malformed);
        let older = ExchangeError::Parse(ParseError::Version1);
        let kind = |error: &ExchangeError| (error.is_guess(), error.is_nobodys(), error.upstream_status());
        assert_eq!(kind(&refused), (false, true, Some(400)));
        assert_eq!(kind(&busy), (false, false, Some(429)));
        assert_eq!(kind(&malformed), (true, false, None));
        assert_eq!(kind(&older), (false, false, None));
        assert_eq!(kind(&ExchangeError::Gone(service(), String::new())), (false, true, None));
        assert_eq!([refused.label(), busy.label(), older.label()], ["refused", "busy", "invalid"]);
    }
}
