//! What the users of Duplicati's backends read of each reason that there is, by the model of those backends that the
//! product's tests have. A reason without a row here does not compile.

#[allow(dead_code, reason = "the product's tests use the rest")]
#[path = "../../../tests/server/reading.rs"]
mod reading;

use crate::authid::{ParseError, ServiceId};
use crate::denylist::Denied;
use crate::provider::{Failure, Meaning};
use crate::seal::{Epoch, NoKey};
use crate::tokens::Refused;
use crate::web::handlers::refresh;
use crate::web::request::authid::NoAuthId;
use crate::web::response::errors::Answer;
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

fn refused(meaning: Meaning) -> Refused {
    Refused::Provider(Failure::Refused(meaning), Some(400))
}

rows! { refusals, Refused,
    Refused::Parse(ParseError::Malformed) => Refused::Parse(ParseError::Malformed), User;
    Refused::Parse(ParseError::Version1) => Refused::Parse(ParseError::Version1), User;
    Refused::Parse(ParseError::Version2(_)) => Refused::Parse(ParseError::Version2(None)), User;
    Refused::Forged => Refused::Forged, User;
    Refused::IsRevokeCode => Refused::IsRevokeCode, User;
    Refused::NoKey(_, NoKey::Newer) => Refused::NoKey(epoch(), NoKey::Newer), Later;
    Refused::NoKey(_, NoKey::Absent) => Refused::NoKey(epoch(), NoKey::Absent), User;
    Refused::NoKey(_, NoKey::Retired) => Refused::NoKey(epoch(), NoKey::Retired), User;
    Refused::NoKey(_, NoKey::BelowFloor) => Refused::NoKey(epoch(), NoKey::BelowFloor), User;
    // These two come at `/revoked` and `/inspect` alone.
    Refused::BadRevokeCode => Refused::BadRevokeCode, User;
    Refused::NoKeyForRevokeCode(..) => Refused::NoKeyForRevokeCode(epoch(), NoKey::Newer), Later;
    Refused::Denied(Denied::Grant) => Refused::Denied(Denied::Grant), User;
    Refused::Denied(_) => Refused::Denied(Denied::Epoch), User;
    Refused::NotOffered(_) => Refused::NotOffered(service()), Operator;
    Refused::Gone(..) => Refused::Gone(service(), "It has ended. Use gcs instead.".to_owned()), User;
    Refused::Provider(Failure::Refused(Meaning::LoginAgain), _) => refused(Meaning::LoginAgain), User;
    Refused::Provider(Failure::Refused(Meaning::Expired), _) => refused(Meaning::Expired), User;
    Refused::Provider(Failure::Refused(Meaning::Consent), _) => refused(Meaning::Consent), User;
    Refused::Provider(Failure::Refused(Meaning::Policy), _) => refused(Meaning::Policy), User;
    Refused::Provider(Failure::Refused(Meaning::Locked), _) => refused(Meaning::Locked), User;
    Refused::Provider(Failure::Refused(Meaning::AdminConsent), _) => refused(Meaning::AdminConsent), User;
    Refused::Provider(Failure::Refused(Meaning::AnswerLost), _) => refused(Meaning::AnswerLost), User;
    Refused::Provider(Failure::Refused(Meaning::Operator | Meaning::Unclear | Meaning::Later), _) => refused(Meaning::Later), User;
    Refused::Provider(Failure::Operator, Some(_)) => Refused::Provider(Failure::Operator, Some(401)), Operator;
    Refused::Provider(Failure::Operator, None) => Refused::Provider(Failure::Operator, None), Operator;
    Refused::Provider(Failure::Unclear { status: 500.. }, _) => Refused::Provider(Failure::Unclear { status: 500 }, Some(500)), Later;
    Refused::Provider(Failure::Unclear { .. }, _) => Refused::Provider(Failure::Unclear { status: 418 }, Some(418)), Later;
    Refused::Provider(Failure::Later { retry_after: None }, _) => Refused::Provider(Failure::Later { retry_after: None }, Some(429)), Later;
    Refused::Provider(Failure::Later { retry_after: Some(_) }, _) => Refused::Provider(Failure::Later { retry_after: Some(Duration::from_secs(86_400)) }, Some(429)), Later;
    Refused::Provider(Failure::Unreachable, None) => Refused::Provider(Failure::Unreachable, None), Later;
    Refused::Provider(Failure::Unreachable, Some(_)) => Refused::Provider(Failure::Unreachable, Some(200)), Later;
    Refused::Provider(Failure::Disturbed, _) => Refused::Provider(Failure::Disturbed, Some(503)), Later;
    Refused::Provider(Failure::BadAnswer, Some(300..400)) => Refused::Provider(Failure::BadAnswer, Some(302)), Operator;
    Refused::Provider(Failure::BadAnswer, _) => Refused::Provider(Failure::BadAnswer, Some(200)), Later;
    Refused::Provider(Failure::TimedOut, _) => Refused::Provider(Failure::TimedOut, None), Later;
    Refused::Provider(Failure::BadCallback, _) => Refused::Provider(Failure::BadCallback, None), User;
    Refused::Provider(Failure::NotOffered, _) => Refused::Provider(Failure::NotOffered, None), Operator;
    Refused::Unclear(Failure::TimedOut, _) => Refused::Unclear(Failure::TimedOut, None), Later;
    Refused::Unclear(Failure::Unreachable, _) => Refused::Unclear(Failure::Unreachable, None), Later;
    Refused::Unclear(..) => Refused::Unclear(Failure::Disturbed, Some(502)), Later;
    Refused::Forgotten => Refused::Forgotten, User;
    Refused::InDoubt => Refused::InDoubt, Later;
    Refused::NoKeyForRecord(_, NoKey::Newer) => Refused::NoKeyForRecord(epoch(), NoKey::Newer), Later;
    Refused::NoKeyForRecord(..) => Refused::NoKeyForRecord(epoch(), NoKey::Retired), User;
    Refused::StoreDown => Refused::StoreDown, Later;
    Refused::TimedOut => Refused::TimedOut, Later;
    Refused::NoRoom => Refused::NoRoom, Later;
    Refused::NotInOldStore(_) => Refused::NotInOldStore(String::new()), User;
    Refused::OldStore(_) => Refused::OldStore(String::new()), Operator;
    Refused::Guessed(_) => Refused::Guessed(Duration::from_secs(60)), Later;
    Refused::Internal => Refused::Internal, Operator;
}

rows! { without, NoAuthId,
    NoAuthId::Missing => NoAuthId::Missing, User;
    NoAuthId::Several => NoAuthId::Several, User;
    NoAuthId::InUrl => NoAuthId::InUrl, User;
}

/// Every answer to a request with an AuthID, as it was made for a service of `provider`.
fn answers(provider: &str) -> Vec<(Answer, Turn)> {
    let refused = refusals().into_iter().map(|(refused, turn)| (Answer::of(&refused, provider), turn));
    let bad = without().into_iter().map(|(why, turn)| (Answer::from(why), turn));
    let too_many = [(Answer::too_many(Duration::from_secs(59)), Later), (Answer::internal(), Operator)];
    refused.chain(bad).chain(too_many).collect()
}

#[test]
fn every_reason_is_read_in_full_by_the_users_of_every_backend() {
    for (answer, turn) in answers("Google") {
        let reason = answer.reason.as_ref();
        for backend in Backend::ALL {
            let response = refresh::told(&answer, Some(&format!("v3:{}:9:x", backend.service())), OWN);
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
        for (answer, turn) in answers(provider) {
            let reason = answer.reason.as_ref();
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
        if let Refused::Provider(_, status) | Refused::Unclear(_, status) = &refused {
            let reason = Answer::of(&refused, "Google").reason;
            assert!(reason.contains("Google"), "{reason}");
            assert!(status.is_none_or(|status| reason.contains(&format!("(HTTP {status})"))), "{reason}");
            let doubt = matches!(refused, Refused::Unclear(..));
            assert!(!(doubt && reason.contains("is fine")), "{reason}");
        }
    }
}
