//! The folder of `acme.cache`: what is written there is whole at every moment, for its owner alone, and a certificate takes
//! the place of another one only after it was looked at. Who orders holds a lock.

use super::attempt::Attempt;
use super::{AcmeSettings, Fault, challenges};
use crate::clock::{UnixTime, rfc3339};
use crate::files::{self, Place, Readers};
use crate::tls::{Pair, PairFiles};
use instant_acme::AccountCredentials;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use url::Host;

/// Of the files, and of the folders.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// The largest file, in bytes.
const MAX_LEN: u64 = 1024 * 1024;
/// What the file of a certificate begins with, before the URL of the directory that it came through. PEM has room for
/// words outside of its sections (RFC 7468 section 2).
const FROM: &str = "# Issued by way of ";

/// The folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    files: PairFiles,
    domains: Vec<String>,
    directory: String,
    /// An attempt that could not be written down.
    unwritten: Mutex<Option<Attempt>>,
}

/// The account at an authority.
#[derive(Deserialize, Serialize)]
struct Account<C> {
    directory: String,
    credentials: C,
}

impl Cache {
    /// Makes what is not there, and lays a placeholder where there is no certificate that could be served.
    pub(super) fn open(settings: &AcmeSettings) -> Result<Self, Fault> {
        let cache = Self {
            folder: settings.cache.clone(),
            files: settings.files(),
            domains: settings.domains.clone(),
            directory: settings.directory.clone(),
            unwritten: Mutex::default(),
        };
        for folder in [cache.folder.clone(), settings.challenges()] {
            let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
            made.map_err(|error| Fault::cache(&folder, error))?;
        }
        match Pair::read(&cache.files) {
            Ok(_) => {}
            // The reader of certificates says so better.
            Err(faults) if faults.are_unread() && cache.files.cert.exists() => {}
            Err(faults) => {
                if cache.files.cert.exists() {
                    tracing::error!(%faults, "the certificate in `acme.cache` cannot be used; another one is ordered");
                }
                cache.put("certificate.pem", &cache.placeholder()?)?;
            }
        }
        // Found out now, and not in two months.
        cache.put_attempt(&cache.attempt())?;
        Ok(cache)
    }

    /// When the next certificate is to be ordered: at two thirds of the life of this one or somewhat before, each at a
    /// time of its own. At once if it is not for all names, or came from another authority.
    pub(super) fn due(&self) -> UnixTime {
        let Ok((text, _)) = files::read_text(&self.files.cert, MAX_LEN, Readers::Group) else { return 0 };
        let Ok(pair) = Pair::parse(&self.files, &text) else { return 0 };
        let from = text.lines().next().and_then(|line| line.strip_prefix(FROM));
        if from != Some(&self.directory) || !self.is_for_all(&pair) {
            return 0;
        }
        renewal(&pair)
    }

    fn is_for_all(&self, pair: &Pair) -> bool {
        self.domains.iter().all(|name| pair.covers(&Host::Domain(name.clone())))
    }

    /// Puts a new certificate into the old one's place, if it is of use.
    pub(super) fn put_certificate(&self, pem: &str, now: UnixTime) -> Result<(), Fault> {
        let pair = Pair::parse(&self.files, pem).map_err(|faults| Fault::Unfit(faults.to_string()))?;
        let (begins, ends) = (rfc3339(pair.begins), rfc3339(pair.ends));
        if !self.is_for_all(&pair) {
            return Err(Fault::Unfit("it is not for all names of `acme.domains`".to_owned()));
        }
        if !(pair.begins..pair.ends).contains(&now) {
            let of = format!("it is valid from {begins} to {ends}, and not now; is this machine's clock right?");
            return Err(Fault::Unfit(of));
        }
        self.put("certificate.pem", &format!("{FROM}{}\n{pem}", self.directory))?;
        match renewal(&pair) > now {
            true => Ok(()),
            false => {
                Err(Fault::Unfit(format!("it is to be renewed at once; is this machine's clock right? It ends {ends}")))
            }
        }
    }

    /// Holds others off from ordering; `None` while one of them does.
    pub(super) fn lock(&self) -> Result<Option<File>, Fault> {
        let place = Place::of_target(&self.files.cert).and_then(|place| place.lock_now());
        match place {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
            Err(error) => Err(Fault::Cache(error.to_string())),
        }
    }

    /// The last attempt at an order, by whichever replica.
    pub(super) fn attempt(&self) -> Attempt {
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).clone();
        unwritten.or_else(|| self.read("attempt.json")).unwrap_or_default()
    }

    pub(super) fn put_attempt(&self, attempt: &Attempt) -> Result<(), Fault> {
        self.put("attempt.json", &json(attempt)?)?;
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Keeps an attempt that could not be written down.
    pub(super) fn remember(&self, attempt: Attempt) {
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
    }

    /// The account at this authority.
    pub(super) fn account(&self, directory: &str) -> Option<AccountCredentials> {
        let account: Account<AccountCredentials> = self.read("account.json")?;
        (account.directory == directory).then_some(account.credentials)
    }

    pub(super) fn put_account(&self, directory: &str, credentials: &AccountCredentials) -> Result<(), Fault> {
        self.put("account.json", &json(&Account { directory: directory.to_owned(), credentials })?)
    }

    /// Lays out the answer to a challenge.
    pub(super) fn put_challenge(&self, name: &str, text: &str) -> Result<(), Fault> {
        // A name with more in it would be a path.
        if name.contains('/') {
            return Err(Fault::Refused("the token of its challenge is none".to_owned()));
        }
        self.put_at(&challenges(&self.folder).join(name), text)
    }

    pub(super) fn clear_challenges(&self) {
        for file in fs::read_dir(challenges(&self.folder)).into_iter().flatten().flatten() {
            let _ = fs::remove_file(file.path()); // it is of no use any more, and does no harm
        }
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        let (text, _) = files::read_text(&self.folder.join(name), MAX_LEN, Readers::Group).ok()?;
        serde_json::from_str(&text).ok()
    }

    fn put(&self, name: &str, text: &str) -> Result<(), Fault> {
        self.put_at(&self.folder.join(name), text)
    }

    /// Makes a file, or puts another one into its place.
    fn put_at(&self, path: &Path, text: &str) -> Result<(), Fault> {
        let put = || match files::create(path, MODE, text) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let place = Place::of_target(path)?;
                let old = place.open(rustix::fs::OFlags::PATH)?.metadata()?;
                let aside = place.aside(MODE)?;
                aside.file().write_all(text.as_bytes())?;
                // If somebody else changed it in between, theirs is as new.
                aside.replace(&old).map(drop)
            }
            made => made,
        };
        put().map_err(|error| Fault::cache(path, error))
    }

    /// A certificate that nobody takes: it expired long ago.
    fn placeholder(&self) -> Result<String, Fault> {
        let make = || {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(self.domains.clone())?;
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2000, 1, 2));
            Ok::<_, rcgen::Error>(key.serialize_pem() + &params.self_signed(&key)?.pem())
        };
        let pem = make().map_err(|error| Fault::cache(&self.folder, error))?;
        Ok(format!("# In place of the first certificate, until it comes\n{pem}"))
    }
}

/// When a certificate is to be renewed: its digest says how much before two thirds of its life, up to a twentieth of it.
fn renewal(pair: &Pair) -> UnixTime {
    let life = (pair.ends - pair.begins).max(1);
    let digest = Sha256::digest(pair.served.cert.first().map_or(&[][..], |first| first));
    let random = digest.first_chunk::<2>().map_or(0, |two| i64::from(u16::from_be_bytes(*two)));
    pair.begins + life / 3 * 2 - life / 20 * random / 65_536
}

fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Cache(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key, or another one.
    fn pem(names: &[&str], years: std::ops::Range<i32>, own_key: bool) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let shown = if own_key { key.serialize_pem() } else { KeyPair::generate().unwrap().serialize_pem() };
        shown + &params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_certificate_that_is_of_no_use_takes_no_others_place() {
        let folder = tempfile::tempdir().unwrap();
        let settings = AcmeSettings {
            domains: vec!["a.example.com".to_owned(), "b.example.com".to_owned()],
            contact: "admin@example.com".to_owned(),
            directory: "https://authority.example/dir".to_owned(),
            cache: folder.path().join("acme"),
            ca_file: None,
            over_http: true,
        };
        let cache = Cache::open(&settings).unwrap();
        let now = 1_795_000_000; // in November 2026
        assert_eq!(cache.due(), 0, "nothing but a placeholder");
        let both = ["a.example.com", "b.example.com"];
        cache.put_certificate(&pem(&both, 2026..2027, true), now).unwrap_err(); // past two thirds of its life
        cache.put_certificate(&pem(&both, 2026..2030, true), now).unwrap();
        let good = fs::read_to_string(&settings.files().cert).unwrap();
        assert!(cache.due() > now);
        for (pem, says) in [
            (pem(&["a.example.com"], 2026..2030, true), "not for all names"),
            (pem(&["other.example.com"], 2026..2030, true), "not for all names"),
            (pem(&both, 2024..2025, true), "is this machine's clock right?"),
            (pem(&both, 2027..2030, true), "is this machine's clock right?"),
            (pem(&both, 2026..2030, false), "key"),
            (String::new(), "of no use"),
        ] {
            let fault = cache.put_certificate(&pem, now).unwrap_err();
            assert!(matches!(fault, Fault::Unfit(_)) && fault.to_string().contains(says), "{says}: {fault}");
            assert_eq!(fs::read_to_string(&settings.files().cert).unwrap(), good, "{says}");
        }
        let elsewhere = AcmeSettings { directory: "https://other.example/dir".to_owned(), ..settings };
        assert_eq!(Cache::open(&elsewhere).unwrap().due(), 0, "another authority issued it");
    }
}
