//! Proof of a name in a TLS handshake (tls-alpn-01, RFC 8737): to who asks for that protocol, the server shows a certificate
//! that it made itself, with the proof in it. It is read from the shared folder, since the authority may ask any replica.
//! The proof over http (http-01) is a file in the same folder, and the web answers from there.

use super::AcmeSettings;
use crate::files::{self, Readers};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use std::sync::Arc;

/// The protocol that the authority asks for (RFC 8737 section 6.2).
const PROTOCOL: &[u8] = b"acme-tls/1";
/// The largest file of such a certificate, in bytes.
const MAX_LEN: u64 = 16 * 1024;

/// The name of the file for a domain. Its dot keeps it from the web, which knows tokens alone.
pub(super) fn file_name(domain: &str) -> String {
    format!("{domain}.pem")
}

/// A certificate that proves a name, and its key, in PEM.
pub(super) fn certificate(domain: &str, digest: &[u8]) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    Ok(key.serialize_pem() + &params.self_signed(&key)?.pem())
}

/// The same server, which answers such questions, too.
pub(super) fn answering(mut config: ServerConfig, settings: &AcmeSettings) -> ServerConfig {
    config.alpn_protocols.push(PROTOCOL.to_vec());
    config.cert_resolver = Arc::new(Door {
        otherwise: config.cert_resolver.clone(),
        domains: settings.domains.clone(),
        folder: settings.challenges(),
    });
    config
}

#[derive(Debug)]
struct Door {
    otherwise: Arc<dyn ResolvesServerCert>,
    domains: Vec<String>,
    folder: PathBuf,
}

impl ResolvesServerCert for Door {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if !hello.alpn().is_some_and(|offered| offered.eq([PROTOCOL])) {
            return self.otherwise.resolve(hello);
        }
        let domain = hello.server_name().filter(|name| self.domains.iter().any(|domain| domain == name))?;
        let file = self.folder.join(file_name(domain));
        // Not by the reader of certificates: the proof is a critical extension, which makes it one that no client takes.
        let (text, _) = files::read(&file, MAX_LEN, Readers::Group).ok()?;
        let key = ring::sign::any_supported_type(&PrivateKeyDer::from_pem_slice(&text).ok()?).ok()?;
        Some(Arc::new(CertifiedKey::new(vec![CertificateDer::from_pem_slice(&text).ok()?], key)))
    }
}
