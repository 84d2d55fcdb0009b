//! What the users of Duplicati's backends read of each reason that there is, by the model of those backends that the
//! product's tests have. A reason without a row here does not compile.

#[allow(dead_code, reason = "the product's tests use the rest")]
#[path = "../../../tests/server/reading.rs"]
mod reading;

use crate::authid::{ParseError, ServiceId};
use crate::denylist::Denied;
use crate::provider::{ErrorClass, ProviderError};
use crate::seal::{Epoch, NoKey};
use crate::tokens::ExchangeError;
use crate::web::audience::SentAuthId;
use crate::web::middleware::rejections;
use crate::web::request::authid::NoAuthId;
use crate::web::response::rejection::Rejection;
use actix_web::body::MessageBody;
use reading::{Backend, Generation, Operation, Refusal};
use std::time::Duration;

const OWN: &str = "https://authseal.test";

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    User,
    Operator,
    /// The provider's or nobody's: it may pass.
    Later,
}
use Turn::{Later, Operator, User};

/// Samples with whose turn they are, each below the pattern that it stands for.
macro_rules! rows {
    ($name:ident, $of:ty, $($pattern:pat => $sample:expr, $turn:ident;)*) => {
        fn $name() -> Vec<($of, Turn)> {
            // Never called: it has an arm for everything, or does not compile.
            let _ = |known: &$of| match known { $($pattern => (),)* };
            $(assert!(matches!($sample, $pattern), "{}", stringify!($sample));)*
            vec![$(($sample, $turn)),*]
        }
    };
}

fn epoch() -> Epoch {
    Epoch::parse("9").unwrap()
}

fn service() -> ServiceId {
    ServiceId::parse("example").unwrap()
}

fn refused(meaning: ErrorClass) -> ExchangeError {
    ExchangeError::Provider(ProviderError::Refused(meaning), Some(400))
}

rows! { refusals, ExchangeError,
    ExchangeError::Parse(ParseError::Malformed) => ExchangeError::Parse(ParseError::Malformed), User;
    ExchangeError::Parse(ParseError::Version1) => ExchangeError::Parse(ParseError::Version1), User;
    ExchangeError::Parse(ParseError::Version2(_)) => ExchangeError::Parse(ParseError::Version2(None)), User;
    ExchangeError::Forged => ExchangeError::Forged, User;
    ExchangeError::IsRevokeCode => ExchangeError::IsRevokeCode, User;
    ExchangeError::NoKey(_, NoKey::Newer) => ExchangeError::NoKey(epoch(), NoKey::Newer), Later;
    ExchangeError::NoKey(_, NoKey::Absent) => ExchangeError::NoKey(epoch(), NoKey::Absent), User;
    ExchangeError::NoKey(_, NoKey::Retired) => ExchangeError::NoKey(epoch(), NoKey::Retired), User;
    ExchangeError::NoKey(_, NoKey::BelowFloor) => ExchangeError::NoKey(epoch(), NoKey::BelowFloor), User;
    // These two come at `/revoked` and `/inspect` alone.
    ExchangeError::BadRevokeCode => ExchangeError::BadRevokeCode, User;
    ExchangeError::NoKeyForRevokeCode(..) => ExchangeError::NoKeyForRevokeCode(epoch(), NoKey::Newer), Later;
    ExchangeError::Denied(Denied::Grant) => ExchangeError::Denied(Denied::Grant), User;
    ExchangeError::Denied(_) => ExchangeError::Denied(Denied::Epoch), User;
    ExchangeError::NotOffered(_) => ExchangeError::NotOffered(service()), Operator;
    ExchangeError::UnknownApp(_) => ExchangeError::UnknownApp(service()), Operator;
    ExchangeError::Gone(..) => ExchangeError::Gone(service(), "It has ended. Use gcs instead.".to_owned()), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::LoginAgain), _) => refused(ErrorClass::LoginAgain), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::Expired), _) => refused(ErrorClass::Expired), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::Consent), _) => refused(ErrorClass::Consent), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::Policy), _) => refused(ErrorClass::Policy), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::Locked), _) => refused(ErrorClass::Locked), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::AdminConsent), _) => refused(ErrorClass::AdminConsent), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::AnswerLost), _) => refused(ErrorClass::AnswerLost), User;
    ExchangeError::Provider(ProviderError::Refused(ErrorClass::Operator | ErrorClass::Unclear | ErrorClass::Later), _) => refused(ErrorClass::Later), User;
    ExchangeError::Provider(ProviderError::Misconfigured, Some(_)) => ExchangeError::Provider(ProviderError::Misconfigured, Some(401)), Operator;
    ExchangeError::Provider(ProviderError::Misconfigured, None) => ExchangeError::Provider(ProviderError::Misconfigured, None), Operator;
    ExchangeError::Provider(ProviderError::Unclear { status: 500.. }, _) => ExchangeError::Provider(ProviderError::Unclear { status: 500 }, Some(500)), Later;
    ExchangeError::Provider(ProviderError::Unclear { .. }, _) => ExchangeError::Provider(ProviderError::Unclear { status: 418 }, Some(418)), Later;
    ExchangeError::Provider(ProviderError::Busy { retry_after: None }, _) => ExchangeError::Provider(ProviderError::Busy { retry_after: None }, Some(429)), Later;
    ExchangeError::Provider(ProviderError::Busy { retry_after: Some(_) }, _) => ExchangeError::Provider(ProviderError::Busy { retry_after: Some(Duration::from_secs(86_400)) }, Some(429)), Later;
    ExchangeError::Provider(ProviderError::Unreachable, None) => ExchangeError::Provider(ProviderError::Unreachable, None), Later;
    ExchangeError::Provider(ProviderError::Unreachable, Some(_)) => ExchangeError::Provider(ProviderError::Unreachable, Some(200)), Later;
    ExchangeError::Provider(ProviderError::Crowded, _) => ExchangeError::Provider(ProviderError::Crowded, None), Later;
    ExchangeError::Provider(ProviderError::Disturbed, _) => ExchangeError::Provider(ProviderError::Disturbed, Some(503)), Later;
    ExchangeError::Provider(ProviderError::BadAnswer, Some(300..400)) => ExchangeError::Provider(ProviderError::BadAnswer, Some(302)), Operator;
    ExchangeError::Provider(ProviderError::BadAnswer, _) => ExchangeError::Provider(ProviderError::BadAnswer, Some(200)), Later;
    ExchangeError::Provider(ProviderError::TimedOut, _) => ExchangeError::Provider(ProviderError::TimedOut, None), Later;
    ExchangeError::Provider(ProviderError::BadCallback, _) => ExchangeError::Provider(ProviderError::BadCallback, None), User;
    ExchangeError::Provider(ProviderError::NotOffered, _) => ExchangeError::Provider(ProviderError::NotOffered, None), Operator;
    ExchangeError::Unclear(ProviderError::TimedOut, _) => ExchangeError::Unclear(ProviderError::TimedOut, None), Later;
    ExchangeError::Unclear(ProviderError::Unreachable, _) => ExchangeError::Unclear(ProviderError::Unreachable, None), Later;
    ExchangeError::Unclear(..) => ExchangeError::Unclear(ProviderError::Disturbed, Some(502)), Later;
    ExchangeError::MassRefusal => ExchangeError::MassRefusal, Later;
    ExchangeError::NoRecord => ExchangeError::NoRecord, User;
    ExchangeError::MaybeSpent => ExchangeError::MaybeSpent, Later;
    ExchangeError::NoKeyForRecord(_, NoKey::Newer) => ExchangeError::NoKeyForRecord(epoch(), NoKey::Newer), Later;
    ExchangeError::NoKeyForRecord(..) => ExchangeError::NoKeyForRecord(epoch(), NoKey::Retired), User;
    ExchangeError::StoreDown => ExchangeError::StoreDown, Later;
    ExchangeError::TimedOut => ExchangeError::TimedOut, Later;
    ExchangeError::NoRoom => ExchangeError::NoRoom, Later;
    ExchangeError::NotStored(_) => ExchangeError::NotStored(String::new()), User;
    ExchangeError::OldStore(_) => ExchangeError::OldStore(String::new()), Operator;
    ExchangeError::Guessed(_) => ExchangeError::Guessed(Duration::from_secs(60)), Later;
    ExchangeError::Internal => ExchangeError::Internal, Operator;
}

rows! { without, NoAuthId,
    NoAuthId::Missing => NoAuthId::Missing, User;
    NoAuthId::Several => NoAuthId::Several, User;
    NoAuthId::InUrl => NoAuthId::InUrl, User;
}

/// Every rejection to a request with an AuthID, as it was made for a service of `provider`.
fn answers(provider: &str) -> Vec<(Rejection, Turn)> {
    let refused = refusals().into_iter().map(|(refused, turn)| (Rejection::of(&refused, provider), turn));
    let bad = without().into_iter().map(|(why, turn)| (Rejection::from(why), turn));
    let too_many = [(Rejection::too_many(Duration::from_secs(59)), Later), (Rejection::internal(), Operator)];
    refused.chain(bad).chain(too_many).collect()
}

#[test]
fn every_reason_is_read_in_full_by_the_users_of_every_backend() {
    for (rejection, turn) in answers("Google") {
        let reason = rejection.reason.as_ref();
        for backend in Backend::ALL {
            let response = rejections::to_duplicati(
                &rejection,
                Some(SentAuthId::new(&format!("v3:{}:9:x", backend.service()))),
                OWN,
            );
            let status = response.status();
            assert_eq!(status.as_u16(), if turn == User { 401 } else { 503 }, "{reason}");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{reason}");
            assert_eq!(response.headers().get("x-reason").unwrap(), reason);
            assert_eq!(response.headers().get("content-type").unwrap(), "text/plain; charset=utf-8");
            let body = response.into_body().try_into_bytes().unwrap();
            let refusal = Refusal {
                status: Some(status.as_u16()),
                phrase: status.canonical_reason().unwrap().to_owned(),
                reason: Some(reason.to_owned()),
                body: String::from_utf8(body.to_vec()).unwrap(),
            };
            for (generation, operation) in Generation::ALL.into_iter().flat_map(|g| Operation::ALL.map(|o| (g, o))) {
                let what = format!("{backend:?} {generation:?} {operation:?}: {reason}");
                let text = reading::reading(backend, generation, operation, OWN, &refusal);
                assert!(text.contains(reason) && !text.contains("{\""), "{what}: {text}");
                let asks =
                    format!("{OWN}{}?type={}", if text.contains("/?type") { "/" } else { "" }, backend.service());
                assert!(text.contains(&asks), "{what}: {text}");
                let retries = reading::retries(backend, generation, &refusal);
                // That one sees neither status nor reason.
                let blind = (backend, generation) == (Backend::Box, Generation::V2_1);
                assert_eq!(retries, if blind { 5 } else { usize::from(turn == User) }, "{what}");
                let seconds = Duration::from_secs((1 << retries) - 1);
                let limit = reading::limit(backend, generation, operation);
                assert!(limit.is_none_or(|limit| seconds < limit), "{what}");
            }
        }
    }
}

#[test]
fn every_reason_has_the_same_form_and_says_whose_turn_it_is() {
    let long = "X".repeat(60);
    for provider in ["Google", "Box", "O'Neill & Sons", long.as_str()] {
        for (rejection, turn) in answers(provider) {
            let reason = rejection.reason.as_ref();
            assert!(reason.len() <= 300 && reason.bytes().all(|b| (b' '..=b'~').contains(&b)), "{reason}");
            assert!(reason.starts_with(|c: char| c.is_ascii_alphabetic()), "{reason}");
            assert!(reason.ends_with(|c: char| c.is_ascii_alphanumeric()), "{reason}");
            let says = match turn {
                User => &[
                    "lease create a new",
                    "lease ask",
                    "lease send",
                    "lease use",
                    "lease sign in",
                    "then create",
                    "Use ",
                    "is not valid",
                ][..],
                Operator => &["operator"],
                Later => &["try again"],
            };
            assert!(says.iter().any(|says| reason.contains(says)), "{turn:?}: {reason}");
            assert!(turn == User || !reason.contains("create a new"), "{reason}");
        }
    }
    for (refused, _) in refusals() {
        if let ExchangeError::Provider(_, status) | ExchangeError::Unclear(_, status) = &refused {
            let reason = Rejection::of(&refused, "Google").reason;
            assert!(reason.contains("Google"), "{reason}");
            assert!(status.is_none_or(|status| reason.contains(&format!("(HTTP {status})"))), "{reason}");
            let doubt = matches!(refused, ExchangeError::Unclear(..));
            assert!(!(doubt && reason.contains("is fine")), "{reason}");
        }
    }
}
