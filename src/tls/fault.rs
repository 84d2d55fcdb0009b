//! What can be wrong with a certificate and its key: one sentence for each error, with the key of the configuration,
//! the file and what to do. Nothing of a file's content is in it.

use super::files::PairFiles;
use crate::files::Unread;
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// What is wrong with one of the two files.
#[derive(Debug, Error)]
#[error("`{key}`, {file}: {fault}", file = .file.display())]
pub struct TlsFault {
    key: &'static str,
    file: PathBuf,
    fault: Fault,
}

impl TlsFault {
    pub(super) fn of_cert(files: &PairFiles, fault: Fault) -> Self {
        Self { key: if files.acme { "acme.cache" } else { "tls.cert_file" }, file: files.cert.clone(), fault }
    }

    pub(super) fn of_key(files: &PairFiles, fault: Fault) -> Self {
        Self { key: if files.acme { "acme.cache" } else { "tls.key_file" }, file: files.key.clone(), fault }
    }

    /// Whether the file could not be read, so that nothing is known of its content.
    fn is_unread(&self) -> bool {
        match &self.fault {
            Fault::Missing => true,
            Fault::Unread(why) => why.may_pass(),
            _ => false,
        }
    }
}

#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error("there is no such file; where is the one that your certificate's issuer or ACME client made?")]
    Missing,
    #[error(transparent)]
    Unread(Unread),
    #[error("its PEM is damaged, a section is cut off or not base64; copy it again from where it was made")]
    Damaged,
    #[error("there is no certificate in it; it must hold the chain in PEM, as `fullchain.pem` of certbot does")]
    NoCertificate,
    #[error("there is no certificate in it but a private key; are `tls.cert_file` and `tls.key_file` swapped?")]
    KeyInstead,
    #[error("the certificate in it cannot be read; have a new one issued, or copy it again from where it was made")]
    BadCertificate,
    #[error("its certificates are in the wrong order; the server's own must come first, then those that signed it")]
    Order,
    #[error("there is no private key in it; it must hold one in PEM, as `privkey.pem` of certbot does")]
    NoKey,
    #[error("there is no private key in it but a certificate; are `tls.cert_file` and `tls.key_file` swapped?")]
    CertificateInstead,
    #[error("there is no private key in it, but one is in the file of `tls.cert_file`; name that file for both")]
    KeyInCert,
    #[error(
        "the key in it is locked with a passphrase, and nobody is there to type it; `openssl pkey` writes it without one"
    )]
    Locked,
    #[error("the key in it cannot be used; take ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits")]
    BadKey,
    #[error("this is not the key of the certificate in `tls.cert_file`; both files must come from one issue")]
    Mismatch,
}

/// All that is wrong, a line each.
#[derive(Debug)]
pub struct TlsFaults(pub(super) Vec<TlsFault>);

impl TlsFaults {
    /// Whether a file could not be read, so that nothing is known of its content.
    pub fn are_unread(&self) -> bool {
        self.0.iter().any(TlsFault::is_unread)
    }
}

impl fmt::Display for TlsFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(TlsFault::to_string).collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for TlsFaults {}
