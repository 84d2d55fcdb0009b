//! The registrations of `[clients]`, each with where it is written: the one that makes logins, and those beside it.

use crate::provider::ClientRegistration;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// One registration, as it is written.
pub(super) struct Registration<'a> {
    /// The provider.
    pub(super) provider: &'a str,
    /// The path of its table.
    pub(super) table: Vec<&'a str>,
    pub(super) id: Option<&'a str>,
    secret: Option<&'a SecretString>,
    secrets: &'a [SecretString],
    pub(super) secret_expires: Option<&'a str>,
}

impl<'a> Registration<'a> {
    /// The path of one of its keys.
    pub(super) fn key(&self, key: &'a str) -> Vec<&'a str> {
        [self.table.as_slice(), &[key]].concat()
    }

    /// Its secrets, each with the path of the key that holds it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (Vec<&'a str>, &'a str)> {
        let one = self.secret.into_iter().map(|secret| (self.key("secret"), secret));
        let several = self.secrets.iter().map(|secret| (self.key("secrets"), secret));
        one.chain(several).map(|(key, secret)| (key, secret.expose_secret()))
    }
}

/// All of them.
pub(super) fn registrations(clients: &BTreeMap<String, ClientRegistration>) -> impl Iterator<Item = Registration<'_>> {
    clients.iter().flat_map(|(provider, client)| {
        let current = Registration {
            provider,
            table: vec!["clients", provider],
            id: client.id.as_deref(),
            secret: client.secret.as_ref(),
            secrets: &client.secrets,
            secret_expires: client.secret_expires.as_deref(),
        };
        let others = client.other.iter().map(move |(name, other)| Registration {
            provider,
            table: vec!["clients", provider, "other", name],
            id: other.id.as_deref(),
            secret: other.secret.as_ref(),
            secrets: &other.secrets,
            secret_expires: other.secret_expires.as_deref(),
        });
        std::iter::once(current).chain(others)
    })
}
