//! What is in force, key by key, with the layer that set it; secrets are masked. For people who wonder where a value
//! comes from, so a secret that lies in a file is shown as the name of that file.

use super::error::ConfigErrors;
use super::layers::Layers;
use super::lines::{Unparsed, parse_toml};
use super::sources::Sources;
use super::{KeyringSource, read, secrets};
use figment::value::Value;
use std::path::Path;
use url::Url;

/// What is shown in a secret's place.
const MASK: &str = "********";

/// A key that has a value.
#[derive(Debug)]
pub struct Shown {
    /// With dots, as TOML wants it: `services."box.com".hidden`.
    pub key: String,
    /// Text, a boolean, a number or a list; a secret is masked.
    pub value: serde_json::Value,
    /// Where it was set: `built in`, `in /etc/authseal/authseal.toml`, `in AUTHSEAL_LISTEN`, `on the command line`.
    pub origin: String,
    /// Whether it is one of the facts about providers and services that this program brings along.
    pub is_built_in_fact: bool,
}

/// Every key that has a value, by name.
///
/// # Errors
/// All faults of the configuration: as long as there are any, nothing is in force.
pub fn show(sources: &Sources) -> Result<Vec<Shown>, ConfigErrors> {
    let written = Layers::stack(sources)?;
    let (config, layers, faults) = read(sources)?;
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut shown = Vec::new();
    leaves(layers.root(), &mut Vec::new(), &mut |path, value| {
        let file = secrets::file_of(path).and_then(|path| Some((written.at(&path)?, path)));
        let (layers, value, path) =
            file.as_ref().map_or((&layers, value, path), |(value, path)| (&written, *value, path));
        let origin = layers.place_of(value.tag());
        let is_fact = layers.is_built_in(value.tag()) && matches!(path, [table, _, _, ..] if table != "clients");
        shown.push(Shown { key: name(path), value: masked(path, value), origin, is_built_in_fact: is_fact });
    });
    // The defaults that depend on where the configuration file is.
    let keyring = match &config.keyring {
        KeyringSource::File(path) => Some(path),
        KeyringSource::Text(_) => None,
    };
    let beside = |(key, path): (&str, &Path)| Shown {
        key: key.to_owned(),
        value: path.display().to_string().into(),
        origin: "built in".to_owned(),
        is_built_in_fact: false,
    };
    for place in keyring
        .map(|path| ("keyring.file", path.as_path()))
        .into_iter()
        .chain([("denylist.file", &*config.denylist)])
        .chain(config.acme.as_ref().map(|acme| ("acme.cache", &*acme.cache)))
    {
        if !shown.iter().any(|other| other.key == place.0) {
            shown.push(beside(place));
        }
    }
    shown.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(shown)
}

/// The keys that a file's text sets, by name, with their values; secrets are masked. Nothing is checked.
///
/// # Errors
/// A sentence that begins with a verb, when the text is no TOML.
pub fn keys_of(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut keys = Vec::new();
    let dict = parse_toml(text).map_err(|Unparsed { line, sentence }| format!("(line {line}) {sentence}"))?;
    leaves(&dict.into(), &mut Vec::new(), &mut |path, value| {
        keys.push((name(path), masked(path, value).to_string()));
    });
    Ok(keys)
}

/// Calls `each` for everything that is no table.
pub(super) fn leaves(value: &Value, path: &mut Vec<String>, each: &mut dyn FnMut(&[String], &Value)) {
    let Value::Dict(_, dict) = value else { return each(path, value) };
    for (key, value) in dict {
        path.push(key.clone());
        leaves(value, path, each);
        path.pop();
    }
}

fn masked(path: &[String], value: &Value) -> serde_json::Value {
    if secrets::is_secret(path) {
        return MASK.into();
    }
    let value = serde_json::to_value(value).unwrap_or_default();
    match value.as_str().filter(|text| text.contains("://") && text.contains('@')) {
        Some(text) => without_password(text).into(),
        None => value,
    }
}

/// A URL whose password, if it has one, is masked; what is no URL although it looks like one is masked as a whole.
fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return MASK.to_owned() };
    let has_one = url.password().is_some();
    if has_one && url.set_password(Some(MASK)).is_err() { MASK.to_owned() } else { url.to_string() }
}

/// Keys that are not bare ones (TOML 1.0) get quotes.
pub(super) fn name(path: &[String]) -> String {
    let is_bare =
        |key: &String| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let quoted = |key: &String| if is_bare(key) { key.clone() } else { format!("{key:?}") };
    path.iter().map(quoted).collect::<Vec<_>>().join(".")
}
