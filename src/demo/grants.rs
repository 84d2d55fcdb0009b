//! What the demo provider has granted.

use super::token;
use crate::seal::{Key, SealError, random};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use moka::sync::Cache;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long a code can be redeemed.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// Most codes and revocations remembered.
const MAX: u64 = 1000;
const LABEL: &[u8] = b"demo refresh token";

/// An authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
#[derive(Clone, Default)]
pub(super) struct Request {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) state: Option<String>,
    challenge: String,
}

impl Request {
    /// Reads the query; `None` when it is no code request with PKCE S256.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let (mut request, mut is_code, mut is_s256) = (Self::default(), false, false);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
            match key.as_str() {
                "client_id" => request.client_id = value,
                "redirect_uri" => request.redirect_uri = value,
                "scope" => request.scope = value,
                "state" => request.state = Some(value),
                "code_challenge" => request.challenge = value,
                "code_challenge_method" => is_s256 = value == "S256",
                "response_type" => is_code = value == "code",
                _ => {}
            }
        }
        (is_code && is_s256).then_some(request)
    }
}

/// Codes, and refresh tokens that were revoked.
pub(super) struct Grants {
    key: Key,
    codes: Cache<String, Request>,
    revoked: Cache<String, ()>,
}

impl Grants {
    pub(super) fn new(key: Key) -> Self {
        let codes = Cache::builder().max_capacity(MAX).time_to_live(CODE_LIFE).build();
        Self { key, codes, revoked: Cache::new(MAX) }
    }

    /// A code for a request that the person allowed.
    pub(super) fn code(&self, request: Request) -> Result<String, SealError> {
        let code = token()?;
        self.codes.insert(code.clone(), request);
        Ok(code)
    }

    /// Redeems a code, once: a refresh token and the scope.
    pub(super) fn redeem(&self, code: &str, redirect_uri: &str, verifier: &str) -> Option<(SecretString, String)> {
        let request = self.codes.remove(code)?;
        let proven = BASE64URL.encode(Sha256::digest(verifier)) == request.challenge;
        let sealed = self.key.seal(LABEL, &random::<8>().ok()?).ok()?;
        (proven && request.redirect_uri == redirect_uri).then(|| (BASE64URL.encode(sealed).into(), request.scope))
    }

    /// Whether a refresh token was made here and not revoked since.
    pub(super) fn is_alive(&self, refresh_token: &str) -> bool {
        let sealed = BASE64URL.decode(refresh_token).unwrap_or_default();
        self.key.open(LABEL, &sealed).is_some() && !self.revoked.contains_key(refresh_token)
    }

    pub(super) fn revoke(&self, refresh_token: &str) {
        if self.is_alive(refresh_token) {
            self.revoked.insert(refresh_token.to_owned(), ());
        }
    }
}
