//! Why an AuthID or a revoke code is no good, as the pages say it: the text for each reason that `errors` has an
//! `X-Reason` for. Here a user reads it, in their language, and may paste something else.

use crate::authid::ParseError;
use crate::denylist::Denied;
use crate::provider::{Availability, ErrorClass, ProviderError, Service};
use crate::seal::NoKey;
use crate::texts::Text;
use crate::tokens::ExchangeError;

/// The reason that the configuration gives for the end of a service.
pub(in crate::web) fn gone(reason: &str) -> Text {
    Text::new("unavailable.gone").with("reason", reason)
}

/// Why an AuthID gives no access, or cannot be opened. The provider's name is for the caller to fill in.
pub(in crate::web) fn refused(refused: &ExchangeError) -> Text {
    Text::new(match refused {
        ExchangeError::Parse(ParseError::Malformed) | ExchangeError::NotStored(_) | ExchangeError::Forged => {
            "reason.invalid"
        }
        ExchangeError::Parse(ParseError::Version1 | ParseError::Version2(_)) => "reason.old_kind",
        ExchangeError::IsRevokeCode => "reason.is_revoke_code",
        ExchangeError::NoKey(_, NoKey::Newer) => "reason.newer_key",
        ExchangeError::NoKey(_, NoKey::Absent) => "reason.no_key",
        ExchangeError::NoKey(_, NoKey::Retired | NoKey::BelowFloor) => "reason.retired_key",
        ExchangeError::BadRevokeCode => "reason.bad_revoke_code",
        ExchangeError::NoKeyForRevokeCode(_, NoKey::Newer) => "reason.code_newer_key",
        ExchangeError::NoKeyForRevokeCode(_, NoKey::Absent) => "reason.code_no_key",
        ExchangeError::NoKeyForRevokeCode(_, NoKey::Retired | NoKey::BelowFloor) => "reason.code_retired_key",
        ExchangeError::Denied(Denied::Grant) => "reason.revoked",
        ExchangeError::Denied(_) => "reason.revoked_kind",
        ExchangeError::NotOffered(_) => "reason.not_offered",
        ExchangeError::UnknownApp(_) => "reason.unknown_app",
        ExchangeError::Gone(_, reason) => return gone(reason),
        ExchangeError::Provider(failure, _) | ExchangeError::Unclear(failure, _) => return failed(failure),
        ExchangeError::NoKeyForRecord(_, NoKey::Newer) => "reason.record_newer_key",
        ExchangeError::NoKeyForRecord(..) => "reason.record_no_key",
        ExchangeError::MassRefusal => "reason.mass_refusal",
        ExchangeError::NoRecord => "reason.forgotten",
        ExchangeError::MaybeSpent => "reason.in_doubt",
        ExchangeError::StoreDown => "reason.store_down",
        ExchangeError::TimedOut => "reason.timed_out",
        ExchangeError::NoRoom => "reason.no_room",
        ExchangeError::OldStore(_) => "reason.old_store",
        ExchangeError::Guessed(_) => "reason.too_many",
        ExchangeError::Internal => "reason.fault",
    })
}

fn failed(failure: &ProviderError) -> Text {
    Text::new(match failure {
        ProviderError::Refused(ErrorClass::Expired) => "reason.expired",
        ProviderError::Refused(ErrorClass::Consent) => "reason.consent",
        ProviderError::Refused(ErrorClass::Policy) => "reason.policy",
        ProviderError::Refused(ErrorClass::Locked) => "reason.locked",
        ProviderError::Refused(ErrorClass::AdminConsent) => "reason.admin_consent",
        ProviderError::Refused(ErrorClass::AnswerLost) => "reason.answer_lost",
        ProviderError::Refused(_) => "reason.withdrawn",
        ProviderError::Misconfigured => "reason.credentials",
        ProviderError::Unclear { status } => return Text::new("reason.unclear").with("status", *status),
        ProviderError::Busy { .. } => "reason.busy",
        ProviderError::Unreachable => "reason.unreachable",
        ProviderError::Crowded => "reason.no_room",
        ProviderError::Disturbed => "reason.disturbed",
        ProviderError::BadAnswer => "reason.bad_answer",
        ProviderError::BadCallback => "reason.bad_callback",
        ProviderError::NotOffered => "reason.not_offered",
        ProviderError::TimedOut => "reason.timed_out",
    })
}

/// Why a service cannot be chosen, for visitors; `None` if it can.
pub(in crate::web) fn unavailable(service: &Service) -> Option<Text> {
    match service.availability() {
        Availability::Offered => None,
        Availability::Closed => Some(Text::new("unavailable.closed")),
        Availability::NotConfigured | Availability::SwitchedOff => Some(Text::new("unavailable.not_configured")),
        Availability::NeedsStore => Some(Text::new("unavailable.needs_store")),
        Availability::Gone { reason, .. } => Some(gone(reason)),
    }
}
