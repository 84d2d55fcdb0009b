//! `<key>_file` for the secrets of `[clients]` and `[services]`: the file's content takes the key's place.
//! (The keyring has `file` and `text` of its own: its file is watched, not read once.)

use super::faults::{Faults, line};
use super::layers::Layers;
use super::sources::{Others, read_text};
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

/// Whether the value at `path` is a secret.
pub(super) fn is_secret(path: &[String]) -> bool {
    match path {
        [table, key] => table == "keyring" && key == "text",
        [table, _, key] => SECRETS.iter().any(|secret| *secret == (table.as_str(), key.as_str())),
        _ => false,
    }
}

/// The path of the `_file` key that may stand for the secret at `path`.
pub(super) fn file_of(path: &[String]) -> Option<Vec<String>> {
    let [table, id, _] = path else { return None };
    is_secret(path).then(|| Some(vec![table.clone(), id.clone(), file_key(&[table.clone(), id.clone()])?]))?
}

/// Reads every `<key>_file` and puts its text, without one trailing line break, at `<key>`. Gives warnings: about files
/// with secrets, the configuration file too, that every user of the machine can read. That is no fault, since container
/// systems hand out secrets with such modes and keep other users out; that such a file can be written to is one.
pub(super) fn read_files(layers: &mut Layers, faults: &mut Faults) -> Vec<String> {
    let mut warnings: Vec<_> = judge_inline(layers, faults).into_iter().collect();
    for (table, key) in SECRETS {
        for id in ids(layers, table) {
            let file_key = format!("{key}_file");
            let path = [table, &id, &file_key];
            if layers.at(&path).is_none() {
                continue;
            }
            let result = read_file(layers, &path, &[table, &id, key]);
            let (name, place) = (path.join("."), layers.place(&path));
            let file = layers.remove(&path);
            match (result, file) {
                (Ok((text, others)), Some(file)) => {
                    if others == Others::Read {
                        let advice = "names a file that every user of this machine can read; run `chmod o-r` on it (a \
                                      Kubernetes volume needs `defaultMode: 0440`)";
                        warnings.push(line(&name, &place, advice));
                    }
                    layers.put(&[table, &id, key], Value::String(file.tag(), text));
                }
                (Err(sentence), _) => faults.add(&name, &place, sentence),
                (Ok(_), None) => {}
            }
        }
    }
    warnings
}

/// Looks at whom the configuration file is open to, if there is a secret in it.
fn judge_inline(layers: &Layers, faults: &mut Faults) -> Option<String> {
    let file = layers.file.as_ref()?.display().to_string();
    let in_file = |path: &[&str]| layers.at(path).is_some_and(|value| layers.is_in_file(value.tag()));
    let in_table =
        |(table, key): &(&str, &str)| ids(layers, table).iter().any(|id| in_file(&[*table, id.as_str(), *key]));
    let holds_secret = in_file(&["keyring", "text"]) || SECRETS.iter().any(in_table);
    let sentence = |what: &str| {
        format!(
            "holds a secret, and every user of this machine can {what} it; run `chmod o-rwx` on it, or move the secret"
        )
    };
    match layers.file_others {
        Others::Write if holds_secret => faults.add(&file, "", sentence("write to")),
        Others::Read if holds_secret => return Some(line(&file, "", &sentence("read"))),
        _ => {}
    }
    None
}

fn ids(layers: &Layers, table: &str) -> Vec<String> {
    let ids = layers.at(&[table]).and_then(Value::as_dict).map(|dict| dict.keys().cloned().collect());
    ids.unwrap_or_default()
}

/// The secret in the file that is named at `path`, and whom the file is open to. The messages do not name the file: a secret may have been put there.
fn read_file(layers: &Layers, path: &[&str], secret: &[&str]) -> Result<(String, Others), String> {
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
    let (text, others) = read_text(&folder.join(file), SECRET_LIMIT).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            format!("names a file that does not exist; a relative path starts at {}", folder.display())
        }
        _ => format!("names a file that cannot be read: {error}"),
    })?;
    if others == Others::Write {
        return Err("names a file that every user of this machine can write to; run `chmod o-rwx` on it".to_owned());
    }
    let secret = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    match secret.trim().is_empty() {
        true => Err("names a file that is empty; put the secret into it".to_owned()),
        false => Ok((secret.to_owned(), others)),
    }
}
