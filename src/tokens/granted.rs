//! What an exchange gives: the access token, where it comes from, and perhaps the login sealed again.

use super::AccessToken;
use crate::authid::{AuthId, ServiceId};
use std::sync::Arc;

/// What an AuthID gave.
pub struct Granted {
    /// The access token.
    pub access: Arc<AccessToken>,
    /// Seconds it has left.
    pub expires_in: u64,
    /// What the AuthID is for.
    pub service: ServiceId,
    /// Where the access token comes from.
    pub source: Source,
    /// The same login sealed again, when that is better than what was sent: under the primary instead of an older
    /// epoch, or around a newer refresh token. Only of [`Source::Fetched`]: memory holds no AuthID, and sealing one for
    /// each answer from there would cost more than the rest of it.
    pub resealed: Option<AuthId>,
}

/// Where an access token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was just fetched, for this request or for one that came at the same time.
    Fetched,
    /// It is remembered, and good for long enough.
    Memory,
    /// It is remembered and would have been replaced, but the provider or the store fails.
    Spare,
}

impl Source {
    /// The kind in a word, for what is counted.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Memory => "cached",
            Self::Spare => "spare",
        }
    }
}
