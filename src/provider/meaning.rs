//! Error codes and what they mean. Codes are the only part of a provider's error answer that is read: descriptions
//! change without notice, and may hold anything.
//!
//! A provider's own table comes first, then the codes of the OAuth standards, which mean the same everywhere.

use super::Meaning;
use std::collections::BTreeMap;
use std::fmt;

/// RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1, OpenID Connect Core section 3.1.2.6; and one that is in no
/// standard but in common use.
const STANDARD: &[(&str, Meaning)] = &[
    ("invalid_grant", Meaning::LoginAgain),
    ("invalid_token", Meaning::LoginAgain),
    ("interaction_required", Meaning::Consent),
    ("login_required", Meaning::Consent),
    ("account_selection_required", Meaning::Consent),
    ("consent_required", Meaning::Consent),
    ("invalid_client", Meaning::Operator),
    ("unauthorized_client", Meaning::Operator),
    ("invalid_request", Meaning::Operator),
    ("invalid_scope", Meaning::Operator),
    ("unsupported_grant_type", Meaning::Operator),
    ("unsupported_response_type", Meaning::Operator),
    ("redirect_uri_mismatch", Meaning::Operator),
    ("server_error", Meaning::Later),
    ("temporarily_unavailable", Meaning::Later),
];

/// The longest word that is taken for a code. The longest code known has 34 letters.
const MAX_WORD: usize = 128;

/// An error code that may be logged, in lower case: letters and `_ . -`, or 1 to 9 digits, or a family like `4xxx`. No
/// other mixture: a provider that put a token in its place would get that into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code(String);

impl Code {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let word = |b: u8| b.is_ascii_lowercase() || b"_.-".contains(&b);
        let is_word = (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(word);
        let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let is_family = text.len() == 4 && text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with("xxx");
        (is_word || is_number || is_family).then_some(Self(text))
    }

    /// Looks itself up in a provider's table, by itself and by its family, then in the standards.
    pub(super) fn meaning(&self, errors: &BTreeMap<String, Meaning>) -> Option<Meaning> {
        let family = || match self.0.as_bytes() {
            [first, rest @ ..] if rest.len() == 3 && self.0.bytes().all(|b| b.is_ascii_digit()) => {
                errors.get(&format!("{}xxx", char::from(*first)))
            }
            _ => None,
        };
        let standard = || STANDARD.iter().find(|(code, _)| *code == self.0).map(|(_, meaning)| *meaning);
        errors.get(&self.0).or_else(family).copied().or_else(standard)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(code: &str) -> Option<Meaning> {
        let errors = [("50196", Meaning::Later), ("4xxx", Meaning::Later), ("4001", Meaning::Operator)];
        let errors = errors.into_iter().chain([("invalid_scope", Meaning::Consent)]);
        Code::parse(code).unwrap().meaning(&errors.map(|(code, meaning)| (code.to_owned(), meaning)).collect())
    }

    #[test]
    fn a_code_is_looked_up_by_itself_then_by_its_family_then_in_the_standards() {
        assert_eq!(meaning("50196"), Some(Meaning::Later));
        assert_eq!(meaning("4001"), Some(Meaning::Operator));
        assert_eq!(meaning("4000"), Some(Meaning::Later));
        assert_eq!(meaning("invalid_scope"), Some(Meaning::Consent));
        assert_eq!(meaning("invalid_grant"), Some(Meaning::LoginAgain));
        assert_eq!(meaning("INVALID_Grant"), Some(Meaning::LoginAgain));
        for unknown in ["40001", "400", "2000", "teapot"] {
            assert_eq!(meaning(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_does_not_look_like_a_code_is_none() {
        for text in ["", "Log in required", "invalid_grant\r\n", "é", "at0ken", "1234567890", &"a".repeat(MAX_WORD + 1)]
        {
            assert_eq!(Code::parse(text), None, "{text:?}");
        }
    }
}
