//! The files that are followed, each with metrics of its own: when it was read, and whether it could be since.

use super::list::{
    CERTIFICATE_FAILED, CERTIFICATE_LOADED, DENYLIST_FAILED, DENYLIST_LOADED, KEYRING_FAILED, KEYRING_LOADED,
    PASSWORD_FAILED, PASSWORD_LOADED,
};
use super::metric::Metric;

/// A file that is followed, and its own metrics.
#[derive(Debug)]
pub struct File {
    pub(super) name: &'static str,
    pub(super) loaded: &'static Metric,
    pub(super) failed: &'static Metric,
}

impl File {
    /// The keyring.
    pub const KEYRING: Self = Self { name: "keyring", loaded: &KEYRING_LOADED, failed: &KEYRING_FAILED };
    /// The denylist.
    pub const DENYLIST: Self = Self { name: "denylist", loaded: &DENYLIST_LOADED, failed: &DENYLIST_FAILED };
    /// The certificate and its key.
    pub const CERTIFICATE: Self =
        Self { name: "certificate", loaded: &CERTIFICATE_LOADED, failed: &CERTIFICATE_FAILED };
    /// The file of the shared password.
    pub const PASSWORD: Self = Self { name: "password", loaded: &PASSWORD_LOADED, failed: &PASSWORD_FAILED };
}
