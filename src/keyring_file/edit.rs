//! A step written into a keyring's text. Only the bytes that have to change are replaced, at the places that the TOML
//! parser names: comments, order, spellings and line ends stay as they are.
//!
//! What comes out is read again and has to be the keyring of before with exactly that step taken. So the worst that odd
//! but valid TOML can bring about is a refusal.

use super::change::Change;
use crate::clock::{UnixTime, rfc3339};
use crate::seal::{Epoch, EpochKeys, Keyring, KeyringError, SealError, new_secret_text};
use std::collections::BTreeMap;
use std::ops::Range;
use thiserror::Error;
use toml_edit::{ImDocument, Item, TableLike, Value};
use zeroize::Zeroizing;

/// Why a keyring's text was not edited.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum EditError {
    #[error(transparent)]
    Faulty(#[from] KeyringError),
    #[error(transparent)]
    NoSecret(#[from] SealError),
    #[error("it is written in a way that cannot be edited safely, so it stays as it is; change it by hand")]
    Unclear,
}

/// `text` with `change` in it; an epoch that is staged gets a fresh secret.
///
/// # Errors
/// When the text is no keyring or cannot be edited so that exactly `change` comes of it, or there is no randomness.
pub fn apply(text: &str, change: Change) -> Result<Zeroizing<String>, EditError> {
    let before = Keyring::parse(text)?;
    let document = ImDocument::parse(text).map_err(|_| EditError::Unclear)?;
    let edit = match change {
        Change::Stage(epoch, at) => stage(text, &document, epoch, at, &new_secret_text(epoch)?),
        Change::Promote(epoch) => {
            document.get("primary").and_then(Item::span).map(|place| (place, Zeroizing::new(epoch.to_string())))
        }
        Change::Retire(epoch, at) => {
            secret(&document, epoch).map(|place| (place, Zeroizing::new(format!("retired = {}", rfc3339(at)))))
        }
    };
    let (place, new) = edit.ok_or(EditError::Unclear)?;
    let (head, tail) = text.get(..place.start).zip(text.get(place.end..)).ok_or(EditError::Unclear)?;
    // All the room at once: a text that grew would leave copies of the secrets behind.
    let mut edited = Zeroizing::new(String::with_capacity(head.len() + new.len() + tail.len()));
    [head, &new, tail].iter().for_each(|part| edited.push_str(part));
    let after = Keyring::parse(&edited).map_err(|_| EditError::Unclear)?;
    if is_exactly(change, &before, &after) { Ok(edited) } else { Err(EditError::Unclear) }
}

/// Whether `change` is all that lies between two keyrings.
fn is_exactly(change: Change, before: &Keyring, after: &Keyring) -> bool {
    let mut expected = Content::of(before);
    let found = Content::of(after);
    match change {
        Change::Stage(epoch, at) => {
            let new = found.keys.get(&epoch).filter(|key| key.created == time(at) && key.secret.is_ok());
            let added = new.is_some_and(|key| expected.keys.insert(epoch, key.clone()).is_none());
            added && expected == found
        }
        Change::Promote(epoch) => Content { primary: epoch, ..expected } == found,
        Change::Retire(epoch, at) => {
            expected.keys.entry(epoch).and_modify(|key| key.secret = Err(time(at)));
            expected == found
        }
    }
}

/// All that a keyring says, without its secrets.
#[derive(PartialEq)]
struct Content {
    primary: Epoch,
    min_epoch: Option<Epoch>,
    keys: BTreeMap<Epoch, Key>,
}

#[derive(Clone, PartialEq)]
struct Key {
    created: Option<jiff::Timestamp>,
    /// The secret's fingerprint, or when it was given up.
    secret: Result<String, Option<jiff::Timestamp>>,
}

impl Content {
    fn of(keyring: &Keyring) -> Self {
        let key = |entry: &crate::seal::Entry| Key {
            created: entry.created,
            secret: entry.keys.as_ref().map(EpochKeys::fingerprint).map_err(|retired| Some(*retired)),
        };
        let keys = keyring.entries().map(|(epoch, _, entry)| (epoch, key(entry))).collect();
        Self { primary: keyring.primary().epoch(), min_epoch: keyring.min_epoch(), keys }
    }
}

fn time(at: UnixTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(at).ok()
}

/// The place of an epoch's `secret = …`.
fn secret(document: &ImDocument<&str>, epoch: Epoch) -> Option<Range<usize>> {
    let is_it =
        |table: &&dyn TableLike| table.get("epoch").and_then(Item::as_integer) == Some(i64::from(epoch.number()));
    let table = match document.get("key")? {
        Item::ArrayOfTables(tables) => tables.iter().map(|table| table as &dyn TableLike).find(is_it),
        Item::Value(Value::Array(array)) => {
            array.iter().filter_map(Value::as_inline_table).map(|table| table as &dyn TableLike).find(is_it)
        }
        _ => None,
    }?;
    let (key, value) = table.get_key_value("secret")?;
    Some(key.span()?.start..value.span()?.end)
}

/// Where a new key goes, and as what: behind all others, in the form that they have.
fn stage(
    text: &str,
    document: &ImDocument<&str>,
    epoch: Epoch,
    at: UnixTime,
    secret: &str,
) -> Option<(Range<usize>, Zeroizing<String>)> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let fields = [format!("epoch = {epoch}"), format!("created = {}", rfc3339(at)), format!("secret = \"{secret}\"")];
    let fields = fields.map(Zeroizing::new);
    let joined = |by: &str| Zeroizing::new(fields.each_ref().map(|field| field.as_str()).join(by));
    match document.get("key")? {
        Item::ArrayOfTables(_) => {
            let gap = match text {
                text if text.ends_with("\n\n") || text.ends_with("\n\r\n") => String::new(),
                text if text.ends_with('\n') => newline.to_owned(),
                _ => newline.repeat(2),
            };
            let new = format!("{gap}[[key]]{newline}{}{newline}", *joined(newline));
            Some((text.len()..text.len(), Zeroizing::new(new)))
        }
        Item::Value(Value::Array(array)) => {
            let last = array.iter().last()?.span()?;
            let line = text.get(..last.start)?.rsplit('\n').next()?;
            // On a line of its own where the others are.
            let gap = if line.trim().is_empty() { format!("{newline}{line}") } else { " ".to_owned() };
            let new = format!(",{gap}{{ {} }}", *joined(", "));
            Some((last.end..last.end, Zeroizing::new(new)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::secret_text;
    use super::*;

    const AT: UnixTime = 1_795_428_000; // 2026-11-23T10:00:00Z

    /// Keyrings of three epochs, the second the primary. `‹›` stand around what promoting changes, `«»` around what
    /// retiring epoch 1 changes, `¤` where a new key goes; `§1` to `§3` stand for secrets.
    const TABLES: [&str; 8] = [
        // As `authseal keys new` writes it.
        "primary = ‹2›\n\n[[key]]\nepoch = 1\n«secret = \"§1\"»\n\n[[key]]\nepoch = 2\nsecret = \"§2\"\n\n\
         [[key]]\nepoch = 3\nsecret = \"§3\"\n¤",
        // With notes everywhere, and another order.
        "# The keys.\n\nprimary  =  ‹2› # since spring\n\n# the next\n[[key]] # three\nepoch = 3\nsecret = \"§3\" # new\n\
         # the first\n[[key]]\n  «secret   =   \"§1\"» # old\n  epoch=1\n[[key]]\n\tepoch = 2\n\tsecret = \"§2\"\n# the end\n¤",
        // Every way of quoting.
        "'primary' = ‹2›\n[[ \"key\" ]]\n\"epoch\" = 1\n«\"secret\" = '§1'»\n[[key]]\nepoch = 2\nsecret = \"\"\"§2\"\"\"\n\
         [[key]]\nepoch = 3\nsecret = '''\n§3'''\n¤",
        // Numbers in other spellings, times of every kind, a floor.
        "min_epoch = 1\nprimary = ‹0x2›\n[[key]]\nepoch = +1\ncreated = 2026-01-01 10:00:00+02:00\n«secret = \"§1\"»\n\
         [[key]]\nepoch = 0b10\ncreated = \"2026-02-01T00:00:00Z\"\nsecret = \"§2\"\n[[key]]\nepoch = 0o3\nsecret = \"§3\"\n¤",
        // A last line without an end, as some editors leave it.
        "primary = ‹2›\n[[key]]\nepoch = 1\n«secret = \"§1\"»\n[[key]]\nepoch = 2\nsecret = \"§2\"\n\
         [[key]]\nepoch = 3\nsecret = \"§3\"¤",
        // A byte order mark.
        "\u{feff}primary = ‹2›\n[[key]]\nepoch = 1\n«secret = \"§1\"»\n[[key]]\nepoch = 2\nsecret = \"§2\"\n\
         [[key]]\nepoch = 3\nsecret = \"§3\"\n\n¤",
        // Line ends of another system.
        "# The keys.\r\nprimary = ‹2›\r\n\r\n[[key]]\r\nepoch = 1\r\n«secret = \"§1\"»\r\n\r\n[[key]]\r\nepoch = 2\r\n\
         secret = \"§2\"\r\n\r\n[[key]]\r\nepoch = 3\r\nsecret = \"§3\"\r\n¤",
        // Notes and strings that look like what is looked for.
        "# primary = 1\nprimary = ‹2›\n[[key]]\n# secret = \"§1\"\nepoch = 1\n«secret = \"§1\"»\n# [[key]]\n[[key]]\n\
         epoch = 2\nsecret = \"§2\"\n[[key]]\nepoch = 3\nsecret = \"§3\"\n# key = [\n¤",
    ];
    const LISTS: [(&str, &str); 3] = [
        (
            "primary = ‹2›\nkey = [{ epoch = 1, «secret = \"§1\"» }, { epoch = 2, secret = \"§2\" }, { epoch = 3, secret = \"§3\" }¤]\n",
            ", ",
        ),
        (
            "key = [\n    # the first\n    { epoch = 1, «secret = \"§1\"» }, # old\n    {epoch=2,secret='§2'},\n    \
             { epoch = 3, secret = \"§3\" }¤, # new\n]\nprimary = ‹2›\n",
            ",\n    ",
        ),
        (
            "primary = ‹2›\r\nkey = [\r\n\t{ epoch = 1, «secret = \"§1\"» },\r\n\t{ epoch = 2, secret = \"§2\" },\r\n\t\
             { epoch = 3, secret = \"§3\" }¤\r\n]",
            ",\r\n\t",
        ),
    ];

    fn epoch(number: i64) -> Epoch {
        Epoch::try_from(number).unwrap()
    }

    /// A form with real secrets.
    fn filled(form: &str) -> String {
        (1..=3).fold(form.to_owned(), |text, number| text.replace(&format!("§{number}"), &secret_text(number)))
    }

    /// A form without its marks.
    fn plain(form: &str) -> String {
        form.replace(['‹', '›', '«', '»', '¤'], "")
    }

    /// A form with `new` in the place of what stands between two marks, and without the others.
    fn changed(form: &str, (open, close): (char, char), new: &str) -> String {
        let (head, rest) = form.split_once(open).unwrap();
        plain(&format!("{head}{new}{}", rest.split_once(close).unwrap().1))
    }

    fn edited(text: &str, change: Change) -> Zeroizing<String> {
        apply(text, change).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Stages epoch 4; the new secret is shown as `NEW`.
    fn staged(text: &str) -> String {
        let edited = edited(text, Change::Stage(epoch(4), AT));
        let (head, tail) = edited.split_once("authseal-key:4:").unwrap();
        format!("{head}NEW{}", &tail[43 + 1 + 8..])
    }

    #[test]
    fn promoting_and_retiring_change_their_own_bytes_and_no_others() {
        for form in TABLES.into_iter().chain(LISTS.map(|(form, _)| form)).map(filled) {
            let text = plain(&form);
            assert_eq!(*edited(&text, Change::Promote(epoch(3))), changed(&form, ('‹', '›'), "3"));
            let given_up = changed(&form, ('«', '»'), "retired = 2026-11-23T10:00:00Z");
            assert_eq!(*edited(&text, Change::Retire(epoch(1), AT)), given_up);
        }
    }

    #[test]
    fn a_staged_key_stands_behind_all_others_in_the_form_that_they_have() {
        for form in TABLES.map(filled) {
            let newline = if form.contains('\r') { "\r\n" } else { "\n" };
            let new = format!("{newline}[[key]]\nepoch = 4\ncreated = 2026-11-23T10:00:00Z\nsecret = \"NEW\"\n");
            let blank = if form.ends_with("\n\n¤") { "" } else { newline };
            let ended = if form.ends_with("\n¤") { "" } else { newline };
            let new = format!("{ended}{blank}{}", new.trim_start().replace('\n', newline));
            assert_eq!(staged(&plain(&form)), plain(&form.replace('¤', &new)));
        }
        for (form, gap) in LISTS.map(|(form, gap)| (filled(form), gap)) {
            let new = format!("{gap}{{ epoch = 4, created = 2026-11-23T10:00:00Z, secret = \"NEW\" }}");
            assert_eq!(staged(&plain(&form)), plain(&form.replace('¤', &new)));
        }
    }

    #[test]
    fn a_whole_life_of_keys_leaves_a_keyring_that_reads() {
        for form in TABLES.into_iter().chain(LISTS.map(|(form, _)| form)).map(filled) {
            let mut text = Zeroizing::new(plain(&form));
            for number in 4..20 {
                text = edited(&text, Change::Stage(epoch(number), AT));
                text = edited(&text, Change::Promote(epoch(number)));
                text = edited(&text, Change::Retire(epoch(number - 1), AT));
            }
            let keyring = Keyring::parse(&text).unwrap();
            assert_eq!((keyring.primary().epoch(), keyring.entries().count()), (epoch(19), 19));
            assert_eq!(text.matches("authseal-key:").count(), 2 + 1 + text.matches("# secret").count());
        }
    }

    #[test]
    fn whatever_else_has_changed_is_noticed() {
        let key = |number: i64| format!("[[key]]\nepoch = {number}\nsecret = \"{}\"\n", *secret_text(number));
        let (one, two, new) =
            (key(1), key(2), key(3).replacen("[[key]]", "[[key]]\ncreated = 2026-11-23T10:00:00Z", 1));
        let gone = "[[key]]\nepoch = 1\nretired = 2026-11-23T10:00:00Z\n";
        let before = format!("min_epoch = 1\nprimary = 2\n{one}{two}");
        let is_exactly = |change, after: &str| {
            is_exactly(change, &Keyring::parse(&before).unwrap(), &Keyring::parse(after).unwrap())
        };
        let (stage, retire) = (Change::Stage(epoch(3), AT), Change::Retire(epoch(1), AT));
        let (staged, retired) = (format!("{before}{new}"), before.replace(&one, gone));
        assert!(is_exactly(stage, &staged) && is_exactly(retire, &retired));
        for (change, after) in [(stage, staged), (retire, retired)] {
            for (from, to) in [
                ("min_epoch = 1\n", String::new()),
                ("primary = 2", "primary = 2 # and more\n".to_owned() + &key(9)),
                (two.as_str(), key(2)),
                ("epoch = 2\n", "epoch = 2\ncreated = 2026-01-01T00:00:00Z\n".to_owned()),
                ("2026-11-23T10:00:00Z", "2026-11-23T10:00:01Z".to_owned()),
            ] {
                assert!(after.contains(from) && !is_exactly(change, &after.replacen(from, &to, 1)), "{from}");
            }
            assert!(!is_exactly(change, &before));
        }
        assert!(is_exactly(Change::Promote(epoch(1)), &before.replace("primary = 2", "primary = 1")));
        assert!(!is_exactly(Change::Promote(epoch(1)), &before));
        assert!(!is_exactly(Change::Stage(epoch(2), AT), &before), "it was there before");
    }

    #[test]
    fn what_would_become_another_change_is_refused() {
        let text = plain(&filled(TABLES[0]));
        let error = |text: &str, change| apply(text, change).err().unwrap().to_string();
        for change in [
            Change::Promote(epoch(9)), // there is none
            Change::Retire(epoch(9), AT),
            Change::Retire(epoch(2), AT), // the primary: no keyring would be left
            Change::Stage(epoch(3), AT),  // there is one
        ] {
            assert!(error(&text, change).contains("cannot be edited safely"), "{change:?}");
        }
        let gone = edited(&text, Change::Retire(epoch(1), AT));
        assert!(error(&gone, Change::Retire(epoch(1), AT)).contains("cannot be edited safely"));
        assert!(error("primary = 1\n", Change::Promote(epoch(2))).contains("`primary = 1`"));
        assert!(error("primary = \n", Change::Promote(epoch(2))).contains("near line 1"));
    }
}
