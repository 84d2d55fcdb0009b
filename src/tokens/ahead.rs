//! Renewal ahead of time. An access token that is asked for in the last part of its time is handed out at once, and the
//! request that does so for the second time also begins a call to the provider: those who come next need not wait.
//!
//! It is begun by a request, since only an AuthID has the refresh token: memory holds neither. So nothing is renewed
//! that nobody asks for, and each access token is renewed once at most; if that fails, the first request after its
//! time asks as ever.
//!
//! Nobody waits for the answer, so there must be nothing in it that has to reach the client. Not renewed are:
//! refresh tokens that work once (a call more is a risk more, and the new access token may end the one that was
//! just handed out); those that change where no store keeps the new one; and AuthIDs that an answer from the provider
//! would bring sealed again.

use super::obtain::Requester;
use super::{AccessToken, ExchangeError, Inner, Opened, TokenService};
use crate::provider::{RefreshTokenPolicy, Service};
use std::sync::Arc;

impl TokenService {
    /// Begins to renew what was just handed out, where it is time to, harmless, and no burden to the provider.
    pub(super) fn renew_ahead(&self, opened: &Opened, service: &Arc<Service>, access: &AccessToken) {
        let Inner { flights, keyring, clock, ending, .. } = &*self.0;
        let login = &opened.login;
        if !access.is_late(login.id, clock.moment()) || !access.is_to_be_renewed() || ending.is_cancelled() {
            return;
        }
        let keyring = keyring.load();
        let brings_no_authid = access.new_refresh_token.is_none()
            && self.newest_keys(&keyring, opened).is_ok_and(|newest| self.is_sealed_well(opened, newest));
        if !brings_no_authid || !self.0.may_renew(service) || self.0.is_troubled(service, login) {
            return;
        }
        let Some(place) = service.provider.place_ahead() else { return };
        tracing::debug!(grant = %login.id, service = %service.id, "an access token is renewed ahead of time");
        let (inner, login, service) = (self.0.clone(), login.clone(), service.clone());
        let name = inner.name_of(&login, &service);
        flights.begin(name, async move {
            let _place = place;
            let renewed = inner.ask(name, &login, &service, Requester::Renewal).await;
            inner.meter.renewed(renewed.as_ref().map_or_else(ExchangeError::label, |_| "ok"));
            renewed
        });
    }
}

impl Inner {
    /// Whether the refresh tokens of a service bear a use that no client waits for.
    fn may_renew(&self, service: &Service) -> bool {
        match service.provider.rotation() {
            RefreshTokenPolicy::Static => true,
            RefreshTokenPolicy::Rolling => self.rotation.is_some(),
            RefreshTokenPolicy::SingleUse => false,
        }
    }
}
