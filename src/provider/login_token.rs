//! The login token that a user makes at a provider without a browser login and pastes here: how it is read.

use crate::authid::strip;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

/// The longest text that is read, in bytes.
const MAX_LEN: usize = 4 * 1024;

/// What a JSON object begins with in Base64.
const JSON: &str = "eyJ";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A pasted login token: good for one exchange.
///
/// Base64 (either alphabet, padded or not) of JSON. Only two members are read. The others name addresses, chosen by
/// whoever made the token; requests go where the configuration says.
#[derive(Deserialize)]
pub struct LoginToken {
    /// The user's name at the provider.
    pub(super) username: String,
    pub(super) auth_token: SecretString,
}

impl LoginToken {
    /// Reads a token as users paste it: with line breaks, in quotes, behind a label. `None` when it is not one.
    pub fn parse(pasted: &str) -> Option<Self> {
        let text = strip(pasted);
        Self::decode(&text).or_else(|| Self::decode(&text[text.find(JSON)?..]))
    }

    fn decode(text: &str) -> Option<Self> {
        if text.len() > MAX_LEN {
            return None;
        }
        let text = Zeroizing::new(text.replace('+', "-").replace('/', "_"));
        let json = Zeroizing::new(BASE64.decode(text.as_bytes()).ok()?);
        let token: Self = serde_json::from_slice(&json).ok()?;
        (!token.username.is_empty() && !token.auth_token.expose_secret().is_empty()).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    const JSON: &str = r#"{"username":"jörg?>~","realm":"jottacloud","well_known_link":"http://169.254.169.254/","auth_token":"se/cr+et"}"#;

    #[test]
    fn a_token_is_read_in_every_spelling_of_base64() {
        for text in [
            BASE64_STANDARD.encode(JSON),
            BASE64_URL_SAFE_NO_PAD.encode(JSON),
            format!(" {}\r\n", BASE64_STANDARD.encode(JSON)),
            format!("\u{feff}\"{}\"\0", BASE64_STANDARD.encode(JSON)),
            format!("<{}>", BASE64_STANDARD.encode(JSON)),
            format!("Personal login token: {}", BASE64_STANDARD.encode(JSON)),
            BASE64_STANDARD.encode(JSON).chars().map(|char| format!("{char}\u{200b}\r\n")).collect(),
            BASE64_STANDARD.encode(JSON).replace('+', "%2B").replace('/', "%2f").replace('=', "%3D"),
            BASE64_URL_SAFE_NO_PAD.encode(JSON).replace('-', "–"),
        ] {
            let token = LoginToken::parse(&text).unwrap();
            assert_eq!((token.username.as_str(), token.auth_token.expose_secret()), ("jörg?>~", "se/cr+et"));
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let bad = [
            "{}",
            "[]",
            "",
            r#"{"username":"u"}"#,
            r#"{"auth_token":"t"}"#,
            r#"{"username":"","auth_token":"t"}"#,
            r#"{"username":"u","auth_token":""}"#,
            r#"{"username":1,"auth_token":"t"}"#,
            r#"{"username":"u","auth_token":"t"}x"#,
            r#"{"username":"u","username":"v","auth_token":"t"}"#,
        ];
        for json in bad {
            assert!(LoginToken::parse(&BASE64_STANDARD.encode(json)).is_none(), "{json}");
        }
        let long = format!(r#"{{"username":"u","auth_token":"{}"}}"#, "t".repeat(MAX_LEN));
        assert!(LoginToken::parse(&BASE64_STANDARD.encode(long)).is_none());
        assert!(LoginToken::parse("not base64!").is_none());
        assert!(LoginToken::parse(JSON).is_none());
    }
}
