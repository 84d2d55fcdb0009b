//! `<key>_file` for the secrets of `[clients]` and `[services]`: the file's content takes the key's place.
//! (The keyring has `file` and `text` of its own: its file is watched, not read once.)

use super::faults::Faults;
use super::layers::Layers;
use super::sources::read_text;
use figment::value::Value;
use std::io::ErrorKind;

/// Each table of tables with a secret, and the secret's key.
const SECRETS: [(&str, &str); 2] = [("clients", "secret"), ("services", "client_secret")];
/// The most bytes that a secret's file may have.
const SECRET_LIMIT: u64 = 16 * 1024;

/// The `_file` key of the table at `path`, if its kind has one.
pub(super) fn file_key(path: &[String]) -> Option<String> {
    let [table, _] = path else { return None };
    SECRETS.iter().find(|(name, _)| name == table).map(|(_, key)| format!("{key}_file"))
}

/// Reads every `<key>_file` and puts its text, without one trailing line break, at `<key>`.
pub(super) fn read_files(layers: &mut Layers, faults: &mut Faults) {
    for (table, key) in SECRETS {
        let ids = layers.at(&[table]).and_then(Value::as_dict).map(|dict| dict.keys().cloned().collect::<Vec<_>>());
        for id in ids.unwrap_or_default() {
            let file_key = format!("{key}_file");
            let path = [table, &id, &file_key];
            if layers.at(&path).is_none() {
                continue;
            }
            let result = read_file(layers, &path, &[table, &id, key]);
            let place = layers.place(&path);
            let file = layers.remove(&path);
            match (result, file) {
                (Ok(text), Some(file)) => layers.put(&[table, &id, key], Value::String(file.tag(), text)),
                (Err(sentence), _) => faults.add(&path.join("."), &place, sentence),
                (Ok(_), None) => {}
            }
        }
    }
}

/// The secret in the file that is named at `path`. The messages do not name the file: a secret may have been put there.
fn read_file(layers: &Layers, path: &[&str], secret: &[&str]) -> Result<String, String> {
    let Some(Value::String(tag, file)) = layers.at(path) else {
        return Err("must be text: the path of a file that holds the secret".to_owned());
    };
    let key = secret.last().copied().unwrap_or_default();
    if layers.at(secret).is_some() {
        return Err(format!("is given, and `{key}` {} too; keep one of them", layers.place(secret)));
    }
    if file.is_empty() {
        return Err("is empty; name a file or leave the key out".to_owned());
    }
    let folder = layers.folder(*tag);
    let text = read_text(&folder.join(file), SECRET_LIMIT).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            format!("names a file that does not exist; a relative path starts at {}", folder.display())
        }
        _ => format!("names a file that cannot be read: {error}"),
    })?;
    let secret = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    match secret.trim().is_empty() {
        true => Err("names a file that is empty; put the secret into it".to_owned()),
        false => Ok(secret.to_owned()),
    }
}
