//! The files that a server goes by, as metrics tell of them: each has its own names, and a word for a label.

use super::list;
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
    pub const KEYRING: Self = Self { name: "keyring", loaded: &list::KEYRING_LOADED, failed: &list::KEYRING_FAILED };
    /// The denylist.
    pub const DENYLIST: Self =
        Self { name: "denylist", loaded: &list::DENYLIST_LOADED, failed: &list::DENYLIST_FAILED };
    /// The certificate and its key.
    pub const CERTIFICATE: Self =
        Self { name: "certificate", loaded: &list::CERTIFICATE_LOADED, failed: &list::CERTIFICATE_FAILED };
    /// The configuration, which is read when somebody asks for that.
    pub const CONFIGURATION: Self =
        Self { name: "configuration", loaded: &list::CONFIGURATION_LOADED, failed: &list::CONFIGURATION_FAILED };
    /// The file of the shared password.
    pub const PASSWORD: Self =
        Self { name: "password", loaded: &list::PASSWORD_LOADED, failed: &list::PASSWORD_FAILED };
}
