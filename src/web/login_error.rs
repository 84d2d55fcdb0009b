//! Why a login did not work, told to the person in front of the browser: what happened and what to do next.

use super::page::ErrorPage;
use super::reason::Answer;
use super::{audit, index};
use crate::app::App;
use crate::login::{Context, LoginError, NoRefreshToken};
use crate::provider::{Failure, Flow, Meaning, Service};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};

/// The page for a login that failed. Its way on leads back to who wanted to log in, if that is known.
pub(super) fn show(error: LoginError, resumed: Option<&Context>, request: &HttpRequest, app: &App) -> HttpResponse {
    let (status, page) = page(&error);
    // A pause is the operator's own doing, and any stranger meets it.
    let is_fault = status.is_server_error() && !matches!(error, LoginError::Paused(..));
    audit::login_refused(&error, is_fault, request, app);
    page.resuming(index::seal(resumed, app)).show(app, request, status)
}

fn page(error: &LoginError) -> (StatusCode, ErrorPage) {
    let bad = |page| (StatusCode::BAD_REQUEST, page);
    match error {
        LoginError::StaleLink => bad(ErrorPage::new(
            "This page is too old",
            "The login link was made for another browser, or more than an hour ago.",
            "Go back to the start and begin once more.",
        )),
        LoginError::NoCookie => bad(ErrorPage::new(
            "This browser keeps no cookie of this site",
            "A login needs one, to end where it began. It did not come back, or two of the same name did.",
            "Allow cookies for this site, then begin again. If they are allowed, delete those of this site first.",
        )),
        LoginError::Unavailable(service) => (
            StatusCode::NOT_FOUND,
            ErrorPage::new(
                "Not available here",
                super::unavailable(service).unwrap_or_default(),
                "Choose another service, or ask the operator of this server.",
            ),
        ),
        LoginError::Paused(service, _) => {
            let whose = service.as_ref().map(|service| format!(" to {}", service.name)).unwrap_or_default();
            let message = format!(
                "The operator of this server has stopped new logins{whose} for now: an AuthID made now would be refused."
            );
            let next =
                "Try again later, or ask the operator. Nothing was asked of your storage, and no AuthID was made.";
            (StatusCode::SERVICE_UNAVAILABLE, ErrorPage::new("New logins are paused", message, next))
        }
        LoginError::NoCode(service) => bad(again(
            service,
            ErrorPage::new(
                "The answer is not complete",
                format!("{} sent you back, and neither allowed the access nor said why not.", service.provider.name()),
                "Try again. If it happens again, tell the operator of this server.",
            ),
        )),
        LoginError::BadState | LoginError::Unconfirmed(_) => bad(ErrorPage::new(
            "This login cannot be finished",
            "The answer does not belong to a login that began here in the last ten minutes.",
            "Begin once more; logging in takes a minute or two.",
        )),
        LoginError::TooLate(service) => bad(again(
            service,
            ErrorPage::new(
                "This login took too long",
                format!(
                    "It began more than ten minutes ago, so the answer of {} no longer counts.",
                    service.provider.name()
                ),
                "Begin once more; logging in takes a minute or two.",
            ),
        )),
        LoginError::OtherBrowser => bad(ErrorPage::new(
            "This login began in another browser",
            "To protect your storage, a login can be finished only in the browser where it began, with cookies allowed.",
            "Begin once more in this browser. If somebody sent you this link, close the page: it may be an attempt to trick you.",
        )),
        LoginError::Replayed(service) => {
            let page = ErrorPage::new(
                "This page cannot be loaded twice",
                "Each login shows its AuthID once.",
                "If Duplicati has the AuthID, or you have copied it, you are done. If you saw none, log in once more; the one that was lost can do no harm.",
            );
            bad(match service {
                Some(service) => again(service, page),
                None => page,
            })
        }
        LoginError::WrongIssuer => bad(ErrorPage::new(
            "The answer came from somebody else",
            "Another provider than the one you chose sent you back here.",
            "Begin once more. If it happens again, tell the operator of this server.",
        )),
        LoginError::Declined(service) => bad(again(
            service,
            ErrorPage::new(
                "No access was given",
                format!("{} reports that access was not allowed, so there is no AuthID.", service.provider.name()),
                "If that was not on purpose, try again and allow the access.",
            ),
        )),
        LoginError::ProviderError(service, meaning, code) => provider_error(service, *meaning, code),
        LoginError::Stray(code) => bad(ErrorPage::new(
            "The provider refused the login",
            format!("A provider sent you back with an error ({code}), and it does not say of which login."),
            "Begin once more. If it happens again, tell the operator of this server: the log has the same code.",
        )),
        LoginError::NoRefreshToken(service, why) => bad(no_refresh_token(service, *why)),
        LoginError::MissingScopes(service, scopes) => bad(again(
            service,
            ErrorPage::new(
                "Some access was not allowed",
                format!(
                    "Backups to {} need everything that was asked for, and this was left out: {}.",
                    service.name,
                    scopes.join(", ")
                ),
                "Try again and leave all boxes ticked.",
            ),
        )),
        LoginError::BadPaste(service) => bad(again(
            service,
            ErrorPage::new(
                "That is not a login token",
                format!("What was pasted is not a login token of {}, or not all of it.", service.provider.name()),
                "Make a new token, copy it whole and paste it.",
            ),
        )),
        LoginError::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            ErrorPage::new(
                "Too many tries",
                "More login tokens were tried here in the last minute than this server passes on.",
                "Wait a minute, then begin once more.",
            ),
        ),
        LoginError::NotRemembered(service) => (
            StatusCode::BAD_GATEWAY,
            again(
                service,
                ErrorPage::new(
                    "The login could not be kept",
                    format!(
                        "Logins to {} change with every use, and this server cannot reach the place where it remembers the change.",
                        service.name
                    ),
                    "Try again in a few minutes; if it stays, tell the operator of this server.",
                ),
            ),
        ),
        LoginError::Provider(service, failure) => call_failed(service, *failure),
        LoginError::Seal(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorPage::new(
                "The AuthID cannot be made",
                format!("The server met a fault: {error}."),
                "Tell the operator of this server.",
            ),
        ),
    }
}

/// The provider sent the person back with an error.
fn provider_error(service: &Service, meaning: Option<Meaning>, code: &str) -> (StatusCode, ErrorPage) {
    let name = service.provider.name();
    let (status, message, next) = match meaning {
        Some(Meaning::AdminConsent) => (
            StatusCode::BAD_REQUEST,
            format!("An administrator of your organisation has to allow this app at {name} first ({code})."),
            "Ask your administrator to allow it, then try again.",
        ),
        Some(Meaning::Policy) => (
            StatusCode::BAD_REQUEST,
            format!("A rule of your organisation at {name} does not let this login through ({code})."),
            "Ask your administrator; trying again helps only after a change there.",
        ),
        Some(Meaning::Locked) => (
            StatusCode::BAD_REQUEST,
            format!("{name} says that this account is locked or may not be used ({code})."),
            "Sign in at the provider itself, or ask its administrator, then try again.",
        ),
        Some(Meaning::Operator | Meaning::Unclear) => (
            StatusCode::BAD_GATEWAY,
            format!(
                "{name} does not take the request of this server: its registration there or its settings are wrong ({code})."
            ),
            "Tell the operator of this server.",
        ),
        Some(Meaning::Later) => {
            (StatusCode::BAD_GATEWAY, format!("{name} is busy ({code})."), "Try again in a few minutes.")
        }
        Some(Meaning::LoginAgain | Meaning::AnswerLost | Meaning::Expired | Meaning::Consent) => (
            StatusCode::BAD_REQUEST,
            format!("{name} wants you to sign in or to agree once more ({code})."),
            "Try again, and follow all steps there.",
        ),
        None => (
            StatusCode::BAD_REQUEST,
            format!("{name} stopped the login with an error of its own ({code})."),
            "Try again. If it happens again, tell the operator of this server: its registration there may be incomplete.",
        ),
    };
    (status, again(service, ErrorPage::new("The provider refused the login", message, next)))
}

/// The call to the provider failed. What is not the person's part is told with the status that `/refresh` has for it.
fn call_failed(service: &Service, failure: Failure) -> (StatusCode, ErrorPage) {
    let name = service.provider.name();
    let (message, next) = match failure {
        Failure::Refused(Meaning::Policy | Meaning::AdminConsent | Meaning::Locked) => (
            format!(
                "{name} did not accept the login: a rule of your organisation or a lock on the account is against it."
            ),
            "Ask your administrator, then try again.",
        ),
        Failure::Refused(_) => (
            match service.provider.flow() {
                Flow::Code => format!("{name} did not accept the login. It may have taken too long."),
                Flow::Paste => format!("{name} did not accept what was pasted. It is too old, or was used before."),
            },
            match service.provider.flow() {
                Flow::Code => "Try again.",
                Flow::Paste => "Make a new token there and paste that.",
            },
        ),
        Failure::Unclear { status } => (
            format!("{name} answered with an error that does not say what is wrong (HTTP {status})."),
            "Try again; if it stays, tell the operator of this server: the log says more.",
        ),
        Failure::Operator | Failure::NotOffered => (
            format!("This server's own registration at {name} does not work."),
            "Tell the operator of this server: the log says more.",
        ),
        Failure::Later { .. } => (format!("{name} is busy."), "Try again in a few minutes."),
        Failure::Unreachable | Failure::TimedOut => {
            (format!("{name} cannot be reached at the moment."), "Try again in a few minutes.")
        }
        Failure::BadAnswer => (
            format!("{name} gave an answer that makes no sense."),
            "Try again; if it stays, tell the operator of this server.",
        ),
        Failure::BadCallback => (
            format!("The login came back with an address that does not belong to {name}."),
            "Begin once more. If somebody sent you a link, do not use it.",
        ),
    };
    let status = Answer::from(&failure).status;
    // Never a 401, which browsers answer with a dialogue.
    let status = if status.is_client_error() { StatusCode::BAD_REQUEST } else { status };
    (status, again(service, ErrorPage::new("The login did not work", message, next)))
}

fn no_refresh_token(service: &Service, why: NoRefreshToken) -> ErrorPage {
    let name = service.provider.name();
    let (message, next) = match why {
        NoRefreshToken::OnlyAtFirst => (
            format!(
                "{name} allowed access for a short time only. It does that when it believes that this server has lasting access already."
            ),
            format!("Withdraw this server's access at {name}, then log in once more."),
        ),
        NoRefreshToken::NotOffline => (
            format!("{name} allowed access for a short time only: it left out offline access, which was asked for."),
            "Leave all boxes ticked. If there was none, tell the operator of this server: its registration there has to allow offline access."
                .to_owned(),
        ),
        NoRefreshToken::None => (
            format!("{name} allowed access for a short time only, and backups need lasting access."),
            "Tell the operator of this server: the log says what to look at.".to_owned(),
        ),
    };
    let page = ErrorPage::new("The provider gave no lasting access", message, next);
    match service.provider.withdraw_url().filter(|_| why == NoRefreshToken::OnlyAtFirst) {
        Some(url) => page.action(url, "Open the list of apps with access"),
        None => again(service, page),
    }
}

fn again(service: &Service, page: ErrorPage) -> ErrorPage {
    page.action(index::address(Some(service.id.as_str()), None), "Try again")
}
