//! AuthIDs of duplicati/oauth-server and duplicati/oauth-handler, so that nobody has to log in again when authseal takes
//! their place.
//!
//! Version 2 is `v2:<service>:<refresh token>`: the refresh token in clear. Version 1 is `<32 hex digits>:<password>`: the
//! name of what lies on the old server, and what opens it. Neither has a login id, nor anything random that stays;
//! both are derived from what is secret in it, so that every replica derives the same.

mod aes_crypt;
mod export;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handler;
mod old;
mod stored;

use std::path::PathBuf;

pub use aes_crypt::{AesCryptError, decrypt};
pub use export::{Export, ExportError};
pub use folder::{Folder, FolderError};
pub use handler::Handler;
pub use old::{Digest, OldAuthId, Version, may_be_old};
pub use stored::{Stored, StoredError, open};

/// Which old AuthIDs are served; none by default.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    /// Those of version 2.
    pub v2: bool,
    /// Those of version 1 that have a file in this folder.
    pub v1_dir: Option<PathBuf>,
    /// Those of version 1 that another handler knows.
    pub export: Option<Export>,
}
