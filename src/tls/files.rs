//! The names of the certificate file and the key file, as configured.

use std::path::PathBuf;

/// The two files.
#[derive(Clone, Debug)]
pub struct PairFiles {
    /// The certificate chain in PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// Whether this server has them issued itself, so that no key of the configuration names them.
    pub acme: bool,
}
