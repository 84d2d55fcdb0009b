//! The denylist's text, line by line. It is read as a stream, since a million lines need not lie in memory to become
//! sixteen bytes each.

use super::error::{FaultyLine, FaultyLines};
use super::rule::{LineError, MAX_LINE, Removal, Rule, Said, header, parse_line};
use super::rules::Rules;
use std::io::{self, BufRead, Read};

/// How many faults are told one by one.
const MAX_FAULTS: usize = 20;

/// A denylist that was read without fault.
#[derive(Debug)]
pub struct Parsed {
    /// Its rules.
    pub rules: Rules,
    /// Whether the last line was left out: it is no rule and has no end, so its writer was cut short.
    pub torn: bool,
}

/// Reads a denylist. A last line without its newline counts if it is a whole rule, and is left out otherwise.
///
/// # Errors
/// The outer one when `reader` fails, the inner one with all faults of the text.
pub fn parse(reader: impl BufRead) -> io::Result<Result<Parsed, FaultyLines>> {
    let mut rules = Rules::default();
    let torn = each_line(reader, |line| {
        rules.extend(line.rule);
        line.removal.into_iter().for_each(|removal| rules.remember(removal));
        Ok(())
    })?;
    rules.finish();
    Ok(torn.map(|torn| Parsed { rules, torn }))
}

/// One line of a denylist.
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// All of it, its newline too if it has one.
    pub bytes: &'a [u8],
    /// What it says, unless that is a note or nothing.
    pub rule: Option<Rule>,
    /// The rule that was taken out, where it says that.
    pub removal: Option<Removal>,
}

/// Hands each line without fault to `visit`, the header and a torn one too; tells whether the last one
/// [was torn](Parsed::torn).
///
/// # Errors
/// The outer one when `reader` or `visit` fails, the inner one with all faults of the text.
pub(super) fn each_line(
    mut reader: impl BufRead,
    mut visit: impl FnMut(Line<'_>) -> io::Result<()>,
) -> io::Result<Result<bool, FaultyLines>> {
    let mut faults = FaultyLines::default();
    let mut torn = false;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() && number > 1 {
            break;
        }
        let ended = bytes.ends_with(b"\n");
        let said = match number {
            _ if bytes.len() > MAX_LINE => Err(LineError::TooLong),
            1 => header(&bytes).map(|()| Said::Nothing),
            _ => parse_line(&bytes),
        };
        let line = |rule, removal| Line { number, bytes: &bytes, rule, removal };
        match said {
            Ok(Said::Nothing) => visit(line(None, None))?,
            Ok(Said::Rule(rule)) => visit(line(Some(rule), None))?,
            Ok(Said::Removal(removal)) => visit(line(None, Some(removal)))?,
            Err(wrong) if ended || matches!(wrong, LineError::Header | LineError::Utf16 | LineError::TooLong) => {
                match faults.first.len() < MAX_FAULTS {
                    true => faults.first.push(FaultyLine { line: number, wrong }),
                    false => faults.more += 1,
                }
            }
            Err(_) => {
                torn = true;
                visit(line(None, None))?;
            }
        }
        if !ended {
            break;
        }
    }
    Ok(if faults.first.is_empty() { Ok(torn) } else { Err(faults) })
}

#[cfg(test)]
mod tests {
    use super::super::rules::Denied;
    use super::super::tests::{AT, LINE, epoch, grant, service};
    use super::*;

    fn parsed(text: impl AsRef<[u8]>) -> Result<Parsed, FaultyLines> {
        parse(text.as_ref()).unwrap()
    }

    fn rules(lines: &str) -> Rules {
        parsed(format!("authseal-denylist 1\n{lines}\n")).unwrap().rules
    }

    /// Whether the rules refuse a login of 2026-11-23 under epoch 3 at Dropbox.
    fn verdict(lines: &str) -> Option<Denied> {
        rules(lines).denies(&service("dropbox"), epoch(3), grant(0xaa), AT)
    }

    #[test]
    fn rules_are_known_where_each_of_them_is_or_was_taken_out() {
        let (login, old) = (format!("grant {}", grant(1)), format!("legacy {:064x}", 7));
        let times = ["epoch 5 login-before 2026-11-23T10:00:00Z", "epoch 5 login-before 2026-11-23T09:00:00Z"];
        let all = ["epoch 3", "epoch 4 service dropbox", "epoch 4 service box.com", times[0], &login, &old];
        let whole = rules(&all.join("\n"));
        assert!(whole.are_known_to(&whole) && rules("").are_known_to(&whole) && rules(times[1]).are_known_to(&whole));
        for one in all {
            let rest = all.iter().filter(|other| **other != one).copied().collect::<Vec<_>>().join("\n");
            assert!(rules(one).are_known_to(&whole) && rules(&rest).are_known_to(&whole), "{one}");
            assert!(!rules(one).are_known_to(&rules(&rest)) && !whole.are_known_to(&rules(&rest)), "{one}");
            let taken_out = rules(&format!("{rest}\nremoved 2026-11-24T10:00:00Z {one}"));
            assert!(rules(one).are_known_to(&taken_out) && whole.are_known_to(&taken_out), "{one}");
        }
    }

    #[test]
    fn each_kind_of_rule_refuses_what_it_names_and_nothing_else() {
        assert_eq!(verdict("epoch 3"), Some(Denied::Epoch));
        assert_eq!(Denied::Epoch.to_string(), "its epoch");
        assert_eq!(verdict("epoch 3 service dropbox"), Some(Denied::Service));
        assert_eq!(verdict("epoch 3 login-before 2026-11-23T10:00:01Z"), Some(Denied::LoginBefore));
        assert_eq!(verdict("epoch 3 login-before 2026-11-23T10:00:00.5Z"), Some(Denied::LoginBefore));
        assert_eq!(verdict(&format!("grant {}", grant(0xaa))), Some(Denied::Grant));
        for other in [
            "",
            "# epoch 3",
            "epoch 4",
            "epoch 30",
            "epoch 3 service box.com",
            "epoch 4 service dropbox",
            "epoch 3 login-before 2026-11-23T10:00:00Z",
            "epoch 4 login-before 2027-01-01T00:00:00Z",
            LINE,
        ] {
            assert_eq!(verdict(other), None, "{other}");
        }
    }

    #[test]
    fn the_later_of_two_times_holds_and_equal_rules_count_once() {
        let two = ["epoch 3 login-before 2026-11-24T00:00:00Z", "epoch 3 login-before 2025-01-01T00:00:00Z"];
        assert_eq!(verdict(&two.join("\n")), Some(Denied::LoginBefore));
        let repeated = format!("{LINE}\n{LINE}\nepoch 3\nepoch 3\nepoch 3 service box.com\n{}", two.join("\n"));
        assert_eq!(rules(&repeated).count(), 4);
    }

    #[test]
    fn spaces_notes_line_ends_and_a_byte_order_mark_do_not_matter() {
        let text = format!(
            "\u{feff} authseal-denylist\t1 # ours\r\n\r\n \t\n  epoch\t 5   # leaked\r\n#\n{LINE}# asked by mail\n"
        );
        let rules = parsed(text).unwrap().rules;
        assert_eq!(rules.count(), 2);
        assert_eq!(rules.denies(&service("dropbox"), epoch(5), grant(1), AT), Some(Denied::Epoch));
        assert_eq!(parsed(b"authseal-denylist 1\nepoch 5 # \xfcber\n").unwrap().rules.count(), 1);
    }

    #[test]
    fn what_nobody_sees_is_no_fault_of_a_rule() {
        for line in [
            "\u{feff}epoch 3",
            "epoch\u{a0}3",
            "\u{200b}epoch 3\u{200b}\r",
            "epoch\u{2003}3\u{a0}# dräft",
            "\u{3000}epoch\t3\u{2060}",
            "epo\u{ad}ch 3",
        ] {
            assert_eq!(verdict(line), Some(Denied::Epoch), "{line:?}");
        }
        let utf16: Vec<u8> =
            "\u{feff}authseal-denylist 1\nepoch 3\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&utf16[..], &utf16[2..]] {
            assert_eq!(parsed(bytes).unwrap_err().first[0], FaultyLine { line: 1, wrong: LineError::Utf16 });
        }
    }

    #[test]
    fn every_fault_is_told_with_its_line_and_the_right_form() {
        let cases = [
            ("deny 3", LineError::Verb, "`epoch 3`"),
            ("Epoch 3", LineError::Verb, "`epoch 3`"),
            ("authseal-denylist 1", LineError::Verb, "`epoch 3`"),
            ("\u{fffd}", LineError::Verb, "`epoch 3`"),
            ("epoch", LineError::Epoch, "`epoch 3`"),
            ("epoch 03", LineError::Epoch, "without leading zeros"),
            ("epoch 0", LineError::Epoch, "from 1"),
            ("epoch 4294967296", LineError::Epoch, "`epoch 3`"),
            ("epoch 3 dropbox", LineError::EpochTail, "`epoch 3 service dropbox`"),
            ("epoch 3 service box.com dropbox", LineError::EpochTail, "one service"),
            ("epoch 3 login-before 2026-11-01T00:00:00Z x", LineError::EpochTail, "one time"),
            ("epoch 3 service", LineError::Service, "`epoch 3 service dropbox`"),
            ("epoch 3 service Dropbox", LineError::Service, "`authseal providers`"),
            ("epoch 3 login-before", LineError::LoginBefore, "2026-11-01T00:00:00Z"),
            ("epoch 3 login-before 2026-11-01", LineError::LoginBefore, "with its zone"),
            ("epoch 3 login-before 2026-11-01T00:00:00", LineError::LoginBefore, "with its zone"),
            ("grant", LineError::Grant, "32 hex digits"),
            ("grant 00112233445566778899AABBCCDDEEFF", LineError::Grant, "lower case"),
            ("grant 00112233445566778899aabbccddeef", LineError::Grant, "`grant 00112233445566778899aabbccddeeff`"),
            ("grant v3:dropbox:1:c2VjcmV0", LineError::Grant, "`authseal authid inspect`"),
            ("grant 00112233445566778899aabbccddeeff 4", LineError::GrantTail, "through 4 at 2026"),
            ("grant 00112233445566778899aabbccddeeff through", LineError::Through, "`through 4`"),
            ("grant 00112233445566778899aabbccddeeff through x", LineError::Through, "`through 4`"),
            ("grant 00112233445566778899aabbccddeeff at noon", LineError::At, "`at 2026-11-23T10:00:00Z`"),
            (
                "grant 00112233445566778899aabbccddeeff at 2026-11-23T10:00:00Z through 4",
                LineError::GrantTail,
                "in this order",
            ),
        ];
        for (line, wrong, form) in cases {
            let faults = parsed(format!("authseal-denylist 1\nepoch 9\n{line}\n")).expect_err(line);
            assert_eq!(faults.first, [FaultyLine { line: 3, wrong }], "{line}");
            let text = faults.to_string();
            assert!(text.starts_with("line 3: ") && text.contains(form), "{text:?} should say {form:?}");
            assert!(!text.contains("c2VjcmV0"), "{text:?} quotes the line");
        }
    }

    #[test]
    fn what_does_not_begin_as_a_denylist_is_none() {
        let others =
            ["", "\n", "authseal-denylist", "authseal-denylist 2\n", "epoch 3\n", "# authseal-denylist 1\n", "\0\0"];
        for text in others {
            let faults = parsed(text).err().unwrap();
            assert_eq!(faults.first, [FaultyLine { line: 1, wrong: LineError::Header }], "{text:?}");
            assert!(faults.to_string().contains("`authseal denylist init`"));
        }
        assert!(parsed("authseal-denylist 1").is_ok());
    }

    #[test]
    fn faults_are_reported_together_and_counted_beyond_twenty() {
        let faults = parsed(format!("epoch 3\n{}", "bad\n".repeat(22))).err().unwrap();
        assert_eq!(faults.first.len(), 20);
        assert_eq!(faults.first.first(), Some(&FaultyLine { line: 1, wrong: LineError::Header }));
        assert_eq!(faults.first.last(), Some(&FaultyLine { line: 20, wrong: LineError::Verb }));
        let text = faults.to_string();
        assert!(text.ends_with("\nand 3 more faulty lines"), "{text}");
        assert_eq!(text.lines().count(), 21);
    }

    #[test]
    fn an_endless_line_is_refused_without_reading_it_all() {
        let endless = std::io::Read::chain(&b"authseal-denylist 1\n"[..], std::io::repeat(b'x'));
        let faults = parse(io::BufReader::new(endless)).unwrap().err().unwrap();
        assert_eq!(faults.first, [FaultyLine { line: 2, wrong: LineError::TooLong }]);
        let of_length = |length: usize| format!("authseal-denylist 1\nepoch 3 #{}\n", "x".repeat(length - 10));
        assert_eq!(parsed(of_length(MAX_LINE)).unwrap().rules.count(), 1);
        let faults = parsed(of_length(MAX_LINE + 1)).unwrap_err();
        assert_eq!(faults.first[0], FaultyLine { line: 2, wrong: LineError::TooLong });
    }
}
