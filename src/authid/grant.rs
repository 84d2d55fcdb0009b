//! A grant: what a user granted at a provider in one login (RFC 6749 section 1.3), and what is inside an AuthID. How it
//! is written is in `content`.

use super::ids::{AppId, GrantId, ServiceId};
use crate::clock::UnixTime;
use crate::seal::{SealError, random};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use secrecy::SecretString;
use zeroize::Zeroizing;

/// 32 random bytes known only to the holder of the AuthID (and to this server while it is open): what a stored record
/// of this login is named by and sealed with. Kept by re-sealing.
#[derive(Clone)]
pub struct RecordSecret(Zeroizing<[u8; 32]>);

impl RecordSecret {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn random() -> Result<Self, SealError> {
        random().map(Zeroizing::new).map(Self)
    }

    /// From its bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what [`RecordSecret::encode`] writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        (BASE64URL.decode_slice(text, bytes.as_mut_slice()).ok()? == 32).then_some(Self(bytes))
    }

    pub(super) fn encode(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL.encode(self.0.as_slice()))
    }
}

/// What one user granted in one login at one service.
#[derive(Clone)]
pub struct Grant {
    /// Where.
    pub service: ServiceId,
    /// Which login.
    pub id: GrantId,
    /// The provider's refresh token.
    pub refresh_token: SecretString,
    /// When the refresh token came from the provider; 0 where that is not known, since it was never sealed. A move to a
    /// newer key alone keeps it.
    pub sealed_at: UnixTime,
    /// When the user logged in; 0 where that is not known: earlier than whatever a rule about old logins names.
    pub login_at: UnixTime,
    /// See [`RecordSecret`].
    pub record_secret: RecordSecret,
    /// The app registration that it was made with, if that is known.
    pub app: Option<AppId>,
    /// When the refresh token ends, if the provider said so at the login.
    pub ends_at: Option<UnixTime>,
    /// What a newer version of this server wrote beside these.
    pub unknown: Unknown,
}

impl Grant {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn new(service: ServiceId, refresh_token: SecretString, now: UnixTime) -> Result<Self, SealError> {
        Ok(Self {
            service,
            id: GrantId::random()?,
            refresh_token,
            sealed_at: now,
            login_at: now,
            record_secret: RecordSecret::random()?,
            app: None,
            ends_at: None,
            unknown: Unknown::default(),
        })
    }

    /// One that another server made and did not seal.
    pub fn unsealed(service: ServiceId, id: GrantId, refresh_token: SecretString, record_secret: RecordSecret) -> Self {
        let (app, ends_at, unknown) = (None, None, Unknown::default());
        Self { service, id, refresh_token, sealed_at: 0, login_at: 0, record_secret, app, ends_at, unknown }
    }

    /// Whether it was never sealed.
    pub fn is_unsealed(&self) -> bool {
        self.sealed_at == 0
    }

    /// The same login around another refresh token, which came at `sealed_at`. What was said of the old one's end is
    /// not true of it.
    pub fn renewed(&self, refresh_token: SecretString, sealed_at: UnixTime) -> Self {
        Self { refresh_token, sealed_at, ends_at: None, ..self.clone() }
    }
}

/// Members that are not known here: names, and values as JSON. They may be secret.
#[derive(Clone, Default)]
pub struct Unknown(pub(super) Vec<(String, Zeroizing<String>)>);

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_renewed_login_is_the_same_with_the_new_token_and_its_time() {
        let service = ServiceId::parse("box.com").unwrap();
        let old = Grant::new(service, "old".to_owned().into(), 1_000).unwrap();
        let old = Grant { ends_at: Some(9_000), app: AppId::parse("AAAAAAAA"), ..old };
        let new = old.renewed("new".to_owned().into(), 2_000);
        assert_eq!((new.refresh_token.expose_secret(), new.sealed_at, new.ends_at), ("new", 2_000, None));
        assert_eq!((&new.service, new.id, new.login_at, new.app), (&old.service, old.id, 1_000, old.app));
        assert_eq!(new.record_secret.expose(), old.record_secret.expose());
        assert_ne!(new.record_secret.expose(), &[new.record_secret.expose()[0]; 32], "random bytes");
    }

    #[test]
    fn a_login_that_another_server_made_is_known_as_such_until_it_is_sealed() {
        let service = ServiceId::parse("box.com").unwrap();
        let secret = RecordSecret::new(Zeroizing::new([7; 32]));
        let login = Grant::unsealed(service, GrantId::new([1; 16]), "t".to_owned().into(), secret);
        assert!(login.is_unsealed() && !login.renewed("u".to_owned().into(), 2_000).is_unsealed());
    }
}
