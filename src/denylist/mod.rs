//! The denylist: AuthIDs that are refused although they open, as rules in one text file that people may edit.
//!
//! The file is the truth; what is in memory follows it. With two exceptions, both on the safe side: a file that has
//! become faulty does not replace the rules read before, and a grant revoked by this process is refused from that
//! moment on. From the bottom up: one line ([`rule`](Rule)), the rules laid out for looking up ([`Rules`]), the text
//! ([`parse()`]), the file, and upon it the list of a running server ([`Denylist`]) and the changes of the command line
//! ([`add`], [`remove`]); `compaction` says which rules are needed no more.

mod change;
mod compaction;
mod edit;
mod error;
mod file;
mod first;
mod live;
mod parse;
mod rule;
mod rules;
mod tail;

pub use change::Change;
pub use compaction::{KeepReason, keep_reason};
pub use edit::{add, lines, read_rules, remove};
pub use error::{DenylistError, FaultyLine, FaultyLines};
pub use live::{Denylist, NotDurable};
pub use parse::{Line, Parsed, parse};
pub use rule::{LineError, Recorded, Removal, Rule};
pub use rules::{Denied, Rules};
pub use tail::Tail;

#[cfg(test)]
mod tests {
    use crate::authid::{GrantId, ServiceId};
    use crate::clock::UnixTime;
    use crate::seal::Epoch;

    pub(super) const AT: UnixTime = 1_795_428_000; // 2026-11-23T10:00:00Z

    pub(super) const LINE: &str = "grant 00112233445566778899aabbccddeeff through 4 at 2026-11-23T10:00:00Z";

    pub(super) fn epoch(number: i64) -> Epoch {
        Epoch::try_from(number).unwrap()
    }

    pub(super) fn service(id: &str) -> ServiceId {
        ServiceId::parse(id).unwrap()
    }

    pub(super) fn grant(number: u8) -> GrantId {
        GrantId::new([number; 16])
    }
}
