//! A certificate chain and its key, as two files in PEM: read, checked against each other, and looked at for what an
//! operator has to know. Browsers do the rest of the checking; what they would complain about is a warning here.

use super::fault::{Fault, TlsFault, TlsFaults};
use super::files::PairFiles;
use crate::clock::UnixTime;
use crate::files::{self, Readers, Unread};
use crate::watch::FileStamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use url::Host;
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use zeroize::Zeroizing;

/// The largest file, in bytes; a chain has some thousand.
const MAX_LEN: u64 = 1024 * 1024;

type Text = Zeroizing<Vec<u8>>;

/// What of it is served, and what is known of its first certificate.
pub struct Pair {
    /// The chain and its key.
    pub served: Arc<CertifiedKey>,
    /// From when on it is valid.
    pub begins: UnixTime,
    /// When it ends.
    pub ends: UnixTime,
    /// DNS names in lower case, the first label perhaps `*`.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    /// Whether those that signed it are missing.
    pub(super) is_alone: bool,
}

impl Pair {
    /// Reads both files; with their stamps, that of the certificate first.
    ///
    /// # Errors
    /// As for [`Pair::parse`], and when a file cannot be read.
    pub fn read(files: &PairFiles) -> Result<(Self, Vec<FileStamp>), TlsFaults> {
        let (cert, key) = (read(&files.cert, Readers::All), read(&files.key, Readers::Group));
        let stamps = [&cert, &key].into_iter().flatten().map(|(_, stamp)| *stamp).collect();
        let text = |read: Result<(Text, _), Fault>| read.map(|(text, _)| text);
        Ok((Self::judge(files, text(cert), text(key)).map_err(TlsFaults)?, stamps))
    }

    /// The same of the text that would be in both files, if they were one.
    ///
    /// # Errors
    /// When it is faulty, or its halves do not belong together.
    pub fn parse(files: &PairFiles, text: &str) -> Result<Self, TlsFaults> {
        let text = || Ok(Text::new(text.as_bytes().to_vec()));
        Self::judge(files, text(), text()).map_err(TlsFaults)
    }

    fn judge(files: &PairFiles, cert: Result<Text, Fault>, key: Result<Text, Fault>) -> Result<Self, Vec<TlsFault>> {
        let of_cert = |fault| vec![TlsFault::of_cert(files, fault)];
        let combined = cert.as_ref().is_ok_and(|text| self::key(text).is_ok());
        let (chain, key) = match (cert.and_then(|text| chain(&text)), key.and_then(|text| self::key(&text))) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => {
                let combined = combined && chain.is_ok();
                let of_key = |fault| TlsFault::of_key(files, if combined { Fault::KeyInCert } else { fault });
                let chain = chain.err().map(|fault| TlsFault::of_cert(files, fault));
                return Err(chain.into_iter().chain(key.err().map(of_key)).collect());
            }
        };
        let Ok(key) = ring::default_provider().key_provider.load_private_key(key) else {
            return Err(vec![TlsFault::of_key(files, Fault::BadKey)]);
        };
        let fits = |chain: &[CertificateDer<'static>]| CertifiedKey::new(chain.to_vec(), key.clone()).keys_match();
        match fits(&chain) {
            // The second: this key cannot tell its public half.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) if (1..chain.len()).any(|at| fits(&chain[at..]).is_ok()) => {
                return Err(of_cert(Fault::Order));
            }
            Err(Error::InconsistentKeys(_)) => return Err(vec![TlsFault::of_key(files, Fault::Mismatch)]),
            Err(_) => return Err(of_cert(Fault::BadCertificate)),
        }
        let served = Arc::new(CertifiedKey::new(chain, key));
        Self::of(served).ok_or_else(|| of_cert(Fault::BadCertificate))
    }

    fn of(served: Arc<CertifiedKey>) -> Option<Self> {
        let (_, first) = X509Certificate::from_der(served.cert.first()?).ok()?;
        let (begins, ends) = (first.validity().not_before.timestamp(), first.validity().not_after.timestamp());
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        let alternatives = first.subject_alternative_name().ok()?;
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        // It names the place of its issuer's certificate: nobody has that one among his own authorities.
        let is_alone = served.cert.len() == 1 && first.subject() != first.issuer() && names_issuer(&first);
        Some(Self { served, begins, ends, names, addresses, is_alone })
    }

    /// Whether browsers take it for this host (RFC 9525 section 6.3): `*` stands for one label.
    pub fn covers(&self, host: &Host<String>) -> bool {
        match host {
            Host::Domain(host) => {
                let parent = host.split_once('.').map(|(_, parent)| parent);
                self.names.iter().any(|name| name == host || name.strip_prefix("*.").is_some_and(|n| parent == Some(n)))
            }
            Host::Ipv4(address) => self.addresses.contains(&IpAddr::from(*address)),
            Host::Ipv6(address) => self.addresses.contains(&IpAddr::from(*address)),
        }
    }
}

/// Whether a certificate says where its issuer's is (RFC 5280 section 4.2.2.1).
fn names_issuer(certificate: &X509Certificate<'_>) -> bool {
    certificate.iter_extensions().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.iter().any(|access| access.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS)
        }
        _ => false,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>().map_err(|_| Fault::Damaged)?;
    match chain.is_empty() {
        true if PrivateKeyDer::from_pem_slice(text).is_ok() => Err(Fault::KeyInstead),
        true => Err(Fault::NoCertificate),
        false => Ok(chain),
    }
}

fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let locked = text.windows(b"ENCRYPTED".len()).any(|words| words == b"ENCRYPTED");
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(_) if locked => Err(Fault::Locked),
        Err(pem::Error::NoItemsFound) if CertificateDer::from_pem_slice(text).is_ok() => Err(Fault::CertificateInstead),
        Err(pem::Error::NoItemsFound) => Err(Fault::NoKey),
        // The error would quote the file.
        Err(_) => Err(Fault::Damaged),
    }
}

fn read(path: &Path, readers: Readers) -> Result<(Text, FileStamp), Fault> {
    let (bytes, metadata) = files::read(path, MAX_LEN, readers).map_err(|error| match error {
        Unread::Missing => Fault::Missing,
        error => Fault::Unread(error),
    })?;
    // Indented, as in the YAML that it was copied from, it would not be found.
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    Ok((Text::new(lines.join(&b'\n')), FileStamp::new(&metadata)))
}
