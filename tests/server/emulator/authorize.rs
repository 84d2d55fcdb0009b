//! The authorization endpoint, with a person behind it who answers at once (RFC 6749 section 4.1.1, RFC 7636).
//!
//! A request with a mistake gets an error page here, never a redirect: a test that walks into one should stop there.

use super::Shared;
use super::ledger::AuthorizationRequest;
use super::profile::Revocation;
use super::refusal::{Dialect, Refusal};
use super::wire::{self, Form};
use url::Url;

/// What the person does on the consent page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Agrees to everything.
    #[default]
    Grants,
    /// Says no.
    Denies,
    /// Agrees, but not to this scope.
    Unticks(&'static str),
    /// Agreed before, and is not asked again: no refresh token comes of it.
    AgreedBefore,
    /// Agrees; the provider forgets to send `state` back.
    DropsState,
    /// Agrees; the answer claims to come from another issuer (RFC 9207).
    OtherIssuer(String),
    /// The provider itself fails with this code, and a text of its own.
    Fails(&'static str, &'static str),
}

/// Where the browser is sent.
pub(crate) fn answer(shared: &Shared, path: &str, query: &str, issuer: &str) -> Result<Url, Refusal> {
    let who = &shared.who;
    let form = wire::once(&wire::params(query.as_bytes()))?;
    if !shared.clients.lock().unwrap().contains_key(wire::need(&form, "client_id")?) {
        return Err(Refusal::ClientUnknown);
    }
    check_tenant(shared, path)?;
    let redirect_uri = wire::need(&form, "redirect_uri")?;
    if !shared.redirect_uris.lock().unwrap().iter().any(|registered| registered == redirect_uri) {
        return Err(Refusal::RedirectUri);
    }
    let mut asked = authorization_request(shared, &form)?;
    let mut back = Url::parse(redirect_uri).map_err(|_| Refusal::RedirectUri)?;
    if who.tenant.is_some() && back.query().is_some() {
        return Err(Refusal::RedirectUri);
    }
    let consent = shared.consents.lock().unwrap().pop_front().unwrap_or_default();
    let mut params = Vec::new();
    if consent != Consent::DropsState {
        params.extend(form.get("state").map(|state| ("state", state.clone())));
    }
    if let Consent::Denies = consent {
        params.push(("error", "access_denied".to_owned()));
        params.push(("error_description", "The user said \"no\" <script>alert(1)</script>\r\nX-Reason: no".to_owned()));
    } else if let Consent::Fails(error, text) = consent {
        params.push(("error", error.to_owned()));
        params.push(("error_description", text.to_owned()));
    } else {
        if let Consent::Unticks(scope) = &consent {
            asked.scope.retain(|granted| granted != scope);
            asked.offline &= !who.offline.contains(&("scope", scope));
        }
        asked.offline &= consent != Consent::AgreedBefore;
        if who.dialect == Dialect::Google {
            params.push(("scope", asked.scope.join(" ")));
        }
        if let Some((location, host)) = shared.region.lock().unwrap().clone().filter(|_| who.token.contains("{host}")) {
            params.push(("locationid", location));
            params.push(("hostname", host.clone()));
            asked.host = Some(host);
        }
        params.push(("code", shared.ledger.lock().unwrap().code(asked)));
    }
    match consent {
        Consent::OtherIssuer(other) => params.push(("iss", other)),
        _ if who.basic => params.push(("iss", issuer.to_owned())),
        _ => {}
    }
    back.query_pairs_mut().extend_pairs(params);
    Ok(back)
}

/// What is asked for, where it is asked for rightly.
fn authorization_request(shared: &Shared, form: &Form) -> Result<AuthorizationRequest, Refusal> {
    let who = &shared.who;
    wire::only(form, who.authorize_params)?;
    if form.contains_key("prompt") && form.contains_key("approval_prompt") {
        return Err(Refusal::Invalid("prompt: Conflict params approval_prompt and prompt"));
    }
    if wire::need(form, "response_type")? != "code" {
        return Err(Refusal::Invalid("response_type"));
    }
    if form.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(Refusal::Invalid("response_mode"));
    }
    if form.get("state").is_some_and(|state| state.len() > who.state_limit) {
        return Err(Refusal::Invalid("state: too long"));
    }
    let challenge = match (form.get("code_challenge"), form.get("code_challenge_method").map(String::as_str)) {
        (None, None) => None,
        (Some(challenge), Some("S256")) if challenge.len() == 43 => Some(challenge.clone()),
        _ => return Err(Refusal::Invalid("code_challenge")),
    };
    let scope = match form.get("scope") {
        _ if who.scopes.is_empty() => Vec::new(),
        None => return Err(Refusal::Missing("scope")),
        Some(scope) => scopes(scope, who.scopes)?,
    };
    let offline = who.offline.iter().all(|(name, wanted)| match *name {
        "scope" => scope.iter().any(|scope| scope == wanted),
        name => form.get(name).is_some_and(|value| value == wanted),
    });
    Ok(AuthorizationRequest {
        redirect_uri: wire::need(form, "redirect_uri")?.to_owned(),
        challenge,
        scope,
        offline,
        host: None,
    })
}

/// Scopes, separated by single spaces, all of them known (RFC 6749 section 3.3).
pub(crate) fn scopes(text: &str, known: &[&str]) -> Result<Vec<String>, Refusal> {
    let scopes: Vec<_> = text.split(' ').map(str::to_owned).collect();
    match scopes.iter().all(|scope| known.contains(&scope.as_str())) {
        true => Ok(scopes),
        false => Err(Refusal::Scope),
    }
}

/// The tenant that a path names must be the one that is there.
pub(crate) fn check_tenant(shared: &Shared, path: &str) -> Result<(), Refusal> {
    let Some(tenant) = shared.who.tenant else { return Ok(()) };
    let named = [shared.who.authorize, shared.who.token].iter().find_map(|pattern| wire::route(pattern, path));
    match named.is_some_and(|braces| braces.iter().all(|(_, value)| *value == tenant)) {
        true => Ok(()),
        false => Err(Refusal::Tenant),
    }
}

/// The discovery document (OpenID Connect Discovery 1.0 section 3).
pub(crate) fn discovery(shared: &Shared, issuer: &str) -> serde_json::Value {
    let mut document = serde_json::json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}{}", shared.who.authorize),
        "token_endpoint": format!("{issuer}{}", shared.who.token),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": shared.who.scopes,
        "authorization_response_iss_parameter_supported": true,
    });
    if shared.who.revocation != Revocation::None {
        document["revocation_endpoint"] = format!("{issuer}{}", shared.who.revoke).into();
    }
    document
}
