//! Error pages of logins: for each [`LoginError`] what happened and what its user does next.

use crate::app::App;
use crate::login::{LoginContext, LoginError, NoRefreshToken};
use crate::provider::{ErrorClass, Flow, ProviderError, Service};
use crate::web::audit;
use crate::web::handlers::start_link;
use crate::web::response::page::ErrorPage;
use crate::web::response::reason_text;
use crate::web::response::rejection::Rejection;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;

/// A login that failed. The way on leads back to who wanted to log in, if that is known.
pub(in crate::web) fn reject(
    error: &LoginError,
    resumed: Option<&LoginContext>,
    request: &HttpRequest,
    app: &App,
) -> Rejection {
    let (status, page) = page(error);
    // A pause is the operator's own doing, and any stranger meets it; what comes in a callback any stranger can make up.
    let is_own = matches!(error, LoginError::Paused(..) | LoginError::ProviderError(..));
    let is_fault = status.is_server_error() && !is_own;
    audit::login_refused(error, is_fault, request, app);
    Rejection::page(status, page.resuming(start_link::seal(resumed, app)))
}

/// Where the catalogue has no service of that id.
pub(in crate::web) fn unknown_service() -> Rejection {
    Rejection::page(StatusCode::NOT_FOUND, ErrorPage::new("unknown_service").action("/", "action.all_services"))
}

fn page(error: &LoginError) -> (StatusCode, ErrorPage) {
    let bad = |page| (StatusCode::BAD_REQUEST, page);
    match error {
        LoginError::StaleLink => bad(ErrorPage::new("stale_link")),
        LoginError::NoCookie => bad(ErrorPage::new("no_cookie")),
        LoginError::Unavailable(service) => {
            let page = ErrorPage::new("unavailable");
            (StatusCode::NOT_FOUND, reason_text::unavailable(service).into_iter().fold(page, ErrorPage::because))
        }
        LoginError::Paused(service, _) => {
            let page = match service {
                Some(service) => ErrorPage::new("paused_service").with("service", service.name.as_str()),
                None => ErrorPage::new("paused"),
            };
            (StatusCode::SERVICE_UNAVAILABLE, page)
        }
        LoginError::BadState | LoginError::Unconfirmed(_) => bad(ErrorPage::new("bad_state")),
        LoginError::NoCode(service) => bad(again(service, "no_code")),
        LoginError::TooLate(service) => bad(again(service, "too_late")),
        LoginError::OtherBrowser => bad(ErrorPage::new("other_browser")),
        LoginError::Replayed(None) => bad(ErrorPage::new("replayed")),
        LoginError::Replayed(Some(service)) => bad(again(service, "replayed")),
        LoginError::WrongIssuer => bad(ErrorPage::new("wrong_issuer")),
        LoginError::Declined(service) => bad(again(service, "declined")),
        LoginError::ProviderError(service, meaning, code) => provider_error(service, *meaning, code),
        LoginError::Stray(code) => bad(ErrorPage::new("stray").with("code", code.as_str())),
        LoginError::NoRefreshToken(service, why) => bad(no_refresh_token(service, *why)),
        LoginError::MissingScopes(service, scopes) => {
            bad(again(service, "missing_scopes").with("scopes", scopes.join(", ")))
        }
        LoginError::BadPaste(service) => bad(again(service, "bad_paste")),
        LoginError::TooMany => (StatusCode::TOO_MANY_REQUESTS, ErrorPage::new("too_many_pastes")),
        LoginError::NotRemembered(service) => (StatusCode::BAD_GATEWAY, again(service, "not_remembered")),
        LoginError::Provider(service, failure) => call_failed(service, *failure),
        LoginError::Seal(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, ErrorPage::new("not_sealed").with("fault", error.to_string()))
        }
    }
}

/// The provider sent the person back with an error.
fn provider_error(service: &Service, meaning: Option<ErrorClass>, code: &str) -> (StatusCode, ErrorPage) {
    let (status, name) = match meaning {
        Some(ErrorClass::AdminConsent) => (StatusCode::BAD_REQUEST, "admin_consent"),
        Some(ErrorClass::Policy) => (StatusCode::BAD_REQUEST, "policy"),
        Some(ErrorClass::Locked) => (StatusCode::BAD_REQUEST, "locked"),
        Some(ErrorClass::Operator | ErrorClass::Unclear) => (StatusCode::BAD_GATEWAY, "registration"),
        Some(ErrorClass::Later) => (StatusCode::BAD_GATEWAY, "busy"),
        Some(ErrorClass::LoginAgain | ErrorClass::AnswerLost | ErrorClass::Expired | ErrorClass::Consent) => {
            (StatusCode::BAD_REQUEST, "sign_in")
        }
        None => (StatusCode::BAD_REQUEST, "provider_error"),
    };
    (status, again(service, name).with("code", code))
}

/// The call to the provider failed. What is not the person's part is told with the status that `/refresh` has for it.
fn call_failed(service: &Service, failure: ProviderError) -> (StatusCode, ErrorPage) {
    let page = again(
        service,
        match failure {
            ProviderError::Refused(ErrorClass::Policy | ErrorClass::AdminConsent | ErrorClass::Locked) => "call_policy",
            ProviderError::Refused(_) => match service.provider.flow() {
                Flow::Code => "call_refused",
                Flow::LoginToken => "call_refused_paste",
            },
            ProviderError::Unclear { .. } => "call_unclear",
            ProviderError::Misconfigured | ProviderError::NotOffered => "call_registration",
            ProviderError::Busy { .. } => "call_busy",
            ProviderError::Unreachable | ProviderError::Crowded | ProviderError::TimedOut => "call_unreachable",
            ProviderError::Disturbed => "call_disturbed",
            ProviderError::BadAnswer => "call_bad_answer",
            ProviderError::BadCallback => "call_bad_callback",
        },
    );
    let page = if let ProviderError::Unclear { status } = failure { page.with("status", status) } else { page };
    (Rejection::of_failure(failure, None, service.provider.name()).page_status(), page)
}

fn no_refresh_token(service: &Service, why: NoRefreshToken) -> ErrorPage {
    let page = again(
        service,
        match why {
            NoRefreshToken::OnlyAtFirst => "first_consent_only",
            NoRefreshToken::NotOffline => "not_offline",
            NoRefreshToken::None => "no_refresh_token",
        },
    );
    match service.provider.withdraw_url().filter(|_| why == NoRefreshToken::OnlyAtFirst) {
        Some(url) => page.action(url, "action.open_apps"),
        None => page,
    }
}

/// The page of that name, with the service's and its provider's name, and the way to try again.
fn again(service: &Service, name: &str) -> ErrorPage {
    let page = ErrorPage::new(name).with("provider", service.provider.name()).with("service", service.name.as_str());
    page.action(start_link::address(Some(service.id.as_str()), None), "action.again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authid::SealLoginError;
    use crate::provider::Catalogue;
    use crate::texts::{FILES, Texts};
    use crate::tokens::ExchangeError;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn each_failure_is_told_in_each_language() {
        let facts: toml::Table = include_str!("../../../config/providers.toml").parse().unwrap();
        let [providers, services] = ["providers", "services"].map(|name| facts[name].clone());
        let (providers, services) = (providers.try_into().unwrap(), services.try_into().unwrap());
        let catalogue = Catalogue::build(providers, services, BTreeMap::new(), true).unwrap();
        let service = || catalogue.find("googledrive").unwrap().clone();
        let meanings = [
            ErrorClass::LoginAgain,
            ErrorClass::Expired,
            ErrorClass::Consent,
            ErrorClass::Policy,
            ErrorClass::Locked,
            ErrorClass::AdminConsent,
            ErrorClass::Unclear,
            ErrorClass::Operator,
            ErrorClass::Later,
            ErrorClass::AnswerLost,
        ];
        let failures = [
            ProviderError::Misconfigured,
            ProviderError::Unclear { status: 418 },
            ProviderError::Busy { retry_after: Some(Duration::from_secs(9)) },
            ProviderError::Unreachable,
            ProviderError::BadAnswer,
            ProviderError::Crowded,
            ProviderError::TimedOut,
            ProviderError::BadCallback,
            ProviderError::NotOffered,
        ];
        let mut errors = vec![
            LoginError::StaleLink,
            LoginError::Unavailable(service()),
            LoginError::NoCookie,
            LoginError::Paused(None, ExchangeError::Forged),
            LoginError::Paused(Some(service()), ExchangeError::Forged),
            LoginError::NoCode(service()),
            LoginError::TooLate(service()),
            LoginError::BadState,
            LoginError::Unconfirmed(service()),
            LoginError::OtherBrowser,
            LoginError::Replayed(None),
            LoginError::Replayed(Some(service())),
            LoginError::NoCookie,
            LoginError::TooLate(service()),
            LoginError::WrongIssuer,
            LoginError::Declined(service()),
            LoginError::ProviderError(service(), None, "E-1".to_owned()),
            LoginError::Stray("E-2".to_owned()),
            LoginError::MissingScopes(service(), vec!["files".to_owned(), "offline".to_owned()]),
            LoginError::BadPaste(service()),
            LoginError::TooMany,
            LoginError::NotRemembered(service()),
            LoginError::Seal(SealLoginError::TooLong),
        ];
        errors.extend(
            [NoRefreshToken::NotOffline, NoRefreshToken::OnlyAtFirst, NoRefreshToken::None]
                .map(|why| LoginError::NoRefreshToken(service(), why)),
        );
        errors.extend(meanings.map(|meaning| LoginError::ProviderError(service(), Some(meaning), "E-3".to_owned())));
        errors.extend(meanings.map(|meaning| LoginError::Provider(service(), ProviderError::Refused(meaning))));
        errors.extend(failures.map(|failure| LoginError::Provider(service(), failure)));

        let texts = Texts::built_in().unwrap();
        for error in &errors {
            let (_, page) = page(error);
            let page = page.with("reason", "why");
            let told = FILES.map(|(language, ..)| page.texts().map(|text| texts.say(language, &text).unwrap()));
            assert!(told.iter().flatten().all(|text| !text.is_empty() && !text.contains(['<', '{'])), "{told:?}");
            assert_ne!(told[0][2], told[1][2], "{error}");
        }
    }
}
