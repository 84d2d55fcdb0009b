//! AuthID in, access token out. The one place that knows the order: open, denylist, cache, single-flight, provider.
//!
//! The denylist comes before the cache, so a revoked login gets nothing that was fetched for it earlier. The provider
//! call runs in a task of its own and is never cancelled: a client that hangs up must not cost anybody a token.

mod cache;
mod flight;
mod refused;

pub use cache::Access;
pub use refused::Refused;

use crate::authid::{self, AuthId, Envelope, GrantId, Login, ParseError, ServiceId};
use crate::clock::Clock;
use crate::denylist::{Denied, Denylist, NotDurable};
use crate::keyfile::LiveKeyring;
use crate::provider::{Availability, Failure, Providers, Revoked, Service};
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
/// How long a refusal of the login is remembered: Duplicati's retry after 1 s stays here, a mended login is seen soon.
const DEAD: Duration = Duration::from_secs(10);

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
}

/// What an AuthID gave.
pub struct Granted {
    /// The access token.
    pub access: Arc<Access>,
    /// Seconds it has left.
    pub expires_in: u64,
    /// What the AuthID is for.
    pub service: ServiceId,
    /// Which login it is.
    pub grant: GrantId,
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

/// What became of a revocation at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtProvider {
    /// The provider withdrew the access.
    Done,
    /// The provider has no way to do so, or none that this server may use.
    NotPossible,
    /// The provider could not be reached or refused.
    Failed,
}

impl Tokens {
    /// Puts the parts together.
    pub fn new(keyring: Arc<LiveKeyring>, denylist: Arc<Denylist>, providers: Arc<Providers>, clock: Clock) -> Self {
        let (outcomes, flights) = (Outcomes::new(clock.clone()), Flights::new());
        Self(Arc::new(Inner { keyring, denylist, providers, outcomes, flights, clock }))
    }

    /// Opens an AuthID, revoked or not.
    ///
    /// # Errors
    /// Says why it does not open.
    pub fn open(&self, authid: &str) -> Result<Opened, Refused> {
        let envelope = Envelope::parse(authid).map_err(|error| self.explain(error))?;
        let login = envelope.open(&self.0.keyring.load())?;
        tracing::Span::current().record("grant", tracing::field::display(login.grant));
        Ok(Opened { login, epoch: envelope.epoch })
    }

    /// Whether a login is revoked, and by which kind of rule.
    pub fn denied(&self, opened: &Opened) -> Option<Denied> {
        let login = &opened.login;
        self.0.denylist.denies(&login.service, opened.epoch, login.grant, login.login_at)
    }

    /// What is remembered for an AuthID, if all is well with it: the fast path of [`Tokens::access`].
    pub fn recall(&self, authid: &str) -> Option<Granted> {
        let opened = self.open(authid).ok().filter(|opened| self.denied(opened).is_none())?;
        self.service(&opened.login).ok()?;
        let access = self.0.outcomes.token(opened.login.grant)?;
        self.grant(opened, access).ok()
    }

    /// Turns an AuthID into an access token, in at most 20 s.
    ///
    /// # Errors
    /// Says why not.
    pub async fn access(&self, authid: &str) -> Result<Granted, Refused> {
        let opened = self.open(authid)?;
        if let Some(denied) = self.denied(&opened) {
            return Err(Refused::Denied(denied));
        }
        let service = self.service(&opened.login)?.clone();
        let access = match self.0.outcomes.token(opened.login.grant) {
            Some(access) => access,
            None => self.fetch(&opened.login, service).await?,
        };
        self.grant(opened, access)
    }

    /// Revokes a login: durably on the denylist, then at its provider as far as that can be done from here.
    ///
    /// # Errors
    /// When the denylist could not be written. The login is refused by this process all the same.
    pub async fn revoke(&self, opened: Opened) -> Result<AtProvider, NotDurable> {
        let Login { grant, service, refresh_token, .. } = opened.login;
        let (denylist, newest, now) = (self.0.denylist.clone(), self.0.keyring.load().newest(), self.0.clock.now());
        let append = tokio::task::spawn_blocking(move || denylist.append(grant, newest, now)).await;
        self.0.outcomes.forget(grant);
        append.unwrap_or_else(|interrupted| Err(NotDurable { grant, cause: interrupted.into() }))?;
        tracing::info!(target: "authseal::audit", event = "revoked", %service, %grant);
        let Some(service) = self.0.providers.catalogue().find(service.as_str()) else {
            return Ok(AtProvider::NotPossible);
        };
        Ok(match self.0.providers.revoke(service, &refresh_token).await {
            Ok(Revoked::Done) => AtProvider::Done,
            Ok(Revoked::NotSupported) => AtProvider::NotPossible,
            Err(failure) => {
                tracing::warn!(%grant, %failure, "revoked here, but not at the provider");
                AtProvider::Failed
            }
        })
    }

    fn grant(&self, opened: Opened, access: Arc<Access>) -> Result<Granted, Refused> {
        let Opened { login, epoch } = opened;
        let resealed = self.reseal(&login, epoch, &access)?;
        let expires_in = access.seconds_left(&self.0.clock);
        Ok(Granted { access, expires_in, service: login.service, grant: login.grant, resealed })
    }

    fn service(&self, login: &Login) -> Result<&Arc<Service>, Refused> {
        let service = self.0.providers.catalogue().find(login.service.as_str());
        match service.map(|service| (service, service.availability())) {
            Some((service, Availability::Offered)) => Ok(service),
            Some((_, Availability::Gone { reason, .. })) => {
                Err(Refused::Gone(login.service.clone(), reason.to_owned()))
            }
            _ => Err(Refused::NotOffered(login.service.clone())),
        }
    }

    async fn fetch(&self, login: &Login, service: Arc<Service>) -> Result<Arc<Access>, Refused> {
        let name = name_of(login);
        if let Some(refused) = self.0.outcomes.refusal(&name) {
            return Err(refused);
        }
        let work = || {
            let (inner, grant, token) = (self.0.clone(), login.grant, login.refresh_token.clone());
            async move {
                // Whoever came here after an earlier flight had landed finds its result.
                if let Some(access) = inner.outcomes.token(grant) {
                    return Ok(access);
                }
                inner.call(name, &service, &token).await
            }
        };
        match tokio::time::timeout(BUDGET, self.0.flights.join(name, work)).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Refused::Internal),
            Err(_) => Err(Refused::TimedOut),
        }
    }

    /// The login sealed anew where that helps its owner.
    fn reseal(&self, login: &Login, epoch: Epoch, access: &Access) -> Result<Option<AuthId>, Refused> {
        let sent = login.refresh_token.expose_secret().as_bytes();
        let newer = access.successor.as_ref().filter(|new| !bool::from(new.expose_secret().as_bytes().ct_eq(sent)));
        let keyring = self.0.keyring.load();
        if newer.is_none() && epoch >= keyring.primary().epoch() {
            return Ok(None);
        }
        let mut login = login.clone();
        if let Some(newer) = newer {
            login.refresh_token = newer.clone();
            login.sealed_at = self.0.clock.now();
        }
        authid::seal(keyring.primary(), &login).map(Some).map_err(|error| {
            tracing::error!(grant = %login.grant, %error, "could not seal anew");
            Refused::Internal
        })
    }

    /// Turns the AuthID of an ended service into that service's own reason, also when it is of an older kind.
    fn explain(&self, error: ParseError) -> Refused {
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
                // Without an end there is nothing to refresh; such services are refused before they come here.
                let life = tokens.expires_in.unwrap_or(Duration::from_secs(3600));
                let access = Arc::new(Access::new(tokens.access_token, tokens.refresh_token, life, &self.clock));
                self.outcomes.keep(name.0, access.clone());
                Ok(access)
            }
            Err(failure) => {
                let refused = Refused::Provider(failure);
                match failure {
                    Failure::Refused(_) => self.outcomes.remember(name, refused.clone(), DEAD),
                    Failure::Later { retry_after: Some(time) } => self.outcomes.remember(name, refused.clone(), time),
                    _ => {}
                }
                Err(refused)
            }
        }
    }
}

fn name_of(login: &Login) -> TokenName {
    let hash: [u8; 32] = Sha256::digest(login.refresh_token.expose_secret().as_bytes()).into();
    (login.grant, std::array::from_fn(|i| hash[i]))
}
