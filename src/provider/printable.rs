//! Free text of a provider's, made fit for the log: short, one line of ASCII, and without words that may be secret.

/// How much of a value is logged, in bytes.
pub(super) const LONGEST: usize = 200;
/// A word that is longer may be a token.
const LONGEST_WORD: usize = 30;

/// A text of the provider's, cut, without what no log can bear and without words that are secret or may be.
pub(super) fn printable(text: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let clean: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).take(4 * LONGEST).collect();
    let shown = |word| if str::len(word) > LONGEST_WORD || is_secret(word) { "(left out)" } else { word };
    let words: Vec<_> = clean.split_ascii_whitespace().map(shown).collect();
    words.join(" ").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_told_without_what_may_be_secret() {
        let text = format!("Token s3cret,\u{1b}[1m é\n{} is bad", "x".repeat(31));
        assert_eq!(printable(&text, |word| word.contains("s3cret")), "Token (left out) [1m (left out) is bad");
        assert_eq!(printable(&"word ".repeat(99), |_| false).len(), LONGEST);
    }
}
