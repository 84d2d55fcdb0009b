//! The shapes that values of a compose file come in: most may be written in two ways.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// A command line: one text as a shell reads it, or its words.
#[derive(Default)]
pub(super) struct Words(pub(super) Vec<String>);

/// `NAME=value` as a list, or as a table; without a value, the variable of whoever runs compose is meant.
#[derive(Default)]
pub(super) struct Pairs(pub(super) Vec<(String, Option<String>)>);

/// A text, or a table of texts.
pub(super) enum Several {
    Text(String),
    Table(BTreeMap<String, String>),
}

/// One of them, or a list.
pub(super) struct OneOrMore(pub(super) Vec<Several>);

/// A text, a number, a word like `true`; nothing for what is none of these.
struct Scalar(Option<String>);

macro_rules! visited {
    ($name:ident, $expecting:literal, { $($visit:item)* }) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Shape;
                impl<'de> Visitor<'de> for Shape {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    $($visit)*
                }
                deserializer.deserialize_any(Shape)
            }
        }
    };
}

visited!(Words, "a command line", {
    fn visit_unit<E: Error>(self) -> Result<Words, E> {
        Ok(Words::default())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Words, E> {
        shell_words::split(text).map(Words).map_err(|_| E::custom("quotation marks"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Words, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Words)
    }
});

visited!(Pairs, "variables", {
    fn visit_unit<E: Error>(self) -> Result<Pairs, E> {
        Ok(Pairs::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Pairs, A::Error> {
        let pair = |text: String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text, None),
        };
        let list: Vec<String> = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
        Ok(Pairs(list.into_iter().map(pair).collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pairs, A::Error> {
        let table: BTreeMap<String, Option<String>> = BTreeMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Pairs(table.into_iter().collect()))
    }
});

visited!(Several, "a text or a table", {
    fn visit_str<E: Error>(self, text: &str) -> Result<Several, E> {
        Ok(Several::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Several, A::Error> {
        let table: BTreeMap<String, Scalar> = BTreeMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Several::Table(table.into_iter().filter_map(|(key, value)| Some((key, value.0?))).collect()))
    }
});

visited!(OneOrMore, "a text or a list", {
    fn visit_unit<E: Error>(self) -> Result<OneOrMore, E> {
        Ok(OneOrMore(Vec::new()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![Several::Text(text.to_owned())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<OneOrMore, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMore)
    }
});

visited!(Scalar, "a value", {
    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar(None))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(Some(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, is: bool) -> Result<Scalar, E> {
        Ok(Scalar(Some(is.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(Some(number.to_string())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(Some(number.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }
});
