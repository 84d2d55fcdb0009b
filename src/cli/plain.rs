//! What the command line prints cannot steer the terminal that it is read on: files, replicas, stores and providers have
//! their say in it. So `println!` and `eprintln!` are not the standard library's here; `print!`, for text that is kept to
//! the letter, is.

use std::borrow::Cow;

macro_rules! println {
    ($($text:tt)*) => { ::std::println!("{}", $crate::cli::plain::plain(&format!($($text)*))) };
}

// What is said beside the output is not worth an end in the middle where it cannot be written.
macro_rules! eprintln {
    () => { eprintln!("") };
    ($($text:tt)*) => {{
        let line = format!($($text)*);
        let _ = ::std::io::Write::write_fmt(
            &mut ::std::io::stderr(),
            format_args!("{}\n", $crate::cli::plain::plain(&line)),
        );
    }};
}

/// The text with `\u001b` for an escape and likewise for all that is no visible character, line breaks and tabs apart: in
/// JSON it means the same as before.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    text.chars().map(|c| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// Control characters (C0, DEL, C1), and those that turn the direction of writing or break lines.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n' && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left_and_json_stays_what_it_is() {
        let evil = "a\u{1b}[2K\r\u{9b}31m\u{7f}\u{202e}\0 b\tc\nd ü 漢";
        let expected = "a\\u001b[2K\\u000d\\u009b31m\\u007f\\u202e\\u0000 b\tc\nd ü 漢";
        assert_eq!(plain(evil), expected);
        let json = serde_json::to_string(evil).unwrap();
        assert!(!plain(&json).contains(steers));
        assert_eq!(serde_json::from_str::<String>(&plain(&json)).unwrap(), evil);
    }
}
