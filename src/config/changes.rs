//! Which keys differ between two configurations, and which of them a running server cannot take up. What is not on the
//! list of those that it can needs a restart, so a new key does until somebody has thought about it.

use super::layers::Layers;
use super::show::{leaves, name};
use figment::value::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The tables, and keys outside of tables, that a reload takes up. docs/configuration.md has the same list.
pub const RELOADED: [&str; 13] = [
    "acme_challenge_dir",
    "clients",
    "delivery",
    "legacy",
    "limits",
    "outbound",
    "privacy",
    "providers",
    "refresh",
    "server.trusted_proxies",
    "services",
    "site",
    "templates_dir",
];
/// Those of them that calls to providers depend on.
const CALLS: [&str; 4] = ["clients", "outbound", "providers", "services"];

/// Which keys have which values, by their hashes: these may be secrets, and nobody needs them twice.
#[derive(Clone, Default)]
pub struct Keys {
    file: Option<PathBuf>,
    values: BTreeMap<String, [u8; 32]>,
}

/// How two configurations differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The keys that a running server takes up, by name.
    pub reloaded: Vec<String>,
    /// Those that it does not.
    pub restart: Vec<String>,
}

impl Keys {
    /// Of everything that is set, secrets from files included.
    pub(super) fn of(layers: &Layers) -> Self {
        let mut values = BTreeMap::new();
        leaves(layers.root(), &mut Vec::new(), &mut |path, value| {
            values.insert(name(path), hash(value));
        });
        Self { file: layers.file.clone(), values }
    }

    /// What is different in `newer`.
    pub fn changes(&self, newer: &Self) -> Changes {
        let mut changes = Changes::default();
        if self.file != newer.file {
            changes.restart.push("the configuration file's path".to_owned());
        }
        let all: BTreeMap<_, _> = self.values.iter().chain(&newer.values).collect();
        for key in all.into_keys().filter(|key| self.values.get(*key) != newer.values.get(*key)) {
            let kind = if is_one_of(&RELOADED, key) { &mut changes.reloaded } else { &mut changes.restart };
            kind.push(key.clone());
        }
        changes
    }
}

impl Changes {
    /// Whether something changed that calls to providers depend on.
    pub fn concern_calls(&self) -> bool {
        self.reloaded.iter().any(|key| is_one_of(&CALLS, key))
    }
}

fn is_one_of(tables: &[&str], key: &str) -> bool {
    tables.iter().any(|table| key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn hash(value: &Value) -> [u8; 32] {
    // A figment value is made of what JSON has too.
    Sha256::digest(serde_json::to_vec(value).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::known_keys;
    use super::*;
    use std::collections::BTreeSet;

    /// The words in backquotes of the row of docs/configuration.md that begins so.
    fn row(begins: &str) -> BTreeSet<&'static str> {
        let page = include_str!("../../docs/configuration.md");
        let row = page.lines().find(|line| line.starts_with(&format!("| {begins} |"))).unwrap();
        row.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_page_says_of_each_key_whether_it_is_taken_up() {
        let (taken_up, restart) = (row("Taken up"), row("Needs a restart"));
        assert_eq!(taken_up, RELOADED.into_iter().collect());
        for key in known_keys() {
            let is_listed = |list: &BTreeSet<&str>| list.iter().any(|table| is_one_of(&[table], &key));
            assert_eq!(
                (is_listed(&taken_up), is_listed(&restart)),
                (is_one_of(&RELOADED, &key), !is_listed(&taken_up)),
                "{key}"
            );
        }
    }

    #[test]
    fn keys_that_come_go_or_change_are_told_apart_by_what_becomes_of_them() {
        let keys = |pairs: &[(&str, u8)]| Keys {
            file: None,
            values: pairs.iter().map(|(key, value)| ((*key).to_owned(), [*value; 32])).collect(),
        };
        let old = keys(&[("listen", 1), ("clients.a.secret", 1), ("sites.x", 1), ("site.name", 1)]);
        assert_eq!(old.changes(&old), Changes::default());
        let new = keys(&[("listen", 2), ("clients.a.secret", 2), ("services.\"b.c\".name", 1), ("site.name", 1)]);
        let changes = old.changes(&new);
        assert_eq!(changes.reloaded, ["clients.a.secret", "services.\"b.c\".name"]);
        assert_eq!(changes.restart, ["listen", "sites.x"]);
        assert!(changes.concern_calls() && !old.changes(&keys(&[("site.name", 1)])).restart.is_empty());
        let elsewhere = Keys { file: Some("b.toml".into()), ..old.clone() };
        assert_eq!(old.changes(&elsewhere).restart, ["the configuration file's path"]);
    }
}
