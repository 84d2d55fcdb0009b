//! Names that have the right words and are no keys. Of variables, those with an underscore too few or too many: two are
//! between a table and its key, one is a part of a name. The commonest slip of all, since other programs take one for
//! both. In a file, a variable's name, and a key that is in another table than its own.

use super::raw::RawConfig;
use super::secrets;
use figment::error::Kind;
use figment::value::{Dict, Value};
use serde::Deserialize;

/// The most words of a name that are tried in every grouping.
const MAX_WORDS: usize = 10;

/// What was meant by the variable `AUTHSEAL_<name>`, for people; `None` if no key has these words.
pub(super) fn meant(name: &str) -> Option<String> {
    let right = with_words(name)?.join("__").to_ascii_uppercase();
    let count =
        if right.matches("__").count() > name.matches("__").count() { "two underscores" } else { "one underscore" };
    (right != name.to_ascii_uppercase()).then(|| format!("AUTHSEAL_{right} ({count})"))
}

/// What was meant by the unknown key at `path` of a file: the key of the same words, with dots; `None` if there is none.
pub(super) fn meant_in_file(path: &[String]) -> Option<String> {
    let name = path.join("_").to_ascii_lowercase();
    with_words(name.strip_prefix("authseal_").unwrap_or(&name)).map(|key| key.join("."))
}

/// Where in a file a key of this name belongs: the end of a sentence that begins with it. `None` if it is in no table, or
/// in so many that none is meant.
pub(super) fn home(key: &str) -> Option<String> {
    let path = |tables: &[&str]| tables.iter().chain([&key]).map(|key| (*key).to_owned()).collect::<Vec<_>>();
    if is_key(&path(&[])) {
        return Some("belongs at the top of the file, before the first [table]".to_owned());
    }
    let in_table = |table: &&str| match (is_key(&path(&[table])), is_key(&path(&[table, "id"]))) {
        (true, _) => Some(format!("[{table}]")),
        (_, true) => Some(format!("[{table}.<id>]")),
        _ => None,
    };
    let tables: Vec<_> = known().iter().filter_map(in_table).collect();
    (1..=2).contains(&tables.len()).then(|| format!("belongs to {}", tables.join(" or ")))
}

/// The keys and tables outside of all tables.
fn known() -> &'static [&'static str] {
    match RawConfig::deserialize(&Value::from(Dict::from([("?".to_owned(), Value::from(0))])))
        .map_err(|error| error.kind)
    {
        Err(Kind::UnknownField(_, known)) => known,
        _ => &[],
    }
}

/// The path of the key that has these words.
fn with_words(name: &str) -> Option<Vec<String>> {
    let words: Vec<_> = name.split('_').filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    let gaps = words.len().checked_sub(1).filter(|gaps| *gaps < MAX_WORDS)?;
    let grouped = |breaks: u32| {
        words.iter().enumerate().fold(Vec::<String>::new(), |mut keys, (at, word)| {
            match keys.last_mut().filter(|_| breaks & (1 << at) == 0) {
                Some(key) => *key = format!("{key}_{word}"),
                None => keys.push(word.clone()),
            }
            keys
        })
    };
    // With as few tables as there can be.
    let mut groupings: Vec<_> = (0..1 << gaps).map(|breaks: u32| grouped(breaks << 1)).collect();
    groupings.sort_by_key(Vec::len);
    groupings.into_iter().find(|keys| is_key(keys))
}

/// Whether there is such a key, which is no table.
fn is_key(path: &[String]) -> bool {
    let nest = |value, key: &String| Value::from(Dict::from([(key.clone(), value)]));
    let Some((key, table)) = path.split_last() else { return false };
    if secrets::file_key(table).is_some_and(|file_key| file_key == *key) {
        return true;
    }
    match RawConfig::deserialize(&path.iter().rev().fold(Value::from(""), nest)) {
        Ok(_) => true,
        Err(error) if error.path != path => false,
        Err(error) => match error.kind {
            Kind::UnknownField(..) => false,
            Kind::InvalidType(_, wanted) => wanted != "a map" && !wanted.starts_with("struct "),
            _ => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_other_underscores_is_told_with_the_right_ones() {
        for (name, right) in [
            ("SERVER_DRAIN_SECONDS", "SERVER__DRAIN_SECONDS (two underscores)"),
            ("CLIENTS_DROPBOX_ID", "CLIENTS__DROPBOX__ID (two underscores)"),
            ("CLIENTS__DROPBOX_ID", "CLIENTS__DROPBOX__ID (two underscores)"),
            ("CLIENTS_DROPBOX__SECRET", "CLIENTS__DROPBOX__SECRET (two underscores)"),
            ("CLIENTS_MY_CLOUD_SECRET", "CLIENTS__MY_CLOUD__SECRET (two underscores)"),
            ("CLIENTS__GOOGLE__SECRET__FILE", "CLIENTS__GOOGLE__SECRET_FILE (one underscore)"),
            ("CLIENTS_GOOGLE_SECRET_FILE", "CLIENTS__GOOGLE__SECRET_FILE (two underscores)"),
            ("SERVICES_BOX_COM_CLIENT_ID", "SERVICES__BOX_COM__CLIENT_ID (two underscores)"),
            ("PUBLIC__URL", "PUBLIC_URL (one underscore)"),
            ("PUBLIC___URL", "PUBLIC_URL (one underscore)"),
            ("KEYRING_TEXT", "KEYRING__TEXT (two underscores)"),
            ("STATE_STORE", "STATE__STORE (two underscores)"),
            ("STATE_STORE_FILE", "STATE__STORE_FILE (two underscores)"),
            ("STATE_REDIS_WAIT", "STATE__REDIS_WAIT (two underscores)"),
            ("LOG_FORMAT", "LOG__FORMAT (two underscores)"),
            ("DELIVERY_TRUSTED_ORIGINS", "DELIVERY__TRUSTED_ORIGINS (two underscores)"),
            ("DELIVERY_LOOPBACK", "DELIVERY__LOOPBACK (two underscores)"),
            ("ACCESS_PASSWORD_FILE", "ACCESS__PASSWORD_FILE (two underscores)"),
            ("ACME__CHALLENGE__DIR", "ACME_CHALLENGE_DIR (one underscore)"),
            ("PROVIDERS_X_ROTATION", "PROVIDERS__X__ROTATION (two underscores)"),
            ("PROVIDERS_X_SCOPE_SEPARATOR", "PROVIDERS__X__SCOPE_SEPARATOR (two underscores)"),
        ] {
            assert_eq!(meant(name).as_deref(), Some(&*format!("AUTHSEAL_{right}")), "{name}");
        }
        for name in
            ["", "_", "X", "SERVER", "SERVER__DRAIN_SECONDS", "DATABASE_URL", "CLIENTS__GOOGLE", "REDIS_SERVICE_HOST"]
        {
            assert_eq!(meant(name), None, "{name}");
        }
        assert_eq!(meant(&"A_".repeat(100)), None);
    }

    #[test]
    fn a_key_of_a_file_is_told_where_it_belongs() {
        let owned = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        for (path, right) in [
            ("log_level", "log.level"),
            ("PUBLIC_URL", "public_url"),
            ("AUTHSEAL_LOG__LEVEL", "log.level"),
            ("clients.google_id", "clients.google.id"),
            ("acme.challenge_dir", "acme_challenge_dir"),
        ] {
            assert_eq!(meant_in_file(&owned(path)).as_deref(), Some(right), "{path}");
        }
        assert_eq!(meant_in_file(&owned("clients.google.public_url")), None);
        for (key, right) in [
            ("public_url", Some("belongs at the top of the file, before the first [table]")),
            ("level", Some("belongs to [log]")),
            ("client_secret_file", Some("belongs to [services.<id>]")),
            ("redis_wait", Some("belongs to [state]")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(home(key).as_deref(), right, "{key}");
        }
    }
}
