//! How many of something there are, in words.

use std::fmt::Display;

/// `1 line`, `2 lines`, of what has an `s` in its plural.
pub(super) fn counted(count: impl Display, one: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {one}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2, 11].map(|count| counted(count, "line")), ["0 lines", "1 line", "2 lines", "11 lines"]);
    }
}
