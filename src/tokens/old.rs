//! Old AuthIDs beside sealed ones: the one place that opens both. One of version 2 is what it says, and anybody can make
//! one up; so until its provider has given access for it, it may cause no line in the denylist and no sealed AuthID, and
//! who comes with many that are not accepted is kept from asking.
//!
//! What still comes is remembered for the operator, who wants to know when the old ones can be turned off.

use super::{ExchangeError, Inner, Opened, Seal, TokenService};
use crate::authid::{Grant, GrantId, ParseError, ServiceId, strip};
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::legacy::{Accepted, Folder, FolderError, OldAuthId, Version};
use secrecy::SecretString;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Most logins that are told apart; of more it is known that they work, and not how many they are.
const MOST_SEEN: usize = 200_000;

/// Which old AuthIDs are taken, and which have come.
#[derive(Clone)]
pub(super) struct OldAuthIds {
    v2: bool,
    folder: Option<Arc<Folder>>,
    seen: Arc<Mutex<Seen>>,
}

/// Those that brought an access token.
#[derive(Default)]
struct Seen {
    grants: HashSet<GrantId>,
    rows: BTreeMap<(ServiceId, Version), (u64, UnixTime)>,
}

/// How much is left of the old AuthIDs, as far as this process has seen.
#[derive(Serialize)]
pub struct OldView {
    /// Whether those of version 2 are taken.
    pub v2: bool,
    /// Whether those of version 1 are.
    pub v1: bool,
    /// Since when `seen` is kept, RFC 3339.
    pub watching_since: String,
    /// By service and version, all that came since then.
    pub seen: Vec<OldRow>,
}

/// What came of one version for one service.
#[derive(Serialize)]
pub struct OldRow {
    /// The service.
    pub service: String,
    /// The version.
    pub version: Version,
    /// How many different ones.
    pub authids: u64,
    /// When the last one came, RFC 3339.
    pub last_seen: String,
}

impl OldAuthIds {
    pub(super) fn new(accepted: Accepted, clock: &Clock) -> Self {
        let folder = accepted.v1_dir.map(|path| Arc::new(Folder::new(path, clock.clone())));
        Self { v2: accepted.v2, folder, seen: Arc::default() }
    }

    /// The same with others taken. A folder that stays is the same one: guesses were counted there.
    pub(super) fn with(&self, accepted: Accepted, clock: &Clock) -> Self {
        let same = self.folder.as_ref().filter(|folder| accepted.v1_dir.as_deref() == Some(folder.path())).cloned();
        let new = Self::new(accepted, clock);
        Self { v2: new.v2, folder: same.or(new.folder), seen: self.seen.clone() }
    }

    /// An AuthID of a version that is taken.
    fn parse(&self, text: &str) -> Option<OldAuthId> {
        OldAuthId::parse(text).filter(|old| match old.version() {
            Version::V1 => self.folder.is_some(),
            Version::V2 => self.v2,
        })
    }

    fn has_seen(&self, grant: GrantId) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).grants.contains(&grant)
    }
}

impl TokenService {
    /// Opens an AuthID, sealed or old, revoked or not. Nothing is opened of an old one of version 2, which may be made up.
    ///
    /// # Errors
    /// Says why it does not open.
    pub async fn open(&self, authid: &str) -> Result<Opened, ExchangeError> {
        let taken = &self.0.old;
        if let Some(old) = taken.parse(authid) {
            return self.open_old(old).await;
        }
        let opened = self.open_sealed(authid);
        if let Err(ExchangeError::Parse(_)) = opened
            // As people paste it. What is left out could belong to it, so only where it is none as it is.
            && let Some(old) = taken.parse(&strip(authid))
        {
            return self.open_old(old).await;
        }
        opened.map_err(|error| match error {
            // Of a kind that is taken, and none of it.
            ExchangeError::Parse(ParseError::Version1) if taken.folder.is_some() => ParseError::Malformed.into(),
            ExchangeError::Parse(ParseError::Version2(_)) if taken.v2 => ParseError::Malformed.into(),
            other => other,
        })
    }

    async fn open_old(&self, old: OldAuthId) -> Result<Opened, ExchangeError> {
        let (grant, record_secret, version) = (old.grant(), old.record_secret(), old.version());
        let (service, refresh_token) = match &old {
            OldAuthId::Version2 { service, refresh_token } => (service.clone(), refresh_token.clone()),
            OldAuthId::Version1 { file, password } => self.stored(&old, file, password).await?,
        };
        // The old server had its own id for a service, which is an alias here.
        let known = self.0.providers.catalogue().find(service.as_str());
        let service = known.map_or(service, |known| known.id.clone());
        Ok(Opened { login: Grant::unsealed(service, grant, refresh_token, record_secret), seal: Seal::Old(version) })
    }

    async fn stored(
        &self,
        old: &OldAuthId,
        file: &str,
        password: &SecretString,
    ) -> Result<(ServiceId, SecretString), ExchangeError> {
        let folder = self.0.old.folder.as_ref().ok_or(ExchangeError::Internal)?;
        match folder.open(old.digest(), file, password).await {
            Ok(stored) => Ok((stored.service_id.clone(), stored.refresh_token.clone())),
            Err(FolderError::Stored(error)) if error.is_guess() => Err(ExchangeError::NotStored(error.to_string())),
            Err(FolderError::Guessed(wait)) => Err(ExchangeError::Guessed(wait)),
            Err(FolderError::Busy) => Err(ExchangeError::NoRoom),
            Err(error) => Err(ExchangeError::OldStore(error.to_string())),
        }
    }

    /// Whether an AuthID may be made up, as far as is known.
    pub fn is_unproven(&self, opened: &Opened) -> bool {
        opened.seal == Seal::Old(Version::V2) && !self.0.old.has_seen(opened.login.id)
    }

    /// Asks the provider about an AuthID that may be made up. One that is revoked is proven: somebody had it.
    ///
    /// # Errors
    /// When it is, or that cannot be told now.
    pub async fn prove(&self, opened: &Opened) -> Result<(), ExchangeError> {
        if !self.is_unproven(opened) || self.denied(opened).is_some() {
            return Ok(());
        }
        self.check_upstream(opened).await?;
        self.0.came(opened);
        Ok(())
    }

    /// What is left of the old AuthIDs.
    pub fn old_authids(&self) -> OldView {
        let OldAuthIds { v2, folder, seen } = &self.0.old;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |((service, version), (authids, last)): (&(ServiceId, Version), &(u64, UnixTime))| OldRow {
            service: service.to_string(),
            version: *version,
            authids: *authids,
            last_seen: rfc3339(*last),
        };
        OldView {
            v2: *v2,
            v1: folder.is_some(),
            watching_since: rfc3339(self.0.meter.watching_since()),
            seen: seen.rows.iter().map(row).collect(),
        }
    }
}

impl Inner {
    /// An old AuthID brought an access token.
    pub(super) fn came(&self, opened: &Opened) {
        let Seal::Old(version) = opened.seal else { return };
        let (login, now) = (&opened.login, self.clock.now());
        let mut seen = self.old.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = seen.grants.len() < MOST_SEEN && seen.grants.insert(login.id);
        let (authids, last) = seen.rows.entry((login.service.clone(), version)).or_default();
        *authids += u64::from(is_new);
        *last = now;
        self.meter.old_authid(login.service.as_str(), version.as_str(), *authids);
    }
}
