//! The token endpoint (RFC 6749 section 3.2) and the revocation endpoint (RFC 7009 and its relatives).

use super::Shared;
use super::authorize::{check_tenant, scopes};
use super::ledger::{AuthorizationRequest, Tokens};
use super::profile::{Renewal, Revocation};
use super::refusal::{Dialect, Refusal};
use super::wire::{self, Call, Form};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Status and body for a token request.
pub(crate) fn answer(shared: &Shared, call: &Call) -> (u16, Value) {
    let answer = call.form().and_then(|form| {
        check_tenant(shared, &call.path)?;
        if call.headers.contains_key("origin") {
            return Err(Refusal::Unexpected("origin".to_owned()));
        }
        match form.get("grant_type").map(String::as_str) {
            Some("authorization_code") if !shared.who.authorize.is_empty() => code(shared, call, &form),
            None if shared.who.renewal == Renewal::None => code(shared, call, &form),
            Some("refresh_token") if shared.who.renewal != Renewal::None => refresh(shared, call, &form),
            Some("password") if shared.who.authorize.is_empty() => trade(shared, call, &form),
            None => Err(Refusal::Missing("grant_type")),
            _ => Err(Refusal::GrantType),
        }
    });
    answer.map_or_else(|refusal| refusal.answer(shared.who.dialect), |body| (200, body))
}

fn code(shared: &Shared, call: &Call, form: &Form) -> Result<Value, Refusal> {
    let who = &shared.who;
    wire::only(form, who.code_params)?;
    let code = wire::need(form, "code")?;
    let mut ledger = shared.ledger.lock().unwrap();
    let terms = ledger.terms(code).cloned().unwrap_or_default();
    let replaced = terms.challenge.is_some() && !who.secret_beside_pkce;
    let client = wire::authenticate(shared, call, form, !replaced)?;
    if replaced && form.contains_key("client_secret") {
        return Err(Refusal::Invalid("client_secret: not together with code_verifier"));
    }
    check_verifier(&terms, form)?;
    if let Some(named) = form.get("redirect_uri")
        && ledger.terms(code).is_some()
        && *named != terms.redirect_uri
    {
        return Err(Refusal::RedirectUri);
    }
    if who.redirect_uri_with_code {
        wire::need(form, "redirect_uri")?;
    }
    if let (Some(host), Some(braces)) = (&terms.host, wire::route(who.token, &call.path))
        && braces.iter().any(|(_, named)| named != host)
    {
        return Err(Refusal::CodeUnknown); // the other region has never heard of it
    }
    let tokens = ledger.redeem(code, &client)?;
    Ok(success(shared.who.dialect, &tokens, true))
}

/// PKCE (RFC 7636 section 4.6).
fn check_verifier(terms: &AuthorizationRequest, form: &Form) -> Result<(), Refusal> {
    let Some(challenge) = &terms.challenge else {
        // A verifier for a code that was asked for without a challenge is a downgrade (RFC 9700 section 2.1.1).
        return if form.contains_key("code_verifier") { Err(Refusal::VerifierWrong) } else { Ok(()) };
    };
    let verifier = form.get("code_verifier").ok_or(Refusal::VerifierMissing)?;
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let fits = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    match fits && BASE64URL.encode(Sha256::digest(verifier)) == *challenge {
        true => Ok(()),
        false => Err(Refusal::VerifierWrong),
    }
}

fn refresh(shared: &Shared, call: &Call, form: &Form) -> Result<Value, Refusal> {
    let who = &shared.who;
    wire::only(form, who.refresh_params)?;
    let client = wire::authenticate(shared, call, form, true)?;
    if let Some(scope) = form.get("scope") {
        scopes(scope, who.scopes)?;
    }
    let tokens = shared.ledger.lock().unwrap().refresh(wire::need(form, "refresh_token")?, &client)?;
    Ok(success(who.dialect, &tokens, false))
}

fn trade(shared: &Shared, call: &Call, form: &Form) -> Result<Value, Refusal> {
    let who = &shared.who;
    wire::only(form, who.code_params)?;
    let client = wire::authenticate(shared, call, form, false)?;
    let scope = scopes(wire::need(form, "scope")?, who.scopes)?;
    if scope != who.scopes {
        return Err(Refusal::Scope);
    }
    wire::need(form, "username")?;
    let tokens = shared.ledger.lock().unwrap().trade(wire::need(form, "password")?, scope, &client)?;
    Ok(success(who.dialect, &tokens, true))
}

/// The answer with tokens as each provider shapes it.
fn success(dialect: Dialect, tokens: &Tokens, login: bool) -> Value {
    let scope = tokens.scope.join(" ");
    let mut body = match dialect {
        // As long as the app is in testing.
        Dialect::Google if login && tokens.refresh.is_some() => {
            json!({"token_type": "Bearer", "scope": scope, "refresh_token_expires_in": 604_799})
        }
        Dialect::Google => json!({"token_type": "Bearer", "scope": scope}),
        Dialect::Microsoft => {
            // Scopes come back with their resource before them, and `offline_access` does not.
            let granted = tokens.scope.iter().filter(|scope| *scope != "offline_access");
            let granted: Vec<_> = granted.map(|scope| format!("https://graph.microsoft.com/{scope}")).collect();
            json!({"token_type": "Bearer", "scope": granted.join(" "), "ext_expires_in": tokens.expires_in})
        }
        Dialect::Box => json!({"token_type": "bearer", "restricted_to": []}),
        Dialect::Dropbox if login => {
            json!({"token_type": "bearer", "scope": scope, "uid": "12345", "account_id": "dbid:AAH4f99T0taONIb"})
        }
        Dialect::Dropbox => json!({"token_type": "bearer"}),
        Dialect::Keycloak => json!({
            "token_type": "Bearer",
            "refresh_expires_in": 0, // an offline token: not "expired"
            "id_token": "eyJhbGciOiJub25lIn0.e30.",
            "not-before-policy": 0,
            "session_state": "2a7dcd4c-0000-4000-8000-6a5e4cf0e2a4",
            "scope": scope,
        }),
        Dialect::Pcloud => json!({"result": 0, "token_type": "bearer", "uid": 12345}),
        Dialect::Plain => json!({"token_type": "Bearer", "scope": scope, "id_token": "eyJhbGciOiJub25lIn0.e30."}),
    };
    body["access_token"] = tokens.access.clone().into();
    if let Some(refresh) = &tokens.refresh {
        body["refresh_token"] = refresh.clone().into();
    }
    if let Some(seconds) = tokens.expires_in {
        body["expires_in"] = seconds.into();
    }
    body
}

/// Status and body for a revocation request.
pub(crate) fn revoke(shared: &Shared, call: &Call) -> (u16, String) {
    let who = &shared.who;
    let done = match who.revocation {
        Revocation::None => return (404, String::new()),
        Revocation::TokenOnlyKillsAll => call.form().and_then(|form| {
            wire::only(&form, &["token"])?;
            shared.ledger.lock().unwrap().revoke(wire::need(&form, "token")?, true)
        }),
        Revocation::Rfc7009 => call.form().and_then(|form| {
            wire::only(&form, &["token", "token_type_hint", "client_id", "client_secret"])?;
            let client = wire::authenticate(shared, call, &form, true)?;
            // An unknown token is as good as revoked (RFC 7009 section 2.2).
            let (mut ledger, token) = (shared.ledger.lock().unwrap(), wire::need(&form, "token")?);
            // One of another client's is not (section 2.1).
            if ledger.client_of(token).is_some_and(|maker| maker != client) {
                return Err(Refusal::RefreshUnknown);
            }
            let _ = ledger.revoke(token, false);
            Ok(())
        }),
        Revocation::Bearer => {
            let header = call.headers.get("authorization").map(String::as_str).unwrap_or_default();
            let token = header.strip_prefix("Bearer ").unwrap_or_default();
            match call.params.is_empty() {
                true => shared.ledger.lock().unwrap().revoke(token, false),
                false => Err(Refusal::Invalid("body")),
            }
        }
    };
    match done {
        Err(refusal) => {
            let (status, body) = refusal.answer(who.dialect);
            (status, body.to_string())
        }
        Ok(()) => match who.revocation {
            Revocation::Bearer => (200, "null".to_owned()),
            Revocation::TokenOnlyKillsAll => (200, "{}".to_owned()),
            _ => (200, String::new()),
        },
    }
}
