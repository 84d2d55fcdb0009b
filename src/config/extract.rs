//! From the merged tree to typed keys. serde stops at its first fault, so this goes round in a loop: note the fault,
//! take the key out, read again, until nothing is left to complain about.
//!
//! Variables and flags are raw text. Only when serde wants another type is the text read as one: a client id of digits
//! alone thus stays the text that it is.

use super::error::ConfigErrors;
use super::layers::Layers;
use super::lines::parse_toml;
use super::raw::RawConfig;
use super::secrets;
use super::underscores;
use figment::error::Kind;
use figment::value::{Dict, Tag, Value};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// What a place begins with that is one of our variables.
const VARIABLE: &str = "in AUTHSEAL_";
/// How alike two keys must be (Jaro-Winkler, 0 to 1) for one to be taken for a slip of the other.
const ALIKE: f64 = 0.8;

/// Reads the keys; what is faulty is taken out of `layers`.
pub(super) fn extract(layers: &mut Layers, faults: &mut ConfigErrors) -> RawConfig {
    // Of a list in the place of a table serde would take the entries for its keys, in their order.
    while let Some(path) = list_of_tables(layers.root()) {
        let sentence = further_registrations(&path).unwrap_or_else(|| {
            "has a table in a list, which no key takes; a table's name is in [single brackets]".to_owned()
        });
        faults.add(&layers.name(&path), &layers.place(&path), sentence);
        if layers.remove(&path).is_none() {
            break;
        }
    }
    loop {
        let (path, kind) = match RawConfig::deserialize(layers.root()) {
            Ok(written) => return written,
            Err(error) => (error.path, error.kind),
        };
        if let (Kind::InvalidType(_, wanted), Some(Value::String(tag, text))) = (&kind, layers.at(&path))
            && layers.is_raw(*tag)
            && let Some(value) = coerce(text, wanted).map(|value| tagged(value, *tag))
        {
            layers.put(&path, value);
            continue;
        }
        faults.add(&layers.name(&path), &layers.place(&path), sentence(&path, &kind, layers));
        if layers.remove(&path).is_none() {
            return RawConfig::default(); // a fault that no key can be blamed for; without this it would come forever
        }
    }
}

/// What is wrong, without the value that is.
fn sentence(path: &[String], kind: &Kind, layers: &Layers) -> String {
    if let Kind::UnknownField(..) | Kind::InvalidType(..) = kind
        && let Some(name) = layers.place(path).origin.split(" and ").find_map(|place| place.strip_prefix(VARIABLE))
        && let Some(meant) = underscores::meant(name)
    {
        return format!("is not a known key; did you mean {meant}?");
    }
    match kind {
        Kind::UnknownField(key, known) => {
            let table = path.get(..path.len().saturating_sub(1)).unwrap_or_default();
            let known = known.iter().map(|known| (*known).to_owned()).chain(secrets::file_key(table));
            unknown_key(path, key, known.collect(), &layers.place(path).origin)
        }
        Kind::UnknownVariant(_, known) => format!("must be one of \"{}\"", known.join("\", \"")),
        Kind::MissingField(key) => format!("needs the key `{key}`"),
        Kind::InvalidType(_, wanted) => match wanted.as_str() {
            "a boolean" => "must be true or false, without quotes".to_owned(),
            "a sequence" => match layers.at(path) {
                Some(Value::String(_, text)) => format!("must be a list; write it as {}", as_list(path, text)),
                _ => "must be a list like [\"one\", \"two\"]".to_owned(),
            },
            "a string" => "must be text in quotes".to_owned(),
            wanted if wanted.starts_with("enum ") => "must be text in quotes".to_owned(),
            wanted if wanted == "a map" || wanted.starts_with("struct ") => {
                let written = further_registrations(path).filter(|_| path.len() > 2);
                written.unwrap_or_else(|| "must be a table of keys".to_owned())
            }
            _ => "must be a whole number, without quotes".to_owned(),
        },
        Kind::InvalidValue(..) => "is out of range".to_owned(),
        _ => "is not a value that this key can have".to_owned(),
    }
}

/// The path of the first list with a table in it.
fn list_of_tables(value: &Value) -> Option<Vec<String>> {
    let (key, mut path) = match value {
        Value::Array(_, list) => return list.iter().any(|entry| entry.as_dict().is_some()).then(Vec::new),
        value => value.as_dict()?.iter().find_map(|(key, value)| Some((key.clone(), list_of_tables(value)?)))?,
    };
    path.insert(0, key);
    Some(path)
}

/// How several registrations at one provider are written, if that is what was meant at `path`.
fn further_registrations(path: &[String]) -> Option<String> {
    let [clients, id, rest @ ..] = path else { return None };
    if clients != "clients" || rest.first().is_some_and(|key| key != "other") {
        return None;
    }
    let id = id.escape_debug();
    Some(format!(
        "must be tables with a name each: [clients.{id}] makes the logins, and each further registration is \
         [clients.{id}.other.<name>]"
    ))
}

/// The line with one text as a list of one. A text that is nobody's secret, an address, is in it.
fn as_list(path: &[String], text: &str) -> String {
    let key = path.last().map(String::as_str).unwrap_or_default();
    let shown = text.parse::<SocketAddr>().is_ok() || text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok();
    format!("{key} = [\"{}\"]", if shown { text } else { "…" })
}

fn unknown_key(path: &[String], key: &str, known: Vec<String>, place: &str) -> String {
    let in_file = !place.starts_with(VARIABLE);
    if let Some(meant) = underscores::meant_in_file(path).filter(|_| in_file) {
        return format!("is not a known key; did you mean `{meant}`?");
    }
    let likeness = |known: &String| strsim::jaro_winkler(key, known);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let home = underscores::home(key).filter(|_| in_file && path.len() > 1);
    let mut sentence = match (nearest.filter(|nearest| likeness(nearest) >= ALIKE), home) {
        (Some(nearest), _) => format!("is not a known key; did you mean `{nearest}`?"),
        (None, Some(home)) => {
            format!("is not a known key here: `{key}` {home}; known here are `{}`", known.join("`, `"))
        }
        (None, None) => format!("is not a known key; known here are `{}`", known.join("`, `")),
    };
    if place.starts_with(VARIABLE) && (place.contains("_SERVICE_") || place.contains("_PORT")) {
        sentence += " (if Kubernetes set this variable: `enableServiceLinks: false` in the pod ends that)";
    }
    sentence
}

/// Raw text as the type that serde names in `wanted`.
fn coerce(text: &str, wanted: &str) -> Option<Value> {
    let text = text.trim();
    // `[::]:8080` is an address and no list.
    let is_list = text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['"', '\'', ']']));
    if wanted == "a sequence" && !is_list {
        let entries = text.split(',').map(crate::unseen::trim).filter(|entry| !entry.is_empty());
        return Some(Value::from(entries.map(Value::from).collect::<Vec<_>>()));
    }
    let text = if wanted == "a boolean" { text.to_ascii_lowercase() } else { text.to_owned() };
    let mut dict = parse_toml(&format!("value = {text}")).ok().filter(|dict| dict.len() == 1)?;
    dict.remove("value").filter(|value| match value {
        Value::Bool(..) => wanted == "a boolean",
        Value::Array(..) => wanted == "a sequence",
        Value::Dict(..) => wanted == "a map" || wanted.starts_with("struct "),
        Value::Num(..) => !matches!(wanted, "a boolean" | "a sequence" | "a map") && !wanted.starts_with("struct "),
        _ => false,
    })
}

/// `value` as if it had been set where `tag` says.
fn tagged(value: Value, tag: Tag) -> Value {
    match value {
        Value::String(_, text) => Value::String(tag, text),
        Value::Char(_, char) => Value::Char(tag, char),
        Value::Bool(_, bool) => Value::Bool(tag, bool),
        Value::Num(_, number) => Value::Num(tag, number),
        Value::Empty(_, empty) => Value::Empty(tag, empty),
        Value::Array(_, list) => Value::Array(tag, list.into_iter().map(|value| tagged(value, tag)).collect()),
        Value::Dict(_, dict) => {
            Value::Dict(tag, dict.into_iter().map(|(key, value)| (key, tagged(value, tag))).collect::<Dict>())
        }
    }
}
