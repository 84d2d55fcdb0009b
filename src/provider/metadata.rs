//! What a document of OpenID Connect Discovery 1.0, or of RFC 8414, says of an issuer. Only what is needed and not
//! configured has to be right; what else is wrong in it is passed over.

use super::call::Response;
use super::error::{AttemptError, ProviderError};
use super::json::Members;
use super::service::Provider;
use super::token_response;
use super::{Flow, endpoint};
use crate::net::names_loopback;
use std::sync::OnceLock;
use url::Url;

/// How much of an issuer is shown, in characters.
const SHOWN: usize = 200;

/// What an issuer says of itself.
pub(super) struct Metadata {
    pub(super) authorize: Option<Url>,
    pub(super) token: Option<Url>,
    pub(super) revoke: Option<Url>,
    pub(super) pushed: Option<Url>,
    pub(super) par_required: bool,
    /// These lists as they are in the document; `None`: it has none.
    pub(super) auth_methods: Option<Vec<String>>,
    pub(super) challenge_methods: Option<Vec<String>>,
    pub(super) response_types: Option<Vec<String>>,
    pub(super) response_modes: Option<Vec<String>>,
    pub(super) grant_types: Option<Vec<String>>,
    pub(super) scopes: Option<Vec<String>>,
}

/// A document, or where else it is.
pub(super) enum Found {
    Document(Box<Metadata>),
    Elsewhere(Url),
    Nothing,
}

/// What is wrong with a response, in words, if it is of no use.
#[derive(Default)]
pub(super) struct Wrong {
    pub(super) why: OnceLock<String>,
    pub(super) other: OnceLock<String>,
}

impl Wrong {
    fn fault(&self, why: impl Into<String>) -> AttemptError {
        self.why.get_or_init(|| why.into());
        AttemptError::bad_answer()
    }
}

/// OpenID Connect Discovery 1.0 section 4.3: a document that speaks for another issuer is not to be used.
pub(super) fn read(provider: &Provider, answer: &Response, wrong: &Wrong) -> Result<Found, AttemptError> {
    if let (300..400, Some(place)) = (answer.status, &answer.location) {
        return Ok(Found::Elsewhere(place.clone()));
    }
    if answer.status != 200 {
        let fault = wrong.fault(format!("HTTP {}", answer.status));
        // Codes of a token endpoint say nothing here, least of all that a login is dead.
        return Err(if answer.status < 500 && answer.status != 429 {
            fault
        } else {
            token_response::error(provider, answer)
        });
    }
    let document = Members::read(&answer.body).filter(|document| document.whole);
    let document = document.ok_or_else(|| wrong.fault("it is no JSON object, or too long"))?;
    check_issuer(provider, &document, wrong)?;
    let url = |name: &str, needed: bool| url(provider, &document, name, needed, wrong);
    let token = url("token_endpoint", provider.token.is_none())?;
    if token.is_none() && provider.token.is_none() {
        return Err(wrong.fault("it names no token_endpoint"));
    }
    Ok(Found::Document(Box::new(Metadata {
        authorize: url("authorization_endpoint", provider.authorize.is_none() && provider.flow() == Flow::Code)?,
        token,
        revoke: url("revocation_endpoint", false)?,
        pushed: url("pushed_authorization_request_endpoint", false)?,
        par_required: document.flag("require_pushed_authorization_requests").unwrap_or(false),
        auth_methods: document.list("token_endpoint_auth_methods_supported"),
        challenge_methods: document.list("code_challenge_methods_supported"),
        response_types: document.list("response_types_supported"),
        response_modes: document.list("response_modes_supported"),
        grant_types: document.list("grant_types_supported"),
        scopes: document.list("scopes_supported"),
    })))
}

/// Whether a document speaks for the provider's issuer.
fn check_issuer(provider: &Provider, document: &Members, wrong: &Wrong) -> Result<(), AttemptError> {
    let issuer = document.string("issuer").ok_or_else(|| wrong.fault("it names no issuer"))?;
    if provider.is_issuer(&issuer) {
        return Ok(());
    }
    let shown: String = issuer.chars().filter(|c| (' '..='~').contains(c)).take(SHOWN).collect();
    tracing::error!(
        provider = provider.id,
        issuer = provider.issuer(),
        document = shown,
        "the discovery document names another issuer; write `issuer` exactly as it does"
    );
    wrong.other.get_or_init(|| shown);
    Err(ProviderError::Misconfigured.into())
}

/// The endpoint that a document has under that name, if it may be used.
///
/// # Errors
/// When it may not, and is `needed`.
fn url(
    provider: &Provider,
    document: &Members,
    name: &str,
    needed: bool,
    wrong: &Wrong,
) -> Result<Option<Url>, AttemptError> {
    // Only an issuer on this machine may lead to other places on it.
    let local = provider.issuer().and_then(|issuer| Url::parse(issuer).ok()).is_some_and(|url| names_loopback(&url));
    let text = document.string(name).filter(|text| !text.is_empty());
    let url = text.as_ref().and_then(|text| endpoint::read(text, provider.settings.allow_private_addresses).ok());
    let url = url.filter(|url| local || !names_loopback(url));
    match (text, &url) {
        (Some(_), None) if needed => {
            tracing::error!(
                provider = provider.id,
                endpoint = name,
                "the discovery document names an endpoint that is neither https nor public"
            );
            Err(wrong.fault(format!("its {name} is neither https nor public")))
        }
        (Some(_), None) => {
            tracing::warn!(
                provider = provider.id,
                endpoint = name,
                "an endpoint in the discovery document is neither https nor public, and so not used"
            );
            Ok(url)
        }
        _ => Ok(url),
    }
}
