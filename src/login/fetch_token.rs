//! The fetch token: made by Duplicati's page, which polls for the AuthID with it. A bearer token of its own kind, so one
//! that could be guessed is refused.

use crate::mitigation::{self, Mitigation};
use crate::unseen;
use std::collections::BTreeSet;

/// 16 to 64 of `A-Z a-z 0-9 _ -`, with at least 8 different ones: too short or too plain a token could be guessed.
/// (Duplicati's have 20 to 24 characters.)
#[derive(Clone, PartialEq, Eq)]
pub struct FetchToken(String);

impl FetchToken {
    /// Most characters of a token.
    pub const MAX_LEN: usize = 64;

    /// Reads a token. What is blank round it is dropped: a poll that brings the same finds the same.
    pub fn parse(text: &str) -> Option<Self> {
        let text = unseen::trim(text);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let fits = text.len() <= Self::MAX_LEN && text.bytes().all(allowed);
        let guessable = text.len() < 16 || text.bytes().collect::<BTreeSet<_>>().len() < 8;
        let strong = !mitigation::on(Mitigation::FetchTokenStrength) || !guessable;
        (fits && strong).then(|| Self(text.to_owned()))
    }

    /// The token itself, for the page that polls with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_could_be_guessed_or_are_malformed_are_refused() {
        for good in ["x7c2mq0z5v9k1hj3bd8f", "abcdefghabcdefgh", &format!("{}abcdefgh", "-_".repeat(28))] {
            assert!(FetchToken::parse(good).is_some(), "{good}");
            let read = FetchToken::parse(&format!("\u{feff} {good}\u{a0}\r\n"));
            assert_eq!(read.unwrap().expose(), good);
        }
        for bad in [
            "",
            "abcdefgh1234567",
            "aaaaaaaaaaaaaaaaaaaa",
            "abcdefgabcdefgabcdefg",
            "abcdefghabcdefg+",
            &"abcdefgh".repeat(9),
        ] {
            assert!(FetchToken::parse(bad).is_none(), "{bad}");
        }
    }
}
