//! AuthIDs, revoke codes and login tokens as users paste them: wrapped by a mail program, in quotes, behind a label, as
//! a part of a URL, with dashes that an editor made of hyphens.
//!
//! Only what cannot belong to the text is dropped; what is still not well formed is damaged, and nothing is guessed. The
//! strict readers come first and see most texts, so a clean one costs nothing. No second spelling reaches a list of
//! revoked logins, which goes by what is inside.

use super::{Envelope, ParseError, RevokeCode};
use crate::unseen;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// How often a text may have been percent-encoded on its way.
const ENCODED: usize = 3;
const REVOKE_CODE: &str = "revoke:";
/// What the kinds of text begin with.
const BEGINNINGS: [&str; 3] = ["v3:", REVOKE_CODE, "v2:"];
/// Escapes of HTML, JSON and mail that cannot belong to the text, and what they stand for.
const ESCAPES: [(&str, &str); 8] = [
    ("&#58;", ":"),
    ("&colon;", ":"),
    ("\\u003a", ":"),
    ("\\n", ""),
    ("\\r", ""),
    ("\\t", ""),
    ("=\r\n", ""),
    ("=\n", ""),
];
/// What ends a text that is part of a URL, of JSON or of a sentence.
const ENDS: &str = "&#,;)]}|?!<";
/// What editors make of two hyphens.
const LONG_DASH: &str = "\u{2014}";

impl Envelope {
    /// Reads an AuthID as users paste it.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub fn find(pasted: &str) -> Result<Self, ParseError> {
        Self::parse(pasted).or_else(|_| {
            let found = Self::parse(&tidy(pasted));
            match pasted.contains(LONG_DASH) {
                true => found.or_else(|_| Self::parse(&tidy(&pasted.replace(LONG_DASH, "--")))),
                false => found,
            }
        })
    }
}

impl RevokeCode {
    /// Whether a pasted text is meant to be a revoke code, right or wrong.
    pub fn is_meant_by(pasted: &str) -> bool {
        tidy(pasted).starts_with(REVOKE_CODE)
    }

    /// Reads a revoke code as users paste it.
    pub fn find(pasted: &str) -> Option<Self> {
        Self::parse(pasted).or_else(|| Self::parse(&tidy(pasted)))
    }
}

/// What begins like an AuthID or a revoke code in a pasted text, without what cannot belong to it; all of the text if
/// nothing does.
pub fn tidy(pasted: &str) -> Zeroizing<String> {
    let mut text = strip(pasted);
    if let Some(start) = BEGINNINGS.iter().filter_map(|beginning| text.find(beginning)).min() {
        let found = &text[start..];
        let end = found.find(|char| ENDS.contains(char)).unwrap_or(found.len());
        text = Zeroizing::new(found[..end].trim_end_matches('.').to_owned());
    }
    text
}

/// A pasted text without percent-encoding and escapes, white space, invisible characters, quotation marks, `>` and
/// backslashes; its dashes are hyphens.
pub fn strip(pasted: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(pasted.to_owned());
    for _ in 0..ENCODED {
        if text.contains('%') {
            text = Zeroizing::new(percent_decode_str(&text).decode_utf8_lossy().into_owned());
        }
    }
    for (escape, meaning) in ESCAPES {
        if text.contains(escape) {
            text = Zeroizing::new(text.replace(escape, meaning));
        }
    }
    let keep = |char: char| match char {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => Some('-'),
        '\u{ff1a}' | '\u{a789}' | '\u{2236}' => Some(':'),
        '>' | '\\' => None,
        char if unseen::is_blank(char) || unseen::is_quote(char) => None,
        char => Some(char),
    };
    Zeroizing::new(text.chars().filter_map(keep).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHID: &str = "v3:box.com:12:AAAAAAAAAAAAAAAAAAAAAAAA-BBBB_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB--CCCCCCCCCCC";
    const CODE: &str = "revoke:googledrive:5:bgbj8sne-rrze7gba-dgw88xqr-3x3hmwdc-d50ghtwc-c4agj3v3";

    /// The forms in which users have a text at hand.
    fn pasted(text: &str) -> Vec<String> {
        let at = text.len() / 2;
        let (one, two) = text.split_at(at);
        let mut forms: Vec<String> = [
            ("", ""),
            (" ", "\r\n"),
            ("\"", "\""),
            ("'", "'"),
            ("`", "`"),
            ("“", "”"),
            ("„", "“"),
            ("«\u{a0}", "\u{a0}»"),
            ("<", ">"),
            ("\u{feff}", "\0"),
            ("\u{200b}", "\u{2060}"),
            ("authid=", ""),
            ("authid = ", ""),
            ("--authid=\"", "\""),
            ("authid:", ""),
            ("AuthID: ", ""),
            ("X-AuthID: ", "\r\n"),
            ("x-authid:", ""),
            ("My AuthID is ", "."),
            ("{\"authid\": \"", "\"}"),
            ("{\"data\":\"authid:", "\",\"x\":1}"),
            ("{\\\"authid\\\": \\\"", "\\\"}"),
            ("#authid=", "&type=x"),
            ("https://oauth.example.com/logged-in#authid=", "&state=y"),
            ("googledrive://folder?authid=", "&prefix=z"),
            ("(", ")"),
            ("&quot;", "&quot;"),
            ("&lt;", "&gt;"),
            ("<code>", "</code>"),
        ]
        .iter()
        .map(|(before, after)| format!("{before}{text}{after}"))
        .collect();
        for between in
            ["\n", "\r\n", " ", "\t", "\u{a0}", "\u{ad}", "\u{200b}", "\u{feff}", "\0", "\n> ", "=\r\n", "\\n", "\" \""]
        {
            forms.push(format!("{one}{between}{two}"));
        }
        forms.push(text.chars().map(|char| format!("{char}\u{200b}")).collect());
        forms.push(text.replace(':', " : "));
        for colon in ["%3A", "%3a", "%253A", "%25253a", "&#58;", "\\u003a", "：", "&colon;"] {
            forms.push(text.replace(':', colon));
        }
        for dash in ["%2D", "–", "‑", "−", "‐", "\u{ff0d}"] {
            forms.push(text.replace('-', dash));
        }
        forms.push(format!("%22{}%22%0A", text.replace(':', "%3A")));
        forms
    }

    #[test]
    fn what_people_paste_is_read_as_what_they_were_given() {
        for form in pasted(AUTHID) {
            assert_eq!(*tidy(&form), AUTHID, "{form:?}");
            assert!(Envelope::find(&form).is_ok(), "{form:?}");
        }
        for form in pasted(CODE) {
            assert_eq!(*tidy(&form), CODE, "{form:?}");
            assert!(RevokeCode::find(&form).is_some() && RevokeCode::is_meant_by(&form), "{form:?}");
        }
        assert!(RevokeCode::is_meant_by("My code: revoke:box") && !RevokeCode::is_meant_by(AUTHID));
    }

    #[test]
    fn a_long_dash_is_read_as_one_hyphen_or_as_two() {
        for dashes in [AUTHID.replace("--", "\u{2014}"), AUTHID.replace('-', "\u{2014}")] {
            let found = Envelope::find(&dashes).map(|found| found.sealed().to_vec()).unwrap();
            assert_eq!(found, Envelope::parse(AUTHID).unwrap().sealed(), "{dashes}");
        }
    }

    #[test]
    fn what_is_damaged_stays_so() {
        let (head, body) = AUTHID.split_at(20);
        let damaged = [
            AUTHID.replacen("v3", "V3", 1),
            AUTHID.replacen("box", "Box", 1),
            AUTHID.replacen(":12:", ":012:", 1),
            AUTHID.replace('-', "+"),
            AUTHID.replace('-', "/"),
            AUTHID.replace('_', ""),
            format!("{AUTHID}="),
            format!("{AUTHID}é"),
            format!("{AUTHID}:"),
            format!("{AUTHID} {AUTHID}"),
            format!("{AUTHID}\n{CODE}"),
            format!("{head}…{}", &body[30..]),
            format!("{head}{}", &body[..30]),
            "%".repeat(10_000),
            "authid:".to_owned(),
        ];
        for text in damaged {
            assert_eq!(Envelope::find(&text).err(), Some(ParseError::Malformed), "{text}");
        }
        for text in [CODE.to_uppercase(), CODE.replace('-', ""), format!("{CODE}-"), CODE[..60].to_owned()] {
            assert!(RevokeCode::find(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_authids_of_older_servers_are_still_told_apart() {
        for form in ["\"v2:googledrive:1//abc\"", "authid=v2%3Agoogledrive%3A1//abc", "v2:googledrive:1//a\nbc"] {
            assert!(matches!(Envelope::find(form), Err(ParseError::Version2(Some(_)))), "{form}");
        }
        let v1 = format!("“{}:pass”", "0aF9".repeat(8));
        assert_eq!(Envelope::find(&v1).err(), Some(ParseError::Version1));
    }
}
