//! One line of a denylist: its grammar, and the rule that it holds. Nothing of a faulty line is quoted: somebody may have
//! pasted an AuthID there.

use crate::authid::{GrantId, ServiceId};
use crate::clock::{UnixTime, rfc3339};
use crate::legacy::Digest;
use crate::seal::Epoch;
use crate::unseen;
use jiff::Timestamp;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// The first line of every denylist.
pub(super) const HEADER: &str = "authseal-denylist 1";
/// The longest line, in bytes, comments included.
pub(super) const MAX_LINE: usize = 64 * 1024;
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
    Grant(GrantId, Recorded),
    /// The login of one old AuthID, in every epoch, and that AuthID.
    Legacy(Digest),
}

/// That a rule was taken out: other replicas and copies of the log still have it, and it must not come back from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The rule, [bare](Rule::bare).
    pub rule: Rule,
    /// When.
    pub at: UnixTime,
}

impl fmt::Display for Removal {
    /// As a line holds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "removed {} {}", rfc3339(self.at), self.rule)
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing: it holds white space or a note.
    Nothing,
    /// That something is refused.
    Rule(Rule),
    /// That a rule was taken out.
    Removal(Removal),
}

/// What tells when the line of a grant is no longer needed; `None` for what was left out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recorded {
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
    pub fn parse(text: &str) -> Result<Self, LineError> {
        match parse_line(text.as_bytes())? {
            Said::Rule(rule) => Ok(rule),
            Said::Nothing | Said::Removal(_) => Err(LineError::Verb),
        }
    }

    /// When its line was written, for those whose lines tell.
    pub fn at(&self) -> Option<UnixTime> {
        match self {
            Self::Grant(_, recorded) => recorded.at.map(Timestamp::as_second),
            _ => None,
        }
    }

    /// What it refuses, and nothing else: two rules that refuse the same are equal.
    pub fn bare(&self) -> Self {
        match self {
            Self::Grant(grant, _) => Self::Grant(*grant, Recorded::default()),
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
            Self::Grant(grant, Recorded { through, at }) => {
                write!(f, "grant {grant}")?;
                through.map_or(Ok(()), |epoch| write!(f, " through {epoch}"))?;
                at.map_or(Ok(()), |time| write!(f, " at {time}"))
            }
            Self::Legacy(digest) => write!(f, "legacy {digest}"),
        }
    }
}

/// What is wrong with a line, and how it should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum LineError {
    #[error(
        "the file does not begin with `authseal-denylist 1`; if it was emptied or replaced by accident, put a copy back, else remove it and run `authseal denylist init`"
    )]
    Header,
    #[error("the file is text in UTF-16, as some editors of Windows write it; save it as UTF-8")]
    Utf16,
    #[error("a rule begins with `epoch` or `grant` (or `legacy`), as in `epoch 3`; notes are behind `#`")]
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
    #[error(
        "`legacy` needs the SHA-256 of an old AuthID, 64 hex digits in lower case, and nothing else, as `printf %s \"$AUTHID\" | sha256sum` gives it"
    )]
    Legacy,
    #[error(
        "`removed` needs a time with its zone and the rule that was taken out, as in `removed 2026-11-27T07:00:00Z epoch 3`"
    )]
    Removed,
    #[error("the line is longer than {MAX_LINE} bytes, and the rest of the file was not looked at")]
    TooLong,
}

/// Checks the first line. A byte order mark, which some editors add, is no fault.
pub(super) fn header(line: &[u8]) -> Result<(), LineError> {
    if unseen::is_utf16(line) {
        return Err(LineError::Utf16);
    }
    let text = readable(line);
    if text.split_whitespace().eq(HEADER.split(' ')) { Ok(()) } else { Err(LineError::Header) }
}

/// What of a line is no note. Bytes that are not UTF-8 become a character that no rule holds; what pages and editors put
/// between words or round them without its being seen is no fault.
fn readable(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(before_note(line));
    match text.is_ascii() {
        true => text,
        false => text.chars().filter(|char| char.is_whitespace() || !unseen::is_blank(*char)).collect(),
    }
}

/// Reads any later line.
pub(super) fn parse_line(line: &[u8]) -> Result<Said, LineError> {
    let text = readable(line);
    let mut words = text.split_whitespace();
    match words.next() {
        None => Ok(Said::Nothing),
        Some("removed") => {
            let at = words.next().and_then(parse_time).ok_or(LineError::Removed)?.as_second();
            let verb = words.next().ok_or(LineError::Removed)?;
            Ok(Said::Removal(Removal { rule: rule(verb, words)?.bare(), at }))
        }
        Some(verb) => rule(verb, words).map(Said::Rule),
    }
}

fn rule<'a>(verb: &str, words: impl Iterator<Item = &'a str>) -> Result<Rule, LineError> {
    match verb {
        "epoch" => epoch_rule(words),
        // People call it by what pages call it, the login id.
        "grant" | "login" => grant_rule(words),
        "legacy" => legacy_rule(words),
        _ => Err(LineError::Verb),
    }
}

fn before_note(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'#').next().unwrap_or_default()
}

fn epoch_rule<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Rule, LineError> {
    let epoch = words.next().and_then(Epoch::parse).ok_or(LineError::Epoch)?;
    let rule = match words.next() {
        None => return Ok(Rule::Epoch(epoch)),
        Some("service") => Rule::Service(epoch, words.next().and_then(ServiceId::parse).ok_or(LineError::Service)?),
        Some("login-before") => {
            let time = words.next().and_then(parse_time).ok_or(LineError::LoginBefore)?;
            // Logins are known to the second: one in the second that `time` falls into may be older.
            let second = time.as_second().saturating_add(i64::from(time.subsec_nanosecond() > 0));
            // The last second that there is has none after it, and what is read must be what can be written.
            Rule::LoginBefore(epoch, second.min(Timestamp::MAX.as_second()))
        }
        Some(_) => return Err(LineError::EpochTail),
    };
    if words.next().is_none() { Ok(rule) } else { Err(LineError::EpochTail) }
}

fn grant_rule<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Rule, LineError> {
    let grant = words.next().and_then(GrantId::parse).ok_or(LineError::Grant)?;
    let mut word = words.next();
    let mut recorded = Recorded::default();
    if word == Some("through") {
        recorded.through = Some(words.next().and_then(Epoch::parse).ok_or(LineError::Through)?);
        word = words.next();
    }
    if word == Some("at") {
        recorded.at = Some(words.next().and_then(parse_time).ok_or(LineError::At)?);
        word = words.next();
    }
    if word.is_none() { Ok(Rule::Grant(grant, recorded)) } else { Err(LineError::GrantTail) }
}

fn legacy_rule<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Rule, LineError> {
    let digest = words.next().and_then(Digest::parse).filter(|_| words.next().is_none());
    digest.map(Rule::Legacy).ok_or(LineError::Legacy)
}

fn parse_time(word: &str) -> Option<Timestamp> {
    word.parse().ok()
}
