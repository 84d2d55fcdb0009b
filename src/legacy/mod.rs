//! AuthIDs of duplicati/oauth-server, so that nobody has to log in again when authseal takes its place.
//!
//! Version 2 is `v2:<service>:<refresh token>`: the refresh token in clear. Version 1 is `<32 hex digits>:<password>`: the
//! name of a file that lies on the old server, and what opens it. Neither has a login id, nor anything random that stays;
//! both are derived from what is secret in it, so that every replica derives the same.

mod aes_crypt;
mod folder;
mod old;
mod stored;

use std::path::PathBuf;

pub use aes_crypt::{AesCryptError, decrypt};
pub use folder::{Folder, FolderError};
pub use old::{Digest, OldAuthId, Version, may_be_old};
pub use stored::{Stored, StoredError, open};

/// Which old AuthIDs are served; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Those of version 2.
    pub v2: bool,
    /// Those of version 1 that have a file in this folder.
    pub v1_dir: Option<PathBuf>,
}
