//! TOML text, and in which line of it each key is. The parser that figment needs gives values without places, so another
//! one of the same family reads the text once more; it is asked for places alone. No message quotes the text: it may hold
//! a secret.

use figment::value::Dict;
use std::collections::BTreeMap;
use toml_edit::{ImDocument, Item, Key, Table, Value};

/// The line, from 1, of each key, by its path; entries of lists are numbered from 0.
pub(super) type Lines = BTreeMap<Vec<String>, usize>;

/// Why a text is no TOML.
pub(super) struct Unparsed {
    /// The line, from 1.
    pub(super) line: usize,
    /// A sentence that begins with a verb.
    pub(super) sentence: String,
}

/// Parses TOML.
pub(super) fn parse_toml(text: &str) -> Result<Dict, Unparsed> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.get(..start).unwrap_or_default().matches('\n').count();
        // The second: onto a table that is closed already, or a value.
        let is_twice = ["duplicate key", "attempted to extend"].iter().any(|words| error.message().contains(words));
        let sentence = match text.lines().nth(line - 1) {
            _ if is_twice => twice(text, line),
            Some(row) if row.contains('\\') => {
                "has a backslash in \"quotes\", where it begins an escape; put the text in \
                'single quotes', and write paths with /"
                    .to_owned()
            }
            _ => "is not valid TOML; text is in \"quotes\", a table's name in [brackets]".to_owned(),
        };
        Unparsed { line, sentence }
    })
}

/// Where the keys of a valid text are.
pub(super) fn lines(text: &str) -> Lines {
    let mut lines = Lines::new();
    if let Ok(document) = ImDocument::parse(text) {
        let breaks = text.match_indices('\n').map(|(at, _)| at).collect();
        let mut at = Finder { breaks, path: Vec::new(), lines: &mut lines };
        at.table(document.as_table());
    }
    lines
}

/// What is to be said of a key or a table that is there a second time in `line`.
fn twice(text: &str, line: usize) -> String {
    let mut rows = text.split_inclusive('\n');
    let before: String = rows.by_ref().take(line.saturating_sub(1)).collect();
    let row = rows.next().unwrap_or_default();
    let keys = match header(row) {
        Some(keys) => Some(keys),
        None => row.split_once('=').and_then(|(key, _)| Key::parse(key).ok()).map(|mut keys| {
            let mut all = before.lines().rev().find_map(header).unwrap_or_default();
            all.append(&mut keys);
            all
        }),
    };
    let path: Vec<String> = keys.iter().flatten().map(|key| key.get().to_owned()).collect();
    let name = keys.iter().flatten().map(|key| key.display_repr().into_owned()).collect::<Vec<_>>().join(".");
    match (lines(&before).get(&path), header(row).is_some()) {
        (Some(first), true) if matches!(path.as_slice(), [clients, _] if clients == "clients") => format!(
            "has the table `[{name}]` a second time, after line {first}; a further registration there is \
             `[{name}.other.<name>]`"
        ),
        (Some(first), true) => {
            format!("has the table `[{name}]` a second time, after line {first}; put its keys into one of the two")
        }
        (Some(first), false) => format!("sets `{name}` a second time, after line {first}; keep one of the two"),
        (None, _) => "gives a key or a table a second time; keep one".to_owned(),
    }
}

/// The keys in a table's heading, `[like.this]`.
fn header(row: &str) -> Option<Vec<Key>> {
    let inner = row.trim_start().strip_prefix('[')?;
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    Key::parse(inner.split_once(']')?.0).ok()
}

struct Finder<'a> {
    /// Where lines end.
    breaks: Vec<usize>,
    path: Vec<String>,
    lines: &'a mut Lines,
}

impl Finder<'_> {
    fn enter(&mut self, key: String, start: Option<usize>, inner: impl FnOnce(&mut Self)) {
        self.path.push(key);
        if let Some(start) = start {
            let line = 1 + self.breaks.partition_point(|end| *end < start);
            self.lines.insert(self.path.clone(), line);
        }
        inner(self);
        self.path.pop();
    }

    fn table(&mut self, table: &Table) {
        for (key, item) in table.iter() {
            let start = table.key(key).and_then(Key::span).map(|span| span.start);
            self.enter(key.to_owned(), start, |at| match item {
                Item::Table(table) => at.table(table),
                Item::ArrayOfTables(tables) => {
                    for (number, table) in tables.iter().enumerate() {
                        at.enter(number.to_string(), table.span().map(|span| span.start), |at| at.table(table));
                    }
                }
                Item::Value(value) => at.value(value),
                Item::None => {}
            });
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(list) => {
                for (number, value) in list.iter().enumerate() {
                    let start = value.span().map(|span| span.start);
                    self.enter(number.to_string(), start, |at| at.value(value));
                }
            }
            Value::InlineTable(table) => {
                for (key, value) in table.iter() {
                    let start = table.key(key).and_then(Key::span).map(|span| span.start);
                    self.enter(key.to_owned(), start, |at| at.value(value));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_in_its_line() {
        let text = "a = 1\n\n[b]\nc = [\n  1,\n  2]\nd.e = { f = 1 }\n[[g]]\nh = 1\n[[g]]\nh = '''\nx = 1\n'''\n[i.\"j.k\"]\nl=1";
        let lines = lines(text);
        for (path, line) in [
            (&["a"][..], 1),
            (&["b"], 3),
            (&["b", "c"], 4),
            (&["b", "c", "1"], 6),
            (&["b", "d", "e", "f"], 7),
            (&["g", "1"], 10),
            (&["g", "1", "h"], 11),
            (&["i", "j.k"], 14),
            (&["i", "j.k", "l"], 15),
        ] {
            let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(lines.get(&path), Some(&line), "{path:?}");
        }
    }

    #[test]
    fn what_is_there_twice_is_told_with_both_lines() {
        for (text, line, sentence) in [
            ("a = 1\na = 2\n", 2, "sets `a` a second time, after line 1; "),
            ("\n[a]\nb = 1\n[c]\nb = 2\n[a]\n", 6, "has the table `[a]` a second time, after line 2; "),
            ("[a.\"b.c\"]\nx = 1\n\nx = 'hush' # [y]\n", 4, "sets `a.\"b.c\".x` a second time, after line 2; "),
            ("[a]\nb.c = 1\nb.c = 2\n", 3, "sets `a.b.c` a second time, after line 2; "),
            ("[clients.a]\n[[clients.a]]\n", 2, "has the table `[clients.a]` a second time, after line 1; a further "),
            ("[a.b]\r\n[c]\r\n[ a . b ] # hush\r\n", 3, "has the table `[a.b]` a second time, after line 1; "),
            ("a = { b = 1, b = 'hush' }\n", 1, "gives a key or a table a second time"),
        ] {
            let unparsed = parse_toml(text).unwrap_err();
            assert_eq!(unparsed.line, line, "{text}");
            assert!(unparsed.sentence.starts_with(sentence), "{text}: {}", unparsed.sentence);
        }
    }
}
