//! Whether a provider rotates its refresh tokens as the configuration says. A wrong `rotation` costs logins, and at
//! first nothing shows it; so what gives it away is said in the log, once for each provider.
//!
//! Kept in memory and bounded; a restart forgets what was seen and said.

use super::service::{Client, Provider, Service};
use super::unclear_errors::{TokenName, UnclearErrors};
use super::{ProviderError, RefreshTokenPolicy};
use crate::clock::Clock;
use crate::lru::Lru;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many refresh tokens are remembered that were replaced.
const MAX_REPLACED: u64 = 10_000;

pub(super) struct RotationCheck {
    /// By its name, each refresh token that was used once and brought a new one.
    replaced: Lru<[u8; 16], ()>,
    /// What is known of providers, and so said already or not to be said.
    known: Mutex<BTreeSet<(String, Habit)>>,
    doubts: UnclearErrors,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Habit {
    /// A refresh brings a new refresh token, or where it should, it does not: which of both was seen first.
    Replaces,
    /// A token that was replaced is refused, or it is known not to be: which of both was seen first.
    OldOnes,
}

impl RotationCheck {
    pub(super) fn new(clock: Clock) -> Self {
        let replaced = Lru::new(MAX_REPLACED, Duration::MAX, &clock);
        Self { replaced, known: Mutex::default(), doubts: UnclearErrors::new(clock) }
    }

    /// A refresh with the token `sent` brought `came`.
    pub(super) fn refreshed(
        &self,
        service: &Service,
        client: &Client,
        sent: &SecretString,
        came: Option<&SecretString>,
    ) {
        let provider = &service.provider;
        let replaced = came.is_some_and(|came| came.expose_secret() != sent.expose_secret());
        let name = name(provider, sent);
        self.doubts.worked(&registration(service, client), &name);
        if self.replaced.get(&name).is_some() {
            self.learn(provider, Habit::OldOnes);
        } else if replaced && provider.rotation() != RefreshTokenPolicy::SingleUse {
            self.replaced.insert(name, ());
        }
        if provider.rotation() == RefreshTokenPolicy::Static {
            if replaced && self.learn(provider, Habit::Replaces) {
                tracing::warn!(
                    provider = provider.id,
                    "the provider gave a new refresh token although its rotation is \"none\"; set providers.<id>.rotation"
                );
            }
        } else if self.learn(provider, Habit::Replaces) && !replaced {
            tracing::warn!(
                provider = provider.id,
                "the provider gave no new refresh token although its rotation is not \"none\"; set providers.<id>.rotation"
            );
        }
    }

    /// Whether the login is dead, of which a refresh with the token `sent` failed. Of a replaced token that was used
    /// more than once a refusal says nothing about the provider: it was withdrawn.
    pub(super) fn is_dead(
        &self,
        service: &Service,
        client: &Client,
        sent: &SecretString,
        failure: ProviderError,
    ) -> bool {
        let provider = &service.provider;
        let name = name(provider, sent);
        let refused = matches!(failure, ProviderError::Refused(_) | ProviderError::Unclear { status: 400 | 401 });
        let spent_here = refused && self.replaced.get(&name).is_some();
        if spent_here && self.learn(provider, Habit::OldOnes) {
            tracing::error!(
                provider = provider.id,
                "the provider refused a refresh token that it had replaced; it seems to be single_use: set providers.<id>.rotation"
            );
        }
        let in_doubt = self.doubts.is_dead(&registration(service, client), name, failure);
        if in_doubt {
            tracing::warn!(
                provider = provider.id, service = %service.id, %failure,
                "the same error came again for a login while others work; the login counts as dead"
            );
        }
        in_doubt || spent_here && !matches!(failure, ProviderError::Refused(_))
    }

    /// Whether this is new.
    fn learn(&self, provider: &Provider, habit: Habit) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert((provider.id.clone(), habit))
    }
}

/// A registration at a provider: what happens to the logins of one says nothing of those of another.
fn registration(service: &Service, client: &Client) -> String {
    format!("{} {}", service.provider.id, client.id)
}

/// Two providers may have the same token.
fn name(provider: &Provider, token: &SecretString) -> TokenName {
    let hash = Sha256::new().chain_update(&provider.id).chain_update([0]).chain_update(token.expose_secret());
    let hash: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|i| hash[i])
}

#[cfg(test)]
mod tests {
    use super::super::ProviderSettings;
    use super::*;

    #[test]
    fn what_became_of_a_token_at_one_provider_says_nothing_of_the_same_text_at_another() {
        let named = |id: &str, token: &str| name(&Provider::unchecked(id, ProviderSettings::default()), &token.into());
        assert_eq!(named("a", "rt"), named("a", "rt"));
        assert!(named("a", "rt") != named("b", "rt") && named("a", "rt") != named("a", "ru"));
    }
}
