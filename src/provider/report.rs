//! Why a call to a provider brought nothing, in one line of the log for its operator: what came back, from which call,
//! and what to look at. What was sent is left out, and so is the rest of what came.

use super::call::{Call, Head, Payload, Response, place};
use super::error::ProviderError;
use super::error_code::Told;
use super::printable::printable;

/// Says that there was no response, or only a part of one. `cause` is the system's or the TLS library's sentence, never
/// a part of the request or the response.
pub(super) fn no_response(call: &Call<'_>, cause: &str) {
    tracing::warn!(
        provider = call.provider.id,
        service = call.service,
        call = call.name,
        address = place(call.url),
        ?cause,
        "the connection to a provider failed"
    );
}

/// Says it: loudest what this server's operator has to change.
pub(super) fn report(call: &Call<'_>, answer: &Response, failure: ProviderError) {
    let provider = call.provider;
    let told = Told::by_body(&provider.settings, &answer.body);
    let codes: Vec<_> = told.codes.iter().map(ToString::to_string).filter(|code| !call.sends(code)).collect();
    let codes = (!codes.is_empty()).then_some(codes);
    let Head { content_type, encoding, redirect } = answer.head();
    let is_page = content_type.as_deref().is_some_and(|kind| kind.contains("html"));
    let auth = match &call.payload {
        Payload::Form(_, Some((_, choice))) => Some(choice),
        _ => None,
    };
    macro_rules! tell {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                provider = provider.id,
                service = call.service,
                call = call.name,
                address = place(call.url),
                status = answer.status,
                content_type,
                codes = codes.as_ref().map(tracing::field::debug),
                retry_after = answer.retry_after.map(|time| time.as_secs()),
                redirect,
                encoding,
                client_auth = auth.map(|choice| choice.auth.name()),
                because = auth.map(|choice| choice.why),
                hint = hint(answer.status, is_page, failure, auth.is_some_and(|choice| choice.next.is_some())),
                $message
            )
        };
    }
    match failure {
        ProviderError::Misconfigured => tell!(error, "the provider does not accept this server's client; check it"),
        ProviderError::Refused(_) => tell!(info, "the provider does not accept the login"),
        _ => tell!(warn, "the provider's answer is of no use"),
    }
    if let Some(description) = told.description {
        let description = printable(&description, |word| call.sends(word));
        tracing::debug!(
            provider = provider.id,
            service = call.service,
            description,
            "the provider describes its error"
        );
    }
}

/// What to look at first. `guessed`: there is another way to send the client's secret than the one that was taken.
fn hint(status: u16, is_page: bool, failure: ProviderError, guessed: bool) -> Option<&'static str> {
    match status {
        300..400 => {
            Some("the address is redirected: a slash at its end is missing or one too many, or it is http for https")
        }
        404 | 405 => Some("the address is probably wrong"),
        _ if failure == ProviderError::Misconfigured && guessed => {
            Some("id or secret is wrong or has ended, or the provider wants the secret sent otherwise: client_auth")
        }
        200..500 if is_page => Some("a page in place of JSON: a wrong address, or a firewall or login page on the way"),
        _ => None,
    }
}
