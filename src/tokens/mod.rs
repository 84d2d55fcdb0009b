//! AuthID in, access token out. The one place that knows the order: open, denylist, cache, single-flight, provider.
//!
//! The denylist comes before the cache, so a revoked login gets nothing that was fetched for it earlier. The provider
//! call runs in a task of its own and is never cancelled: a client that hangs up must not cost anybody a token.

mod cache;
mod flight;
mod inspect;
mod refused;
mod revoke;

pub use cache::Access;
pub use inspect::{Anew, End, Facts};
pub use refused::Refused;
pub use revoke::{AtProvider, Revocable, Revocation, Withdrawal};

use crate::authid::{self, AuthId, Envelope, GrantId, Login, ParseError, RevokeCode, ServiceId};
use crate::clock::{Clock, UnixTime};
use crate::denylist::{Denied, Denylist};
use crate::keyfile::LiveKeyring;
use crate::meter::Meter;
use crate::provider::{Availability, Failure, Providers, Service};
use crate::seal::Epoch;
use cache::{Outcomes, TokenName};
use flight::Flights;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The whole time for one answer: Duplicati gives up after 25 s and must read our reason before that.
const BUDGET: Duration = Duration::from_secs(20);
/// What the provider call gets of it, so that its own reason is known in time.
const CALL_BUDGET: Duration = Duration::from_millis(19_500);
/// How long a refusal is remembered whose provider names no time: Duplicati's first retries stay here, and a mended
/// login is seen soon.
const PAUSE: Duration = Duration::from_secs(10);

/// With fewer days than this to live, a login is warned of at each call to its provider.
const SOON: i64 = 14;

/// Hands out access tokens.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    keyring: Arc<LiveKeyring>,
    denylist: Arc<Denylist>,
    providers: Arc<Providers>,
    outcomes: Outcomes,
    flights: Flights<TokenName, Result<Arc<Access>, Refused>>,
    clock: Clock,
    meter: Meter,
}

/// What an AuthID gave.
pub struct Granted {
    /// The access token.
    pub access: Arc<Access>,
    /// Seconds it has left.
    pub expires_in: u64,
    /// What the AuthID is for.
    pub service: ServiceId,
    /// The same login sealed anew, when that is better than what was sent: under the primary instead of an older
    /// epoch, or around a newer refresh token.
    pub resealed: Option<AuthId>,
}

/// An AuthID that opened. It may be revoked all the same.
pub struct Opened {
    /// What was in it.
    pub login: Login,
    /// The epoch it was sealed under.
    pub epoch: Epoch,
}

impl Tokens {
    /// Puts the parts together. Provider calls are made on the runtime that is current here.
    pub fn new(
        keyring: Arc<LiveKeyring>,
        denylist: Arc<Denylist>,
        providers: Arc<Providers>,
        clock: Clock,
        meter: Meter,
    ) -> Self {
        let (outcomes, flights) = (Outcomes::new(clock.clone()), Flights::new());
        Self(Arc::new(Inner { keyring, denylist, providers, outcomes, flights, clock, meter }))
    }

    /// Waits for the provider calls under way, 20 s at most: what they bring must not be lost with the process.
    pub async fn settle(&self) {
        self.0.flights.settle().await;
    }

    /// Opens an AuthID, revoked or not.
    ///
    /// # Errors
    /// Says why it does not open.
    pub fn open(&self, authid: &str) -> Result<Opened, Refused> {
        let envelope = Envelope::parse(authid).map_err(|error| self.explain(error, authid))?;
        let opened = envelope.open(&self.0.keyring.load());
        let login = opened.map_err(|error| Refused::unopened(envelope.epoch, error))?;
        Ok(Opened { login, epoch: envelope.epoch })
    }

    /// Whether a login is revoked, and by which kind of rule.
    pub fn denied(&self, opened: &Opened) -> Option<Denied> {
        let login = &opened.login;
        self.0.denylist.denies(&login.service, opened.epoch, login.grant, login.login_at)
    }

    /// What is remembered for an AuthID, if it is neither revoked nor in need of a provider call.
    pub fn recall(&self, opened: &Opened) -> Option<Granted> {
        self.check(opened).ok()?;
        self.0.outcomes.token(opened.login.grant).map(|access| self.grant(opened, access))
    }

    /// Exchanges an AuthID for an access token, in at most 20 s.
    ///
    /// # Errors
    /// Says why not.
    pub async fn access(&self, opened: &Opened) -> Result<Granted, Refused> {
        let service = self.check(opened)?.clone();
        let access = match self.0.outcomes.token(opened.login.grant) {
            Some(access) => Ok(access),
            None => self.fetch(&opened.login, service, true).await,
        };
        // The provider took its time; a revocation may have come meanwhile.
        self.check(opened)?;
        Ok(self.grant(opened, access?))
    }

    /// Whether an AuthID may be used: not revoked, and its service still offered.
    fn check(&self, opened: &Opened) -> Result<&Arc<Service>, Refused> {
        if let Some(denied) = self.denied(opened) {
            return Err(Refused::Denied(denied));
        }
        let id = &opened.login.service;
        let service = self.0.providers.catalogue().find(id.as_str());
        match service.map(|service| (service, service.availability())) {
            Some((service, Availability::Offered)) => Ok(service),
            Some((_, Availability::Gone { reason, .. })) => Err(Refused::Gone(id.clone(), reason.to_owned())),
            _ => Err(Refused::NotOffered(id.clone())),
        }
    }

    fn grant(&self, opened: &Opened, access: Arc<Access>) -> Granted {
        let resealed = self.reseal(opened, &access);
        let expires_in = access.seconds_left(&self.0.clock);
        Granted { access, expires_in, service: opened.login.service.clone(), resealed }
    }

    /// Asks the provider, together with whoever else does. `recall` says whether a token that came meanwhile will do.
    async fn fetch(&self, login: &Login, service: Arc<Service>, recall: bool) -> Result<Arc<Access>, Refused> {
        let name = name_of(login);
        if let Some(failure) = self.0.outcomes.failure(&name) {
            return Err(Refused::Provider(failure));
        }
        let work = || {
            let (inner, grant, token) = (self.0.clone(), login.grant, login.refresh_token.clone());
            let sealed_at = login.sealed_at;
            async move {
                // Whoever came here after an earlier flight had landed finds its result.
                if let Some(access) = inner.outcomes.token(grant).filter(|_| recall) {
                    return Ok(access);
                }
                let outcome = inner.call(name, &service, &token).await;
                if outcome.is_ok() {
                    inner.forecast(&service, grant, sealed_at);
                }
                outcome
            }
        };
        match tokio::time::timeout(BUDGET, self.0.flights.join(name, work)).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Refused::Internal),
            Err(_) => Err(Refused::TimedOut),
        }
    }

    /// The login sealed anew where that helps its owner. If it cannot be, the owner still gets the access token.
    fn reseal(&self, opened: &Opened, access: &Access) -> Option<AuthId> {
        let (renewed, keyring) = (renewed(&opened.login, access), self.0.keyring.load());
        if renewed.is_none() && opened.epoch >= keyring.primary().epoch() {
            return None;
        }
        let login = renewed.as_ref().unwrap_or(&opened.login);
        let sealed = authid::seal(keyring.primary(), login);
        sealed.inspect_err(|error| tracing::warn!(grant = %login.grant, %error, "could not seal anew")).ok()
    }

    /// The login with the newest refresh token that is known here, for what is to be done with that one alone.
    async fn newest(&self, login: &Login) -> Login {
        let access = self.0.outcomes.token(login.grant);
        access.and_then(|access| renewed(login, &access)).unwrap_or_else(|| login.clone())
    }

    /// Turns the AuthID of an ended service into that service's own reason, also when it is of an older kind.
    fn explain(&self, error: ParseError, text: &str) -> Refused {
        if RevokeCode::is_meant_by(text) {
            return Refused::IsRevokeCode;
        }
        if let ParseError::Version2(Some(id)) = &error
            && let Some(service) = self.0.providers.catalogue().find(id.as_str())
            && let Availability::Gone { reason, .. } = service.availability()
        {
            return Refused::Gone(id.clone(), reason.to_owned());
        }
        error.into()
    }
}

impl Inner {
    /// One call to the provider, its outcome remembered.
    async fn call(
        &self,
        name: TokenName,
        service: &Service,
        token: &secrecy::SecretString,
    ) -> Result<Arc<Access>, Refused> {
        match self.providers.refresh(service, token, CALL_BUDGET).await {
            Ok(tokens) => {
                let access = Arc::new(Access::new(tokens, &self.clock));
                self.outcomes.keep(name.0, access.clone());
                Ok(access)
            }
            Err(failure) => {
                match failure {
                    Failure::Refused(_) => self.outcomes.remember(name, failure, PAUSE),
                    Failure::Later { retry_after } => {
                        self.outcomes.remember(name, failure, retry_after.unwrap_or(PAUSE))
                    }
                    _ => {}
                }
                Err(Refused::Provider(failure))
            }
        }
    }

    /// Counts how long a login has to live that was just refreshed, and warns while there is time to make it anew.
    fn forecast(&self, service: &Service, grant: GrantId, issued: UnixTime) {
        let Some(days) = service.days_left(issued, self.clock.now()) else { return };
        self.meter.days_left(service.id.as_str(), days);
        if days < SOON {
            tracing::warn!(%grant, service = %service.id, days, "a login ends soon; its owner has to log in again before");
        }
    }
}

fn name_of(login: &Login) -> TokenName {
    let hash: [u8; 32] = Sha256::digest(login.refresh_token.expose_secret().as_bytes()).into();
    (login.grant, std::array::from_fn(|i| hash[i]))
}

/// The login around the refresh token that came with an access token, if that is another one and not older: another
/// replica may have sealed a newer one than is remembered here.
fn renewed(login: &Login, access: &Access) -> Option<Login> {
    let newer = access.successor.as_ref()?;
    let sent = login.refresh_token.expose_secret().as_bytes();
    let same = bool::from(newer.expose_secret().as_bytes().ct_eq(sent));
    let renewed = || Login { refresh_token: newer.clone(), sealed_at: access.fetched_at, ..login.clone() };
    (!same && access.fetched_at >= login.sealed_at).then(renewed)
}
