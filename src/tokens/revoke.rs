//! Revoking a login: durably on the denylist, and at its provider as far as that can be done from here. The two are
//! told apart, since either can fail without the other, and a failure of one does not keep the other from being tried.
//!
//! Whoever holds an AuthID may revoke it as often as they like, so what is done is done once: those who come at the
//! same time join, and a login that is both on the denylist and ended at its provider is answered from memory.

use super::provider_revocation::{ProviderRevocation, ProviderRevocationMode};
use super::rotation::Acted;
use super::{ExchangeError, Opened, TokenService};
use crate::authid::{Grant, GrantId, OpenError, RevokeCode, ServiceId};
use crate::denylist::NotDurable;
use crate::provider::{ProviderError, Revoked, Service};
use crate::seal::Epoch;
use futures_util::FutureExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long an exchange that is under way is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What names a login that shall be revoked, and proves that its owner wants it.
pub enum Revocable {
    /// Its AuthID. It may be revoked already.
    Login(Opened),
    /// Its revoke code.
    Code(RevokeCode),
}

impl Revocable {
    /// Which login it is.
    pub fn grant(&self) -> GrantId {
        match self {
            Self::Login(opened) => opened.login.id,
            Self::Code(code) => code.grant,
        }
    }
}

/// What became of a revocation.
#[derive(Clone)]
pub struct Revocation {
    /// Where the login is.
    pub service: ServiceId,
    /// Which login.
    pub grant: GrantId,
    /// The epoch of what named it; `None` of an old AuthID.
    pub epoch: Option<Epoch>,
    /// Whether it was revoked before.
    pub already: bool,
    /// Whether it is written down. If not, this process refuses the login until it ends, and nobody else does.
    pub here: Result<(), Arc<NotDurable>>,
    /// What the provider did.
    pub at_provider: ProviderRevocation,
}

impl Revocation {
    /// For programs. `withdraw_url` is where a user withdraws the access at the provider.
    pub fn json(&self, withdraw_url: Option<&str>) -> Value {
        let mut answer = json!({
            "revoked": self.here.is_ok(),
            "already": self.already,
            "grant": self.grant.to_string(),
            "service": self.service.as_str(),
            "provider": self.at_provider.label(),
            "withdraw_url": withdraw_url,
        });
        if self.here.is_err() {
            let reason = "Refused from now on, but not durably revoked: the denylist could not be written.";
            answer["error"] = reason.into();
        }
        answer
    }
}

impl TokenService {
    /// Reads what names a login: its AuthID, revoked or not, or its revoke code.
    ///
    /// # Errors
    /// Says why it names none.
    pub async fn revocable(&self, text: &str) -> Result<Revocable, ExchangeError> {
        match self.open(text).await {
            Err(ExchangeError::IsRevokeCode) => self.open_code(text).map(Revocable::Code),
            opened => opened.map(Revocable::Login),
        }
    }

    fn open_code(&self, text: &str) -> Result<RevokeCode, ExchangeError> {
        let code = RevokeCode::find(text).ok_or(ExchangeError::BadRevokeCode)?;
        match code.check(&self.0.keyring.load()) {
            Ok(()) => Ok(code),
            Err(OpenError::NoKey(why)) => Err(ExchangeError::NoKeyForRevokeCode(code.epoch, why)),
            Err(OpenError::Forged) => Err(ExchangeError::BadRevokeCode),
        }
    }

    /// Revokes a login. Doing so again changes nothing, but for what failed before. `admit` is asked before the
    /// provider is; if it says no, the login is revoked here alone.
    pub async fn revoke(
        &self,
        revocable: Revocable,
        at_provider: ProviderRevocationMode,
        admit: impl FnOnce() -> bool,
    ) -> Revocation {
        let (service, epoch, grant) = match &revocable {
            Revocable::Login(opened) => (opened.login.service.clone(), opened.epoch(), opened.login.id),
            Revocable::Code(code) => (code.service.clone(), Some(code.epoch), code.grant),
        };
        let already = self.0.denylist.denies_grant(grant);
        let known = self.0.cache.revocation(grant).filter(|_| already);
        let at_provider = match revocable {
            Revocable::Code(_) => Err(ProviderRevocation::NeedsAuthid),
            Revocable::Login(_) if at_provider == ProviderRevocationMode::Never => Err(ProviderRevocation::NotAsked),
            Revocable::Login(_) if known == Some(ProviderRevocation::Done) => Err(ProviderRevocation::Done),
            Revocable::Login(Opened { login, .. }) => {
                self.revocable_at(&login, at_provider).map(|service| (service, login))
            }
        };
        let done = move |here, at_provider| Revocation { service, grant, epoch, already, here, at_provider };
        let to_do = match (known, at_provider) {
            (Some(_), Err(withdrawal)) => return done(Ok(()), withdrawal),
            (_, to_do) => to_do,
        };
        let name = (grant, to_do.as_ref().err().copied());
        let work = || {
            let this = self.clone();
            let done = done.clone();
            let to_do = to_do.and_then(|login| admit().then_some(login).ok_or(ProviderRevocation::TooMany));
            async move {
                let here = if known.is_some() { Ok(()) } else { this.deny(grant).await };
                let at_provider = match to_do {
                    Ok((service, login)) => this.revoke_at_provider(&service, &login).await,
                    Err(withdrawal) => withdrawal,
                };
                this.0.cache.revoked(grant, here.is_ok().then_some(at_provider));
                done(here, at_provider)
            }
        };
        let joined = self.0.revocations.join(name, work).await;
        joined.unwrap_or_else(|| {
            let cause = io::ErrorKind::Interrupted.into();
            done(Err(Arc::new(NotDurable { grant, cause })), ProviderRevocation::Failed)
        })
    }

    async fn deny(&self, grant: GrantId) -> Result<(), Arc<NotDurable>> {
        let denylist = self.0.denylist.clone();
        let newest = self.0.keyring.load().newest();
        let now = self.0.clock.now();
        let append = tokio::task::spawn_blocking(move || denylist.append(grant, newest, now)).await;
        let append = append.unwrap_or_else(|interrupted| Err(NotDurable { grant, cause: interrupted.into() }));
        append.map_err(Arc::new).inspect_err(|error| {
            tracing::error!(%grant, %error, "a revocation could not be written down; it holds until this process ends");
        })
    }

    /// The service at whose provider a login can be ended, or why it is not.
    fn revocable_at(
        &self,
        login: &Grant,
        at_provider: ProviderRevocationMode,
    ) -> Result<Arc<Service>, ProviderRevocation> {
        let service = self.0.providers.catalogue().find(login.service.as_str());
        let service = service.filter(|service| service.is_served());
        let service = service.ok_or(ProviderRevocation::NotSupported)?;
        match service.provider.revoke_ends_all_logins() && at_provider != ProviderRevocationMode::Always {
            true => Err(ProviderRevocation::WouldEndAllLogins),
            false => Ok(service.clone()),
        }
    }

    async fn revoke_at_provider(&self, service: &Service, login: &Grant) -> ProviderRevocation {
        match self.revoke_newest(login, service).await {
            Ok(Revoked::Done) => ProviderRevocation::Done,
            Ok(Revoked::NotSupported) | Err(ProviderError::NotOffered) => ProviderRevocation::NotSupported,
            Err(failure) => {
                tracing::warn!(grant = %login.id, %failure, "revoked here, but not at the provider");
                ProviderRevocation::Failed
            }
        }
    }

    /// Ends the newest refresh token of a login at the provider: not while an exchange brings a newer one, which would
    /// live on.
    async fn revoke_newest(&self, login: &Grant, service: &Service) -> Result<Revoked, ProviderError> {
        let providers = &self.0.providers;
        let app = self.0.apps.of(login);
        let deadline = Instant::now() + PATIENCE;
        let name = self.0.name_of(login, service);
        // By now no new one begins here.
        let _ = timeout_at(deadline, self.0.flights.landed(&name)).await;
        let Some((rotation, policy)) = self.0.rotation_of(service) else {
            let newest = self.with_newest_token(login).await.map_err(|_| ProviderError::TimedOut)?;
            return providers.revoke(service, app, &newest.refresh_token).await;
        };
        let revoke = |token: SecretString| async move { providers.revoke(service, app, &token).await }.boxed();
        let outcome = match rotation.alone(login, policy, deadline, revoke).await {
            Acted::Surely(outcome) => outcome,
            // Ended before, or never written down.
            Acted::Unknown => providers.revoke(service, app, &login.refresh_token).await,
            Acted::Perhaps(Ok(Revoked::NotSupported)) => return Ok(Revoked::NotSupported),
            Acted::Perhaps(_) | Acted::Not => {
                tracing::warn!(
                    grant = %login.id,
                    "revoked here; at the provider a newer refresh token may live on, since an exchange broke off or is under way"
                );
                return Err(ProviderError::TimedOut);
            }
        };
        if outcome == Ok(Revoked::Done) {
            rotation.forget(login).await;
        }
        outcome
    }
}
