//! JSON objects of providers, read member by member. A JSON library refuses a whole document for one value that it
//! cannot read, and with it a refresh token that exists nowhere else. So only the members are told apart here, by
//! brackets and quotes; each that is wanted is then parsed for itself, and what is wrong elsewhere does not matter.
//!
//! Of a name that is there twice the last value that can be read counts: most readers take the last (RFC 8259 section
//! 4), and to refuse the response would cost the login. Only UTF-8 is read (section 8.1 there), with or without a byte
//! order mark.

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object; or several, as where a debugging message comes before the answer.
pub(super) struct Members<'a> {
    /// Of each object, in their order: name, and the value's text.
    objects: Vec<Vec<Member<'a>>>,
    /// Whether each object that has members has its end.
    pub(super) whole: bool,
}

type Member<'a> = (String, &'a str);

impl<'a> Members<'a> {
    /// Finds the members of the objects in `text`, whatever is before, between and after them; `None` if there is no
    /// object. One that was cut off has the members before the cut.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (mut objects, mut whole) = (Vec::new(), true);
        let mut next = Some(text.split_once('{')?.1);
        while let Some(text) = next {
            let (members, after) = object(text);
            if objects.is_empty() || !members.is_empty() {
                whole &= after.is_some();
                objects.push(members);
            }
            next = after.and_then(|after| Some(after.split_once('{')?.1));
        }
        Some(Self { objects, whole })
    }

    /// Of the first object that has it.
    fn find<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let found = |member: &Member| if member.0 == name { parse(member.1) } else { None };
        self.objects.iter().find_map(|members| members.iter().rev().find_map(&found))
    }

    /// Whether there is such a member with something in it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name, |value| (!["null", "\"\""].contains(&value.trim())).then_some(())).is_some()
    }

    /// A token of 1 to `longest` bytes.
    pub(super) fn token(&self, name: &str, longest: usize) -> Option<SecretString> {
        let kept = |text: &str| (1..=longest).contains(&text.len()) && !text.contains(char::REPLACEMENT_CHARACTER);
        self.find(name, |value| parse::<SecretString>(value).filter(|token| kept(token.expose_secret())))
    }

    /// A string.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.find(name, parse)
    }

    /// A string or a number, as text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.find(name, |value| word(parse(value)?))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.find(name, parse)
    }

    /// Whatever it is.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        self.find(name, parse)
    }

    /// A list, of which only strings and numbers are kept, as text.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        self.find(name, |value| Some(parse::<Vec<Value>>(value)?.into_iter().filter_map(word).collect()))
    }
}

/// The members of the object that `rest` is in, and what comes after it if it has its end.
fn object(mut rest: &str) -> (Vec<Member<'_>>, Option<&str>) {
    let mut members = Vec::new();
    let mut name = None;
    loop {
        let (piece, after) = rest.split_at(end(rest));
        match (after.as_bytes().first(), name.take()) {
            (Some(b':'), None) => name = serde_json::from_str(piece).ok(),
            // A value at the very end may be half of one, unless it is a text that has its end.
            (after, Some(name)) if after.is_some() || piece.trim_end().ends_with('"') => members.push((name, piece)),
            _ => {}
        }
        match after.as_bytes().first() {
            Some(b':' | b',') => rest = &after[1..],
            _ => return (members, after.strip_prefix('}')),
        }
    }
}

fn parse<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_str(value).ok()
}

fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.as_f64()?.to_string()),
        _ => None,
    }
}

/// Where a name or a value ends: before the colon, comma or bracket that is not inside it.
fn end(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b':' | b',' | b'}' | b']' if depth == 0 => return at,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(json: &str, name: &str) -> Option<String> {
        Members::read(json)?.token(name, 99).map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn members_are_read_by_their_kind() {
        let json =
            r#" {"a":"x\u0041","b":1.5,"c":[1,"two",[3],{}], "d" : null ,"e":true,"f":{"g":"}]"},"h":-2,"\u0069":0}"#;
        let members = Members::read(json).unwrap();
        assert_eq!([secret(json, "a"), members.text("a"), members.string("a")].map(Option::unwrap), ["xA"; 3]);
        assert_eq!([members.text("b"), members.text("h"), members.text("i")].map(Option::unwrap), ["1.5", "-2", "0"]);
        assert_eq!(members.list("c").unwrap(), ["1", "two"]);
        assert!(members.has("e") && members.has("f") && !members.has("d") && !members.has("g"));
        for other in ["b", "c", "d", "e", "f"] {
            assert!(secret(json, other).is_none() && members.string(other).is_none(), "{other}");
        }
        assert!(members.text("e").is_none() && members.text("f").is_none() && members.list("a").is_none());
        for none in ["", "<html>", "[]", "null", "1", "\"{\""] {
            assert!(Members::read(none).is_none_or(|members| members.objects.concat().is_empty()), "{none}");
        }
        assert!(Members::read("{}").unwrap().objects.concat().is_empty());
    }

    #[test]
    fn what_is_wrong_elsewhere_does_not_matter() {
        let deep = format!("{}1{}", r#"{"t":["#.repeat(30_000), "]}".repeat(30_000));
        let values = [
            "NaN",
            "-Infinity",
            "01",
            "0x1",
            "undefined",
            "''",
            "tru",
            "",
            "\"\\x\"",
            "\"\n\0\"",
            "\"\\ud800\"",
            "[NaN,{\"t\":NaN}]",
            "{\"t\":\"u\"}",
            "{,}",
            "[1,]",
            "\"\u{fffd}\"",
            "\"}\"",
            "\"\\\"}\"",
            "\"\\\\\"",
            "\"{\\\"t\\\":1}\"",
            "/* t */ 1",
            "1 2",
            &deep,
        ];
        for value in values {
            for json in [format!(r#"{{"x":{value},"t":"v"}}"#), format!(r#"{{"t":"v","x":{value}}}"#)] {
                assert_eq!(secret(&json, "t").as_deref(), Some("v"), "{value}");
            }
        }
        let around = [
            "\u{feff}#",
            "\r\n#\r\n\r\n",
            "Warning: x\n#",
            "Warning: x in {closure}()\n#",
            "{}&&#",
            "while(1){};#",
            "{\"level\":\"debug\",\"x\":{}}\n#",
            "#garbage",
            "#}}",
            "#{\"t\":\"w\"}",
            "#<script>if(x){y",
            "[#]",
            "#\0",
        ];
        for json in around.map(|around| around.replace('#', r#"{"x":1,,"t" :"v",}"#)) {
            assert_eq!(secret(&json, "t").as_deref(), Some("v"), "{json}");
            assert!(Members::read(&json).unwrap().whole, "{json}");
        }
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_readable_value_counts() {
        for (json, value) in [
            (r#"{"t":"v","t":"w"}"#, "w"),
            (r#"{"t":"v","\u0074":"w"}"#, "w"),
            (r#"{"t":"v","t":null}"#, "v"),
            (r#"{"t":"v","t":{}}"#, "v"),
            (r#"{"t":"v","t":""}"#, "v"),
        ] {
            assert_eq!(secret(json, "t").as_deref(), Some(value), "{json}");
        }
    }

    #[test]
    fn what_was_cut_off_has_the_members_before_the_cut() {
        let json = r#"{"t":"v","u":"a\"b","n":12}"#;
        let whole = |cut: usize, name| {
            let members = Members::read(&json[..cut]).unwrap();
            assert!(!members.whole, "{cut}");
            members.text(name)
        };
        assert!(Members::read(json).unwrap().whole);
        for cut in 1..json.len() {
            assert!(whole(cut, "t").is_none_or(|text| text == "v"), "{cut}");
            assert!(whole(cut, "u").is_none_or(|text| text == "a\"b"), "{cut}");
            assert_eq!(whole(cut, "n"), None, "half a number is another number: {cut}");
        }
    }
}
