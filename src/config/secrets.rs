//! `<key>_file` for the secrets of `[clients]`, `[services]`, `[state]`, `[outbound]` and `[legacy]`: the file's content
//! takes the key's place. (The keyring has `file` and `text` of its own: its file is watched, not read once.)

use super::error::{ConfigErrors, Place, line};
use super::layers::Layers;
use crate::files::{self, Readers, Unread};
use crate::unseen;
use figment::value::Value;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Each table of tables with a secret, and the secret's key.
const IN_EACH: [(&str, &str); 2] = [("clients", "secret"), ("services", "client_secret")];
/// Each table with a secret, and the secret's key.
const IN_ONE: [(&str, &str); 3] = [("legacy", "export_key"), ("outbound", "proxy"), ("state", "store")];
/// The most bytes that a secret's file may have.
const SECRET_LIMIT: u64 = 16 * 1024;

/// The secret in a table of the kind that is at `path`.
fn secret_in(path: &[String]) -> Option<&'static str> {
    let (secrets, table) = match path {
        [table, _] => (IN_EACH.as_slice(), table),
        [table, _, other, _] if table == "clients" && other == "other" => (IN_EACH.as_slice(), table),
        [table] => (IN_ONE.as_slice(), table),
        _ => return None,
    };
    secrets.iter().find(|(name, _)| name == table).map(|(_, key)| *key)
}

/// The `_file` key of the table at `path`, if its kind has one.
pub(super) fn file_key(path: &[String]) -> Option<String> {
    secret_in(path).map(|key| format!("{key}_file"))
}

/// Where there may be a secret: the path of each.
fn places(layers: &Layers) -> Vec<Vec<String>> {
    let of = |table: &str, key: &str| ids(layers, &[table]).into_iter().map(|id| owned(&[table, &id, key])).collect();
    let in_each = IN_EACH.iter().flat_map(|(table, key)| -> Vec<_> { of(table, key) });
    let in_one = IN_ONE.iter().map(|(table, key)| owned(&[table, key]));
    in_each.chain(others(layers, "secret")).chain(in_one).collect()
}

/// Where there may be a list of secrets.
fn lists(layers: &Layers) -> Vec<Vec<String>> {
    let of_clients = ids(layers, &["clients"]).into_iter().map(|id| owned(&["clients", &id, "secrets"]));
    of_clients.chain(others(layers, "secrets")).collect()
}

/// The path of a key in each `[clients.<id>.other.<name>]`.
fn others(layers: &Layers, key: &str) -> Vec<Vec<String>> {
    let of = |id: &String| {
        let names = ids(layers, &["clients", id, "other"]);
        names.iter().map(|name| owned(&["clients", id, "other", name, key])).collect::<Vec<_>>()
    };
    ids(layers, &["clients"]).iter().flat_map(of).collect()
}

/// The keys of a table of tables.
fn ids(layers: &Layers, table: &[&str]) -> Vec<String> {
    let dict = layers.at(table).and_then(Value::as_dict);
    dict.into_iter().flat_map(|dict| dict.keys().cloned()).collect()
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|key| (*key).to_owned()).collect()
}

/// Whether the value at `path` is a secret as a whole. An address is not: it may be a URL with a password in it.
pub(super) fn is_secret(path: &[String]) -> bool {
    let is_keyring = matches!(path, [table, key] if table == "keyring" && key == "text");
    is_keyring || is_in_secrets(path) || (file_of(path).is_some() && !is_address(path))
}

/// Whether the secret at `path` is an address, which is one only with a password in it.
fn is_address<T: AsRef<str>>(path: &[T]) -> bool {
    path.first().is_some_and(|table| ["outbound", "state"].contains(&table.as_ref()))
}

/// Whether the value at `path` is a client's `secrets`, or one of them.
fn is_in_secrets(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(path[..], ["clients", _, "secrets"] | ["clients", _, "secrets", _])
        || matches!(path[..], ["clients", _, "other", _, "secrets"] | ["clients", _, "other", _, "secrets", _])
}

/// The path of the `_file` key that may stand for the value at `path`.
pub(super) fn file_of(path: &[String]) -> Option<Vec<String>> {
    let (key, table) = path.split_last()?;
    let file_key = secret_in(table).filter(|secret| secret == key).and_then(|_| file_key(table))?;
    Some([table, &[file_key]].concat())
}

/// Whether the value at `path` is the id or the secret of a client.
pub(super) fn is_credential(path: &[String]) -> bool {
    let (table, key) = match path {
        [table, _, key] => (table.as_str(), key.as_str()),
        [table, _, other, _, key] if table == "clients" && other == "other" => (table.as_str(), key.as_str()),
        _ => return is_in_secrets(path),
    };
    IN_EACH.contains(&(table, key)) || [("clients", "id"), ("services", "client_id")].contains(&(table, key))
}

/// Reads every `<key>_file` and puts its text at `<key>`. Gives these files, and
/// warnings: about files with secrets, the configuration file too, that every user of the machine can read. That is no
/// fault, since container systems hand out secrets with such modes and keep other users out.
pub(super) fn read_files(layers: &mut Layers, faults: &mut ConfigErrors) -> (Vec<PathBuf>, Vec<String>) {
    let mut files = Vec::new();
    let mut warnings = Vec::from_iter(judge_inline(layers));
    for secret in places(layers) {
        let secret: Vec<&str> = secret.iter().map(String::as_str).collect();
        let Some((key, table)) = secret.split_last() else { continue };
        let file_key = format!("{key}_file");
        let path = [table, &[file_key.as_str()]].concat();
        if layers.at(&path).is_none() {
            continue;
        }
        let result = read_file(layers, &path, &secret);
        let name = path.join(".");
        let place = layers.place(&path);
        let file = layers.remove(&path);
        match (result, file) {
            (Ok((text, everybody_reads)), Some(file)) => {
                files.extend(file.as_str().map(|name| layers.folder(file.tag()).join(name)));
                if everybody_reads {
                    let advice = "names a file that every user of this machine can read; run `chmod o-r` on it (a \
                                  Kubernetes volume needs `defaultMode: 0440`)";
                    warnings.push(line(&name, &place, advice));
                }
                layers.put(&secret, Value::String(file.tag(), text));
            }
            (Err(sentence), _) => faults.add(&name, &place, sentence),
            (Ok(_), None) => {}
        }
    }
    (files, warnings)
}

/// Looks whether every user of the machine can read a secret in the configuration file.
fn judge_inline(layers: &Layers) -> Option<String> {
    let file = layers.file.as_ref().filter(|_| layers.everybody_reads)?.display().to_string();
    let in_file = |path: &[&str]| layers.at(path).is_some_and(|value| layers.is_in_file(value.tag()));
    let holds_secret = in_file(&["keyring", "text"])
        || lists(layers).iter().any(|path| in_file(&path.iter().map(String::as_str).collect::<Vec<_>>()))
        || places(layers).iter().any(|path| {
            let plain = layers.at(path).and_then(Value::as_str).is_some_and(|text| !text.contains('@'));
            in_file(&path.iter().map(String::as_str).collect::<Vec<_>>()) && !(is_address(path) && plain)
        });
    let sentence =
        "holds a secret, and every user of this machine can read it; run `chmod o-rwx` on it, or move the secret";
    holds_secret.then(|| line(&file, &Place::default(), sentence))
}

/// The secret in the file that is named at `path`, and whether every user of the machine can read it. The messages do not
/// name the file: a secret may have been put there.
fn read_file(layers: &Layers, path: &[&str], secret: &[&str]) -> Result<(String, bool), String> {
    let Some(Value::String(tag, file)) = layers.at(path) else {
        return Err("must be text: the path of a file that holds the secret".to_owned());
    };
    let key = secret.last().copied().unwrap_or_default();
    if layers.at(secret).is_some_and(|value| !layers.is_built_in(value.tag())) {
        return Err(format!("is given, and `{key}` {} too; keep one of them", layers.place(secret).origin));
    }
    if file.is_empty() {
        return Err("is empty; name a file or leave the key out".to_owned());
    }
    let folder = layers.folder(*tag);
    let (text, metadata) =
        files::read_text(&folder.join(file), SECRET_LIMIT, Readers::All).map_err(|error| match error {
            Unread::Missing => {
                format!("names a file that does not exist; a relative path starts at {}", folder.display())
            }
            error => format!("names a file that cannot be used: {error}"),
        })?;
    match unseen::trim(&text) {
        "" => Err("names a file that is empty; put the secret into it".to_owned()),
        secret => Ok((secret.to_owned(), metadata.mode() & 0o004 != 0)),
    }
}
