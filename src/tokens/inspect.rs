//! Introspection of an AuthID: what it is, told without anything secret; whether its login still works; and the same
//! login sealed again. The page and the command line show the same.

use super::obtain::{BUDGET, Requester};
use super::{ExchangeError, Opened, TokenService};
use crate::authid::{self, AuthId, GrantId, RevokeCode, ServiceId};
use crate::clock::{UnixTime, rfc3339};
use crate::denylist::Denied;
use crate::legacy::Version;
use crate::provider::RefreshTokenPolicy;
use crate::seal::{Epoch, KeyState};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::timeout;

/// What an AuthID is.
pub struct AuthIdInfo {
    /// What it is for.
    pub service: ServiceId,
    /// What users call that; `None` when this server does not know the service.
    pub service_name: Option<String>,
    /// Which login it is.
    pub grant: GrantId,
    /// The epoch that it was sealed under; `None` of an old one.
    pub epoch: Option<Epoch>,
    /// Its version, if it is an old one.
    pub old: Option<Version>,
    /// What that epoch may do; `None` when it left the keyring at this moment.
    pub state: Option<KeyState>,
    /// Whether it would be sealed with a newer key now.
    pub is_older: bool,
    /// When the person logged in, if that is known.
    pub login_at: Option<UnixTime>,
    /// When the refresh token in it came from the provider, if that is known.
    pub sealed_at: Option<UnixTime>,
    /// When the provider will no longer take it because of its age, if it does so.
    pub end: Option<Expiry>,
    /// By which kind of rule it is refused, if it is.
    pub denied: Option<Denied>,
    /// The revoke code that was shown at the login; `None` when its epoch left the keyring at this moment.
    pub revoke_code: Option<SecretString>,
}

/// When a refresh token expires by age.
pub struct Expiry {
    /// About then.
    pub at: UnixTime,
    /// Whether a server that remembers the newer ones gets around it.
    pub without_store: bool,
}

/// A login sealed again.
pub struct Resealed {
    /// Its AuthID. The old one stays good.
    pub authid: AuthId,
    /// Its revoke code, which lives as long as the new AuthID's key.
    pub revoke_code: SecretString,
    /// The epoch that both are of.
    pub epoch: Epoch,
}

impl TokenService {
    /// What an AuthID is, revoked or not.
    pub fn info(&self, opened: &Opened) -> AuthIdInfo {
        let (login, epoch, keyring) = (&opened.login, opened.epoch(), self.0.keyring.load());
        let known = |time: UnixTime| (time > 0).then_some(time);
        let service = self.0.providers.catalogue().find(login.service.as_str());
        AuthIdInfo {
            service: login.service.clone(),
            service_name: service.map(|service| service.name.clone()),
            grant: login.id,
            epoch,
            old: opened.old(),
            state: keyring.entries().find(|(other, ..)| Some(*other) == epoch).map(|(_, state, _)| state),
            is_older: self.newest_keys(&keyring, opened).is_ok_and(|keys| epoch < Some(keys.epoch())),
            login_at: known(login.login_at),
            sealed_at: known(login.sealed_at),
            end: service.filter(|_| !login.is_unsealed()).and_then(|service| {
                let without_store = service.provider.rotation() == RefreshTokenPolicy::Rolling;
                Some(Expiry { at: service.expires_at(login.sealed_at, login.ends_at)?, without_store })
            }),
            denied: self.denied(opened),
            revoke_code: epoch
                .and_then(|epoch| keyring.keys(epoch).ok())
                .map(|keys| RevokeCode::new(keys, &login.service, login.id).encode()),
        }
    }

    /// Whether an AuthID still works, by one call to the provider, whatever is remembered of it: nothing is waited for,
    /// since what is wrong now is what its owner wants to know. What comes of the call is kept as always.
    ///
    /// # Errors
    /// Says why it does not.
    pub async fn check_upstream(&self, opened: &Opened) -> Result<(), ExchangeError> {
        self.check_for(opened, Requester::Tester).await
    }

    /// Whether an AuthID works, for `requester`.
    pub(super) async fn check_for(&self, opened: &Opened, requester: Requester) -> Result<(), ExchangeError> {
        let service = self.check(opened)?.clone();
        let outcome = timeout(BUDGET, self.0.once(&opened.login, &service, requester)).await;
        self.check(opened)?;
        outcome.unwrap_or_else(|_| Err(self.0.late(&service))).map(drop)
    }

    /// The same login sealed again: under the primary, around the newest refresh token that is known here. Never under
    /// an older key than before.
    ///
    /// # Errors
    /// When the login is revoked, or cannot be sealed.
    pub async fn reseal(&self, opened: &Opened) -> Result<Resealed, ExchangeError> {
        if let Some(denied) = self.denied(opened) {
            return Err(ExchangeError::Denied(denied));
        }
        let login = self.0.to_be_sealed(self.with_newest_token(&opened.login).await?);
        let keyring = self.0.keyring.load();
        let keys = self.newest_keys(&keyring, opened)?;
        let authid = authid::seal(keys, &login).map_err(|error| {
            tracing::warn!(grant = %login.id, %error, "could not seal again");
            ExchangeError::Internal
        })?;
        let revoke_code = RevokeCode::new(keys, &login.service, login.id).encode();
        Ok(Resealed { authid, revoke_code, epoch: keys.epoch() })
    }
}

impl AuthIdInfo {
    /// In words for users: what each is called, in one or two words, and what it is.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let Self { service, grant, epoch, .. } = self;
        let end = self.end.as_ref().map(|end| {
            let date: String = rfc3339(end.at).chars().take(10).collect();
            format!("about {date}{}", if end.without_store { " (without a state store)" } else { "" })
        });
        let unknown = || "unknown".to_owned();
        let rows = [
            ("service", self.service_name.as_ref().map_or(service.to_string(), |name| format!("{name} ({service})"))),
            ("login id", grant.to_string()),
            (
                "epoch",
                match (epoch, self.state) {
                    (Some(epoch), Some(state)) => format!("{epoch} ({state})"),
                    (Some(epoch), None) => epoch.to_string(),
                    (None, _) => "none: it is not sealed, and was made by another server".to_owned(),
                },
            ),
            ("login", self.login_at.map_or_else(unknown, rfc3339)),
            ("sealed", self.sealed_at.map_or_else(unknown, rfc3339)),
        ];
        let denied = self.denied.map_or_else(|| "no".to_owned(), |rule| format!("yes, by a rule for {rule}"));
        rows.into_iter().chain(end.map(|end| ("ends", end))).chain([("revoked", denied)]).collect()
    }

    /// For programs. Times are RFC 3339 in UTC. `version` is there of an old AuthID alone.
    pub fn json(&self) -> Value {
        let mut json = json!({
            "service": self.service.as_str(),
            "grant": self.grant.to_string(),
            "epoch": self.epoch.map(Epoch::number),
            "epoch_state": self.state.map(|state| state.to_string()),
            "login_at": self.login_at.map(rfc3339),
            "sealed_at": self.sealed_at.map(rfc3339),
            "ends_at": self.end.as_ref().map(|end| rfc3339(end.at)),
            "denied_by": self.denied,
        });
        if let Some(version) = self.old {
            json["version"] = version.as_str().into();
        }
        json
    }
}
