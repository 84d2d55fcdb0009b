//! The authorization code flow (RFC 6749 section 4.1, with PKCE, RFC 7636) as a client of the provider: authorization
//! request, callback, token request, AuthID. Jottacloud's login token takes the place of the first two.
//!
//! Nothing is stored before a login succeeds. What has to survive the trip to the provider travels sealed in `state`.
//!
//! | Step | Function | RFC |
//! | --- | --- | --- |
//! | who opened the start page, in which browser | [`Logins::seal_context`] | login CSRF: 9700 section 4.7 |
//! | authorization request | [`Logins::begin`] | 6749 section 4.1.1, PKCE: 7636 section 4.3 |
//! | authorization response: `state`, `iss`, errors | [`Logins::complete`] | 6749 section 4.1.2, mix-up attack: 9207 |
//! | access token request | `ProviderClient::redeem` | 6749 section 4.1.3, 7636 section 4.5 |
//! | the same with a login token | [`Logins::exchange_login_token`] | none |
//! | token response to AuthID | `issue` | 6749 sections 4.1.4 and 5.1 |
//! | the AuthID to the page that opened ours | [`Logins::deliver`], [`Logins::pick_up`] | `postMessage`: 9700 section 4.17 |

mod browser_cookie;
mod deliver;
mod error;
mod fetch_limit;
mod fetch_token;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod issue;
mod login_context;
mod mailbox;
mod opener;
mod resume;
mod ticket;

pub use browser_cookie::BrowserCookie;
pub use error::{LoginError, NoRefreshToken};
pub use fetch_token::FetchToken;
pub use login_context::LoginContext;
pub use opener::{DeliveryRules, Opener, Silence};

use crate::authid::GrantId;
use crate::clock::{Clock, UnixTime};
use crate::keyring_file::LiveKeyring;
use crate::lru::Lru;
use crate::mitigation::{self, Mitigation};
use crate::net::Client;
use crate::provider::{Availability, CallbackError, Flow, LoginToken, ProviderClient, ProviderError, Service};
use crate::seal::SealError;
use crate::store::Store;
use crate::tokens;
use fetch_limit::FetchLimit;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// How long the browser cookie lives, in seconds.
pub const BROWSER_COOKIE_LIFETIME: i64 = login_context::CONTEXT_LIFETIME;
/// How long a user may take at the provider, in seconds.
pub const STATE_LIFETIME: i64 = login_context::STATE_LIFETIME;
/// How many callbacks are remembered, to tell a reloaded one from a first one.
const MAX_SEEN: u64 = 10_000;
/// How long: longer than a state lives.
const SEEN: Duration = Duration::from_secs(900);

/// Logs users in.
#[derive(Clone)]
pub struct Logins {
    keyring: Arc<LiveKeyring>,
    providers: Arc<ProviderClient>,
    tokens: tokens::TokenService,
    store: Arc<Store>,
    rules: DeliveryRules,
    redirect_uri: String,
    seen: Lru<[u8; 24], ()>,
    fetch_limit: Arc<FetchLimit>,
    clock: Clock,
}

/// A login that begins.
pub struct Begun {
    /// The provider's address to send the browser to.
    pub url: String,
    /// The state once more, to be kept in a cookie, for a provider that may drop it on the way back.
    pub state_cookie: Option<String>,
}

/// What came back to `/logged-in`.
pub struct Callback {
    /// Authorization code (RFC 6749 section 4.1.2).
    pub code: Option<SecretString>,
    /// Our sealed state.
    pub state: Option<String>,
    /// The state from the cookie, see [`Begun::state_cookie`].
    pub state_cookie: Option<String>,
    /// Whether the user said on our own page that they come from the provider.
    pub confirmed: bool,
    /// The issuer (RFC 9207).
    pub iss: Option<String>,
    /// All parameters, for what providers add.
    pub all: Vec<(String, String)>,
}

/// A finished login.
pub struct LoggedIn {
    /// Where.
    pub service: Arc<Service>,
    /// The AuthID; or the provider's own access token, where clients want that.
    pub authid: SecretString,
    /// Which login it is; none where the provider's token is handed out as it is.
    pub grant: Option<GrantId>,
    /// What withdraws it without the AuthID; none where there is no login id.
    pub revoke_code: Option<SecretString>,
    /// When the refresh token expires, whatever its use.
    pub ends: Option<UnixTime>,
    /// Who asked.
    pub opener: Opener,
    /// Why nobody counts as the opener.
    pub caution: Option<Caution>,
    /// The token that the opener asks with, if the AuthID may go to it at all.
    pub fetch_token: Option<FetchToken>,
    /// Whether the AuthID waits in the mailbox already.
    pub waits: bool,
    /// Whether it should wait there and does not: the state store fails, or another browser's AuthID is there.
    pub mailbox_failed: bool,
    /// What [`Logins::deliver`] takes, where a user's click can still have the AuthID sent.
    pub ticket: Option<String>,
    /// The opener once more, sealed as by [`Logins::seal_context`] for the next login.
    pub again: Option<String>,
    /// What else the user needs: label and value.
    pub shown: Vec<(String, String)>,
}

/// Why an AuthID may be another user's than the one in front of the browser (login CSRF, RFC 9700 section 4.7), and so
/// goes nowhere by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caution {
    /// The login began at another address than the one where it ended.
    OtherAddress,
    /// The provider's response came without `state`, so nothing ties it to the login that began in this browser.
    NoState,
}

impl Logins {
    /// Puts the parts together. `redirect_uri` is the registered callback.
    pub fn new(
        keyring: Arc<LiveKeyring>,
        providers: Arc<ProviderClient>,
        tokens: tokens::TokenService,
        store: Arc<Store>,
        rules: DeliveryRules,
        redirect_uri: String,
        clock: Clock,
    ) -> Self {
        let seen = Lru::new(MAX_SEEN, SEEN, &clock);
        let fetch_limit = Arc::new(FetchLimit::new(&clock));
        Self { keyring, providers, tokens, store, rules, redirect_uri, seen, fetch_limit, clock }
    }

    /// The same by other settings: a login that is under way continues by them.
    pub fn with(&self, providers: Arc<ProviderClient>, tokens: tokens::TokenService, rules: DeliveryRules) -> Self {
        Self { providers, tokens, rules, ..self.clone() }
    }

    /// Seals what is known of a visitor of our index page into the parameter of its login links.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn seal_context(&self, context: &LoginContext) -> Result<String, SealError> {
        context.seal(&self.keyring.load(), self.clock.now())
    }

    /// Which page opened ours.
    pub fn opener(&self, referer: Option<&str>, sec_fetch_site: Option<&str>) -> Opener {
        self.rules.opener(referer, sec_fetch_site)
    }

    /// The authorization request (RFC 6749 section 4.1.1): begins a login.
    ///
    /// # Errors
    /// When the link is not of this browser, the service is not offered, or the provider's addresses are not known.
    pub async fn begin(
        &self,
        service: &Arc<Service>,
        ctx: &str,
        browser_cookie: Option<&BrowserCookie>,
        client: Client,
    ) -> Result<Begun, LoginError> {
        let context = LoginContext { client: client.address, ..self.context(ctx, browser_cookie)? };
        self.offered(service, Flow::Code)?;
        self.check_store(service).await?;
        let (state, challenge) = context.begin(&service.id, service.app(), &self.keyring.load(), self.clock.now())?;
        let challenge = service.provider.pkce().then_some(challenge.as_str());
        let url = self.providers.authorize_url(service, &self.redirect_uri, &state, challenge).await;
        let url = url.map_err(|failure| LoginError::Provider(service.clone(), failure))?.into();
        Ok(Begun { url, state_cookie: service.provider.state_optional().then_some(state) })
    }

    /// The authorization response (RFC 6749 section 4.1.2), and the access token request that follows from it. Without
    /// `state` anybody may have sent it here, so that takes the user's word. All of the response is checked before the
    /// code is spent.
    ///
    /// # Errors
    /// Any [`LoginError`].
    pub async fn complete(
        &self,
        callback: &Callback,
        browser_cookie: Option<&BrowserCookie>,
        client: Client,
    ) -> Result<LoggedIn, LoginError> {
        let (state, dropped) = self.state(callback);
        let failed = callback.all.iter().any(|(name, value)| name == "error" && !value.trim().is_empty());
        let state = state.ok_or_else(|| match failed {
            true => LoginError::Stray(CallbackError::stray(&callback.all).code),
            false => LoginError::BadState,
        })?;
        if !browser_cookie.is_some_and(|cookie| cookie.matches(&state.context.browser_cookie)) {
            return Err(LoginError::OtherBrowser);
        }
        let service = self.providers.catalogue().find(state.service.as_str()).ok_or(LoginError::BadState)?;
        let service = service.begun_with(state.app);
        if mitigation::on(Mitigation::StateOptional) && dropped && !service.provider.state_optional() {
            return Err(LoginError::BadState);
        }
        self.offered(&service, Flow::Code)?;
        let other_issuer = callback.iss.as_deref().is_some_and(|issuer| !service.provider.is_issuer(issuer));
        if mitigation::on(Mitigation::Issuer) && other_issuer {
            return Err(LoginError::WrongIssuer);
        }
        if failed {
            return Err(match service.provider.callback_error(&callback.all) {
                CallbackError { declined: true, meaning: None, .. } => LoginError::Declined(service),
                CallbackError { meaning, code, .. } => LoginError::ProviderError(service, meaning, code),
            });
        }
        if state.late {
            return Err(LoginError::TooLate(service));
        }
        let code = callback.code.as_ref().filter(|code| !code.expose_secret().trim().is_empty());
        let code = code.ok_or_else(|| LoginError::NoCode(service.clone()))?;
        if mitigation::on(Mitigation::Confirmation) && dropped && !callback.confirmed {
            return Err(LoginError::Unconfirmed(service));
        }
        if mitigation::on(Mitigation::Replay) && self.seen.lock().insert(state.nonce, ()).is_some() {
            return Err(LoginError::Replayed(Some(service)));
        }
        let verifier = service.provider.pkce().then_some(state.verifier.as_str());
        match self.providers.redeem(&service, code, &self.redirect_uri, verifier, &callback.all).await {
            Ok(tokens) => {
                let caution = dropped.then_some(Caution::NoState);
                self.issue(service, tokens, state.context, client, &callback.all, caution).await
            }
            Err(failure) => {
                // The code was not spent: reloading the page may still work.
                if matches!(failure, ProviderError::Unreachable | ProviderError::Crowded | ProviderError::NotOffered) {
                    self.seen.remove(&state.nonce);
                }
                Err(LoginError::Provider(service, failure))
            }
        }
    }

    /// Ends a login with a login token that the user made at the provider and pasted. `admit` is asked before the
    /// provider is, and everything is checked before the token is spent.
    ///
    /// # Errors
    /// Any [`LoginError`].
    pub async fn exchange_login_token(
        &self,
        service: &Arc<Service>,
        ctx: &str,
        browser_cookie: Option<&BrowserCookie>,
        client: Client,
        pasted: &SecretString,
        admit: impl FnOnce() -> bool,
    ) -> Result<LoggedIn, LoginError> {
        let context = self.context(ctx, browser_cookie)?;
        self.offered(service, Flow::LoginToken)?;
        let pasted = LoginToken::parse(pasted.expose_secret()).ok_or_else(|| LoginError::BadPaste(service.clone()))?;
        if !admit() {
            return Err(LoginError::TooMany);
        }
        self.check_store(service).await?;
        let tokens = self.providers.exchange_login_token(service, &pasted).await;
        let tokens = tokens.map_err(|failure| LoginError::Provider(service.clone(), failure))?;
        self.issue(service.clone(), tokens, context, client, &[], None).await
    }

    fn offered(&self, service: &Arc<Service>, flow: Flow) -> Result<(), LoginError> {
        match service.availability() {
            Availability::Offered if service.provider.flow() == flow => match self.tokens.paused(service) {
                Some(why) => Err(LoginError::Paused(Some(service.clone()), why)),
                None => Ok(()),
            },
            Availability::Offered => Err(LoginError::StaleLink),
            _ => Err(LoginError::Unavailable(service.clone())),
        }
    }
}
