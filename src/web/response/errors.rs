//! What is told when an AuthID gives no access: status, `X-Reason`, and how loud the log is. One exhaustive table, a
//! closed catalogue of sentences: a provider's own words never leave the server.
//!
//! Each sentence says whose turn it is, begins with a letter and has no full stop at its end, as Duplicati adds one. At
//! `/refresh` there are three statuses, since of every other one some backend shows scraps: see
//! [`Rejection::duplicati_status`].

use crate::authid::{ParseError, ServiceId};
use crate::denylist::Denied;
use crate::provider::{Catalogue, ErrorClass, ProviderError};
use crate::seal::NoKey;
use crate::tokens::ExchangeError;
use crate::web::response::names::provider_name;
use crate::web::response::rejection::Rejection;
use actix_web::http::StatusCode;
use std::borrow::Cow;
use std::time::Duration;
use tracing::Level;

/// A pause above which a page says 503 instead of 502.
const LONG: Duration = Duration::from_secs(30);

/// What a test of an AuthID for `service` has found, in a sentence for its owner.
pub fn verdict(outcome: &Result<(), ExchangeError>, service: &ServiceId, catalogue: &Catalogue) -> String {
    let name = provider_name(service, catalogue);
    match outcome {
        Ok(()) => format!("It works: {name} gave access just now."),
        Err(refused) => Rejection::of(refused, &name).sentence(),
    }
}

impl Rejection {
    /// For a client that sends its AuthID to another address of the server at `own`.
    pub(in crate::web) fn wrong_address(own: &str) -> Self {
        let reason =
            format!("This is not the address that gives access. Please set the client's oauth-url to {own}/refresh");
        Self::new(StatusCode::NOT_FOUND, Level::INFO, reason)
    }

    /// For a client that sends one AuthID after the other that does not open.
    pub(in crate::web) fn too_many(wait: Duration) -> Self {
        let reason = "Too many AuthIDs that are not valid here came from this address. Please try again in a minute";
        let retry_after = Some(wait.as_secs() + 1);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, Level::DEBUG, reason) }
    }

    fn permanent(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Level::INFO, reason)
    }

    fn passing(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Level::WARN, reason)
    }

    fn operator(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, Level::ERROR, reason)
    }

    /// Of an AuthID for a service of `provider`, or of one that did not open.
    pub(in crate::web) fn of(refused: &ExchangeError, provider: &str) -> Self {
        // Damaged, forged and foreign AuthIDs are not told apart.
        const INVALID: &str =
            "This AuthID is not valid here: it is damaged, incomplete or from another server. Please create a new one";
        match refused {
            ExchangeError::Parse(ParseError::Malformed) | ExchangeError::NotStored(_) | ExchangeError::Forged => {
                Self::permanent(INVALID)
            }
            ExchangeError::Parse(ParseError::Version1 | ParseError::Version2(_)) => Self::permanent(
                "This AuthID was made by an older kind of server and cannot be used here. Please create a new one",
            ),
            ExchangeError::IsRevokeCode => Self::permanent(
                "This is a revoke code, not an AuthID: it gives no access. Please use it on the page that revokes",
            ),
            ExchangeError::NoKey(_, NoKey::Newer) => Self::passing(
                "This AuthID was sealed with a newer key than this server has. Please try again in a moment; if it stays, tell the server's operator",
            ),
            ExchangeError::NoKey(_, NoKey::Absent) => {
                Self::permanent("The key that sealed this AuthID is not on this server. Please create a new AuthID")
            }
            ExchangeError::NoKey(_, NoKey::Retired | NoKey::BelowFloor) => Self::permanent(
                "The key that sealed this AuthID has been retired by the server's operator. Please create a new AuthID",
            ),
            ExchangeError::BadRevokeCode => {
                Self::permanent("This revoke code is not valid here: it is mistyped, incomplete or from another server")
            }
            ExchangeError::NoKeyForRevokeCode(_, NoKey::Newer) => Self::passing(
                "This revoke code was made with a newer key than this server has. Please try again in a moment",
            ),
            ExchangeError::NoKeyForRevokeCode(_, NoKey::Absent) => {
                Self::permanent("The key that made this revoke code is not on this server")
            }
            ExchangeError::NoKeyForRevokeCode(_, NoKey::Retired | NoKey::BelowFloor) => Self::permanent(
                "The key of this revoke code has been retired, and every AuthID under it with it. For an AuthID that was made again since, use the code shown with that",
            ),
            ExchangeError::Denied(Denied::Grant) => {
                Self::permanent("This AuthID has been revoked. Please create a new one")
            }
            ExchangeError::Denied(_) => Self::permanent(
                "The server's operator has revoked all AuthIDs of this age or kind. Please create a new one",
            ),
            ExchangeError::NotOffered(_) => Self::of_failure(ProviderError::NotOffered, None, provider),
            ExchangeError::UnknownApp(_) => Self::operator(format!(
                "The app at {provider} that this AuthID was made with is no longer configured on this server. Please tell the server's operator"
            )),
            // The configuration sees to the rest of its shape.
            ExchangeError::Gone(_, reason) => Self::permanent(reason.trim_end_matches(['.', ' ']).to_owned()),
            // The call goes on, and its answer is kept whenever it comes.
            ExchangeError::Unclear(ProviderError::TimedOut, _) => Self {
                reason: format!(
                    "{provider} has not answered yet. Your AuthID should be fine; please try again in half a minute"
                )
                .into(),
                ..Self::of_failure(ProviderError::TimedOut, None, provider)
            },
            ExchangeError::Unclear(ProviderError::Unreachable, _) => Self::broke_off(String::new(), provider),
            ExchangeError::Provider(failure, status) | ExchangeError::Unclear(failure, status) => {
                Self::of_failure(*failure, *status, provider)
            }
            ExchangeError::NoKeyForRecord(_, NoKey::Newer) => Self::passing(
                "What this server remembers of this login is sealed with a newer key than it has. Please try again in a moment; if it stays, tell the server's operator",
            ),
            ExchangeError::NoKeyForRecord(..) => Self::permanent(
                "What this server remembers of this login was sealed with a key that it no longer has. Please create a new AuthID",
            ),
            ExchangeError::MassRefusal => Self {
                level: Level::INFO, // the first has a line of its own
                ..Self::passing(format!(
                    "{provider} refuses the logins of many people at once, so it must be this server's app there. Your AuthID should be fine; please try again later, and if it stays, tell the server's operator"
                ))
            },
            ExchangeError::NoRecord => Self::permanent(
                "This server's memory of this login is gone: its state store was emptied or set back. Please create a new AuthID",
            ),
            ExchangeError::MaybeSpent => Self::passing(format!(
                "The last exchange with {provider} broke off. Your AuthID should be fine; please try again in half a minute"
            )),
            ExchangeError::StoreDown => Self::passing(
                "This server's state store, which this service needs, fails or cannot be reached. Your AuthID should be fine; please try again soon, and if it stays, tell the server's operator",
            ),
            ExchangeError::TimedOut => Self::of_failure(ProviderError::TimedOut, None, provider),
            ExchangeError::NoRoom => Self::passing(
                "This server has no room to wait for an answer: too many requests wait already. Your AuthID should be fine; please try again in half a minute",
            ),
            ExchangeError::OldStore(_) => Self::operator(
                "This server cannot read what the server before it kept of this login. Your AuthID should be fine; please try again later, and if it stays, tell the server's operator",
            ),
            ExchangeError::Guessed(wait) => Self::too_many(*wait),
            ExchangeError::Internal => Self::internal(),
        }
    }

    fn broke_off(http: String, provider: &str) -> Self {
        Self::passing(format!(
            "The connection to {provider} broke off{http}. Your AuthID should be fine; please try again in half a minute"
        ))
    }

    /// A fault of this server's own.
    pub(in crate::web) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Level::ERROR,
            "The server met an unexpected fault. Please try again; if it stays, tell the server's operator: the log has the cause",
        )
    }

    /// Of a call to `provider`, which answered with `status` if at all. Where a token works once it may be spent, so no
    /// sentence says that the AuthID is fine but those for which it was not looked at.
    pub(in crate::web) fn of_failure(failure: ProviderError, status: Option<u16>, provider: &str) -> Self {
        let http = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
        match (failure, status) {
            (ProviderError::Refused(meaning), _) => Self::permanent(match meaning {
                ErrorClass::Expired => format!(
                    "{provider} says that this login has expired from age or disuse{http}. Please create a new AuthID"
                ),
                ErrorClass::Consent => {
                    format!("{provider} wants a new consent or another sign-in step{http}. Please create a new AuthID")
                }
                ErrorClass::Policy => format!(
                    "A rule of your organisation at {provider} wants a sign-in step that no backup can take{http}. Please ask its administrator, or create a new AuthID"
                ),
                ErrorClass::Locked => format!(
                    "{provider} says that this account is locked or may not be used{http}. Please sign in there or ask its administrator, then create a new AuthID"
                ),
                ErrorClass::AdminConsent => format!(
                    "An administrator of your organisation has to allow this server's app at {provider}{http}. Please ask, then create a new AuthID"
                ),
                ErrorClass::AnswerLost => format!(
                    "An exchange with {provider} broke off, and this login is no longer accepted since{http}. Please create a new AuthID"
                ),
                ErrorClass::LoginAgain | ErrorClass::Operator | ErrorClass::Unclear | ErrorClass::Later => format!(
                    "{provider} no longer accepts this login: it was withdrawn or replaced{http}. Please create a new AuthID"
                ),
            }),
            (ProviderError::Misconfigured, Some(_)) => Self::operator(format!(
                "{provider} refused this server's own credentials or settings{http}. A new AuthID does not help; please tell the server's operator"
            )),
            (ProviderError::Misconfigured, None) => Self::operator(format!(
                "This server's settings for {provider} do not work. A new AuthID does not help; please tell the server's operator"
            )),
            (ProviderError::NotOffered, _) => Self::operator(format!(
                "{provider} is not set up on this server (any more). A new AuthID does not help; please tell the server's operator"
            )),
            // Some servers answer so to a dead login.
            (ProviderError::Unclear { status: 500.. }, _) => Self::passing(format!(
                "{provider} has an outage{http}. Please try again later; if it stays, tell the server's operator"
            )),
            (ProviderError::Crowded, _) => Self {
                level: Level::INFO, // there are many of them
                ..Self::passing(format!(
                    "This server has too many calls to {provider} under way already. Your AuthID should be fine; please try again in half a minute"
                ))
            },
            (ProviderError::Disturbed, _) => Self::passing(format!(
                "{provider} has an outage{http}. Your AuthID should be fine; please try again later"
            )),
            (ProviderError::BadAnswer, Some(300..400)) => Self::passing(format!(
                "{provider} answered with a redirect where there has to be a token{http}. Please tell the server's operator"
            )),
            (ProviderError::BadAnswer, _) => Self::passing(format!(
                "{provider} gave an answer that makes no sense{http}. Please try again later; if it stays, tell the server's operator"
            )),
            (ProviderError::Unclear { status }, _) => Self::passing(format!(
                "{provider} answered with an error that does not say what is wrong (HTTP {status}). Please try again later; if it stays, tell the server's operator"
            )),
            (ProviderError::Busy { retry_after: Some(time) }, _) => {
                // At least a second, so that nobody comes back at once.
                let seconds = time.as_secs().max(1);
                let answer = Self::passing(format!(
                    "{provider} is busy and asks for a pause of {seconds} s{http}. Your AuthID is fine; please try again after it"
                ));
                let status = if time > LONG { StatusCode::SERVICE_UNAVAILABLE } else { answer.status };
                Self { status, retry_after: Some(seconds), ..answer }
            }
            (ProviderError::Busy { retry_after: None }, _) => {
                Self::passing(format!("{provider} is busy{http}. Your AuthID is fine; please try again soon"))
            }
            (ProviderError::Unreachable, None) => Self::passing(format!(
                "{provider} cannot be reached. Your AuthID should be fine; please try again in half a minute"
            )),
            (ProviderError::Unreachable, Some(_)) => Self::broke_off(http, provider),
            (ProviderError::TimedOut, _) => Self {
                status: StatusCode::GATEWAY_TIMEOUT,
                ..Self::passing(format!(
                    "{provider} did not answer in time{http}. Your AuthID should be fine; please try again in half a minute"
                ))
            },
            (ProviderError::BadCallback, _) => Self::permanent(format!(
                "{provider} sent this login to an address that is not its own. Please create a new AuthID"
            )),
        }
    }
}
