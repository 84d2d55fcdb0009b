//! Why an AuthID or a revoke code is no good, as the pages tell it: the text for each reason that `reason` has an
//! `X-Reason` for. Here a person reads it, in their language, and may paste something else.

use crate::app::App;
use crate::authid::ParseError;
use crate::denylist::Denied;
use crate::provider::{Failure, Meaning};
use crate::seal::NoKey;
use crate::texts::Text;
use crate::tokens::Refused;
use crate::web::exchange;
use crate::web::request::authid::NoAuthId;
use crate::web::response::errors::Answer;
use actix_web::HttpRequest;

/// Why nothing was done with what was sent.
pub(in crate::web) fn no_authid(why: NoAuthId) -> Text {
    Text::new(match why {
        NoAuthId::Missing => "reason.missing",
        NoAuthId::Several => "reason.several",
        NoAuthId::InUrl => "reason.in_url",
    })
}

/// [`exchange::unopened`], and what the page says.
pub(in crate::web) fn unopened(refused: &Refused, pasted: &str, request: &HttpRequest, app: &App) -> (Answer, Text) {
    let answer = exchange::unopened(refused, pasted, request, app);
    // Nothing else that does not open has to wait.
    let is_limited = answer.retry_after.is_some();
    (answer, if is_limited { Text::new("reason.too_many") } else { self::refused(refused) })
}

/// The reason that the configuration gives for the end of a service.
pub(in crate::web) fn gone(reason: &str) -> Text {
    Text::new("unavailable.gone").with("reason", reason)
}

/// Why an AuthID gives no access, or cannot be opened. The provider's name is for the caller to fill in.
pub(in crate::web) fn refused(refused: &Refused) -> Text {
    Text::new(match refused {
        Refused::Parse(ParseError::Malformed) | Refused::NotInOldStore(_) | Refused::Forged => "reason.invalid",
        Refused::Parse(ParseError::Version1 | ParseError::Version2(_)) => "reason.old_kind",
        Refused::IsRevokeCode => "reason.is_revoke_code",
        Refused::NoKey(_, NoKey::Newer) => "reason.newer_key",
        Refused::NoKey(_, NoKey::Absent) => "reason.no_key",
        Refused::NoKey(_, NoKey::Retired | NoKey::BelowFloor) => "reason.retired_key",
        Refused::BadRevokeCode => "reason.bad_revoke_code",
        Refused::NoKeyForRevokeCode(_, NoKey::Newer) => "reason.code_newer_key",
        Refused::NoKeyForRevokeCode(_, NoKey::Absent) => "reason.code_no_key",
        Refused::NoKeyForRevokeCode(_, NoKey::Retired | NoKey::BelowFloor) => "reason.code_retired_key",
        Refused::Denied(Denied::Grant) => "reason.revoked",
        Refused::Denied(_) => "reason.revoked_kind",
        Refused::NotOffered(_) => "reason.not_offered",
        Refused::Gone(_, reason) => return gone(reason),
        Refused::Provider(failure, _) | Refused::Unclear(failure, _) => return failed(failure),
        Refused::NoKeyForRecord(_, NoKey::Newer) => "reason.record_newer_key",
        Refused::NoKeyForRecord(..) => "reason.record_no_key",
        Refused::Forgotten => "reason.forgotten",
        Refused::InDoubt => "reason.in_doubt",
        Refused::StoreDown => "reason.store_down",
        Refused::TimedOut => "reason.timed_out",
        Refused::NoRoom => "reason.no_room",
        Refused::OldStore(_) => "reason.old_store",
        Refused::Guessed(_) => "reason.too_many",
        Refused::Internal => "reason.fault",
    })
}

fn failed(failure: &Failure) -> Text {
    Text::new(match failure {
        Failure::Refused(Meaning::Expired) => "reason.expired",
        Failure::Refused(Meaning::Consent) => "reason.consent",
        Failure::Refused(Meaning::Policy) => "reason.policy",
        Failure::Refused(Meaning::Locked) => "reason.locked",
        Failure::Refused(Meaning::AdminConsent) => "reason.admin_consent",
        Failure::Refused(Meaning::AnswerLost) => "reason.answer_lost",
        Failure::Refused(_) => "reason.withdrawn",
        Failure::Operator => "reason.credentials",
        Failure::Unclear { status } => return Text::new("reason.unclear").with("status", *status),
        Failure::Later { .. } => "reason.busy",
        Failure::Unreachable => "reason.unreachable",
        Failure::Disturbed => "reason.disturbed",
        Failure::BadAnswer => "reason.bad_answer",
        Failure::BadCallback => "reason.bad_callback",
        Failure::NotOffered => "reason.not_offered",
        Failure::TimedOut => "reason.timed_out",
    })
}
