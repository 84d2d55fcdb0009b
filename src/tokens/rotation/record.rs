//! A record: what the store remembers of one login whose refresh token changes.
//!
//! `version (1) | epoch (4) | generation (8) | nonce (24) | ciphertext | tag (16)`, numbers big endian. The key comes
//! from the secret of the epoch *and* from `bind`, which is in the AuthID and nowhere else: store and server together
//! open nothing without the AuthID. The name comes from `bind` alone, so no rotation of keys orphans a record. Grant
//! id, epoch and generation are associated data, so no record passes for that of another login or time.

use super::super::cache::{self, AccessToken};
use super::state_machine::SKEW;
use crate::authid::{Grant, GrantId};
use crate::clock::{Clock, UnixTime};
use crate::provider::TokenResponse;
use crate::seal::{Epoch, Key, Keyring, NoKey, Purpose, SealError, derive_from};
use crate::store::Name;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// Version and epoch, all that can be read of a record without its AuthID.
pub(super) const HEAD_LEN: usize = 5;
/// Version, epoch and generation.
pub(super) const CLEAR_LEN: usize = HEAD_LEN + 8;

/// The newest refresh token of a login, and the access token that came with it.
#[derive(Clone)]
pub(super) struct Record {
    /// How many times the refresh token has changed since the login.
    pub(super) generation: u64,
    /// The mark: when somebody last said that the provider is being asked with this token.
    pub(super) asked_at: Option<UnixTime>,
    /// Whether an exchange with this token broke off before, so that the token may be spent.
    pub(super) broke_off: bool,
    /// The refresh token.
    pub(super) token: SecretString,
    access: SecretString,
    /// When the provider was asked for both.
    pub(super) fetched_at: UnixTime,
    /// Which start of the machine that was in, where the store is this machine's.
    boot: Option<u64>,
    /// Seconds that the access token lives.
    life: u64,
    /// The newest epoch that it was sealed under; it is never sealed under an older one.
    sealed_under: Option<Epoch>,
}

/// The plaintext: compact JSON.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    #[serde(borrow)]
    access: Cow<'a, str>,
    fetched: UnixTime,
    life: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "is_false")]
    broke_off: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<u64>,
}

/// Why a record did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    /// There is no key for its epoch.
    NoKey(Epoch, NoKey),
    /// It is not what was stored for this login.
    Damaged,
}

impl Record {
    /// The first record of a login, or the one after `before`: with what the provider gave when it was asked at
    /// `fetched_at`.
    pub(super) fn new(
        before: Option<&Self>,
        own_token: &SecretString,
        tokens: TokenResponse,
        fetched_at: UnixTime,
        boot: Option<u64>,
    ) -> Self {
        let old_token = || before.map_or(own_token, |before| &before.token).clone();
        Self {
            generation: before.map_or(0, |before| before.generation.saturating_add(1)),
            asked_at: None,
            broke_off: false,
            life: cache::lifetime(&tokens).as_secs(),
            // Where no new one comes, the old one stays good (RFC 6749 section 6).
            token: tokens.refresh_token.unwrap_or_else(old_token),
            access: tokens.access_token,
            fetched_at,
            boot,
            sealed_under: before.and_then(|before| before.sealed_under),
        }
    }

    /// One of a login that was never used here: with its own token, and no access token.
    pub(super) fn unused(login: &Grant) -> Self {
        let (token, access) = (login.refresh_token.clone(), SecretString::default());
        let (asked_at, broke_off, boot, sealed_under) = (None, false, None, None);
        Self { generation: 0, asked_at, broke_off, token, access, fetched_at: 0, boot, life: 0, sealed_under }
    }

    /// The same with a mark, or without.
    pub(super) fn with_mark(&self, asked_at: Option<UnixTime>) -> Self {
        Self { asked_at, ..self.clone() }
    }

    /// Whether the access token can be handed out at `now` in a machine that was started as `boot`. One from the
    /// future, or from before a restart after which the clock may have been behind, may be older than it looks.
    pub(super) fn is_fresh(&self, now: UnixTime, boot: Option<u64>) -> bool {
        let reusable = cache::reusable(Duration::from_secs(self.life)).as_secs();
        let end = self.fetched_at.saturating_add_unsigned(reusable);
        self.is_of(boot) && (self.fetched_at.saturating_sub(SKEW)..end).contains(&now)
    }

    /// Whether it was written since the machine was started as `boot`.
    pub(super) fn is_of(&self, boot: Option<u64>) -> bool {
        self.boot == boot
    }

    /// The access token in it, to be handed out.
    pub(super) fn access(&self, clock: &Clock) -> AccessToken {
        AccessToken::from_record(self.access.clone(), self.fetched_at, Duration::from_secs(self.life), clock)
    }

    /// Seals it for a login: under the keyring's primary, or under the newer epoch that it was under before.
    pub(super) fn seal(&self, login: &Grant, keyring: &Keyring) -> Result<Vec<u8>, SealError> {
        let newer = self.sealed_under.filter(|epoch| *epoch > keyring.primary().epoch());
        let keys = newer.and_then(|epoch| keyring.keys(epoch).ok()).unwrap_or(keyring.primary());
        let content = Content {
            token: self.token.expose_secret().into(),
            access: self.access.expose_secret().into(),
            fetched: self.fetched_at,
            life: self.life,
            asked: self.asked_at,
            broke_off: self.broke_off,
            boot: self.boot,
        };
        // Strings and numbers always serialise.
        let plaintext = Zeroizing::new(serde_json::to_vec(&content).unwrap_or_default());
        let mut blob = vec![VERSION];
        blob.extend(keys.epoch().number().to_be_bytes());
        blob.extend(self.generation.to_be_bytes());
        let key = Key::new(&keys.derive(Purpose::RotationRecord, login.record_secret.expose()));
        blob.extend(key.seal(&associated_data(login.id, &blob), &plaintext)?);
        Ok(blob)
    }

    pub(super) fn open(blob: &[u8], login: &Grant, keyring: &Keyring) -> Result<Self, Unopened> {
        let damaged = || Unopened::Damaged;
        let (clear, sealed) = blob.split_first_chunk::<CLEAR_LEN>().ok_or_else(damaged)?;
        let epoch = epoch_of(clear).ok_or_else(damaged)?;
        let generation = generation_of(clear).ok_or_else(damaged)?;
        let keys = keyring.keys(epoch).map_err(|why| Unopened::NoKey(epoch, why))?;
        let key = Key::new(&keys.derive(Purpose::RotationRecord, login.record_secret.expose()));
        let plaintext = key.open(&associated_data(login.id, clear), sealed).ok_or_else(damaged)?;
        let content: Content<'_> = serde_json::from_slice(&plaintext).map_err(|_| Unopened::Damaged)?;
        Ok(Self {
            generation,
            asked_at: content.asked,
            broke_off: content.broke_off,
            token: content.token.into_owned().into(),
            access: content.access.into_owned().into(),
            fetched_at: content.fetched,
            boot: content.boot,
            life: content.life,
            sealed_under: Some(epoch),
        })
    }
}

/// Where the record of a login is stored.
pub(in crate::tokens) fn name(login: &Grant) -> Name {
    *derive_from(login.record_secret.expose(), Purpose::RotationName)
}

/// The epoch that a record was sealed under, of its first [`HEAD_LEN`] bytes.
pub(super) fn epoch_of(head: &[u8]) -> Option<Epoch> {
    let (head, _) = head.split_first_chunk::<HEAD_LEN>()?;
    let [VERSION, epoch @ ..] = *head else { return None };
    Epoch::try_from(i64::from(u32::from_be_bytes(epoch))).ok()
}

/// How many times the refresh token has changed, of a record's first [`CLEAR_LEN`] bytes; nobody vouches for it.
pub(super) fn generation_of(clear: &[u8]) -> Option<u64> {
    clear.get(HEAD_LEN..)?.first_chunk().copied().map(u64::from_be_bytes)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// `label | 0x00 | grant id (16) | version (1) | epoch (4) | generation (8)`.
fn associated_data(grant: GrantId, clear: &[u8]) -> Vec<u8> {
    [Purpose::RotationRecord.info(), &[0], grant.as_bytes(), clear].concat()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{keyring, keyring_text, login, tokens};
    use super::*;
    use crate::seal::Keyring;

    fn record(token: &str) -> Record {
        Record::new(None, &"first".into(), tokens(token), 1_795_428_000, None)
    }

    #[test]
    fn a_record_opens_with_its_authid_only_and_only_unchanged() {
        let keyring = keyring(1, &[1]);
        let other = login();
        let login = login();
        let blob = record("secret-token").seal(&login, &keyring).unwrap();
        let opened = Record::open(&blob, &login, &keyring).unwrap();
        assert_eq!(opened.token.expose_secret(), "secret-token");
        assert_eq!((opened.generation, opened.asked_at), (0, None));
        assert!(!String::from_utf8_lossy(&blob).contains("token"));
        let other_secret = Grant { record_secret: other.record_secret.clone(), ..login.clone() };
        let other_grant = Grant { id: other.id, ..login.clone() };
        for wrong in [&other, &other_secret, &other_grant] {
            assert_eq!(Record::open(&blob, wrong, &keyring).err(), Some(Unopened::Damaged));
        }
        for at in 0..blob.len() {
            let mut broken = blob.clone();
            broken[at] ^= 1;
            assert!(Record::open(&broken, &login, &keyring).is_err(), "{at}");
            assert!(Record::open(&blob[..at], &login, &keyring).is_err());
        }
    }

    #[test]
    fn a_record_moves_to_newer_epochs_and_never_back() {
        let text = keyring_text(1, &[1, 2]);
        let old = Keyring::parse(&text).unwrap();
        let new = keyring(2, &[1, 2]);
        // The same two secrets: only the primary differs.
        let moved = Keyring::parse(&text.replace("primary = 1", "primary = 2")).unwrap();
        let login = login();
        let epoch = |blob: &[u8]| epoch_of(blob).unwrap().number();
        let first = record("t").seal(&login, &old).unwrap();
        assert_eq!(epoch(&first), 1);
        let opened = Record::open(&first, &login, &old).unwrap();
        let next = Record::new(Some(&opened), &"x".into(), tokens("u"), 0, None);
        assert_eq!(next.generation, 1);
        let second = next.seal(&login, &moved).unwrap();
        assert_eq!(epoch(&second), 2);
        let behind = Record::open(&second, &login, &old).unwrap().with_mark(Some(7)).seal(&login, &old).unwrap();
        assert_eq!(epoch(&behind), 2, "a replica that is one rotation behind does not seal downward");
        assert_eq!(Record::open(&behind, &login, &moved).unwrap().asked_at, Some(7));
        assert_eq!(Record::open(&first, &login, &new).err(), Some(Unopened::Damaged));
        let newer = keyring(3, &[3]);
        let third = record("t").seal(&login, &newer).unwrap();
        assert_eq!(
            Record::open(&third, &login, &old).err(),
            Some(Unopened::NoKey(Epoch::try_from(3).unwrap(), NoKey::Newer))
        );
    }

    #[test]
    fn a_token_from_the_future_or_from_before_a_restart_is_not_fresh() {
        let life = 3600 - 120;
        let now = 1_795_428_000;
        let fetched = |at, boot| Record::new(None, &"own".into(), tokens("t"), at, boot);
        for (age, fresh) in
            [(0, true), (-SKEW, true), (-SKEW - 1, false), (-86_400, false), (life - 1, true), (life, false)]
        {
            assert_eq!(fetched(now - age, Some(1)).is_fresh(now, Some(1)), fresh, "{age}");
        }
        for (then, today) in [(Some(1), Some(2)), (None, Some(2))] {
            assert!(!fetched(now, then).is_fresh(now, today));
        }
        assert!(fetched(UnixTime::MAX, None).is_fresh(UnixTime::MIN, None).eq(&false), "no arithmetic goes astray");
    }

    #[test]
    fn what_a_later_version_adds_to_a_record_is_no_fault() {
        let content = r#"{"token":"t","access":"a","fetched":1,"life":2,"more":[3]}"#;
        let content: Content<'_> = serde_json::from_str(content).unwrap();
        assert_eq!((content.token.as_ref(), content.boot, content.broke_off), ("t", None, false));
    }

    #[test]
    fn without_a_new_refresh_token_the_old_one_stays() {
        let none = TokenResponse { refresh_token: None, ..tokens("x") };
        let first = record("first");
        assert_eq!(Record::new(Some(&first), &"own".into(), none, 0, None).token.expose_secret(), "first");
        let none = TokenResponse { refresh_token: None, ..tokens("x") };
        assert_eq!(Record::new(None, &"own".into(), none, 0, None).token.expose_secret(), "own");
    }
}
