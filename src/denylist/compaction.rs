//! Which rules a keyring makes superfluous: those whose AuthIDs do not open any more, whatever the denylist says.

use super::rule::{Recorded, Rule};
use crate::legacy::may_be_old;
use crate::seal::{Entry, Epoch, Keyring, NoKey};
use std::fmt;

/// Why a rule is still needed with a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepReason {
    /// This epoch, which it is about, opens.
    Opens(Epoch),
    /// This epoch, which it is about, is not in the keyring and could come back: it is neither retired nor below the floor.
    Unknown(Epoch),
    /// This epoch is newer than the line, but not known to have been made after it.
    NotNewer(Epoch),
    /// It is about an old AuthID, which opens without a key.
    Old,
    /// It does not say when it was written and which epochs there were.
    Undated,
}

impl fmt::Display for KeepReason {
    /// The end of a sentence that begins with "this line stays, since".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opens(epoch) => write!(f, "epoch {epoch} is not retired"),
            Self::Unknown(epoch) => write!(
                f,
                "epoch {epoch} is not in the keyring and could come back; if it never will, set `min_epoch` above it"
            ),
            Self::NotNewer(epoch) => write!(f, "epoch {epoch} may have been there when the line was written"),
            Self::Old => {
                f.write_str("an old AuthID needs no key, so it would work again as long as `[legacy]` takes it")
            }
            Self::Undated => f.write_str("the line has no `through` and `at`; it stays until it is taken out by hand"),
        }
    }
}

/// Why `rule` is still needed with `keyring`; `None` if all that it refuses does not open any more.
///
/// A login that was revoked is not sealed again, so nothing of it is under an epoch that was made after its line. Before
/// that it may have been, up to the newest epoch of that day.
pub fn keep_reason(rule: &Rule, keyring: &Keyring) -> Option<KeepReason> {
    let closed = |epoch| match keyring.keys(epoch) {
        Err(NoKey::Retired | NoKey::BelowFloor) => None,
        Err(NoKey::Absent | NoKey::Newer) => Some(KeepReason::Unknown(epoch)),
        Ok(_) => Some(KeepReason::Opens(epoch)),
    };
    let (through, at) = match rule {
        Rule::Epoch(epoch) | Rule::Service(epoch, _) | Rule::LoginBefore(epoch, _) => return closed(*epoch),
        Rule::Legacy(_) => return Some(KeepReason::Old),
        Rule::Grant(grant, _) if may_be_old(*grant) => return Some(KeepReason::Old),
        Rule::Grant(_, Recorded { through: Some(through), at: Some(at) }) => (*through, *at),
        Rule::Grant(..) => return Some(KeepReason::Undated),
    };
    // Stops at the first that is not in the keyring, so it takes no longer than the keyring is.
    let floor = keyring.min_epoch().map_or(1, Epoch::number);
    let mut up_to = (floor..=through.number()).filter_map(|number| Epoch::try_from(i64::from(number)).ok());
    up_to.find_map(closed).or_else(|| {
        let not_newer = |entry: &Entry| entry.keys.is_ok() && entry.created.is_none_or(|made| made <= at);
        let mut later = keyring.entries().filter(|(epoch, _, _)| *epoch > through);
        later.find(|(_, _, entry)| not_newer(entry)).map(|(epoch, _, _)| KeepReason::NotNewer(epoch))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{epoch, grant};
    use super::*;
    use crate::seal::testing::key_table;

    /// A keyring of these epochs, each with its state and the hour of 2026-11-23 when it was made; `-` for none.
    fn keyring(head: &str, epochs: &[(i64, &str)]) -> Keyring {
        let table = |(number, made): &(i64, &str)| {
            let epoch = epoch(*number);
            let created = if *made == "-" { String::new() } else { format!("created = 2026-11-23T{made}:00:00Z\n") };
            match made.strip_prefix("retired ") {
                Some(hour) => format!("[[key]]\nepoch = {epoch}\nretired = 2026-11-23T{hour}:00:00Z\n"),
                None => key_table(*number).replacen("secret", &(created + "secret"), 1),
            }
        };
        Keyring::parse(&(head.to_owned() + &epochs.iter().map(table).collect::<String>())).unwrap()
    }

    #[test]
    fn a_login_s_line_is_needed_until_nothing_older_than_it_opens() {
        let rule = |tail: &str| Rule::parse(&format!("grant {} {tail}", grant(1))).unwrap();
        let line = rule("through 2 at 2026-11-23T10:00:00Z");
        let with = |head: &str, epochs: &[(i64, &str)]| keep_reason(&line, &keyring(head, epochs));
        let [one, two, three] = [1, 2, 3].map(epoch);
        assert_eq!(with("primary = 3\n", &[(1, "retired 11"), (2, "retired 11"), (3, "11")]), None);
        assert_eq!(with("primary = 3\nmin_epoch = 3\n", &[(2, "09"), (3, "11")]), None);
        assert_eq!(with("primary = 3\n", &[(1, "retired 11"), (2, "09"), (3, "11")]), Some(KeepReason::Opens(two)));
        assert_eq!(with("primary = 3\n", &[(2, "retired 11"), (3, "11")]), Some(KeepReason::Unknown(one)));
        assert_eq!(with("primary = 1\n", &[(1, "11")]), Some(KeepReason::Opens(one)));
        for made in ["09", "10", "-"] {
            let of_three = [(1, "retired 11"), (2, "retired 11"), (3, made)];
            assert_eq!(with("primary = 3\n", &of_three), Some(KeepReason::NotNewer(three)), "{made}");
        }
        let all_new = keyring("primary = 3\n", &[(1, "retired 11"), (2, "retired 11"), (3, "11")]);
        for undated in ["", "through 2", "at 2026-11-23T10:00:00Z"] {
            assert_eq!(keep_reason(&rule(undated), &all_new), Some(KeepReason::Undated));
        }
        for old in
            ["grant 01d00000000000000000000000000000 through 2 at 2026-11-23T10:00:00Z", &format!("legacy {:064}", 7)]
        {
            assert_eq!(keep_reason(&Rule::parse(old).unwrap(), &all_new), Some(KeepReason::Old));
        }
        let far = rule("through 4294967295 at 2026-11-23T10:00:00Z");
        assert_eq!(keep_reason(&far, &all_new), Some(KeepReason::Opens(three)), "without counting to four billions");
        let newest = keyring("primary = 1\n", &[(1, "11"), (2, "retired 11")]);
        assert_eq!(keep_reason(&Rule::Epoch(two), &newest), None);
        assert_eq!(keep_reason(&Rule::Epoch(one), &newest), Some(KeepReason::Opens(one)));
        assert_eq!(KeepReason::Opens(one).to_string(), "epoch 1 is not retired");
        assert_eq!(keep_reason(&Rule::Epoch(three), &newest), Some(KeepReason::Unknown(three)));
    }
}
