//! AuthIDs that the denylist would refuse from their first moment on. None is made and none is handed out: a person would
//! paste it, and find out at the next backup.
//!
//! A provider's own token, handed out as it is, is no AuthID, and no rule concerns it.

use super::{ExchangeError, Opened, TokenService};
use crate::authid::Envelope;
use crate::provider::Service;
use crate::seal::{EpochKeys, Keyring};

impl TokenService {
    /// Why every AuthID that a login at `service` would bring now is refused, if so.
    pub fn paused(&self, service: &Service) -> Option<ExchangeError> {
        let epoch = self.0.keyring.load().primary().epoch();
        let rule = self.0.denylist.denies_all(&service.id, epoch, self.0.clock.now());
        rule.filter(|_| !service.provider.raw_token()).map(ExchangeError::Denied)
    }

    /// Why an AuthID that is about to be handed out is of no use, if so.
    pub fn dead(&self, authid: &str) -> Option<ExchangeError> {
        Envelope::parse(authid).ok()?;
        match self.open(authid) {
            Ok(opened) => self.denied(&opened).map(ExchangeError::Denied),
            Err(refused) => Some(refused),
        }
    }

    /// What to seal an opened AuthID's login with: the primary, or its own epoch where that is newer (a staged one), or
    /// where the primary's AuthIDs are refused.
    pub(super) fn newest_keys<'k>(&self, keyring: &'k Keyring, opened: &Opened) -> &'k EpochKeys {
        let (login, primary) = (&opened.login, keyring.primary());
        let refused = self.0.denylist.denies(&login.service, primary.epoch(), login.id, login.login_at).is_some();
        let epoch = if refused { opened.epoch } else { primary.epoch().max(opened.epoch) };
        keyring.opener(epoch).unwrap_or(primary)
    }
}
