//! One refresh request to a provider (RFC 6749 section 6): by the rules of refresh token rotation where the tokens
//! change, plainly where they stay; and what the cache keeps of its outcome.

use super::cache::{AccessToken, TokenName};
use super::obtain::Requester;
use super::rotation::{self, Rotation, RotationPolicy};
use super::{ExchangeError, Inner, SOON};
use crate::authid::{AppId, Grant, GrantId};
use crate::clock::Moment;
use crate::provider::{ErrorClass, ProviderError, RefreshError, RefreshTokenPolicy, Service};
use crate::store::Name;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// What one exchange gets of the time for an answer, so that its own reason is known in time.
const CALL_BUDGET: Duration = Duration::from_millis(19_500);

/// How old an access token is at most, in seconds, that was fetched just now.
const LATELY: i64 = 60;

impl Inner {
    /// How the store keeps up with a service's refresh tokens, if it has to.
    pub(super) fn rotation_of(&self, service: &Service) -> Option<(&Rotation, RotationPolicy)> {
        let single_use = match service.provider.rotation() {
            RefreshTokenPolicy::Static => return None,
            RefreshTokenPolicy::Rolling => false,
            RefreshTokenPolicy::SingleUse => true,
        };
        Some((self.rotation.as_deref()?, RotationPolicy { single_use, days: service.refresh_token_days() }))
    }

    /// Whether a service's refresh tokens work once, with a store that keeps up with them.
    pub(super) fn is_single_use(&self, service: &Service) -> bool {
        self.rotation_of(service).is_some_and(|(_, policy)| policy.single_use)
    }

    /// A remembered access token that can be handed out again. Where a new one may end the old one (Box), and another
    /// replica may have fetched one, the store must have agreed lately. `record` is where the store has the login's.
    pub(super) fn cached(
        &self,
        grant: GrantId,
        record: impl FnOnce() -> Option<Name>,
        service: &Service,
        at: Moment,
    ) -> Option<Arc<AccessToken>> {
        let is_current = match self.rotation_of(service) {
            Some((rotation, policy)) if policy.single_use => rotation.is_current(&record()?, at),
            _ => true,
        };
        self.cache.token(grant, at).filter(|_| is_current)
    }

    /// A remembered access token that lives for a while yet, for when there is no other: of this process, or in the
    /// record that it saw last, which another one may have written.
    pub(super) fn spare(&self, login: &Grant, service: &Service) -> Option<Arc<AccessToken>> {
        let recorded = || self.rotation_of(service)?.0.remembered(login).map(Arc::new);
        let is_spare = |access: &Arc<AccessToken>| access.is_spare(self.clock.moment());
        self.cache.spare(login.id).or_else(|| recorded().filter(is_spare))
    }

    /// The same as [`Self::cached`] by what is in an AuthID.
    pub(super) fn cached_for(&self, login: &Grant, service: &Service) -> Option<Arc<AccessToken>> {
        self.cached(login.id, || Some(rotation::name(login)), service, self.clock.moment())
    }

    /// What makes two requests the same: the login, and where nobody keeps up with its refresh token, that token.
    pub(super) fn name_of(&self, login: &Grant, service: &Service) -> TokenName {
        if self.rotation_of(service).is_some() {
            return (login.id, [0; 16]);
        }
        let hash: [u8; 32] = Sha256::digest(login.refresh_token.expose_secret().as_bytes()).into();
        (login.id, std::array::from_fn(|i| hash[i]))
    }

    /// One exchange with the provider, its outcome remembered. An access token that the store remembers will do as far
    /// as it does for `requester`.
    pub(super) async fn call_provider(
        &self,
        name: TokenName,
        service: &Arc<Service>,
        login: &Grant,
        requester: Requester,
    ) -> Result<Arc<AccessToken>, ExchangeError> {
        let outcome = match self.rotation_of(service) {
            Some((rotation, policy)) => {
                let deadline = tokio::time::Instant::now() + CALL_BUDGET;
                let ask =
                    |token, time| async move { self.refresh_with_app(service, login, &token, time).await }.boxed();
                // Large, and needed by some logins only: in a box it does not make every call large.
                rotation.exchange(login, policy, requester, deadline, &ask).boxed().await
            }
            None => {
                let tokens = self.refresh_with_app(service, login, &login.refresh_token, CALL_BUDGET).await;
                let access = tokens.map(|tokens| AccessToken::new(tokens, &self.clock));
                access.map_err(|RefreshError { failure, status, .. }| ExchangeError::Provider(failure, status))
            }
        };
        let outcome = self.learned(service, login, outcome).map(Arc::new);
        match &outcome {
            Ok(access) => self.cache.keep(&name, access.clone()),
            Err(ExchangeError::Provider(failure, status)) => {
                let single_use = self.is_single_use(service);
                // A refresh token that may be spent is the rotation's to guard, and its answer may still come.
                let in_doubt = single_use && *failure != ProviderError::Misconfigured;
                self.cache.failed(name, *failure, *status, in_doubt);
            }
            Err(_) => {}
        }
        outcome
    }

    /// Why the provider is not to be asked for this login now.
    pub(super) fn held(&self, service: &Service, login: &Grant) -> Option<ExchangeError> {
        match self.app_of(service, login) {
            Some(app) if self.brakes.holds(app, login.id) => Some(ExchangeError::MassRefusal),
            _ => self.breakers.holds(service.provider.id()),
        }
    }

    /// Whether the provider answers nobody, or refuses everybody.
    pub(super) fn is_troubled(&self, service: &Service, login: &Grant) -> bool {
        let is_on = || self.app_of(service, login).is_some_and(|app| self.brakes.is_on(app));
        self.breakers.is_open(service.provider.id()) || is_on()
    }

    /// A refusal that is remembered, unless the provider refuses everybody by now.
    pub(super) fn believed(&self, service: &Service, login: &Grant, refused: ExchangeError) -> ExchangeError {
        let is_on = || self.app_of(service, login).is_some_and(|app| self.brakes.is_on(app));
        if is_death(&refused) && is_on() { ExchangeError::MassRefusal } else { refused }
    }

    /// Draws the conclusions from what came of a call: about the provider, and about this server's app there.
    fn learned(
        &self,
        service: &Service,
        login: &Grant,
        outcome: Result<AccessToken, ExchangeError>,
    ) -> Result<AccessToken, ExchangeError> {
        // One that another replica fetched earlier says nothing of the provider now.
        if outcome.as_ref().is_ok_and(|access| access.fetched_at.saturating_add(LATELY) < self.clock.now()) {
            return outcome;
        }
        let provider = service.provider.id();
        if self.breakers.called(provider, login.id, outcome.as_ref().err()) {
            // Those who wait for their turn came before that was known.
            service.provider.turn_away();
        }
        let Some(app) = self.app_of(service, login) else { return outcome };
        match outcome {
            Ok(_) => self.brakes.worked(app, login.id),
            Err(refused) if is_death(&refused) && self.brakes.refused(app, login.id, provider) => {
                return Err(ExchangeError::MassRefusal);
            }
            Err(_) => {}
        }
        outcome
    }

    /// The app registration that a login is refreshed with.
    fn app_of(&self, service: &Service, login: &Grant) -> Option<AppId> {
        self.apps.of(login).or_else(|| service.app())
    }

    /// Counts how long a login has to live that was just refreshed, and warns while there is time to make a new one.
    pub(super) fn forecast(&self, service: &Service, login: &Grant) {
        if login.is_unsealed() {
            return; // nobody knows how old it is
        }
        let Some(days) = service.days_left(login.sealed_at, login.ends_at, self.clock.now()) else { return };
        let grant = login.id;
        self.meter.days_left(service.id.as_str(), days);
        if days < SOON {
            tracing::warn!(%grant, service = %service.id, days, "a login ends soon; its owner has to log in again before");
        }
    }
}

/// Whether the provider said that a login is over, and not that a step is missing or a rule is in the way.
fn is_death(refused: &ExchangeError) -> bool {
    use ErrorClass::{Expired, LoginAgain};
    matches!(refused, ExchangeError::Provider(ProviderError::Refused(LoginAgain | Expired), _))
}
