//! The old server's store of tokens: a folder with one file of AES Crypt for each login, which holds JSON. It is read and
//! never written: the old server may still run.

use super::aes_crypt::{AesCryptError, decrypt};
use crate::authid::ServiceId;
use crate::files::{self, Readers, Unread};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The longest file that is read, in bytes. The tokens stand in it twice.
const LONGEST: u64 = 256 * 1024;

/// What the old server kept of a login. `RefreshToken` is the truth; the JSON beside it may have none.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stored {
    /// What it is for, as that server knew it.
    #[serde(deserialize_with = "service_id")]
    pub service_id: ServiceId,
    /// The provider's refresh token.
    pub refresh_token: SecretString,
}

pub(super) fn service_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ServiceId, D::Error> {
    let text = String::deserialize(deserializer)?;
    ServiceId::parse_alias(&text).ok_or_else(|| D::Error::custom("no id of a service"))
}

/// Why there is nothing for an AuthID of version 1.
#[derive(Debug, Error)]
pub enum StoredError {
    /// The store has no such file. Who may look for others learns nothing from it.
    #[error("the old store has no file of this name")]
    Missing,
    /// It cannot be read.
    #[error("a file of the old store: {0}")]
    Unread(#[source] Unread),
    /// It does not open.
    #[error("a file of the old store {0}")]
    Closed(#[from] AesCryptError),
    /// It opens, and is not what the old server writes.
    #[error("a file of the old store does not hold what the old server writes")]
    Other,
}

impl StoredError {
    /// Whether the AuthID may have been made up.
    pub fn is_guess(&self) -> bool {
        matches!(self, Self::Missing | Self::Closed(AesCryptError::WrongPassword))
    }
}

impl From<Unread> for StoredError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Missing => Self::Missing,
            unread => Self::Unread(unread),
        }
    }
}

/// Where the store in `folder` has what is named so. Where that server was given its folder as `file://`, the file's name
/// is the base64 of it.
pub(super) fn place(folder: &Path, name: &str) -> PathBuf {
    let packed = folder.join(BASE64.encode(name));
    if packed.exists() { packed } else { folder.join(name) }
}

/// Reads what the store in `folder` has under `file`, which is [32 hex digits](super::OldAuthId). Takes some milliseconds
/// of computing beside the reading.
///
/// # Errors
/// See [`StoredError`].
pub fn open(folder: &Path, file: &str, password: &SecretString) -> Result<Stored, StoredError> {
    let (content, _) = files::read(&place(folder, file), LONGEST, Readers::All)?;
    let json = decrypt(&content, password.expose_secret())?;
    let stored: Stored = serde_json::from_slice(&json).map_err(|_| StoredError::Other)?;
    if stored.refresh_token.expose_secret().is_empty() { Err(StoredError::Other) } else { Ok(stored) }
}

#[cfg(test)]
mod tests {
    use super::super::OldAuthId;
    use super::*;
    use std::fs;

    #[derive(Deserialize)]
    struct Expected {
        authid: String,
        service: String,
        refresh_token: String,
    }

    #[test]
    fn every_login_of_a_running_oauth_server_is_found_in_its_store() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server");
        let expected = fs::read(folder.join("expected.json")).unwrap();
        let expected: Vec<Expected> = serde_json::from_slice(&expected).unwrap();
        assert_eq!(expected.len(), 8);
        for Expected { authid, service, refresh_token } in expected {
            let Some(OldAuthId::Version1 { file, password }) = OldAuthId::parse(&authid) else { panic!("{authid}") };
            let stored = open(&folder.join("tokens"), &file, &password).unwrap();
            assert_eq!(
                (stored.service_id.as_str(), stored.refresh_token.expose_secret()),
                (&*service, &*refresh_token)
            );
            let other = open(&folder.join("tokens"), &file, &format!("{}x", password.expose_secret()).into());
            assert!(matches!(other, Err(StoredError::Closed(AesCryptError::WrongPassword))));
            let none = open(&folder.join("tokens"), &"0".repeat(32), &password);
            assert!(matches!(none, Err(StoredError::Missing)));
        }
    }
}
