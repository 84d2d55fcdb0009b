//! JSON from strangers, read member by member. Stricter than usual: a name that appears twice, a string that is too long
//! or nesting that is too deep makes the whole answer worthless, since no two readers would agree on it.

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The longest string that is taken, in bytes.
const MAX_TEXT: usize = 8 * 1024;
/// The deepest nesting of objects and lists.
const MAX_DEPTH: usize = 16;

/// The members of an object.
pub(super) type Members = BTreeMap<String, Member>;

/// The value of a member, as far as anything here is interested in it.
pub(super) enum Member {
    /// A string. It may be a token, so it is kept as a secret.
    Text(SecretString),
    /// A number.
    Number(f64),
    /// A list, of which only strings and whole numbers are kept, as text.
    List(Vec<String>),
    /// `null`: the same as no member.
    Null,
    /// Anything else.
    Other,
}

/// Reads an object.
pub(super) fn members(json: &[u8]) -> Option<Members> {
    let object = || serde_json::from_slice::<Object>(json).ok().map(|object| object.0);
    (depth(json) <= MAX_DEPTH).then(object).flatten()
}

/// How deep brackets nest. Right for valid JSON; for anything else the parser decides.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

struct Object(Members);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Members::new();
                while let Some((name, member)) = map.next_entry()? {
                    if members.insert(name, member).is_some() {
                        return Err(A::Error::custom("a name twice"));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Names).map(Self)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Value)
    }
}

struct Value;

impl<'de> Visitor<'de> for Value {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Member, E> {
        if text.len() > MAX_TEXT { Err(E::custom("a string too long")) } else { Ok(Member::Text(text.into())) }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Member, E> {
        Ok(Member::Number(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Member, E> {
        Ok(Member::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Member, E> {
        Ok(Member::Number(number))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Member, A::Error> {
        use secrecy::ExposeSecret;
        let mut list = Vec::new();
        while let Some(member) = seq.next_element()? {
            match member {
                Member::Text(text) => list.push(text.expose_secret().to_owned()),
                Member::Number(number) if number.fract() == 0.0 => list.push(number.to_string()),
                _ => {}
            }
        }
        Ok(Member::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn members_are_read_by_their_kind() {
        let json = br#"{"a":"x\u0041","b":1.5,"c":[1,"two",[3],{}],"d":null,"e":true,"f":{"g":"}]"},"h":-2,"i":18446744073709551615}"#;
        let members = members(json).unwrap();
        assert!(matches!(&members["a"], Member::Text(text) if text.expose_secret() == "xA"));
        assert!(matches!(members["b"], Member::Number(1.5)));
        assert!(matches!(&members["c"], Member::List(list) if list == &["1", "two"]));
        assert!(matches!(members["d"], Member::Null));
        assert!(matches!((&members["e"], &members["f"]), (Member::Other, Member::Other)));
        assert!(matches!(members["h"], Member::Number(-2.0)));
        assert!(matches!(members["i"], Member::Number(number) if number > 1e19));
    }

    #[test]
    fn what_readers_could_disagree_on_is_refused() {
        let deep = |levels: usize| format!("{}{}", r#"{"a":"#.repeat(levels), "1".to_owned() + &"}".repeat(levels));
        assert!(members(deep(MAX_DEPTH).as_bytes()).is_some());
        assert!(members(deep(MAX_DEPTH + 1).as_bytes()).is_none());
        assert!(members("[".repeat(60_000).as_bytes()).is_none());
        let quoted = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(40));
        assert!(members(quoted.as_bytes()).is_some());
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_TEXT + 1));
        let bad = [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1}x"#,
            r#"{"a":1"#,
            "[]",
            "",
            "1",
            &long,
        ];
        for json in bad {
            assert!(members(json.as_bytes()).is_none(), "{json}");
        }
        assert!(members(b"{\"a\":\"\xff\"}").is_none());
    }
}
