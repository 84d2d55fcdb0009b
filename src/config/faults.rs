//! What is wrong with a configuration, for an operator at a terminal: one line a fault, each with its key, where that
//! was set, and what to write instead.

use std::fmt;

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

    /// Notes a fault of `key`; `place` says where it was set (`in authseal.toml`) or nothing.
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
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            1 => writeln!(f, "1 fault in the configuration:")?,
            count => writeln!(f, "{count} faults in the configuration:")?,
        }
        for Fault { key, place, sentence } in &self.0 {
            // Quoted keys of TOML and names of variables may hold anything, line breaks too.
            write!(f, "  {}", key.escape_debug())?;
            if !place.is_empty() {
                write!(f, " ({})", place.escape_debug())?;
            }
            writeln!(f, " {sentence}")?;
        }
        f.write_str("Mend them, then run `authseal check`. docs/configuration.md explains every key.")
    }
}

impl std::error::Error for Faults {}
