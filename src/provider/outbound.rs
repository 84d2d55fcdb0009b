//! How calls leave this machine: the proxy that they go through, and the authorities that their certificates may come
//! from. Both are said by the operator alone. What the environment or the system says of proxies and certificates is
//! not read: whoever can set a variable would decide where secrets go.

use super::service::Provider;
use crate::files::{self, Readers};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use url::Url;

/// The most bytes that a file with authorities may have: several times what a whole system trusts.
const MAX_CA_FILE: u64 = 1024 * 1024;

/// `[outbound]`, checked.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// The URL of an HTTP proxy that calls to providers go through, perhaps with a user and a password.
    pub proxy: Option<SecretString>,
    /// A PEM file with authorities beside the bundled ones.
    pub ca_file: Option<PathBuf>,
}

/// The HTTP client could not be set up.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum SetupError {
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
    #[error("the proxy's address cannot be used")]
    Proxy(#[from] hyper::http::uri::InvalidUri),
    #[error("the authorities in {} cannot be used: {}", .0.display(), .1)]
    Authorities(PathBuf, String),
}

impl Outbound {
    /// Reads the value of `outbound.proxy`.
    ///
    /// # Errors
    /// A sentence that begins with a verb, without the text itself.
    pub fn check_proxy(text: SecretString) -> Result<SecretString, String> {
        let url = Url::parse(text.expose_secret()).ok().filter(|url| url.scheme() == "http" && url.has_host());
        let bare = url.filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none());
        bare.map(|_| text).ok_or_else(|| {
            "is not of the form `http://proxy.example.com:3128`, perhaps with `user:password@` before the host"
                .to_owned()
        })
    }

    /// TLS to other servers of the operator's: the bundled roots vouch for them, and the authorities named here.
    ///
    /// # Errors
    /// When these cannot be used.
    pub fn tls(&self) -> Result<rustls::ClientConfig, SetupError> {
        self.tls_with(None)
    }

    /// The same, and those in one more file are trusted, too.
    ///
    /// # Errors
    /// As for [`Outbound::tls`].
    pub fn tls_with(&self, ca_file: Option<&Path>) -> Result<rustls::ClientConfig, SetupError> {
        trusting(self.ca_file.as_deref().into_iter().chain(ca_file))
    }

    /// A hash of all that decides where calls go and who is trusted there: the proxy, and what is in the files with
    /// authorities, those included that single providers have of their own.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn fingerprint<'a>(
        &self,
        providers: impl Iterator<Item = &'a Provider>,
    ) -> Result<[u8; 32], SetupError> {
        let own: BTreeMap<_, _> = providers.filter_map(Provider::own_authorities).collect();
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update(bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        add(self.proxy.as_ref().map_or("", ExposeSecret::expose_secret).as_bytes());
        let shared = self.ca_file.as_deref().map(|path| ("", path));
        for (id, path) in shared.into_iter().chain(own.iter().map(|(id, path)| (*id, *path))) {
            add(id.as_bytes());
            add(&pem(path)?);
        }
        Ok(hash.finalize().into())
    }

    /// The proxy that calls go through.
    pub fn proxy_url(&self) -> Option<Url> {
        Url::parse(self.proxy.as_ref()?.expose_secret()).ok()
    }
}

/// TLS 1.2 and 1.3 to servers that the roots in this binary vouch for, whatever certificates the machine has.
///
/// # Errors
/// When the cryptography has no such versions.
pub fn bundled_tls() -> Result<rustls::ClientConfig, SetupError> {
    trusting(std::iter::empty())
}

/// The same, with the authorities in these files beside the bundled roots.
pub(super) fn trusting<'a>(ca_files: impl Iterator<Item = &'a Path>) -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<rustls::RootCertStore>();
    for path in ca_files {
        let unusable = |why: String| SetupError::Authorities(path.to_owned(), why);
        let pem = pem(path)?;
        let mut any = false;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| unusable("it is damaged".to_owned()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            any = true;
        }
        if !any {
            return Err(unusable("there is no certificate in PEM in it".to_owned()));
        }
    }
    Ok(rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn pem(path: &Path) -> Result<Vec<u8>, SetupError> {
    let read = files::read(path, MAX_CA_FILE, Readers::All);
    read.map(|(pem, _)| pem.to_vec()).map_err(|error| SetupError::Authorities(path.to_owned(), error.to_string()))
}
