//! TLS of our own, where no proxy ends it: the certificate and key that the public listeners use, followed while the
//! server runs.
//!
//! A pair that is faulty, or whose halves do not belong together, never replaces a good one; the error goes to the log.
//! Open connections keep the certificate that they began with. Who issues certificates and renews them is left to
//! [`crate::acme`], other ACME clients and users: those write two files, one after the other, and between the two there is
//! a pair that does not fit.

mod fault;
mod files;
mod pair;

pub use fault::{TlsFault, TlsFaults};
pub use files::PairFiles;
pub use pair::Pair;

use crate::clock::{Clock, UnixTime, rfc3339};
use crate::watch::{FileStamp, Live, LoadStatus, Source, WatchedFile};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use url::Host;

/// How long before its end a certificate is warned of, in seconds: 14 days. ACME clients renew 30 days before.
const SOON: i64 = 14 * DAY;
const DAY: i64 = 24 * 60 * 60;

/// A certificate and its key that follow their files.
pub struct LiveCertificate {
    source: PairSource,
    live: Arc<Live<PairSource>>,
}

/// The files, and what they are judged by.
#[derive(Clone)]
struct PairSource {
    files: PairFiles,
    /// What browsers will look for in it.
    host: Host<String>,
    clock: Clock,
}

impl fmt::Debug for LiveCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveCertificate").field("files", &self.source.files).finish_non_exhaustive()
    }
}

impl LiveCertificate {
    /// Reads both files; symlinks are followed. `host` is that of the public URL.
    ///
    /// # Errors
    /// When one of them is missing, unreadable, faulty, or they do not belong together; or others can read the key.
    pub fn open(files: PairFiles, host: Host<String>, clock: Clock) -> Result<Self, TlsFaults> {
        let source = PairSource { files, host, clock };
        let live = Arc::new(Live::read(source.clone())?);
        source.log(&live.load());
        Ok(Self { source, live })
    }

    /// What rustls serves HTTP/1.1 with: TLS 1.2 and 1.3, and for each new connection the pair in force.
    ///
    /// # Errors
    /// When rustls lacks what it needs for that; it does not.
    pub fn server_config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// When the certificate in force ends.
    pub fn ends(&self) -> UnixTime {
        self.live.load().ends
    }

    /// When the pair in force was read, and how later readings went.
    pub fn load_status(&self) -> &LoadStatus {
        self.live.load_status()
    }

    /// What browsers and Duplicati will complain about, now or soon: a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.source.warnings(&self.live.load())
    }

    /// What to hand to [`Watch::start`](crate::watch::Watch::start).
    pub fn follow(&self) -> Option<WatchedFile> {
        self.live.follow()
    }
}

impl PairSource {
    fn warnings(&self, pair: &Pair) -> Vec<String> {
        let (now, file) = (self.clock.now(), self.files.cert.display());
        let (begins, ends) = (rfc3339(pair.begins), rfc3339(pair.ends));
        let mut warnings = Vec::new();
        let renew = if self.files.acme { "`authseal status` says how its renewal does" } else { "renew it" };
        if pair.ends <= now {
            warnings.push(format!("the certificate {file} ended at {ends} and is refused by clients; {renew}"));
        } else if pair.ends - now < SOON && !self.files.acme {
            let left = match (pair.ends - now) / DAY {
                0 => "less than a day".to_owned(),
                1 => "1 day".to_owned(),
                days => format!("{days} days"),
            };
            warnings.push(format!("the certificate {file} ends at {ends}, in {left}; renew it before"));
        }
        if pair.begins > now {
            warnings.push(format!("the certificate {file} begins at {begins} only; is this machine's clock right?"));
        }
        if pair.is_alone {
            warnings.push(format!(
                "the certificate {file} stands alone: without those that signed it, Duplicati and other programs refuse it though browsers may not; use fullchain.pem, the whole chain"
            ));
        }
        if !pair.covers(&self.host) {
            warnings.push(format!(
                "the certificate {file} is not for {}, the host of `public_url`, so clients refuse it; have one issued for that name",
                self.host
            ));
        }
        warnings
    }

    fn log(&self, pair: &Pair) {
        tracing::info!(ends = rfc3339(pair.ends), "certificate loaded");
        self.warnings(pair).iter().for_each(|warning| tracing::warn!("{warning}"));
    }
}

impl Source for PairSource {
    type Value = Pair;
    type Fault = TlsFaults;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.files.cert.clone(), self.files.key.clone()]
    }

    fn read(&self) -> Result<(Pair, Vec<FileStamp>), TlsFaults> {
        Pair::read(&self.files)
    }

    fn is_unread(faults: &TlsFaults) -> bool {
        faults.are_unread()
    }

    fn loaded(&mut self, _: &Pair, pair: &Pair, _: &[FileStamp]) {
        self.log(pair);
    }

    fn not_loaded(&self, faults: &TlsFaults) {
        for error in &faults.0 {
            tracing::error!(%error, "certificate not loaded; the one loaded before stays in force");
        }
    }
}

impl ResolvesServerCert for LiveCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.live.load().served.clone())
    }
}

#[cfg(test)]
mod tests;
