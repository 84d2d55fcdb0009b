//! The plaintext of an AuthID: a compact JSON object. Members that are not known are kept as they are written when the
//! login is sealed again, so that servers of two versions can serve the same AuthIDs side by side.

use super::grant::{Grant, RecordSecret, Unknown};
use super::ids::{AppId, GrantId, ServiceId};
use crate::clock::UnixTime;
use secrecy::ExposeSecret;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// The times that an AuthID can hold: what RFC 3339 can write, from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const TIMES: RangeInclusive<UnixTime> = 0..=253_402_300_799;

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Token,
    Sealed,
    Login,
    Bind,
    App,
    Ends,
    Other(String),
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default)]
struct Content<'a> {
    token: Option<Cow<'a, str>>,
    sealed: Option<UnixTime>,
    login: Option<UnixTime>,
    bind: Option<&'a str>,
    app: Option<&'a str>,
    ends: Option<UnixTime>,
    unknown: Unknown,
}

impl<'de> Deserialize<'de> for Content<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, each member once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content<'de>, A::Error> {
        fn once<T, E: Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
            if place.replace(value).is_some() { Err(E::custom("a member twice")) } else { Ok(()) }
        }
        let mut content = Content::default();
        while let Some(member) = map.next_key()? {
            match member {
                Member::Token => once(&mut content.token, map.next_value::<Text<'de>>()?.0)?,
                Member::Sealed => once(&mut content.sealed, map.next_value()?)?,
                Member::Login => once(&mut content.login, map.next_value()?)?,
                Member::Bind => once(&mut content.bind, map.next_value()?)?,
                Member::App => once(&mut content.app, map.next_value()?)?,
                Member::Ends => once(&mut content.ends, map.next_value()?)?,
                Member::Other(name) => content.unknown.add(name, map.next_value()?)?,
            }
        }
        Ok(content)
    }
}

impl Unknown {
    fn add<E: Error>(&mut self, name: String, value: &RawValue) -> Result<(), E> {
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(E::custom("a member twice"));
        }
        self.0.push((name, Zeroizing::new(value.get().to_owned())));
        Ok(())
    }
}

/// In the order that the format's page has.
impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("token", self.refresh_token.expose_secret())?;
        map.serialize_entry("sealed", &self.sealed_at)?;
        map.serialize_entry("login", &self.login_at)?;
        map.serialize_entry("bind", self.record_secret.print().as_str())?;
        if let Some(app) = self.app {
            map.serialize_entry("app", &app.to_string())?;
        }
        if let Some(ends) = self.ends_at {
            map.serialize_entry("ends", &ends)?;
        }
        for (name, value) in &self.unknown.0 {
            map.serialize_entry(name, serde_json::from_str::<&RawValue>(value).map_err(S::Error::custom)?)?;
        }
        map.end()
    }
}

impl Grant {
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Strings, numbers and what was JSON before always serialise.
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn from_json(json: &[u8], service: ServiceId, id: GrantId) -> Option<Self> {
        let content: Content<'_> = serde_json::from_slice(json).ok().filter(|_| json.starts_with(b"{"))?;
        let time = |time: UnixTime| TIMES.contains(&time).then_some(time);
        Some(Self {
            service,
            id,
            refresh_token: content.token.filter(|token| !token.is_empty())?.into_owned().into(),
            sealed_at: time(content.sealed?)?,
            login_at: time(content.login?)?,
            record_secret: RecordSecret::parse(content.bind?)?,
            app: content.app.map(|app| AppId::parse(app).ok_or(())).transpose().ok()?,
            ends_at: content.ends.map(|ends| time(ends).ok_or(())).transpose().ok()?,
            unknown: content.unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = r#""token":"t","sealed":1795428000,"login":1795420000,"bind":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","app":"AAAAAAAA","ends":1796000000"#;

    fn read(json: &str) -> Option<Grant> {
        Grant::from_json(json.as_bytes(), ServiceId::parse("box.com").unwrap(), GrantId::new([0; 16]))
    }

    #[test]
    fn what_a_newer_version_wrote_is_kept_as_it_is() {
        let unknown = r#","scope":["a",1.50,{"b":-0}],"":1e400,"Token":null,"é":"\u0000\ud83d""#;
        let login = read(&format!("{{ \"x\" : [ 1 ,2 ] , {KNOWN}{unknown}}}")).unwrap();
        let written = format!("{{{KNOWN},\"x\":[ 1 ,2 ]{unknown}}}");
        assert_eq!(String::from_utf8(login.to_json().to_vec()).unwrap(), written);
        assert_eq!(String::from_utf8(read(&written).unwrap().to_json().to_vec()).unwrap(), written);
        let renewed = login.renewed("u".to_owned().into(), 1_795_430_000);
        let json = String::from_utf8(renewed.to_json().to_vec()).unwrap();
        assert!(json.ends_with(&format!("{unknown}}}")), "{json}");
        assert!(json.contains(r#""app":"AAAAAAAA""#) && !json.contains("ends"), "{json}");
    }
}
