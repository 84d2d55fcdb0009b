//! Text from outside: what editors, shells, web pages and mail programs leave in it that nobody sees. What is invisible
//! never belongs to a secret, an id or an address, so each reader drops it at both ends; what is left inside is judged
//! by the reader.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

/// What UTF-8 text from Windows begins with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What is put round a text to mark where it begins and ends.
const QUOTES: &str = "\"'`´“”„‟‘’‚‛«»‹›＂＇";

/// Whether nothing is seen of a character: white space of every kind, control characters, and what Unicode wants
/// ignored, such as zero-width characters and the byte order mark.
pub fn is_blank(char: char) -> bool {
    match char.is_ascii() {
        true => char.is_ascii_whitespace() || char.is_ascii_control(),
        false => {
            char.is_whitespace()
                || char.is_control()
                || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char)
        }
    }
}

/// Whether a character is a quotation mark of some kind.
pub fn is_quote(char: char) -> bool {
    QUOTES.contains(char)
}

/// The text without what is [blank](is_blank) at its ends.
pub fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// UTF-8 bytes without the byte order mark that some editors put before them.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Whether bytes are text in UTF-16, by its byte order mark or by the zero in each of the first two pairs.
pub fn is_utf16(bytes: &[u8]) -> bool {
    let zeros = |[a, b]: [u8; 2]| (a == 0) != (b == 0);
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [a, b, c, d, ..] => zeros([*a, *b]) && zeros([*c, *d]) && (*a == 0) == (*c == 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_dropped_at_both_ends() {
        let blank = [
            " ",
            "\t",
            "\r\n",
            "\0",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{ad}",
            "\u{180e}",
            "\u{200b}",
            "\u{200d}",
            "\u{200e}",
            "\u{202f}",
            "\u{2028}",
            "\u{202a}",
            "\u{2060}",
            "\u{2066}",
            "\u{3000}",
            "\u{fe0f}",
            "\u{feff}",
            "\u{e0020}",
        ];
        for blank in blank {
            assert_eq!(trim(&format!("{blank}a{blank}b{blank}{blank}")), format!("a{blank}b"), "{blank:?}");
        }
        for seen in ["é", "中", "\u{fffd}", "–", "🔑"] {
            assert_eq!(trim(seen), seen);
        }
    }

    #[test]
    fn utf_16_is_told_from_other_bytes() {
        let utf16 = |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<_>>();
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            assert!(is_utf16(&utf16("\u{feff}é", order)) && is_utf16(&utf16("primary = 1", order)));
        }
        for other in [&b""[..], b"a", b"abcd", b"\0\0\0\0", b"a\0bc", b"\xef\xbb\xbfa = 1", b"a\0\0b", "é中".as_bytes()]
        {
            assert!(!is_utf16(other), "{other:?}");
        }
    }
}
