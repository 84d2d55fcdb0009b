//! The entries that a duplicati/oauth-server reads its services from: those of its CONFIGFILE, and those that it has built
//! in. That server takes names of properties in any case and passes over those it does not know; here these are named.

use super::report::{Became, Report, shown};
use crate::cli::UsageError;
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};

/// What that server has built in.
pub(super) const BUILT_IN: &str = include_str!("../../../config/oauth-server.toml");
#[derive(Deserialize)]
pub(super) struct BuiltIn {
    pub(super) kinds: BTreeMap<String, Kind>,
    pub(super) services: Vec<Known>,
}

/// What its services have in common that are of one provider.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    /// Ours.
    pub(super) provider: String,
    #[serde(default)]
    pub(super) authorize_url: String,
    #[serde(default)]
    pub(super) token_url: String,
    #[serde(default)]
    pub(super) scope: String,
    #[serde(default)]
    pub(super) params: String,
    /// Whether its secret was no more than a switch.
    #[serde(default)]
    pub(super) public: bool,
    /// What users notice.
    pub(super) users: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    pub(super) id: String,
    kind: String,
    pub(super) name: String,
    scope: Option<String>,
    client_id: Option<String>,
}

/// The properties of an entry, in lower case; that server takes them in any.
const TEXTS: &[&str] = &[
    "id",
    "serviceid",
    "name",
    "clientid",
    "clientsecret",
    "authurl",
    "loginurl",
    "scope",
    "redirecturi",
    "extraurl",
    "servicelink",
    "deauthlink",
    "brandimage",
    "notes",
    "additionalelements",
];
const FLAGS: &[&str] = &[
    "hidden",
    "nostatefortokenrequest",
    "noredirecturiforrefreshrequest",
    "clitoken",
    "preferv2",
    "accesstokenonly",
    "usehostnamefromcallback",
];
/// Those that say nothing here.
pub(super) const PASSED_OVER: &[&str] = &["servicelink", "brandimage", "notes", "additionalelements"];
pub(super) const NO_EFFECT: &[&str] = &["nostatefortokenrequest", "noredirecturiforrefreshrequest", "preferv2"];

/// An entry: its properties by their lower-case names.
pub(super) struct Entry {
    pub(super) texts: BTreeMap<String, String>,
    pub(super) flags: BTreeSet<String>,
    /// Whether it is in the CONFIGFILE.
    pub(super) own: bool,
}

impl Entry {
    pub(super) fn text(&self, key: &str) -> &str {
        self.texts.get(key).map(String::as_str).unwrap_or_default()
    }
}

pub(super) fn built_in(known: &Known) -> Entry {
    let placeholder = |what: &str| format!("%{}_CLIENT_{what}%", known.kind);
    let mut texts = BTreeMap::from([
        ("id".to_owned(), known.id.clone()),
        ("serviceid".to_owned(), known.kind.clone()),
        ("name".to_owned(), known.name.clone()),
        ("clientid".to_owned(), known.client_id.clone().unwrap_or_else(|| placeholder("ID"))),
        ("clientsecret".to_owned(), placeholder("SECRET")),
    ]);
    texts.extend(known.scope.clone().map(|scope| ("scope".to_owned(), scope)));
    Entry { texts, flags: BTreeSet::new(), own: false }
}

/// The entries of a CONFIGFILE.
pub(super) fn custom(content: &[u8], from: &str, report: &mut Report) -> anyhow::Result<Vec<Entry>> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let list: Vec<Map<String, Json>> = serde_json::from_slice(content).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        UsageError(format!("{from}: line {line}, column {column}: is no list of services in JSON"))
    })?;
    list.into_iter().enumerate().map(|(at, object)| entry(at + 1, object, from, report)).collect()
}

fn entry(number: usize, object: Map<String, Json>, from: &str, report: &mut Report) -> anyhow::Result<Entry> {
    let mut entry = Entry { texts: BTreeMap::new(), flags: BTreeSet::new(), own: true };
    for (name, value) in object {
        let key = name.to_ascii_lowercase();
        match value {
            Json::Null if TEXTS.contains(&key.as_str()) || FLAGS.contains(&key.as_str()) => {}
            Json::String(text) if TEXTS.contains(&key.as_str()) => drop(entry.texts.insert(key, text)),
            Json::Bool(is) if FLAGS.contains(&key.as_str()) => drop(is.then(|| entry.flags.insert(key))),
            _ if TEXTS.contains(&key.as_str()) || FLAGS.contains(&key.as_str()) => {
                let kind = if TEXTS.contains(&key.as_str()) { "a text in quotation marks" } else { "true or false" };
                return Err(UsageError(format!("{from}: {} of entry {number} must be {kind}", shown(&name))).into());
            }
            _ => {
                let line = format!("{} of entry {number} of {from}: that server has no such property", shown(&name));
                report.add(Became::Left, line);
            }
        }
    }
    if entry.text("id").trim().is_empty() {
        return Err(UsageError(format!("{from}: entry {number} has no `id`; that server does not start so")).into());
    }
    Ok(entry)
}
