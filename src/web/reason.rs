//! What Duplicati and OAuth libraries are told when there is no access token: status, `X-Reason`, RFC 6749 error.
//! One exhaustive table, a closed catalogue of sentences: a provider's own words never leave the server.
//!
//! The status decides what Duplicati does. 4xx: one retry after a second, so for what cannot get better by itself.
//! 502 and 504: five retries in 31 seconds. 503 with `X-Reason`: given up at once.

use crate::authid::ParseError;
use crate::denylist::Denied;
use crate::provider::{Failure, Meaning};
use crate::seal::NoKey;
use crate::tokens::Refused;
use actix_web::http::StatusCode;
use std::borrow::Cow;
use std::time::Duration;
use tracing::Level;

/// The longest wait that Duplicati's own retries cover.
const COVERED_BY_RETRIES: Duration = Duration::from_secs(30);

/// An answer without a token.
pub(super) struct Answer {
    /// Status at `/refresh`.
    pub(super) status: StatusCode,
    /// `X-Reason`: printable ASCII, at most 200 characters.
    pub(super) reason: Cow<'static, str>,
    /// Seconds for `Retry-After`.
    pub(super) retry_after: Option<u64>,
    /// How loud the log is.
    pub(super) level: Level,
}

/// What a test of an AuthID has found, in a sentence for its owner.
pub fn verdict(outcome: &Result<(), Refused>) -> Cow<'static, str> {
    match outcome {
        Ok(()) => "It works: the storage provider gave access just now.".into(),
        Err(refused) => Answer::from(refused).reason,
    }
}

impl Answer {
    fn new(status: StatusCode, level: Level, reason: &'static str) -> Self {
        Self { status, reason: reason.into(), retry_after: None, level }
    }

    /// For a request that is not made as it has to be.
    pub(super) fn bad_request(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Level::INFO, reason)
    }

    /// For a client that sends one AuthID after the other that does not open.
    pub(super) fn too_many(wait: Duration) -> Self {
        let reason = "Too many AuthIDs that are not valid here came from this address. Please try again in a minute.";
        let retry_after = Some(wait.as_secs() + 1);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, Level::DEBUG, reason) }
    }

    fn not_offered() -> Self {
        let reason = "The service of this AuthID is not set up on this server (any more). Please tell its operator.";
        Self::new(StatusCode::BAD_GATEWAY, Level::ERROR, reason)
    }

    /// The error code and status at `/token` (RFC 6749 section 5.2).
    pub(super) fn oauth(&self) -> (StatusCode, &'static str) {
        if self.status.is_client_error() {
            (StatusCode::BAD_REQUEST, "invalid_grant")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
        }
    }
}

impl From<&Refused> for Answer {
    fn from(refused: &Refused) -> Self {
        // Damaged, forged and foreign AuthIDs are not told apart.
        const INVALID: &str =
            "This AuthID is not valid here: it is damaged, incomplete or from another server. Please create a new one.";
        let permanent = |reason| Self::new(StatusCode::UNAUTHORIZED, Level::INFO, reason);
        let newer = |reason| Self::new(StatusCode::BAD_GATEWAY, Level::WARN, reason);
        match refused {
            Refused::Parse(ParseError::Malformed) | Refused::Forged => permanent(INVALID),
            Refused::Parse(ParseError::Version1 | ParseError::Version2(_)) => permanent(
                "This AuthID was made by an older kind of server and cannot be used here. Please create a new one.",
            ),
            Refused::IsRevokeCode => permanent(
                "This is a revoke code, not an AuthID: it gives no access. It can be used on the page that revokes.",
            ),
            Refused::NoKey(_, NoKey::Newer) => {
                newer("This AuthID was sealed with a newer key than this server has. Please try again in a moment.")
            }
            Refused::NoKey(_, NoKey::Absent) => {
                permanent("The key that sealed this AuthID is not on this server. Please create a new AuthID.")
            }
            Refused::NoKey(_, NoKey::Retired | NoKey::BelowFloor) => permanent(
                "The key that sealed this AuthID has been retired by the server's operator. Please create a new AuthID.",
            ),
            Refused::BadRevokeCode => {
                permanent("This revoke code is not valid here: it is mistyped, incomplete or from another server.")
            }
            Refused::NoKeyForRevokeCode(_, NoKey::Newer) => {
                newer("This revoke code was made with a newer key than this server has. Please try again in a moment.")
            }
            Refused::NoKeyForRevokeCode(_, NoKey::Absent) => {
                permanent("The key that made this revoke code is not on this server.")
            }
            Refused::NoKeyForRevokeCode(_, NoKey::Retired | NoKey::BelowFloor) => permanent(
                "The key of this revoke code has been retired, and every AuthID under it with it. For an AuthID that was made anew since, use the code shown with that.",
            ),
            Refused::Denied(Denied::Grant) => permanent("This AuthID has been revoked. Please create a new one."),
            Refused::Denied(_) => {
                permanent("The server's operator has revoked all AuthIDs of this age or kind. Please create a new one.")
            }
            Refused::NotOffered(_) => Self::not_offered(),
            Refused::Gone(_, reason) => Self { reason: reason.clone().into(), ..permanent("") },
            Refused::Provider(failure) => failure.into(),
            // Its own sentence has the status, and promises nothing.
            Refused::Unclear(failure @ Failure::Unclear { .. }) => failure.into(),
            Refused::Unclear(failure) => Self { reason: unclear(failure).into(), ..failure.into() },
            Refused::NoKeyForRecord(_, NoKey::Newer) => newer(
                "What this server remembers of this login is sealed with a newer key than it has. Please try again in a moment.",
            ),
            Refused::NoKeyForRecord(..) => permanent(
                "What this server remembers of this login was sealed with a key that it no longer has. Please create a new AuthID.",
            ),
            Refused::Forgotten => permanent(
                "This server's memory of this login is gone: its state store was emptied or set back. Please create a new AuthID.",
            ),
            Refused::InDoubt => Self::new(
                StatusCode::BAD_GATEWAY,
                Level::WARN,
                "The last exchange with the storage provider broke off. Your AuthID should be fine; please try again in half a minute.",
            ),
            Refused::StoreDown => Self::new(
                StatusCode::BAD_GATEWAY,
                Level::WARN,
                "This server's state store, which this service needs, cannot be reached, does not answer or refuses what it is asked. Your AuthID is fine; please try again soon.",
            ),
            Refused::TimedOut => (&Failure::TimedOut).into(),
            Refused::NoRoom => Self {
                retry_after: Some(30),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Level::WARN,
                    "This server has no room to wait for an answer: too many requests wait already. Your AuthID should be fine; please try again in half a minute",
                )
            },
            Refused::Internal => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Level::ERROR,
                "The server met an unexpected fault. Please try again; its operator finds the cause in the log.",
            ),
        }
    }
}

/// Of a call with a token that works once, when nobody knows whether the provider took it.
fn unclear(failure: &Failure) -> &'static str {
    match failure {
        Failure::TimedOut => {
            "The storage provider has not answered yet. Your AuthID should be fine; please try again in half a minute."
        }
        Failure::Disturbed | Failure::BadAnswer => {
            "The storage provider gave an answer that makes no sense. Your AuthID should be fine; please try again in half a minute."
        }
        _ => {
            "The connection to the storage provider broke off. Your AuthID should be fine; please try again in half a minute."
        }
    }
}

impl From<&Failure> for Answer {
    fn from(failure: &Failure) -> Self {
        let permanent = |reason| Self::new(StatusCode::UNAUTHORIZED, Level::INFO, reason);
        let passing = |reason| Self::new(StatusCode::BAD_GATEWAY, Level::WARN, reason);
        match failure {
            Failure::Refused(Meaning::Expired) => permanent(
                "The storage provider says that this login has expired from age or disuse. Please create a new AuthID.",
            ),
            Failure::Refused(Meaning::Consent) => permanent(
                "The storage provider wants a new consent or another sign-in step. Please create a new AuthID.",
            ),
            Failure::Refused(Meaning::Policy) => permanent(
                "A rule of your organisation wants a sign-in step that no backup can take. Please ask its administrator, or create a new AuthID.",
            ),
            Failure::Refused(Meaning::Locked) => permanent(
                "The storage provider says that this account is locked or may not be used. Please sign in there or ask its administrator, then create a new AuthID.",
            ),
            Failure::Refused(Meaning::AdminConsent) => permanent(
                "An administrator of your organisation has to allow this server's app at the storage provider. Please ask, then create a new AuthID.",
            ),
            Failure::Refused(Meaning::AnswerLost) => permanent(
                "An exchange with the storage provider broke off, and it no longer accepts this login since. Please create a new AuthID.",
            ),
            Failure::Refused(_) => permanent(
                "The storage provider no longer accepts this login: it was withdrawn or replaced. Please create a new AuthID.",
            ),
            Failure::Operator => Self::new(
                StatusCode::BAD_GATEWAY,
                Level::ERROR,
                "The storage provider refused this server's own credentials. Your AuthID is fine; please tell the server's operator.",
            ),
            Failure::Unclear { status } => Self {
                reason: format!(
                    "The storage provider answered with an error that does not say what is wrong (HTTP {status}). Please try again later; if it stays, tell the server's operator."
                )
                .into(),
                ..passing("")
            },
            Failure::Later { retry_after: Some(time) } if *time > COVERED_BY_RETRIES => Self {
                retry_after: Some(time.as_secs()),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Level::WARN,
                    "The storage provider asks for a longer pause. Your AuthID is fine; please try again later.",
                )
            },
            Failure::Later { .. } => {
                passing("The storage provider is busy. Your AuthID is fine; please try again soon.")
            }
            Failure::Unreachable => {
                passing("The storage provider cannot be reached. Your AuthID should be fine; please try again soon.")
            }
            Failure::Disturbed | Failure::BadAnswer => passing(
                "The storage provider gave an answer that makes no sense. Please try again later; if it stays, tell the server's operator.",
            ),
            Failure::BadCallback => {
                permanent("The storage provider sent this login to an address that is not its own.")
            }
            Failure::NotOffered => Self::not_offered(),
            Failure::TimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                Level::WARN,
                "The storage provider did not answer in time. Your AuthID should be fine; please try again soon.",
            ),
        }
    }
}
