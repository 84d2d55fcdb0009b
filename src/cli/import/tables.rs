//! The text of an `authseal.toml`, table by table.

use crate::cli::DOCS;
use secrecy::{ExposeSecret, SecretString};
use std::path::Path;
use toml_edit::{Array, DocumentMut, Item, Table, Value};

/// How secrets are given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    /// Each in a file of its own.
    Files,
    /// In the text itself, which is then never written.
    Inline,
}

/// A configuration that comes to be.
pub(super) struct Tables {
    document: DocumentMut,
    how: Secrets,
    /// The files to make, by name.
    pub(super) files: Vec<(String, SecretString)>,
}

impl Tables {
    pub(super) fn new(how: Secrets) -> Self {
        Self { document: DocumentMut::new(), how, files: Vec::new() }
    }

    pub(super) fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((key, above)) = path.split_last() else { return };
        let mut table = self.document.as_table_mut();
        for (depth, name) in above.iter().enumerate() {
            let entry = table.entry(name).or_insert_with(|| {
                let mut table = Table::new();
                // One with nothing but tables in it has no line of its own.
                table.set_implicit(depth + 1 < above.len());
                Item::Table(table)
            });
            let Some(inner) = entry.as_table_mut() else { return };
            table = inner;
        }
        table.insert(key, Item::Value(value.into()));
    }

    pub(super) fn set_list<'a>(&mut self, path: &[&str], list: impl IntoIterator<Item = &'a str>) {
        self.set(path, Value::Array(list.into_iter().collect::<Array>()));
    }

    /// Puts `<key>` or `<key>_file`.
    pub(super) fn set_secret(&mut self, table: [&str; 2], key: &str, file: String, secret: &SecretString) {
        match self.how {
            Secrets::Inline => self.set(&[table[0], table[1], key], secret.expose_secret()),
            Secrets::Files => {
                self.set(&[table[0], table[1], &format!("{key}_file")], file.as_str());
                self.files.push((file, secret.clone()));
            }
        }
    }

    /// What old AuthIDs need: that they are served at all, and where the tokens of those are that hold none.
    pub(super) fn set_legacy(&mut self, v1_dir: Option<&Path>) {
        self.set(&["legacy", "v2"], true);
        if let Some(folder) = v1_dir {
            self.set(&["legacy", "v1_dir"], folder.display().to_string());
        }
    }

    pub(super) fn text(&self) -> String {
        format!(
            "# Written by `authseal import oauth-server`. {DOCS}/configuration.md explains every key.\n\
             # `authseal check` says what is wrong, `authseal config show --origin` what is in force.\n\n{}",
            self.document
        )
    }
}
