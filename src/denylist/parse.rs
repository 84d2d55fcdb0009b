//! The denylist's text, line by line. It is read as a stream, since a million lines need not lie in memory to become
//! sixteen bytes each. Nothing of a faulty line is quoted: somebody may have pasted an AuthID there.

use super::Rules;
use crate::authid::{GrantId, ServiceId};
use crate::clock::{UnixTime, rfc3339};
use crate::seal::Epoch;
use jiff::Timestamp;
use std::fmt;
use std::io::{self, BufRead, Read};
use thiserror::Error;

/// The first line of every denylist.
pub(super) const HEADER: &str = "authseal-denylist 1";
/// The longest line, in bytes, comments included.
pub(super) const MAX_LINE: usize = 64 * 1024;
/// How many faults are told one by one.
const MAX_FAULTS: usize = 20;

/// One rule, as a line holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Every AuthID of an epoch.
    Epoch(Epoch),
    /// Those for one service.
    Service(Epoch, ServiceId),
    /// Those of logins older than a time.
    LoginBefore(Epoch, UnixTime),
    /// One login, in every epoch.
    Grant(GrantId, Ends),
}

/// What tells when the line of a grant is no longer needed; `None` for what was left out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The newest epoch when the line was written.
    pub through: Option<Epoch>,
    /// When it was written.
    pub at: Option<Timestamp>,
}

impl Rule {
    /// Reads a rule as a line holds it, without a note.
    ///
    /// # Errors
    /// What is wrong with it, and how it should look.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        rule(text.as_bytes())?.ok_or(Wrong::Verb)
    }

    /// What it refuses, and nothing else: two rules that refuse the same are equal.
    pub fn bare(&self) -> Self {
        match self {
            Self::Grant(grant, _) => Self::Grant(*grant, Ends::default()),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Rule {
    /// As a line holds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch(epoch) => write!(f, "epoch {epoch}"),
            Self::Service(epoch, service) => write!(f, "epoch {epoch} service {service}"),
            Self::LoginBefore(epoch, time) => write!(f, "epoch {epoch} login-before {}", rfc3339(*time)),
            Self::Grant(grant, Ends { through, at }) => {
                write!(f, "grant {grant}")?;
                through.map_or(Ok(()), |epoch| write!(f, " through {epoch}"))?;
                at.map_or(Ok(()), |time| write!(f, " at {time}"))
            }
        }
    }
}

/// What is wrong with a line, and how it should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Wrong {
    #[error(
        "the file does not begin with `authseal-denylist 1`; if it was emptied or replaced by accident, put a copy back, else remove it and run `authseal denylist init`"
    )]
    Header,
    #[error("a rule begins with `epoch` or `grant`, as in `epoch 3`; notes are behind `#`")]
    Verb,
    #[error("`epoch` needs a number from 1, without leading zeros, as in `epoch 3`")]
    Epoch,
    #[error(
        "an epoch can be followed by one service or one time, as in `epoch 3 service dropbox` or `epoch 3 login-before 2026-11-01T00:00:00Z`"
    )]
    EpochTail,
    #[error("`service` needs a service's id, as in `epoch 3 service dropbox`; `authseal providers` lists them")]
    Service,
    #[error("`login-before` needs a time with its zone, as in `epoch 3 login-before 2026-11-01T00:00:00Z`")]
    LoginBefore,
    #[error(
        "`grant` needs the login's 32 hex digits, in lower case, as in `grant 00112233445566778899aabbccddeeff`; `authseal authid inspect` shows those of an AuthID"
    )]
    Grant,
    #[error(
        "a grant can be followed by `through` an epoch and `at` a time, in this order, as in `grant 00112233445566778899aabbccddeeff through 4 at 2026-11-23T10:00:00Z`"
    )]
    GrantTail,
    #[error("`through` needs an epoch's number, as in `through 4`")]
    Through,
    #[error("`at` needs a time with its zone, as in `at 2026-11-23T10:00:00Z`")]
    At,
    #[error("the line is longer than {MAX_LINE} bytes, and the rest of the file was not looked at")]
    TooLong,
}

/// A faulty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// All that is wrong with a denylist.
#[derive(Debug, Default)]
pub struct Faults {
    /// The first twenty.
    pub first: Vec<Fault>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Fault { line, wrong }) in self.first.iter().enumerate() {
            write!(f, "{}line {line}: {wrong}", if i == 0 { "" } else { "\n" })?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more faulty lines"),
        }
    }
}

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
pub fn parse(reader: impl BufRead) -> io::Result<Result<Parsed, Faults>> {
    let mut rules = Rules::default();
    let torn = each_line(reader, |line| {
        rules.extend(line.rule);
        Ok(())
    })?;
    rules.settle();
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
}

/// Hands each line without fault to `visit`, the header and a torn one too; tells whether the last one
/// [was torn](Parsed::torn).
///
/// # Errors
/// The outer one when `reader` or `visit` fails, the inner one with all faults of the text.
pub(super) fn each_line(
    mut reader: impl BufRead,
    mut visit: impl FnMut(Line<'_>) -> io::Result<()>,
) -> io::Result<Result<bool, Faults>> {
    let (mut faults, mut torn) = (Faults::default(), false);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() && number > 1 {
            break;
        }
        let ended = bytes.ends_with(b"\n");
        let rule = match number {
            _ if bytes.len() > MAX_LINE => Err(Wrong::TooLong),
            1 => header(&bytes).map(|()| None),
            _ => rule(&bytes),
        };
        match rule {
            Ok(rule) => visit(Line { number, bytes: &bytes, rule })?,
            Err(wrong) if ended || matches!(wrong, Wrong::Header | Wrong::TooLong) => {
                match faults.first.len() < MAX_FAULTS {
                    true => faults.first.push(Fault { line: number, wrong }),
                    false => faults.more += 1,
                }
            }
            Err(_) => {
                torn = true;
                visit(Line { number, bytes: &bytes, rule: None })?;
            }
        }
        if !ended {
            break;
        }
    }
    Ok(if faults.first.is_empty() { Ok(torn) } else { Err(faults) })
}

/// Checks the first line. A byte order mark, which some editors add, is no fault.
pub(super) fn header(line: &[u8]) -> Result<(), Wrong> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let text = String::from_utf8_lossy(before_note(line));
    if text.split_ascii_whitespace().eq(HEADER.split(' ')) { Ok(()) } else { Err(Wrong::Header) }
}

/// Reads any later line; `None` for one that holds nothing but white space or a note.
pub(super) fn rule(line: &[u8]) -> Result<Option<Rule>, Wrong> {
    // Bytes that are not UTF-8 become a character that no rule holds.
    let text = String::from_utf8_lossy(before_note(line));
    let mut words = text.split_ascii_whitespace();
    match words.next() {
        None => Ok(None),
        Some("epoch") => epoch_rule(words).map(Some),
        // People call it by what pages call it, the login id.
        Some("grant" | "login") => grant_rule(words).map(Some),
        Some(_) => Err(Wrong::Verb),
    }
}

fn before_note(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'#').next().unwrap_or_default()
}

fn epoch_rule<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Rule, Wrong> {
    let epoch = words.next().and_then(Epoch::parse).ok_or(Wrong::Epoch)?;
    let rule = match words.next() {
        None => return Ok(Rule::Epoch(epoch)),
        Some("service") => Rule::Service(epoch, words.next().and_then(ServiceId::parse).ok_or(Wrong::Service)?),
        Some("login-before") => {
            let time = words.next().and_then(parse_time).ok_or(Wrong::LoginBefore)?;
            // Logins are known to the second: one in the second that `time` falls into may be older.
            Rule::LoginBefore(epoch, time.as_second().saturating_add(i64::from(time.subsec_nanosecond() > 0)))
        }
        Some(_) => return Err(Wrong::EpochTail),
    };
    if words.next().is_none() { Ok(rule) } else { Err(Wrong::EpochTail) }
}

fn grant_rule<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Rule, Wrong> {
    let grant = words.next().and_then(GrantId::parse).ok_or(Wrong::Grant)?;
    let mut word = words.next();
    let mut ends = Ends::default();
    if word == Some("through") {
        ends.through = Some(words.next().and_then(Epoch::parse).ok_or(Wrong::Through)?);
        word = words.next();
    }
    if word == Some("at") {
        ends.at = Some(words.next().and_then(parse_time).ok_or(Wrong::At)?);
        word = words.next();
    }
    if word.is_none() { Ok(Rule::Grant(grant, ends)) } else { Err(Wrong::GrantTail) }
}

fn parse_time(word: &str) -> Option<Timestamp> {
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Denied;
    use super::super::tests::{AT, LINE, epoch, grant, service};
    use super::*;

    fn parsed(text: impl AsRef<[u8]>) -> Result<Parsed, Faults> {
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
    fn each_kind_of_rule_refuses_what_it_names_and_nothing_else() {
        assert_eq!(verdict("epoch 3"), Some(Denied::Epoch));
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
    fn every_fault_is_told_with_its_line_and_the_right_form() {
        let cases = [
            ("deny 3", Wrong::Verb, "`epoch 3`"),
            ("Epoch 3", Wrong::Verb, "`epoch 3`"),
            ("authseal-denylist 1", Wrong::Verb, "`epoch 3`"),
            ("\u{fffd}", Wrong::Verb, "`epoch 3`"),
            ("epoch", Wrong::Epoch, "`epoch 3`"),
            ("epoch 03", Wrong::Epoch, "without leading zeros"),
            ("epoch 0", Wrong::Epoch, "from 1"),
            ("epoch 4294967296", Wrong::Epoch, "`epoch 3`"),
            ("epoch 3 dropbox", Wrong::EpochTail, "`epoch 3 service dropbox`"),
            ("epoch 3 service box.com dropbox", Wrong::EpochTail, "one service"),
            ("epoch 3 login-before 2026-11-01T00:00:00Z x", Wrong::EpochTail, "one time"),
            ("epoch 3 service", Wrong::Service, "`epoch 3 service dropbox`"),
            ("epoch 3 service Dropbox", Wrong::Service, "`authseal providers`"),
            ("epoch 3 login-before", Wrong::LoginBefore, "2026-11-01T00:00:00Z"),
            ("epoch 3 login-before 2026-11-01", Wrong::LoginBefore, "with its zone"),
            ("epoch 3 login-before 2026-11-01T00:00:00", Wrong::LoginBefore, "with its zone"),
            ("grant", Wrong::Grant, "32 hex digits"),
            ("grant 00112233445566778899AABBCCDDEEFF", Wrong::Grant, "lower case"),
            ("grant 00112233445566778899aabbccddeef", Wrong::Grant, "`grant 00112233445566778899aabbccddeeff`"),
            ("grant v3:dropbox:1:c2VjcmV0", Wrong::Grant, "`authseal authid inspect`"),
            ("grant 00112233445566778899aabbccddeeff 4", Wrong::GrantTail, "through 4 at 2026"),
            ("grant 00112233445566778899aabbccddeeff through", Wrong::Through, "`through 4`"),
            ("grant 00112233445566778899aabbccddeeff through x", Wrong::Through, "`through 4`"),
            ("grant 00112233445566778899aabbccddeeff at noon", Wrong::At, "`at 2026-11-23T10:00:00Z`"),
            (
                "grant 00112233445566778899aabbccddeeff at 2026-11-23T10:00:00Z through 4",
                Wrong::GrantTail,
                "in this order",
            ),
        ];
        for (line, wrong, form) in cases {
            let faults = parsed(format!("authseal-denylist 1\nepoch 9\n{line}\n")).expect_err(line);
            assert_eq!(faults.first, [Fault { line: 3, wrong }], "{line}");
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
            assert_eq!(faults.first, [Fault { line: 1, wrong: Wrong::Header }], "{text:?}");
            assert!(faults.to_string().contains("`authseal denylist init`"));
        }
        assert!(parsed("authseal-denylist 1").is_ok());
    }

    #[test]
    fn faults_are_reported_together_and_counted_beyond_twenty() {
        let faults = parsed(format!("epoch 3\n{}", "bad\n".repeat(22))).err().unwrap();
        assert_eq!(faults.first.len(), 20);
        assert_eq!(faults.first.first(), Some(&Fault { line: 1, wrong: Wrong::Header }));
        assert_eq!(faults.first.last(), Some(&Fault { line: 20, wrong: Wrong::Verb }));
        let text = faults.to_string();
        assert!(text.ends_with("\nand 3 more faulty lines"), "{text}");
        assert_eq!(text.lines().count(), 21);
    }

    #[test]
    fn an_endless_line_is_refused_without_reading_it_all() {
        let endless = std::io::Read::chain(&b"authseal-denylist 1\n"[..], std::io::repeat(b'x'));
        let faults = parse(io::BufReader::new(endless)).unwrap().err().unwrap();
        assert_eq!(faults.first, [Fault { line: 2, wrong: Wrong::TooLong }]);
    }
}
