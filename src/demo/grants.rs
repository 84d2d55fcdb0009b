//! What the demo provider has granted: authorization codes, access tokens, refresh tokens, and which were revoked.

use super::stand::Stand;
use super::token;
use crate::clock::Clock;
use crate::lru::Lru;
use crate::provider::RefreshTokenPolicy;
use crate::seal::{Key, SealError, random};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long a code can be redeemed, and a login token.
const CODE_LIFE: Duration = Duration::from_secs(60);
const LOGIN_TOKEN_LIFE: Duration = Duration::from_secs(600);
/// How long an access token is remembered with the refresh token that it came from.
const ACCESS_LIFE: Duration = Duration::from_secs(3600);
/// Most of each that are remembered.
const MAX: u64 = 1000;

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
    /// Reads the query; `None` when it is no code request, or one with PKCE other than S256.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let (mut request, mut is_code, mut method) = (Self::default(), false, None);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
            match key.as_str() {
                "client_id" => request.client_id = value,
                "redirect_uri" => request.redirect_uri = value,
                "scope" => request.scope = value,
                "state" => request.state = Some(value),
                "code_challenge" => request.challenge = value,
                "code_challenge_method" => method = Some(value),
                "response_type" => is_code = value == "code",
                _ => {}
            }
        }
        let is_s256 = request.challenge.is_empty() || method.as_deref() == Some("S256");
        (is_code && is_s256).then_some(request)
    }
}

/// Codes and login tokens, and refresh tokens that were revoked.
pub(super) struct Grants {
    key: Key,
    codes: Lru<String, Request>,
    login_tokens: Lru<String, ()>,
    access: Lru<String, String>,
    revoked: Lru<String, ()>,
}

impl Grants {
    pub(super) fn new(key: Key) -> Self {
        let clock = Clock::system();
        Self {
            key,
            codes: Lru::new(MAX, CODE_LIFE, &clock),
            login_tokens: Lru::new(MAX, LOGIN_TOKEN_LIFE, &clock),
            access: Lru::new(MAX, ACCESS_LIFE, &clock),
            revoked: Lru::new(MAX, Duration::MAX, &clock),
        }
    }

    /// A code for a request that the user allowed.
    pub(super) fn code(&self, request: Request) -> Result<String, SealError> {
        let code = token()?;
        self.codes.insert(code.clone(), request);
        Ok(code)
    }

    /// A token to paste, good for one login.
    pub(super) fn login_token(&self) -> Result<String, SealError> {
        let token = token()?;
        self.login_tokens.insert(token.clone(), ());
        Ok(token)
    }

    /// Spends such a token; whether it was one.
    pub(super) fn spend_login_token(&self, token: &str) -> bool {
        self.login_tokens.remove(token).is_some()
    }

    /// Redeems a code, once: the scope. Some clients send neither redirect URI nor verifier.
    pub(super) fn redeem(&self, code: &str, redirect_uri: &str, verifier: &str) -> Option<String> {
        let request = self.codes.remove(code)?;
        let proven = request.challenge.is_empty() || BASE64URL.encode(Sha256::digest(verifier)) == request.challenge;
        let same = redirect_uri.is_empty() || redirect_uri == request.redirect_uri;
        (proven && same).then_some(request.scope)
    }

    /// A refresh token for a new login at `stand`.
    pub(super) fn begin(&self, stand: &Stand) -> Result<SecretString, SealError> {
        let sealed = self.key.seal(stand.id.as_bytes(), &random::<8>()?)?;
        Ok(BASE64URL.encode(sealed).into())
    }

    /// What a refresh token becomes when it is used: another one where they change. `None` if it is not alive.
    pub(super) fn renew(&self, stand: &Stand, refresh_token: &str) -> Option<Result<SecretString, SealError>> {
        if !self.is_alive(stand, refresh_token) {
            return None;
        }
        if stand.rotation == RefreshTokenPolicy::Static {
            return Some(Ok(refresh_token.to_owned().into()));
        }
        let next = self.begin(stand);
        if stand.rotation == RefreshTokenPolicy::SingleUse && next.is_ok() {
            self.revoke(stand, refresh_token);
        }
        Some(next)
    }

    /// An access token of a login.
    pub(super) fn access(&self, refresh_token: &SecretString) -> Result<String, SealError> {
        let access = token()?;
        self.access.insert(access.clone(), refresh_token.expose_secret().to_owned());
        Ok(access)
    }

    /// Whether a refresh token was made here, for `stand`, and not revoked since.
    fn is_alive(&self, stand: &Stand, refresh_token: &str) -> bool {
        let sealed = BASE64URL.decode(refresh_token).unwrap_or_default();
        self.key.open(stand.id.as_bytes(), &sealed).is_some() && self.revoked.get(refresh_token).is_none()
    }

    /// Ends the login of a refresh token, or of an access token.
    pub(super) fn revoke(&self, stand: &Stand, token: &str) {
        let token = self.access.get(token).unwrap_or_else(|| token.to_owned());
        if self.is_alive(stand, &token) {
            self.revoked.insert(token, ());
        }
    }
}
