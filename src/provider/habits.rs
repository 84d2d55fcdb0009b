//! Whether a provider treats its refresh tokens as the configuration says. A wrong `rotation` costs logins, and at first
//! nothing shows it; so what gives it away is said in the log, once for each provider.
//!
//! Kept in memory and bounded; a restart forgets what was seen and said.

use super::service::Provider;
use super::{Failure, Rotation};
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How many refresh tokens are remembered that were replaced.
const MAX_REPLACED: u64 = 10_000;

pub(super) struct Habits {
    /// By the first half of its SHA-256, each refresh token that was used once and brought a new one.
    replaced: Cache<[u8; 16], ()>,
    /// What is known of providers, and so said already or not to be said.
    known: Mutex<BTreeSet<(String, Habit)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Habit {
    /// A refresh brings a new refresh token.
    Replaces,
    /// A token that was replaced is refused, or it is known not to be: which of both was seen first.
    OldOnes,
}

impl Habits {
    pub(super) fn new() -> Self {
        Self { replaced: Cache::builder().max_capacity(MAX_REPLACED).build(), known: Mutex::default() }
    }

    /// A refresh with the token `sent` brought `came`.
    pub(super) fn refreshed(&self, provider: &Provider, sent: &SecretString, came: Option<&SecretString>) {
        let replaced = came.is_some_and(|came| came.expose_secret() != sent.expose_secret());
        let name = name(sent);
        if self.replaced.contains_key(&name) {
            self.learn(provider, Habit::OldOnes);
        } else if replaced && provider.rotation() != Rotation::SingleUse {
            self.replaced.insert(name, ());
        }
        if replaced && provider.rotation() == Rotation::None && self.learn(provider, Habit::Replaces) {
            tracing::warn!(
                provider = provider.id,
                "the provider gave a new refresh token although its rotation is \"none\"; set providers.<id>.rotation"
            );
        }
    }

    /// A refresh with the token `sent` failed. Of a token that was used more than once this says nothing: it was
    /// withdrawn.
    pub(super) fn failed(&self, provider: &Provider, sent: &SecretString, failure: Failure) {
        let refused = matches!(failure, Failure::Refused(_)) && self.replaced.contains_key(&name(sent));
        if refused && self.learn(provider, Habit::OldOnes) {
            tracing::warn!(
                provider = provider.id,
                "the provider refused a refresh token that it had replaced; it seems to be single_use: set providers.<id>.rotation"
            );
        }
    }

    /// Whether this is new.
    fn learn(&self, provider: &Provider, habit: Habit) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert((provider.id.clone(), habit))
    }
}

fn name(token: &SecretString) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(token.expose_secret().as_bytes()).into();
    std::array::from_fn(|i| hash[i])
}
