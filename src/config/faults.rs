//! What is wrong with a configuration, for an operator at a terminal: one line a fault, each with its key, where that
//! was set, and what to write instead.

use std::fmt;

/// A line about `key`, for people: `place` says where it was set (`in authseal.toml`) or nothing.
pub(super) fn line(key: &str, place: &str, sentence: &str) -> String {
    // Quoted keys of TOML and names of variables may hold anything, line breaks too.
    let key = key.escape_debug();
    if place.is_empty() { format!("{key} {sentence}") } else { format!("{key} ({}) {sentence}", place.escape_debug()) }
}

/// Everything that is wrong with a configuration. Holds no configured value.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

#[derive(Debug)]
struct Fault {
    key: String,
    place: String,
    sentence: String,
}

impl Faults {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many faults there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A line for each.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|Fault { key, place, sentence }| line(key, place, sentence)).collect()
    }

    /// Notes a fault of `key`; the parts are [`line`]'s.
    pub(super) fn add(&mut self, key: &str, place: &str, sentence: impl Into<String>) {
        self.0.push(Fault { key: key.to_owned(), place: place.to_owned(), sentence: sentence.into() });
    }

    /// Notes that `key` is missing, unless it (or something in it or around it) was taken out for another fault.
    pub(super) fn missing(&mut self, key: &str, sentence: &str) {
        let inside = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| !rest.starts_with('_'));
        if !self.0.iter().any(|fault| inside(&fault.key, key) || inside(key, &fault.key)) {
            self.add(key, "", format!("is missing; {sentence}"));
        }
    }

    /// Notes faults that may follow from earlier ones: sentences that begin with their key, like `services.x.provider`.
    /// Those of a table (`services.x`) that has an earlier fault are left out.
    pub(super) fn follow(&mut self, sentences: &[String]) {
        let earlier: Vec<_> = self.0.iter().map(|fault| fault.key.clone()).collect();
        for sentence in sentences {
            let (key, rest) = sentence.split_once(' ').unwrap_or((sentence, ""));
            let table = key.split('.').take(2).collect::<Vec<_>>().join(".");
            if !earlier.iter().any(|key| key.starts_with(&table)) {
                self.add(key, "", rest);
            }
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            1 => writeln!(f, "1 fault in the configuration:")?,
            count => writeln!(f, "{count} faults in the configuration:")?,
        }
        for line in self.lines() {
            writeln!(f, "  {line}")?;
        }
        f.write_str("Mend them, then run `authseal check`. docs/configuration.md explains every key.")
    }
}

impl std::error::Error for Faults {}
