//! A keyring's text on one line, for variables and forms that hold no line breaks: base64, or `\\n` for each line break.

use crate::unseen;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Reads what `base64` of every system writes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A keyring's text on one line.
pub fn pack(text: &str) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(text))
}

/// A keyring's text as it was before it was put on one line; any other text as it is.
pub fn unpack(text: &str) -> Zeroizing<String> {
    let text = unseen::trim(text);
    // Each keyring has ` = ` in it, which base64 never has: no text is both.
    let packed = Zeroizing::new(text.replace(unseen::is_blank, "").replace('-', "+").replace('_', "/"));
    let unpacked = BASE64.decode(packed.as_bytes()).map(Zeroizing::new);
    if let Ok(bytes) = &unpacked
        && let Ok(text) = std::str::from_utf8(unseen::without_mark(bytes))
        && text.contains('=')
    {
        return Zeroizing::new(text.to_owned());
    }
    match text.contains('\n') {
        true => Zeroizing::new(text.to_owned()),
        false => Zeroizing::new(text.replace("\\r", "").replace("\\n", "\n").replace("\\\"", "\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::keyring_text;
    use super::*;
    use crate::seal::Keyring;

    #[test]
    fn a_keyring_is_read_however_it_was_put_on_one_line() {
        let text = keyring_text(2, 3, &[1]);
        let digest = |text: &str| Keyring::parse(&unpack(text)).unwrap().digest();
        let right = digest(&text);
        let (packed, escaped) = (pack(&text), text.trim_end().replace('\n', "\\n"));
        let wrapped = packed.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect::<Vec<_>>();
        for one_line in [
            packed.to_string(),
            packed.trim_end_matches('=').to_owned(),
            packed.replace('+', "-").replace('/', "_"),
            format!("\u{feff} {}\r\n", *packed),
            wrapped.join("\n"),
            wrapped.join(" "),
            pack(&format!("\u{feff}{}", text.replace('\n', "\r\n"))).to_string(),
            escaped.clone(),
            format!("{escaped}\\n\n"),
            text.replace('\n', "\\r\\n"),
            escaped.replace('"', "\\\""),
            text.replace('\n', "\r\n"),
        ] {
            assert_eq!(digest(&one_line), right, "{one_line}");
        }
    }

    #[test]
    fn what_is_no_keyring_is_left_as_it_is() {
        for text in ["", "hunter2-Zw3", "primary = 1", "cGFzc3dvcmQ=", "a\\b\nc"] {
            assert_eq!(*unpack(text), text);
        }
    }
}
