//! Why a login did not work: one enum for the room. What each reason becomes on a page is decided in `web`.

use crate::authid::SealLoginError;
use crate::provider::{ErrorClass, ProviderError, Service};
use crate::seal::SealError;
use crate::tokens::ExchangeError;
use std::sync::Arc;
use thiserror::Error;

/// Why a login did not begin or did not end well.
#[derive(Debug, Error)]
pub enum LoginError {
    /// The link did not come from our own page in this browser, or is too old: the index page makes a new one.
    #[error("the login link is not of this browser, or too old")]
    StaleLink,
    /// The link is ours, but the request had no cookie of ours, or two.
    #[error("the browser sent no cookie of this site, or two of one name")]
    NoCookie,
    /// The service is not offered, see [`Service::availability`].
    #[error("not offered")]
    Unavailable(Arc<Service>),
    /// The login's AuthID would be refused from its first moment on, by the denylist or for want of its key.
    #[error("an AuthID made now would be refused: {1}")]
    Paused(Option<Arc<Service>>, ExchangeError),
    /// The provider sent the user back with a state of ours and neither a code nor an error.
    #[error("the callback has no code")]
    NoCode(Arc<Service>),
    /// No `state`, or none of ours.
    #[error("the state is not ours or too old")]
    BadState,
    /// The login began in this browser, more than ten minutes ago.
    #[error("the login began more than ten minutes ago")]
    TooLate(Arc<Service>),
    /// The callback came without the `state` of its provider, and nobody said that it belongs to this login.
    #[error("the callback came without its state and is not confirmed")]
    Unconfirmed(Arc<Service>),
    /// The callback came to another browser than the one where the login began.
    #[error("the login began in another browser")]
    OtherBrowser,
    /// The callback was seen before; of which service is not known where the page's own cleaned address was loaded.
    #[error("the callback was used before")]
    Replayed(Option<Arc<Service>>),
    /// Mix-up attack (RFC 9700 section 4.4): the response came from another issuer than the one asked (RFC 9207).
    #[error("the answer came from another issuer")]
    WrongIssuer,
    /// The user, or the provider's rules, said no.
    #[error("consent was not given")]
    Declined(Arc<Service>),
    /// The provider reported an error instead of a code: what it means, and its own code.
    #[error("the provider reported an error: {2}")]
    ProviderError(Arc<Service>, Option<ErrorClass>, String),
    /// A provider reported an error without a state of ours, so nobody knows of which login; with its code.
    #[error("a provider reported an error without a login of ours: {0}")]
    Stray(String),
    /// The provider gave access but no refresh token.
    #[error("no refresh token: {1}")]
    NoRefreshToken(Arc<Service>, NoRefreshToken),
    /// Fewer scopes were granted than asked for.
    #[error("scopes not granted: {1:?}")]
    MissingScopes(Arc<Service>, Vec<String>),
    /// What was pasted is not such a token.
    #[error("not a login token")]
    BadPaste(Arc<Service>),
    /// More pasted tokens were tried in a minute than a user would.
    #[error("too many pasted tokens")]
    TooMany,
    /// The call to the provider failed.
    #[error("provider: {1}")]
    Provider(Arc<Service>, ProviderError),
    /// The state store did not take the login, and without it the AuthID would be of no use.
    #[error("the state store did not take the login")]
    NotRemembered(Arc<Service>),
    /// The refresh token does not fit into an AuthID, or there is no randomness.
    #[error("cannot seal: {0}")]
    Seal(#[from] SealLoginError),
}

/// Why no refresh token came, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoRefreshToken {
    /// `offline_access` was asked for and is not among the scopes granted.
    #[error("offline_access was not granted")]
    NotOffline,
    /// The provider gives one at a user's first consent only.
    #[error("the provider gives one at the first consent only")]
    OnlyAtFirst,
    /// The provider gave none.
    #[error("the provider gave none")]
    None,
}

impl LoginError {
    /// The kind in a word, for what is counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::StaleLink => "stale_link",
            Self::NoCookie => "no_cookie",
            Self::Unavailable(_) => "not_offered",
            Self::Paused(..) => "paused",
            Self::BadState => "bad_state",
            Self::NoCode(_) => "no_code",
            Self::TooLate(_) => "too_late",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::OtherBrowser => "other_browser",
            Self::Replayed(_) => "replayed",
            Self::WrongIssuer => "wrong_issuer",
            Self::Declined(_) => "declined",
            // Whatever it says: a callback is easily made up, and no reason to wake anybody.
            Self::ProviderError(..) | Self::Stray(_) => "provider_error",
            Self::NoRefreshToken(..) => "no_refresh_token",
            Self::MissingScopes(..) => "missing_scopes",
            Self::BadPaste(_) => "bad_paste",
            Self::TooMany => "too_many",
            Self::NotRemembered(_) => "store",
            Self::Provider(_, failure) => failure.label(),
            Self::Seal(_) => "internal",
        }
    }

    /// What the login was for, where that is known.
    pub fn service(&self) -> Option<&Service> {
        match self {
            Self::Paused(service, _) => service.as_deref(),
            Self::Unavailable(service)
            | Self::NoCode(service)
            | Self::Unconfirmed(service)
            | Self::TooLate(service)
            | Self::Declined(service)
            | Self::ProviderError(service, ..)
            | Self::NoRefreshToken(service, _)
            | Self::MissingScopes(service, _)
            | Self::BadPaste(service)
            | Self::NotRemembered(service)
            | Self::Provider(service, _) => Some(service),
            Self::Replayed(service) => service.as_deref(),
            Self::StaleLink
            | Self::NoCookie
            | Self::BadState
            | Self::Stray(_)
            | Self::OtherBrowser
            | Self::WrongIssuer
            | Self::TooMany
            | Self::Seal(_) => None,
        }
    }
}

impl From<SealError> for LoginError {
    fn from(error: SealError) -> Self {
        Self::Seal(error.into())
    }
}
