//! Remotes of rclone: an `rclone.conf` read, and one remote written. What is the same here and there is data, in
//! `config/rclone.toml`.

use super::UsageError;
use crate::files::{self, Readers};
use configparser::ini::Ini;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use zeroize::Zeroizing;

const KNOWN: &str = include_str!("../../config/rclone.toml");
/// The longest file that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;
/// What an encrypted one begins with.
const ENCRYPTED: &str = "# Encrypted rclone configuration File";
/// What is in the place of an access token that has ended long ago, so that rclone fetches one.
const ENDED: &str = "2000-01-01T00:00:00Z";

#[derive(Deserialize)]
struct All {
    remotes: Vec<Known>,
}

/// A kind of remote, and the service that it is here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    r#type: String,
    /// The service's id.
    pub(super) service: String,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default)]
    usual: bool,
    /// What rclone has to be told beside.
    pub(super) todo: Option<String>,
}

/// A remote of somebody's rclone.
pub(super) struct Remote {
    pub(super) name: String,
    keys: BTreeMap<String, Zeroizing<String>>,
}

/// What rclone keeps of a login.
#[derive(Deserialize)]
pub(super) struct Token {
    #[serde(default)]
    pub(super) access_token: SecretString,
    #[serde(default)]
    pub(super) refresh_token: SecretString,
}

/// The known kinds.
///
/// # Errors
/// When the file that is built in is faulty.
pub(super) fn known() -> anyhow::Result<Vec<Known>> {
    Ok(toml::from_str::<All>(KNOWN)?.remotes)
}

/// The remotes of an `rclone.conf`, by name.
///
/// # Errors
/// Says what is wrong with the file, without its content.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Remote>> {
    let wrong = |why: &str| UsageError(format!("{}: {why}", path.display()));
    let (text, _) = files::read_text(path, LIMIT, Readers::All).map_err(|error| wrong(&error.to_string()))?;
    if text.lines().any(|line| line.trim() == ENCRYPTED) {
        let advice =
            "is encrypted by rclone; `rclone config show` prints it in plain: give that, in a file that is yours alone";
        return Err(wrong(advice).into());
    }
    let mut ini = Ini::new_cs();
    ini.set_comment_symbols(&['#', ';']);
    ini.set_inline_comment_symbols(Some(&[]));
    // What it says of a fault quotes the line.
    let sections = ini.read(text.to_string()).map_err(|_| wrong("is no configuration of rclone"))?;
    let mut remotes: Vec<_> = sections
        .into_iter()
        .map(|(name, keys)| {
            let keys = keys.into_iter().filter_map(|(key, value)| Some((key, Zeroizing::new(value?)))).collect();
            Remote { name, keys }
        })
        .collect();
    remotes.sort_by(|one, other| one.name.cmp(&other.name));
    if remotes.iter().all(|remote| remote.key("type").is_none()) {
        return Err(wrong("has no remote in it: is it an rclone.conf?").into());
    }
    Ok(remotes)
}

impl Remote {
    fn key(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn client_id(&self) -> Option<&str> {
        self.key("client_id")
    }

    /// The kind that it is of, if that is known.
    pub(super) fn kind<'a>(&self, known: &'a [Known]) -> Option<&'a Known> {
        let fits = |known: &&Known| {
            let keys = |(key, value): (&String, &String)| match self.key(key) {
                Some(own) => own == value,
                None => known.usual,
            };
            self.key("type") == Some(&known.r#type) && known.keys.iter().all(keys)
        };
        known.iter().find(fits)
    }

    /// What it keeps of its login, if it does.
    pub(super) fn token(&self) -> Option<Token> {
        serde_json::from_str(self.key("token")?).ok()
    }
}

impl Known {
    /// A remote of this kind, as `rclone.conf` has it. A token that does not end is an access token, any other one a
    /// refresh token.
    pub(super) fn section(
        &self,
        client: (&str, Option<&SecretString>),
        token: &SecretString,
        ends: bool,
    ) -> Zeroizing<String> {
        let token = token.expose_secret();
        let token = match ends {
            true => json!({ "access_token": "ended", "token_type": "Bearer", "refresh_token": token, "expiry": ENDED }),
            false => json!({ "access_token": token, "token_type": "Bearer", "expiry": "0001-01-01T00:00:00Z" }),
        };
        let (id, secret) = client;
        let mut text = Zeroizing::new(format!("[{}]\ntype = {}\nclient_id = {id}\n", self.service, self.r#type));
        // What is written to a String cannot fail.
        if let Some(secret) = secret {
            let _ = writeln!(text, "client_secret = {}", secret.expose_secret());
        }
        for (key, value) in &self.keys {
            let _ = writeln!(text, "{key} = {value}");
        }
        let _ = writeln!(text, "token = {token}");
        text
    }
}
