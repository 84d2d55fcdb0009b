//! Why a store did not do what it was asked to: one enum for all kinds of store.

use super::{LIMIT, MAX_BLOB_LEN};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why the store did not do what it was asked to. Whether it was done all the same is not known.
#[derive(Clone, Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum StoreError {
    #[error("the state folder {}: {cause}", path.display())]
    Dir { path: PathBuf, cause: Arc<io::Error> },
    #[error("Redis: {0}")]
    Redis(String),
    #[error("no answer within {} seconds: it hangs, or another process holds a lock in its folder", LIMIT.as_secs())]
    TimedOut,
    #[error("a blob longer than {MAX_BLOB_LEN} bytes cannot be stored")]
    TooLong,
    #[error("interrupted")]
    Interrupted,
}

/// A fault of the disk.
pub(super) fn in_folder(path: &Path, cause: io::Error) -> StoreError {
    match cause.kind() {
        io::ErrorKind::TimedOut => StoreError::TimedOut,
        _ => StoreError::Dir { path: path.to_owned(), cause: Arc::new(cause) },
    }
}
