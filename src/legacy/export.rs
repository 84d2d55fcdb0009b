//! Another handler that still has the tokens of old AuthIDs: where it is, and why it told nothing. Asking it is left to
//! `handler`.

use crate::net::names_loopback;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use thiserror::Error;
use url::Url;

/// The shortest key that it takes.
const MIN_KEY: usize = 10;
/// How long what it said of an AuthID, or failed to, is remembered.
const WRONG: Duration = Duration::from_secs(300);
const FAILED: Duration = Duration::from_secs(10);

/// `legacy.export_url` and `legacy.export_key`, checked.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its `/export`.
    pub url: Url,
    /// Its API key.
    pub key: SecretString,
}

impl Export {
    /// Reads the value of `legacy.export_url`.
    ///
    /// # Errors
    /// A sentence that begins with a verb, without the text itself.
    pub fn check_url(text: &str) -> Result<Url, String> {
        const EXAMPLE: &str = "is not of the form `https://handler.example.com/export`";
        let url = Url::parse(text).ok().filter(Url::has_host).ok_or(EXAMPLE)?;
        let secure = url.scheme() == "https" || url.scheme() == "http" && names_loopback(&url);
        match () {
            () if !secure => {
                Err("must begin with `https://`; `http://` is for localhost, 127.0.0.0/8 and [::1]".into())
            }
            () if !url.username().is_empty() || url.password().is_some() => {
                Err("must not hold a user name or a password".into())
            }
            () if url.query().is_some() || url.fragment().is_some() => Err("must end with its path: no query".into()),
            () if url.path() == "/" => Err("needs the path too, which is `/export` there".into()),
            () => Ok(url),
        }
    }

    /// Reads the value of `legacy.export_key`.
    ///
    /// # Errors
    /// As [`Export::check_url`].
    pub fn check_key(text: SecretString) -> Result<SecretString, String> {
        let key = text.expose_secret();
        match () {
            () if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err("has a character that is no letter, digit or sign of ASCII".into())
            }
            () if key.len() < MIN_KEY => {
                Err(format!("is shorter than the {MIN_KEY} characters that an API key there has at least"))
            }
            () => Ok(text),
        }
    }
}

/// Why the handler told nothing of an AuthID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExportError {
    /// It says that there is none of this name, or that it is no AuthID.
    #[error("the handler of legacy.export_url does not know it")]
    Unknown,
    /// It says that the password is another one.
    #[error("the handler of legacy.export_url says that its password is another one")]
    WrongPassword,
    /// It does not take our key, or has none.
    #[error("the handler of legacy.export_url does not take legacy.export_key")]
    KeyRefused,
    /// No connection.
    #[error("the handler of legacy.export_url cannot be reached")]
    Unreachable,
    /// Not in time.
    #[error("the handler of legacy.export_url does not answer in time")]
    TimedOut,
    /// A status that is none of its own; a redirect is one, since nobody else may see an AuthID.
    #[error("what answers at legacy.export_url is not the handler's export: status {0}")]
    Status(u16),
    /// Something else than its JSON, or too much.
    #[error("what answers at legacy.export_url is not the handler's export")]
    NoExport,
    /// It fails with this AuthID.
    #[error("the handler of legacy.export_url fails with this AuthID")]
    Fails,
    /// What it has of this AuthID has no refresh token, or no service that there can be here.
    #[error("what the handler of legacy.export_url has of this AuthID cannot be used")]
    Unusable,
    /// Too many that it does not know came; the time until the next may be asked for.
    #[error("too many AuthIDs came that the handler of legacy.export_url does not know")]
    Guessed(Duration),
    /// Too many wait for it.
    #[error("too many wait for the handler of legacy.export_url")]
    Busy,
}

impl ExportError {
    /// Whether the AuthID may have been made up.
    pub fn is_guess(self) -> bool {
        matches!(self, Self::Unknown | Self::WrongPassword)
    }

    /// The kind in a word, for what is counted.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unknown | Self::WrongPassword => "unknown",
            Self::KeyRefused => "key_refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Status(_) | Self::NoExport | Self::Fails | Self::Unusable => "bad_response",
            // Never of its own.
            Self::Guessed(_) | Self::Busy => "no_room",
        }
    }

    /// How long it holds for this AuthID alone.
    pub(super) fn holds(self) -> Option<Duration> {
        match self {
            Self::Unknown | Self::WrongPassword => Some(WRONG),
            Self::Fails | Self::Unusable => Some(FAILED),
            _ => None,
        }
    }
}
