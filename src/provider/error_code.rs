//! Error codes (RFC 6749 sections 4.1.2.1 and 5.2) and what they mean, wherever a provider's error arrives: in an error
//! response of its token or revocation endpoint, or in a callback. A provider's own table comes first, then the codes
//! of the OAuth standards.
//!
//! Codes are looked for where providers put them, which is not only where section 5.2 wants them. Free text is not
//! read, but for a known code at its start or end: descriptions change without notice, and may hold anything.

use super::json::Members;
use super::{ErrorClass, ProviderSettings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use url::form_urlencoded;

/// RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1, RFC 7009 section 2.2.1, RFC 8628 section 3.5, OpenID
/// Connect Core section 3.1.2.6; and some that are in no standard but in common use.
const STANDARD: &[(&str, ErrorClass)] = &[
    ("invalid_grant", ErrorClass::LoginAgain),
    ("invalid_token", ErrorClass::LoginAgain),
    ("expired_token", ErrorClass::Expired),
    ("token_expired", ErrorClass::Expired),
    ("interaction_required", ErrorClass::Consent),
    ("login_required", ErrorClass::Consent),
    ("account_selection_required", ErrorClass::Consent),
    ("consent_required", ErrorClass::Consent),
    ("admin_policy_enforced", ErrorClass::AdminConsent),
    ("invalid_rapt", ErrorClass::Policy),
    ("rapt_required", ErrorClass::Policy),
    ("access_denied", ErrorClass::Locked),
    ("account_disabled", ErrorClass::Locked),
    ("account_locked", ErrorClass::Locked),
    ("user_disabled", ErrorClass::Locked),
    ("invalid_client", ErrorClass::Operator),
    ("unauthorized_client", ErrorClass::Operator),
    ("unsupported_response_type", ErrorClass::Operator),
    ("redirect_uri_mismatch", ErrorClass::Operator),
    ("invalid_request", ErrorClass::Unclear),
    ("invalid_scope", ErrorClass::Unclear),
    ("unsupported_grant_type", ErrorClass::Unclear),
    ("server_error", ErrorClass::Later),
    ("temporarily_unavailable", ErrorClass::Later),
    ("service_unavailable", ErrorClass::Later),
    ("slow_down", ErrorClass::Later),
    ("rate_limit_exceeded", ErrorClass::Later),
    ("too_many_requests", ErrorClass::Later),
];

/// Members with codes that are more precise than the one in `error`.
const PRECISE: &[&str] = &["error_codes", "error_subtype", "suberror", "error_subcode"];
/// The longest word that is taken for a code. The longest code known has 34 letters.
const MAX_WORD: usize = 128;
/// The longest text in which a code is looked for, in characters; of a longer one, so much of its beginning.
const MAX_TEXT: usize = 4096;
/// How many codes of one answer are read.
const MAX_CODES: usize = 8;

/// An error code that may be logged and shown, in lower case: letters and `_ . -`, or 1 to 9 digits, or a family like
/// `4xxx` or `5007x`. No other mixture: a provider that put a token in its place would get that into the log.
/// Microsoft's `AADSTS50076` is the number in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorCode(String);

impl ErrorCode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let number = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if let Some(digits) = text.strip_prefix("aadsts").filter(|digits| number(digits)) {
            return Some(Self(digits.to_owned()));
        }
        let word = |b: u8| b.is_ascii_lowercase() || b"_.-".contains(&b);
        let is_word = (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(word);
        let start = text.trim_end_matches('x');
        let is_family = start.len() < text.len() && text.len() <= 9 && number(start);
        (is_word || number(&text) || is_family).then_some(Self(text))
    }

    fn is_number(&self) -> bool {
        self.0.bytes().all(|b| b.is_ascii_digit())
    }

    /// Looks itself up in a provider's table, by itself and by its family, then in the standards.
    fn meaning(&self, errors: &BTreeMap<String, ErrorClass>) -> Option<ErrorClass> {
        // The closest family first.
        let families = (1..self.0.len()).rev().filter(|_| self.is_number());
        let family = || {
            families.filter_map(|at| errors.get(&format!("{}{}", &self.0[..at], "x".repeat(self.0.len() - at)))).next()
        };
        let standard = || STANDARD.iter().find(|(code, _)| *code == self.0).map(|(_, meaning)| *meaning);
        errors.get(&self.0).or_else(family).copied().or_else(standard)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error in a callback (RFC 6749 section 4.1.2.1).
#[derive(Debug, PartialEq, Eq)]
pub struct CallbackError {
    /// What it means, if that is known; nothing for a plain `access_denied`.
    pub meaning: Option<ErrorClass>,
    /// Its most precise code, a word or a number and no secret; or that it has none.
    pub code: String,
    /// Whether the user, or somebody in the user's place, said no.
    pub declined: bool,
}

impl CallbackError {
    /// Of nobody knows which provider.
    pub fn stray(callback: &[(String, String)]) -> Self {
        Self::read(&ProviderSettings::default(), callback)
    }

    pub(super) fn read(settings: &ProviderSettings, callback: &[(String, String)]) -> Self {
        let told = Told::read(settings, |name| {
            let (_, value) = callback.iter().find(|(known, _)| known == name)?;
            Some(Value::String(value.clone()))
        });
        let denied = |code: &&ErrorCode| code.0 == "access_denied";
        let others = told.codes.iter().filter(|code| !denied(code));
        Self {
            declined: told.codes.iter().any(|code| denied(&code)),
            meaning: meaning(others, settings),
            code: told.codes.first().map_or_else(|| "without a code".to_owned(), ToString::to_string),
        }
    }
}

/// Whether `key` may be one of `[providers.<id>.errors]`: a code, a family, or `http-` and a status from 300 to 599.
pub(super) fn is_key(key: &str) -> bool {
    match key.to_ascii_lowercase().strip_prefix("http-") {
        // With 429 a provider is busy, and says nothing of a login.
        Some(status) => status.len() == 3 && status != "429" && matches!(status.parse(), Ok(300..600_u16)),
        None => ErrorCode::parse(key).is_some(),
    }
}

/// What an error says.
#[derive(Default)]
pub(super) struct Told {
    /// Its codes, the most precise first.
    pub(super) codes: Vec<ErrorCode>,
    /// The most precise meaning. [`ErrorClass::Later`] wins over all: what stands beside it is not meant for good.
    pub(super) meaning: Option<ErrorClass>,
    /// The provider's description, for the log at debug level alone.
    pub(super) description: Option<String>,
}

impl Told {
    /// Reads the body of a response: JSON, a form (as some send), or a bare code.
    pub(super) fn by_body(settings: &ProviderSettings, body: &str) -> Self {
        let text = body.trim_start_matches('\u{feff}').trim();
        let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        if text.contains('{') {
            let members = Members::read(text);
            Self::read(settings, |name| members.as_ref()?.value(name))
        } else if text.starts_with("error=") || text.contains("&error=") {
            let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes()).take(32).collect();
            Self::read(settings, |name| {
                let (_, value) = pairs.iter().find(|(known, _)| known == name)?;
                Some(Value::String(value.to_string()))
            })
        } else {
            // Words of a page are no codes: only a known one counts.
            let mut told = Self::default();
            texts(&read(text), &mut |text| told.codes.extend(known(settings, text)));
            told.conclude(settings)
        }
    }

    fn read(settings: &ProviderSettings, member: impl Fn(&str) -> Option<Value>) -> Self {
        let mut told = Self::default();
        let own = [&settings.error_codes_field, &settings.result_field].into_iter().flatten().map(String::as_str);
        for name in own.chain(PRECISE.iter().copied()).chain(["error", "errors"]) {
            let Some(value) = member(name) else { continue };
            texts(&value, &mut |text| match ErrorCode::parse(text) {
                Some(code) => told.codes.push(code),
                None => told.codes.extend(known(settings, text)),
            });
        }
        let error = member("error");
        let message = || error.as_ref()?.get("message").cloned();
        told.description =
            member("error_description").or_else(message).as_ref().and_then(Value::as_str).map(str::to_owned);
        // In a callback Microsoft's number is nowhere else.
        let start = told.description.as_deref().and_then(|text| text.split([':', ' ', '+']).next());
        if let Some(code) = start.filter(|word| word.starts_with("AADSTS")).and_then(ErrorCode::parse) {
            told.codes.insert(0, code);
        }
        told.conclude(settings)
    }

    fn conclude(mut self, settings: &ProviderSettings) -> Self {
        self.codes.truncate(MAX_CODES);
        self.meaning = meaning(self.codes.iter(), settings);
        self
    }
}

fn meaning<'c>(codes: impl Iterator<Item = &'c ErrorCode>, settings: &ProviderSettings) -> Option<ErrorClass> {
    let meanings: Vec<_> = codes.filter_map(|code| code.meaning(&settings.errors)).collect();
    meanings.iter().find(|meaning| **meaning == ErrorClass::Later).or(meanings.first()).copied()
}

/// The texts of a member that may hold a code: a string or a number, those in a list, and `code` of an object.
fn texts(value: &Value, take: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => take(text.trim()),
        Value::Number(number) => take(&number.as_f64().unwrap_or_default().to_string()),
        Value::Array(all) => {
            all.iter().take(MAX_CODES).filter(|value| !value.is_array()).for_each(|value| texts(value, take))
        }
        Value::Object(members) => {
            let code = members.get("code").filter(|code| code.is_string() || code.is_number());
            code.into_iter().for_each(|code| texts(code, take));
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// A code with a meaning at the start or the end of a sentence.
fn known(settings: &ProviderSettings, text: &str) -> Option<ErrorCode> {
    let end = text.char_indices().nth(MAX_TEXT).map_or(text.len(), |(at, _)| at);
    let text = text[..end].trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let mut words = text.split(|c| !is_part(c)).map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
    let first = words.next();
    let last = words.next_back();
    // A number that happens to be in a sentence is none.
    let named = |word: &&str| !word.bytes().all(|b| b.is_ascii_digit());
    let codes = first.into_iter().chain(last).filter(named).filter_map(ErrorCode::parse);
    codes.into_iter().find(|code| code.meaning(&settings.errors).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::testing::built_in;
    use super::*;

    fn meaning_of(code: &str) -> Option<ErrorClass> {
        let errors = [("50196", ErrorClass::Later), ("4xxx", ErrorClass::Later), ("4001", ErrorClass::Operator)];
        let errors = errors.into_iter().chain([("invalid_scope", ErrorClass::Consent), ("40xx", ErrorClass::Policy)]);
        ErrorCode::parse(code).unwrap().meaning(&errors.map(|(code, meaning)| (code.to_owned(), meaning)).collect())
    }

    #[test]
    fn a_code_is_looked_up_by_itself_then_by_its_family_then_in_the_standards() {
        assert_eq!(meaning_of("50196"), Some(ErrorClass::Later));
        assert_eq!(meaning_of("4001"), Some(ErrorClass::Operator));
        assert_eq!(meaning_of("4100"), Some(ErrorClass::Later));
        assert_eq!(meaning_of("4000"), Some(ErrorClass::Policy), "the closest family");
        assert_eq!(meaning_of("invalid_scope"), Some(ErrorClass::Consent));
        assert_eq!(meaning_of("invalid_grant"), Some(ErrorClass::LoginAgain));
        assert_eq!(meaning_of("INVALID_Grant"), Some(ErrorClass::LoginAgain));
        for unknown in ["40001", "400", "2000", "teapot"] {
            assert_eq!(meaning_of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_does_not_look_like_a_code_is_none() {
        for text in [
            "",
            "Log in required",
            "invalid_grant\r\n",
            "é",
            "at0ken",
            "1234567890",
            "xxxx9",
            "4x4x",
            &"a".repeat(MAX_WORD + 1),
        ] {
            assert_eq!(ErrorCode::parse(text), None, "{text:?}");
        }
        for (key, good) in [
            ("http-400", true),
            ("HTTP-503", true),
            ("http-429", false),
            ("http-200", false),
            ("http-4xx", false),
            ("HTTP-", false),
            ("Teapot", true),
            ("5007x", true),
            ("a b", false),
        ] {
            assert_eq!(is_key(key), good, "{key}");
        }
    }

    #[test]
    fn a_code_is_found_wherever_providers_put_it() {
        use ErrorClass::*;
        let settings = built_in().0;
        let told = |provider: &str, body: &str| Told::by_body(&settings[provider], body).meaning;
        let cases = [
            ("google", r#"{"error":"invalid_grant"}"#, Some(LoginAgain)),
            ("google", r#"{"error":"INVALID_GRANT"}"#, Some(LoginAgain)),
            ("google", "\u{feff} {\"error\" : \" invalid_grant \"}", Some(LoginAgain)),
            ("google", r#"{"error":"invalid_client: some words"}"#, Some(Operator)),
            ("google", r#"{"error":"Invalid_Client - The client is gone."}"#, Some(Operator)),
            ("google", r#"{"error":"Bad request: invalid_grant."}"#, Some(LoginAgain)),
            ("google", r#"{"error":"the (invalid_grant)"}"#, Some(LoginAgain)),
            ("google", r#"{"error":"an invalid_grant it was"}"#, None),
            ("google", r#"{"error":{"code":"invalid_grant","message":"x"}}"#, Some(LoginAgain)),
            ("google", r#"{"error":{"code":"temporarily_unavailable"}}"#, Some(Later)),
            ("google", r#"{"error":["invalid_grant"]}"#, Some(LoginAgain)),
            ("google", r#"{"errors":[{"code":"invalid_client"},{"code":"x"}]}"#, Some(Operator)),
            ("google", r#"{"errors":["invalid_grant"]}"#, Some(LoginAgain)),
            ("google", r#"{"errors":{"code":"invalid_grant"}}"#, Some(LoginAgain)),
            ("google", r#"{"error":null,"errors":[{"code":"slow_down"}]}"#, Some(Later)),
            ("google", "invalid_grant", Some(LoginAgain)),
            ("google", "\"invalid_grant\"\r\n", Some(LoginAgain)),
            ("google", "[\"invalid_grant\"]", Some(LoginAgain)),
            ("google", "invalid_client\n", Some(Operator)),
            ("google", "error=invalid_grant&error_description=x+y", Some(LoginAgain)),
            ("google", r#"{"error":"invalid_grant","error_subtype":"invalid_rapt"}"#, Some(Policy)),
            ("google", r#"{"error":"invalid_grant","error_subtype":["invalid_rapt"]}"#, Some(Policy)),
            ("google", r#"{"error":"admin_policy_enforced"}"#, Some(AdminConsent)),
            ("google", r#"{"error":"invalid_request"}"#, Some(Unclear)),
            ("google", r#"{"error":"slow_down","error_codes":[1]}"#, Some(Later)),
            ("google", r#"{"error":"invalid_grant","suberror":"temporarily_unavailable"}"#, Some(Later)),
            ("microsoft", r#"{"error":"interaction_required","error_codes":[50079]}"#, Some(Policy)),
            ("microsoft", r#"{"error":"interaction_required","error_codes":"50158"}"#, Some(Policy)),
            ("microsoft", r#"{"error":"interaction_required","error_codes":50105}"#, Some(Policy)),
            ("microsoft", r#"{"error":"invalid_grant","suberror":"consent_required"}"#, Some(Consent)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[53003]}"#, Some(Policy)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[530034]}"#, Some(Policy)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[50053]}"#, Some(Locked)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[50057]}"#, Some(Locked)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[700081]}"#, Some(Expired)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[70008]}"#, Some(Expired)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[90094]}"#, Some(AdminConsent)),
            ("microsoft", r#"{"error":"invalid_grant","error_codes":[65001]}"#, Some(AdminConsent)),
            ("microsoft", r#"{"error":"invalid_client","error_codes":[7000215,90033]}"#, Some(Later)),
            ("microsoft", r#"{"error":"AADSTS50057: The account is disabled."}"#, Some(Locked)),
            ("microsoft", r#"{"error":"invalid_grant","error_description":"AADSTS50057: x"}"#, Some(Locked)),
            ("microsoft", r#"{"error":"invalid_grant","error_description":"invalid_client"}"#, Some(LoginAgain)),
            ("google", r#"{"error":""}"#, None),
            ("google", r#"{"error":false}"#, None),
            ("google", r#"{"error":{"code":{"code":"invalid_grant"}}}"#, None),
            ("google", "teapot", None),
            ("google", "<html><style>p{error:invalid_grant}</style></html>", None),
            ("google", "", None),
        ];
        for (provider, body, meaning) in cases {
            assert_eq!(told(provider, body), meaning, "{provider} {body}");
        }
        let many = format!(r#"{{"error":{}}}"#, serde_json::json!(vec!["teapot"; 99]));
        assert!(Told::by_body(&settings["google"], &many).codes.len() <= MAX_CODES);
        let deep = format!(r#"{{"error":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
        assert!(Told::by_body(&settings["google"], &deep).codes.is_empty());
    }

    #[test]
    fn of_a_long_text_the_beginning_is_read_whatever_character_its_limit_is_in() {
        let settings = &built_in().0["google"];
        for filling in ["x", "é", "漢", "\u{1f600}"] {
            let filled = |length| format!("{} invalid_grant", filling.repeat(length));
            assert!(known(settings, &filled(MAX_TEXT - 20)).is_some(), "{filling}");
            for length in MAX_TEXT..MAX_TEXT + 4 {
                assert_eq!(known(settings, &filled(length)), None, "{filling} {length}");
                assert!(known(settings, &format!("invalid_grant {}", filled(length))).is_some(), "{filling} {length}");
            }
        }
    }
}
