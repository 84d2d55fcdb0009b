//! Localization, what users read in a browser: one file of texts for each language, and which language a browser asks for.
//!
//! A text is found by its key and filled in by the template engine that the pages have, so that a page needs no other
//! syntax. An operator may have other words for some keys. `X-Reason`, JSON and the log are English and not from here.

use actix_web::HttpRequest;
use actix_web::http::header::{AcceptLanguage, Header, Quality};
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// The languages, and the file of each: its name and what the program brings. The first is for whoever asks for none.
pub const FILES: [(Language, &str, &str); 2] = [
    (Language("en"), "texts/en.toml", include_str!("../templates/texts/en.toml")),
    (Language("de"), "texts/de.toml", include_str!("../templates/texts/de.toml")),
];

/// How many languages of a browser's list are looked at, since each is compared with the others.
const MAX_RANGES: usize = 100;

/// A language that there is a file for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Language(&'static str);

/// A text without markup: its key, and what is filled in.
#[derive(Clone, Debug)]
pub struct Text {
    key: Cow<'static, str>,
    arguments: BTreeMap<&'static str, Value>,
}

/// The texts of all languages.
pub struct Texts {
    words: BTreeMap<Language, BTreeMap<String, String>>,
    environment: Environment<'static>,
}

/// Why an operator's file of texts was refused.
#[derive(Debug, Error)]
pub enum TextFault {
    /// It is not TOML.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A key that nothing asks for, or that is no text.
    #[error("`{0}` takes the place of no text")]
    Unknown(String),
    /// It has a fault, or wants something filled in that is not there.
    #[error("`{key}` cannot be filled in: {why}")]
    Unusable {
        /// Which.
        key: String,
        /// The cause.
        why: String,
    },
}

impl Language {
    /// The language for this browser: of those that its `Accept-Language` (RFC 9110 section 12.5.4) takes, the one it
    /// likes best. `de-AT` is served with `de`.
    pub fn from_request(request: &HttpRequest) -> Self {
        let AcceptLanguage(mut ranges) = AcceptLanguage::parse(request).unwrap_or_else(|_| AcceptLanguage(Vec::new()));
        ranges.truncate(MAX_RANGES);
        ranges.sort_by_key(|range| std::cmp::Reverse(range.quality)); // stable: of equals the first
        // `None` is `*`, which means every language that has no range of its own.
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| (range.item.item().map(|tag| tag.primary_language().to_ascii_lowercase()), range.quality))
            .collect();
        let is_named = |language: Self| ranges.iter().any(|(tag, _)| tag.as_deref() == Some(language.0));
        let mut taken = ranges.iter().filter(|(_, quality)| *quality > Quality::ZERO);
        let serves = |tag: &Option<String>, language: Self| match tag {
            Some(tag) => tag == language.0,
            None => !is_named(language),
        };
        let best = taken.find_map(|(tag, _)| all().find(|language| serves(tag, *language)));
        best.unwrap_or(FILES[0].0)
    }

    /// Its tag (RFC 5646), like `de`.
    pub fn tag(self) -> &'static str {
        self.0
    }
}

impl Text {
    /// The text of that key.
    pub fn new(key: impl Into<Cow<'static, str>>) -> Self {
        Self { key: key.into(), arguments: BTreeMap::new() }
    }

    /// What it is found by.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Fills in `{{ name }}`.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name, value.into());
        self
    }

    /// The text below this one, with the same filled in: `error.busy` and `title` make `error.busy.title`.
    pub fn below(&self, key: &str) -> Self {
        Self { key: format!("{}.{key}", self.key).into(), ..self.clone() }
    }
}

impl Texts {
    /// The built-in texts.
    ///
    /// # Errors
    /// Never, as the tests show.
    pub fn built_in() -> Result<Self, TextFault> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let words = FILES.into_iter().map(|(language, _, file)| Ok((language, flat(file)?)));
        Ok(Self { words: words.collect::<Result<_, TextFault>>()?, environment })
    }

    /// Puts the texts of an operator's file in the place of those that have the same key.
    ///
    /// # Errors
    /// When one has no such place, or cannot be filled in there.
    pub fn replace(&mut self, language: Language, file: &str) -> Result<(), TextFault> {
        for (key, text) in flat(file)? {
            let built_in = self.words.get(&language).and_then(|words| words.get(&key));
            self.check(&key, &text, built_in.ok_or_else(|| TextFault::Unknown(key.clone()))?)?;
            self.words.entry(language).or_default().insert(key, text);
        }
        Ok(())
    }

    /// Whether `text` can be filled in wherever the `built_in` one can.
    fn check(&self, key: &str, text: &str, built_in: &str) -> Result<(), TextFault> {
        let unusable = |why| TextFault::Unusable { key: key.to_owned(), why };
        let holes = |text| match self.environment.template_from_str(text) {
            Ok(template) => Ok(template.undeclared_variables(false)),
            Err(error) => Err(unusable(error.to_string())),
        };
        match holes(text)?.difference(&holes(built_in)?).next() {
            Some(name) => Err(unusable(format!("there is no `{name}`"))),
            None => Ok(()),
        }
    }

    /// A text that has no markup, filled in.
    ///
    /// # Errors
    /// When there is no such text, or something to be filled in is missing.
    pub fn say(&self, language: Language, text: &Text) -> Result<String, Error> {
        self.fill("text.txt", language, &text.key, Value::from(text.arguments.clone()))
    }

    /// Gives templates the function `t(key, name=value, …)`: the text of that key in the page's `language`. In pages
    /// what is filled in is escaped, and the text's own markup stays; in plain text there is none.
    pub fn teach(self: &Arc<Self>, environment: &mut Environment) {
        let texts = self.clone();
        environment.add_function("t", move |state: &State, key: &str, arguments: Kwargs| {
            let tag = state.lookup("language").unwrap_or_default();
            let language = all().find(|language| Some(language.0) == tag.as_str()).unwrap_or(FILES[0].0);
            let name = if state.name().ends_with(".txt") { "text.txt" } else { "text.html" };
            texts.fill(name, language, key, Value::from(arguments)).map(Value::from_safe_string)
        });
    }

    /// `name` decides whether what is filled in is escaped.
    fn fill(&self, name: &str, language: Language, key: &str, arguments: Value) -> Result<String, Error> {
        let text = self.words.get(&language).and_then(|words| words.get(key));
        let text = text.ok_or_else(|| Error::new(ErrorKind::UndefinedError, format!("there is no text `{key}`")))?;
        self.environment.render_named_str(name, text, arguments)
    }
}

fn all() -> impl Iterator<Item = Language> {
    FILES.into_iter().map(|(language, ..)| language)
}

/// The texts of a file by their full keys, like `index.title`.
fn flat(file: &str) -> Result<BTreeMap<String, String>, TextFault> {
    let mut words = BTreeMap::new();
    let mut tables = vec![(String::new(), file.parse::<toml::Table>()?)];
    while let Some((prefix, table)) = tables.pop() {
        for (key, value) in table {
            let key = format!("{prefix}{key}");
            match value {
                toml::Value::String(text) => drop(words.insert(key, text)),
                toml::Value::Table(table) => tables.push((format!("{key}."), table)),
                _ => return Err(TextFault::Unknown(key)),
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests;
