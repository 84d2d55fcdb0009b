//! AuthIDs that the denylist would refuse from their first moment on. None is made and none is handed out: a user would
//! paste it, and find out at the next backup.
//!
//! A provider's own token, handed out as it is, is no AuthID, and no rule concerns it.

use super::{ExchangeError, Inner, Opened, TokenService};
use crate::authid::{Envelope, Grant, GrantId, ServiceId};
use crate::clock::UnixTime;
use crate::denylist::Denied;
use crate::provider::Service;
use crate::seal::{Epoch, EpochKeys, Keyring};

impl TokenService {
    /// Why every AuthID that a login at `service` would bring now is refused, if so.
    pub fn paused(&self, service: &Service) -> Option<ExchangeError> {
        let epoch = self.0.keyring.load().primary().epoch();
        let rule = self.0.denies_all(service, epoch, self.0.clock.now());
        rule.filter(|_| !service.provider.raw_token()).map(ExchangeError::Denied)
    }

    /// Why an AuthID that is about to be handed out is of no use, if so.
    pub fn dead(&self, authid: &str) -> Option<ExchangeError> {
        Envelope::parse(authid).ok()?;
        match self.open_sealed(authid) {
            Ok(opened) => self.denied(&opened).map(ExchangeError::Denied),
            Err(refused) => Some(refused),
        }
    }

    /// What to seal an opened AuthID's login with: the primary, or its own epoch where that is newer (a staged one), or
    /// where the primary's AuthIDs are refused.
    ///
    /// # Errors
    /// The rule that refuses the primary's, of an old AuthID, which has no epoch of its own.
    pub(super) fn newest_keys<'k>(
        &self,
        keyring: &'k Keyring,
        opened: &Opened,
    ) -> Result<&'k EpochKeys, ExchangeError> {
        let (login, primary) = (&opened.login, keyring.primary());
        let refused = self.0.denies(&login.service, primary.epoch(), login.id, login.login_at);
        let epoch = match (opened.epoch(), refused) {
            (None, Some(rule)) => return Err(ExchangeError::Denied(rule)),
            (None, None) => primary.epoch(),
            (Some(epoch), Some(_)) => epoch,
            (Some(epoch), None) => primary.epoch().max(epoch),
        };
        Ok(keyring.keys(epoch).unwrap_or(primary))
    }
}

impl Inner {
    /// The rule that refuses an AuthID that was sealed under `epoch` for the login `grant` at `service`, made at
    /// `login_at`.
    pub(super) fn denies(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        grant: GrantId,
        login_at: UnixTime,
    ) -> Option<Denied> {
        self.denylist.denies(service, epoch, grant, login_at).or_else(|| {
            // Such rules are rare, and only for them has the service to be looked up.
            let services = self.denylist.names_services(epoch).then(|| self.providers.catalogue())?;
            self.denies_all(services.find(service.as_str())?, epoch, login_at)
        })
    }

    /// The rule that refuses every AuthID sealed under `epoch` for a login at `service` made at `login_at`. One for a
    /// service counts by each of its names: an operator may have written another than its AuthIDs have.
    fn denies_all(&self, service: &Service, epoch: Epoch, login_at: UnixTime) -> Option<Denied> {
        let mut names = std::iter::once(&service.id).chain(&service.aliases);
        names.find_map(|name| self.denylist.denies_all(name, epoch, login_at))
    }

    /// The login as it is to be sealed: with the mark of its registration, if that is known. Of one that never was, the
    /// refresh token is at least as old as this moment.
    pub(super) fn to_be_sealed(&self, login: Grant) -> Grant {
        let login = Grant { app: self.apps.of(&login), ..login };
        if login.is_unsealed() { Grant { sealed_at: self.clock.now(), ..login } } else { login }
    }
}
