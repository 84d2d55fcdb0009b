//! Which start of this machine it is. After one, a machine without a battery for its clock shows a time that is long
//! past until the network corrects it, and what was fetched before looks younger than it is.

use sha2::{Digest, Sha256};
use std::fs;

/// Linux: another one after each start, the same for all processes and containers of a machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A number for it; `None` where the system does not tell.
pub(super) fn id() -> Option<u64> {
    let hash: [u8; 32] = Sha256::digest(fs::read(BOOT_ID).ok()?).into();
    hash.first_chunk().copied().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_the_machine_has_one_number() {
        assert!(id().is_some_and(|number| number > 1));
        assert_eq!(id(), id());
    }
}
