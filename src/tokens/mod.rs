//! AuthID in, access token out. The one place that knows the order: open, denylist, cache, single-flight, provider; and
//! where that fails and may get better within seconds, waiting.
//!
//! The denylist comes before the cache, so a revoked login gets nothing that was fetched for it earlier. The provider
//! call runs in a task of its own: a client that hangs up must not cost anybody a token.
//!
//! | Journey | Function | RFC |
//! | --- | --- | --- |
//! | a new login is recorded | [`TokenService::begin`] | |
//! | AuthID to login | [`TokenService::open_until`], [`TokenService::open`] | |
//! | an AuthID that came before, without opening it | [`TokenService::repeat`] | |
//! | access token from memory | [`TokenService::cached`] | |
//! | a new one beside that, before the old one ends | `ahead` | 6749 §6 |
//! | access token, asked for if need be | [`TokenService::refresh`]: `obtain` → `single_flight` → `upstream` | 6749 §6 |
//! | the refresh token changes with it | `rotation`: record, lease, compare-and-swap | 9700 §4.14 |
//! | what is retried, and for how long | `waiting` | |
//! | a provider that answers nobody, or refuses everybody | `breaker`, `brake` | |
//! | does the login still work | [`TokenService::check_upstream`] | 6749 §6 |
//! | what an AuthID is; sealed again | [`TokenService::info`], [`TokenService::reseal`] | |
//! | revocation, here and at the provider | [`TokenService::revoke`] | 7009 |

mod ahead;
mod apps;
mod brake;
mod breaker;
mod cache;
mod denied;
mod error;
mod exported;
mod granted;
mod inspect;
mod lifecycle;
mod obtain;
mod old;
mod opened;
mod provider_revocation;
mod repeats;
mod revoke;
mod room;
mod rotation;
mod single_flight;
mod upstream;
mod waiting;

pub use apps::{AppRow, AppsView};
pub use brake::BrakeSettings;
pub use cache::AccessToken;
pub use error::ExchangeError;
pub use granted::{Granted, Source};
pub use inspect::{AuthIdInfo, Expiry, Resealed};
pub use old::{ExportView, OldRow, OldView};
pub use opened::{Opened, Seal, Settings};
pub use provider_revocation::{ProviderRevocation, ProviderRevocationMode};
pub use repeats::Repeat;
pub use revoke::{Revocable, Revocation};
pub use rotation::records_by_epoch;
pub use waiting::Patience;

use crate::authid::{self, AppId, AuthId, Envelope, Grant, GrantId, ParseError, RevokeCode, ServiceId};
use crate::clock::Clock;
use crate::denylist::{Denied, Denylist};
use crate::keyring_file::LiveKeyring;
use crate::meter::Meter;
use crate::provider::{self, Availability, ProviderClient, Service};
use crate::seal::EpochKeys;
use crate::store::StoreError;
use apps::Apps;
use brake::Brakes;
use breaker::Breakers;
use cache::{TokenCache, TokenName};
use old::OldAuthIds;
use repeats::Repeats;
use room::Room;
use rotation::Rotation;
use secrecy::ExposeSecret;
use single_flight::Flights;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use waiting::Loops;

/// With fewer days than this to live, a login is warned of at each call to its provider.
const SOON: i64 = 14;

/// Hands out access tokens.
#[derive(Clone)]
pub struct TokenService(Arc<Inner>);

/// Clones share all but the settings.
#[derive(Clone)]
struct Inner {
    keyring: Arc<LiveKeyring>,
    denylist: Arc<Denylist>,
    providers: Arc<ProviderClient>,
    apps: Apps,
    cache: TokenCache,
    repeats: Arc<Repeats>,
    flights: Flights<TokenName, Result<Arc<AccessToken>, ExchangeError>>,
    patience: Patience,
    old: OldAuthIds,
    brakes: Brakes,
    breakers: Arc<Breakers>,
    room: Arc<Room>,
    loops: Arc<Loops<TokenName, Arc<AccessToken>>>,
    /// Of all waiting, but not of calls under way.
    ending: CancellationToken,
    /// By login, and what is not asked of its provider.
    revocations: Flights<(GrantId, Option<ProviderRevocation>), Revocation>,
    /// `None` without a store that outlives the process.
    rotation: Option<Arc<Rotation>>,
    clock: Clock,
    meter: Meter,
}

impl TokenService {
    /// Remembers a login that was just made, where its refresh token will change.
    ///
    /// # Errors
    /// When the state store fails and the AuthID would be of no use without it.
    pub async fn begin(
        &self,
        login: &Grant,
        service: &Service,
        tokens: provider::TokenResponse,
    ) -> Result<(), StoreError> {
        let Some((rotation, policy)) = self.0.rotation_of(service) else { return Ok(()) };
        match rotation.begin(login, tokens, policy).await {
            Err(error) if policy.single_use => Err(error),
            _ => Ok(()),
        }
    }

    /// Opens a sealed AuthID, revoked or not.
    ///
    /// # Errors
    /// Says why it does not open.
    pub fn open_sealed(&self, authid: &str) -> Result<Opened, ExchangeError> {
        let envelope = Envelope::find(authid).map_err(|error| self.explain(error, authid))?;
        let keyring = self.0.keyring.load();
        let opened = envelope.open(&keyring);
        let login = opened.map_err(|error| ExchangeError::unopened(envelope.epoch, error))?;
        Ok(Opened { login, seal: Seal::Epoch(envelope.epoch, keyring.number()) })
    }

    /// Whether a login is revoked, and by which kind of rule.
    pub fn denied(&self, opened: &Opened) -> Option<Denied> {
        let login = &opened.login;
        match opened.seal {
            Seal::Epoch(epoch, _) => self.0.denies(&login.service, epoch, login.id, login.login_at),
            Seal::Old(version) => self.denied_old(login, version),
        }
    }

    /// What is remembered for an AuthID, if it is neither revoked nor in need of a provider call.
    pub fn cached(&self, opened: &Opened) -> Option<Granted> {
        let service = self.check(opened).ok()?;
        let access = self.0.cached_for(&opened.login, service)?;
        self.renew_ahead(opened, service, &access);
        Some(self.grant(opened, access, Source::Memory))
    }

    /// Whether an AuthID may be used: not revoked, and its service still offered.
    fn check(&self, opened: &Opened) -> Result<&Arc<Service>, ExchangeError> {
        if let Some(denied) = self.denied(opened) {
            return Err(ExchangeError::Denied(denied));
        }
        self.0.served(&opened.login.service, opened.login.app)
    }

    fn grant(&self, opened: &Opened, access: Arc<AccessToken>, source: Source) -> Granted {
        let resealed = if source == Source::Fetched { self.resealed(opened, &access) } else { None };
        self.0.came(opened);
        self.0.used_app(opened);
        let expires_in = access.seconds_left(&self.0.clock);
        Granted { access, expires_in, service: opened.login.service.clone(), source, resealed }
    }

    /// The login sealed again where that helps its owner. If it cannot be, the owner still gets the access token.
    fn resealed(&self, opened: &Opened, access: &AccessToken) -> Option<AuthId> {
        let (renewed, keyring) = (renewed(&opened.login, access), self.0.keyring.load());
        let keys = self.newest_keys(&keyring, opened).ok()?;
        if renewed.is_none() && self.is_sealed_well(opened, keys) {
            return None;
        }
        let login = self.0.to_be_sealed(renewed.unwrap_or_else(|| opened.login.clone()));
        let sealed = authid::seal(keys, &login);
        sealed.inspect_err(|error| tracing::warn!(grant = %login.id, %error, "could not seal again")).ok()
    }

    /// Whether the login would be the same if it were sealed again: under the newest epoch, with the mark of its app.
    fn is_sealed_well(&self, opened: &Opened, newest: &EpochKeys) -> bool {
        let is_marked = opened.login.app.is_some() || !self.0.apps.was_chosen(&opened.login);
        is_marked && opened.epoch() >= Some(newest.epoch())
    }

    /// The login with the newest refresh token that is known here, for what is to be done with that one alone.
    ///
    /// # Errors
    /// When the state store fails and what would be sealed is of no use without it.
    pub async fn with_newest_token(&self, login: &Grant) -> Result<Grant, ExchangeError> {
        let service = self.0.providers.catalogue().find(login.service.as_str());
        if let Some((rotation, policy)) = service.and_then(|service| self.0.rotation_of(service)) {
            rotation.adopt(login, policy).await.map_err(|_| ExchangeError::StoreDown)?;
            return Ok(rotation.with_newest_token(login, policy).await.unwrap_or_else(|| login.clone()));
        }
        let access = self.0.cache.token(login.id, self.0.clock.moment());
        Ok(access.and_then(|access| renewed(login, &access)).unwrap_or_else(|| login.clone()))
    }

    /// Turns the AuthID of an ended service into that service's own reason, also when it is of an older kind.
    fn explain(&self, error: ParseError, text: &str) -> ExchangeError {
        if RevokeCode::is_meant_by(text) {
            return ExchangeError::IsRevokeCode;
        }
        if let ParseError::Version2(Some(id)) = &error
            && let Some(service) = self.0.providers.catalogue().find(id.as_str())
            && let Availability::Gone { reason, .. } = service.availability()
        {
            return ExchangeError::Gone(id.clone(), reason.to_owned());
        }
        error.into()
    }
}

impl Inner {
    /// The service of this id, if it and this registration are served.
    fn served(&self, id: &ServiceId, app: Option<AppId>) -> Result<&Arc<Service>, ExchangeError> {
        let service = self.providers.catalogue().find(id.as_str());
        match service.map(|service| (service, service.availability())) {
            Some((_, Availability::Gone { reason, .. })) => Err(ExchangeError::Gone(id.clone(), reason.to_owned())),
            Some((service, _)) if service.is_served() => match app {
                Some(app) if !service.serves(app) => Err(ExchangeError::UnknownApp(id.clone())),
                _ => Ok(service),
            },
            _ => Err(ExchangeError::NotOffered(id.clone())),
        }
    }
}

/// The login around the refresh token that came with an access token, if that is another one and not older: another
/// replica may have sealed a newer one than is remembered here.
fn renewed(login: &Grant, access: &AccessToken) -> Option<Grant> {
    let newer = access.new_refresh_token.as_ref()?;
    let sent = login.refresh_token.expose_secret().as_bytes();
    let same = bool::from(newer.expose_secret().as_bytes().ct_eq(sent));
    (!same && access.fetched_at >= login.sealed_at).then(|| login.renewed(newer.clone(), access.fetched_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use std::time::Duration;

    #[test]
    fn a_login_is_sealed_around_another_refresh_token_alone_and_never_around_an_older_one() {
        let clock = Clock::system();
        let now = clock.now();
        let login = |sealed_at| {
            let login = Grant::new(ServiceId::parse("s").unwrap(), "sent".to_owned().into(), sealed_at).unwrap();
            Grant { ends_at: Some(now + 9), ..login }
        };
        for (came, sealed_at, renews) in [
            (None, now - 60, false),
            (Some("sent"), now - 60, false),
            (Some("newer"), now - 60, true),
            (Some("newer"), now, true),
            // Another replica sealed a newer one.
            (Some("older"), now + 60, false),
        ] {
            let tokens = provider::TokenResponse {
                access_token: "access".to_owned().into(),
                expires_in: Some(Duration::from_secs(3600)),
                refresh_token: came.map(|token| SecretString::from(token.to_owned())),
                refresh_token_expires_in: None,
                scopes: None,
            };
            let access = AccessToken::new(tokens, &clock);
            let sealed = renewed(&login(sealed_at), &access);
            let about = sealed.map(|new| (new.refresh_token.expose_secret().to_owned(), new.sealed_at, new.ends_at));
            assert_eq!(about, renews.then(|| ("newer".to_owned(), access.fetched_at, None)), "{came:?}");
        }
    }
}
