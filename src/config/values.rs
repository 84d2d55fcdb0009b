//! Texts as they are written, before anybody asks what they mean: what nobody sees is dropped at both ends, and what
//! cannot be meant is refused by the key's name, never with the value. A provider would say no more than "invalid
//! client" to an id in quotes, and the operator would look for the fault there.

use super::error::ConfigErrors;
use super::layers::Layers;
use super::secrets;
use crate::unseen;
use figment::value::Value;

/// Keys with text for people, in which every character may be meant.
const PROSE: [&str; 6] = ["name", "contact", "console_hint", "reason", "show_callback", "authorize_params"];
/// The one key whose value may be white space.
const WHITE_SPACE: &str = "scope_separator";
/// How the names end that consoles and other programs give ids and secrets, and that are copied along with them.
const LABELS: [&str; 3] = ["id", "key", "secret"];
/// The most bytes that such a name has.
const MAX_LABEL: usize = 40;

/// Drops what is blank at the ends of each text, and takes out those that cannot be meant, so that they are not
/// complained about a second time.
pub(super) fn clean(layers: &mut Layers, faults: &mut ConfigErrors) {
    let mut trimmed = Vec::new();
    let mut refused = Vec::new();
    each_text(layers, layers.root(), &mut Vec::new(), &mut |path, value, written| {
        let text = unseen::trim(written);
        if text.len() < written.len() && !path.iter().any(|key| key == WHITE_SPACE) {
            trimmed.push((path.to_vec(), Value::String(value.tag(), text.to_owned())));
        }
        refused.extend(fault(path, text, layers.is_raw(value.tag())).map(|sentence| (path.to_vec(), sentence)));
    });
    trimmed.into_iter().for_each(|(path, value)| layers.put(&path, value));
    // The last first: taking an entry out of a list moves those behind it.
    for (path, sentence) in refused.into_iter().rev() {
        faults.add(&layers.name(&path), &layers.place(&path), sentence);
        layers.remove(&path);
    }
}

/// Hands each text that somebody wrote to `each`, with its path.
pub(super) fn each_text<'v>(
    layers: &Layers,
    value: &'v Value,
    path: &mut Vec<String>,
    each: &mut dyn FnMut(&[String], &'v Value, &'v str),
) {
    let mut inner = |key: String, value| {
        path.push(key);
        each_text(layers, value, path, each);
        path.pop();
    };
    match value {
        Value::Dict(_, dict) => dict.iter().for_each(|(key, value)| inner(key.clone(), value)),
        Value::Array(_, list) => list.iter().enumerate().for_each(|(at, value)| inner(at.to_string(), value)),
        Value::String(tag, text) if !layers.is_built_in(*tag) => each(path, value, text),
        _ => {}
    }
}

/// Why a text cannot be meant. `raw` says that it came in a variable or a flag.
fn fault(path: &[String], text: &str, raw: bool) -> Option<String> {
    let is_prose = path.iter().any(|key| PROSE.contains(&key.as_str()));
    let is_keyring = path.first().is_some_and(|table| table == "keyring") && secrets::is_secret(path);
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Some("is not UTF-8 text".to_owned());
    }
    if is_placeholder(text) {
        return Some("still holds a placeholder; put the real value there or leave the key out".to_owned());
    }
    if is_prose {
        return None;
    }
    if is_quoted(text) {
        let hands_on = if raw { "; env files and lists of variables hand quotes on as they are" } else { "" };
        return Some(format!("has quotes around it that would count as a part of it; leave them out{hands_on}"));
    }
    if is_keyring {
        return None;
    }
    if secrets::is_credential(path)
        && let Some(sentence) = not_alone(text)
    {
        return Some(sentence);
    }
    text.chars().find(|char| *char != ' ' && unseen::is_blank(*char)).map(|char| {
        let advice = match char.is_ascii_control() && !raw {
            true => {
                "in \"quotes\" a backslash begins an escape: put the text in 'single quotes', or write paths with /"
            }
            false => "type it again by hand, or copy it once more from where it was made",
        };
        format!("holds a character inside that nobody sees (U+{:04X}); {advice}", u32::from(char))
    })
}

fn is_quoted(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next();
    let last = chars.next_back();
    [first, last].iter().all(|char| char.is_some_and(unseen::is_quote))
}

/// What was copied together with an id or a secret.
fn not_alone(text: &str) -> Option<String> {
    if text.starts_with('{') && text.contains('"') {
        return Some(
            "holds a whole JSON document, as consoles let you download it; keep the one member's text alone, without quotes"
                .to_owned(),
        );
    }
    // Base64 may end in `=`.
    if let Some((label, value)) = text.trim_end_matches('=').split_once(['=', ':'])
        && !value.is_empty()
        && is_label(label)
    {
        return Some("begins with a name and `=` or `:`; keep what comes after that alone".to_owned());
    }
    text.contains(['\n', '\r']).then(|| "has more than one line; keep the one value alone".to_owned())
}

fn is_label(text: &str) -> bool {
    let text = text.trim_matches(|char| unseen::is_quote(char) || unseen::is_blank(char)).to_ascii_lowercase();
    let is_name = text.len() <= MAX_LABEL && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_- ".contains(&b));
    is_name && LABELS.iter().any(|label| text.ends_with(label))
}

fn is_placeholder(text: &str) -> bool {
    let bracketed = |text: &str| text.find('<').zip(text.rfind('>')).is_some_and(|(open, close)| open < close);
    let unfilled = text.to_ascii_uppercase().replace('_', "-");
    text.contains('…')
        || text == "..."
        || unfilled.contains("CHANGE-ME")
        || unfilled == "CHANGEME"
        || (text.starts_with('<') && text.ends_with('>'))
        || (text.contains("://") && bracketed(text))
}
