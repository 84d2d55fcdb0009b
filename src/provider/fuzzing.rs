//! What must hold of what providers answer, whatever that is; see `crate::fuzzing`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::call::Response;
use super::error_code::{ErrorCode, Told};
use super::metadata::{Found, Wrong, read};
use super::service::Provider;
use super::token_response::tokens;
use super::{CallbackError, ProviderSettings, TokenResponse};
use crate::fuzzing::lossy;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;
use zeroize::Zeroizing;

#[derive(Deserialize)]
struct BuiltIn {
    providers: BTreeMap<String, ProviderSettings>,
}

static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    let BuiltIn { providers } = toml::from_str(include_str!("../../config/providers.toml")).unwrap();
    providers.into_iter().map(|(id, settings)| Provider::unchecked(&id, settings)).collect()
});

const STATUSES: [u16; 12] = [200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 503, 600];

/// The first byte chooses one of the built-in providers, the second the status; the rest is the body.
pub(crate) fn token_response(data: &[u8]) {
    let [which, status, body @ ..] = data else { return };
    let provider = &PROVIDERS[usize::from(*which) % PROVIDERS.len()];
    let response = response(STATUSES[usize::from(*status) % STATUSES.len()], body);
    let told = Told::by_body(&provider.settings, &response.body);
    assert!(told.codes.len() <= 8 && told.codes.iter().all(|code| is_code(&code.to_string())));
    match tokens(provider, &response) {
        Ok(tokens) => {
            assert!((200..300).contains(&response.status));
            is_kept(&tokens);
        }
        Err(fault) => {
            // What is not sure to be over is never called so: only a client error says that nothing came of it.
            let outcome = fault.as_refresh_error();
            assert!(
                !(500..600).contains(&response.status) || response.status == 503 || outcome.in_doubt,
                "{outcome:?}"
            );
            let well_formed = serde_json::from_str::<BTreeMap<String, String>>(&response.body);
            let good = |token: &String| !token.is_empty() && token.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            let token = well_formed.ok().filter(|members| members.len() == 1);
            let token = token.and_then(|mut members| members.remove("access_token")).filter(good);
            let refused = (200..300).contains(&response.status) && token.is_some_and(|token| token.len() <= 16 * 1024);
            assert!(!refused, "an access token is turned away: {outcome:?}");
        }
    }
}

/// The tokens of a response fit where they go: into a header, into an AuthID's record.
fn is_kept(tokens: &TokenResponse) {
    let access = tokens.access_token.expose_secret();
    assert!((1..=16 * 1024).contains(&access.len()) && access.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let refresh = tokens.refresh_token.as_ref().map(ExposeSecret::expose_secret);
    assert!(refresh.is_none_or(|token| (1..=8 * 1024).contains(&token.len())));
    let day = Duration::from_secs(86_400);
    assert!(tokens.expires_in.is_none_or(|life| (Duration::from_secs(1)..=day).contains(&life)));
    assert!(tokens.refresh_token_expires_in.is_none_or(|life| life >= Duration::from_secs(1)));
    assert!(tokens.scopes.iter().flatten().all(|scope| !scope.is_empty() && !scope.contains(char::is_whitespace)));
}

/// A discovery document never leads to this machine, to plain http, or to where a user's name is in the address.
pub(crate) fn discovery(data: &[u8]) {
    static PROVIDER: LazyLock<Provider> = LazyLock::new(|| Provider {
        issuer: Some("https://id.example.com".to_owned()),
        ..Provider::unchecked("p", ProviderSettings::default())
    });
    let wrong = Wrong::default();
    match read(&PROVIDER, &response(200, data), &wrong) {
        Ok(Found::Document(found)) => {
            assert!(found.token.is_some(), "refreshing needs it; a login fails later without the other endpoint");
            for url in [&found.authorize, &found.token, &found.revoke, &found.pushed].into_iter().flatten() {
                assert!(url.scheme() == "https" && url.username().is_empty() && url.password().is_none(), "{url}");
                assert!(!crate::net::names_loopback(url) && url.fragment().is_none(), "{url}");
            }
        }
        Ok(_) => panic!("a response with status 200 is a document or a fault"),
        Err(_) => {
            let shown = [wrong.why.get(), wrong.other.get()].into_iter().flatten();
            shown.for_each(|text| assert!(text.len() <= 200 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
        }
    }
}

/// Of a callback's error nothing but a code is kept.
pub(crate) fn callback(data: &[u8]) {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(data).into_owned().collect();
    let all = PROVIDERS.iter().map(|provider| CallbackError::read(&provider.settings, &pairs));
    for error in all.chain([CallbackError::stray(&pairs)]) {
        assert!(error.code == "without a code" || is_code(&error.code), "{}", error.code);
    }
}

/// Whether a text may be logged and shown, and is in the one spelling of a code.
fn is_code(text: &str) -> bool {
    let short = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'x') && text.len() <= 9;
    let word = text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.-".contains(&byte));
    (short || word) && ErrorCode::parse(text).is_some_and(|code| code.to_string() == text)
}

fn response(status: u16, body: &[u8]) -> Response {
    let body = Zeroizing::new(lossy(body));
    Response { status, retry_after: None, location: None, headers: Default::default(), body, cut: None }
}
