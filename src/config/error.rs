//! Errors of a configuration, for an operator at a terminal: one line each, with its key, where that was set, and
//! what to write instead.

use serde::Serialize;
use std::fmt;

/// Where a key was set.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// `in /etc/authseal/authseal.toml`, `in AUTHSEAL_LISTEN`; empty for nowhere.
    pub(super) origin: String,
    /// The line of the file, from 1.
    pub(super) line: Option<usize>,
}

impl Place {
    /// A line of the file that the fault itself names.
    pub(super) fn in_line(line: usize) -> Self {
        Self { origin: String::new(), line: Some(line) }
    }
}

impl fmt::Display for Place {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comma = if self.origin.is_empty() { "" } else { ", " };
        write!(f, "{}", self.origin.escape_debug())?;
        self.line.map_or(Ok(()), |line| write!(f, "{comma}line {line}"))
    }
}

/// A line about `key`, for people.
pub(super) fn line(key: &str, place: &Place, sentence: &str) -> String {
    // Quoted keys of TOML and names of variables may hold anything, line breaks too.
    let key = key.escape_debug();
    let place = place.to_string();
    if place.is_empty() { format!("{key} {sentence}") } else { format!("{key} ({place}) {sentence}") }
}

/// Everything that is wrong with a configuration. Holds no configured value.
#[derive(Debug, Default)]
pub struct ConfigErrors {
    pub(super) faults: Vec<ConfigError>,
    /// What is no fault, but was found beside them.
    pub warnings: Vec<String>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct ConfigError {
    /// With dots, or the path of a file.
    pub key: String,
    /// Where it was set, as `config show --origin` says it; `None` for nowhere.
    pub origin: Option<String>,
    /// The line of the file, from 1.
    pub line: Option<usize>,
    /// What is wrong and what to write instead: the end of a sentence that begins with the key.
    pub says: String,
}

impl fmt::Display for ConfigError {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place { origin: self.origin.clone().unwrap_or_default(), line: self.line };
        f.write_str(&line(&self.key, &place, &self.says))
    }
}

impl ConfigErrors {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Each of them.
    pub fn all(&self) -> &[ConfigError] {
        &self.faults
    }

    /// Notes a fault of `key`.
    pub(super) fn add(&mut self, key: &str, place: &Place, sentence: impl Into<String>) {
        let origin = Some(place.origin.clone()).filter(|origin| !origin.is_empty());
        self.faults.push(ConfigError { key: key.to_owned(), origin, line: place.line, says: sentence.into() });
    }

    /// Notes that `key` is missing, unless it (or something in it or around it) was taken out for another fault.
    pub(super) fn missing(&mut self, key: &str, sentence: &str) {
        let inside = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| !rest.starts_with('_'));
        if !self.faults.iter().any(|fault| inside(&fault.key, key) || inside(key, &fault.key)) {
            self.add(key, &Place::default(), format!("is missing; {sentence}"));
        }
    }

    /// Notes faults that may follow from earlier ones: sentences that begin with their key, like `services.x.provider`.
    /// Those of a table (`services.x`) that has an earlier fault are left out. `place` tells where a key was set.
    pub(super) fn follow(&mut self, sentences: &[String], place: impl Fn(&str) -> Place) {
        let earlier: Vec<_> = self.faults.iter().map(|fault| fault.key.clone()).collect();
        for sentence in sentences {
            let (key, rest) = sentence.split_once(' ').unwrap_or((sentence, ""));
            let table = key.split('.').take(2).collect::<Vec<_>>().join(".");
            if !earlier.iter().any(|key| key.starts_with(&table)) {
                self.add(key, &place(key), rest);
            }
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => f.write_str("1 fault in the configuration:")?,
            count => write!(f, "{count} faults in the configuration:")?,
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigErrors {}
