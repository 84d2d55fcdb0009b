//! Old AuthIDs beside sealed ones: the one place that opens both. One of version 2 is what it says, and anybody can make
//! one up; so until its provider has given access for it, it may cause no line in the denylist and no sealed AuthID, and
//! who comes with many that are not accepted is kept from asking.
//!
//! What still comes is remembered for the operator, who wants to know when the old ones can be turned off.

use super::exported::Exported;
use super::obtain::Requester;
use super::{ExchangeError, Inner, Opened, Seal, TokenService};
use crate::authid::{Grant, GrantId, ParseError, ServiceId, strip};
use crate::clock::{Clock, UnixTime, rfc3339};
use crate::denylist::Denied;
use crate::legacy::{Accepted, Export, ExportError, Folder, FolderError, OldAuthId, StoredError, Version};
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
    pub(super) exported: Option<Arc<Exported>>,
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
    /// What another handler was asked for, if there is one to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportView>,
    /// Since when `seen` is kept, RFC 3339.
    pub watching_since: String,
    /// By service and version, all that came since then.
    pub seen: Vec<OldRow>,
}

/// What another handler told, which is asked once for each AuthID.
#[derive(Serialize)]
pub struct ExportView {
    /// Of how many AuthIDs since this process started.
    pub taken_over: u64,
    /// When the last time, RFC 3339.
    pub last: Option<String>,
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
    /// Those of `before` stay where they are the same, with what was counted and remembered there; `export` makes another.
    pub(super) fn new(
        accepted: Accepted,
        before: Option<&Self>,
        export: impl FnOnce(Export) -> Exported,
        clock: &Clock,
    ) -> Self {
        let folder = accepted.v1_dir.map(|path| {
            let same = before.and_then(|before| before.folder.clone()).filter(|folder| folder.path() == path);
            same.unwrap_or_else(|| Arc::new(Folder::new(path, clock.clone())))
        });
        let exported = accepted.export.map(|to| {
            let same = before.and_then(|before| before.exported.clone()).filter(|exported| exported.asks(&to));
            same.unwrap_or_else(|| Arc::new(export(to)))
        });
        let seen = before.map(|before| before.seen.clone()).unwrap_or_default();
        Self { v2: accepted.v2, folder, exported, seen }
    }

    /// An AuthID of a version that is taken.
    fn parse(&self, text: &str) -> Option<OldAuthId> {
        let takes_any = self.takes(Version::V1) || self.takes(Version::V2);
        takes_any.then(|| OldAuthId::parse(text)).flatten().filter(|old| self.takes(old.version()))
    }

    fn takes(&self, version: Version) -> bool {
        match version {
            Version::V1 => self.folder.is_some() || self.exported.is_some(),
            Version::V2 => self.v2,
        }
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
            ExchangeError::Parse(ParseError::Version1) if taken.takes(Version::V1) => ParseError::Malformed.into(),
            ExchangeError::Parse(ParseError::Version2(_)) if taken.v2 => ParseError::Malformed.into(),
            other => other,
        })
    }

    async fn open_old(&self, old: OldAuthId) -> Result<Opened, ExchangeError> {
        let (service, refresh_token) = match &old {
            OldAuthId::Version2 { service, refresh_token } => (service.clone(), refresh_token.clone()),
            OldAuthId::Version1 { file, password } => self.stored(&old, file, password).await?,
        };
        // The old server had its own id for a service, which is an alias here.
        let known = self.0.providers.catalogue().find(service.as_str());
        if known.is_none() && old.version() == Version::V2 && ServiceId::parse(service.as_str()).is_none() {
            // With capital letters it was another id there, too.
            return Err(ParseError::Malformed.into());
        }
        let service = known.map_or(service, |known| known.id.clone());
        let old = old.of(&service);
        let login = Grant::unsealed(service, old.grant(), refresh_token, old.record_secret());
        Ok(Opened { login, seal: Seal::Old(old.version()) })
    }

    /// Whether an old AuthID is revoked. A line with the hash of one of version 2 has it as the old server knew it, so it
    /// counts however the service is written.
    pub(super) fn denied_old(&self, login: &Grant, version: Version) -> Option<Denied> {
        let service = self.0.providers.catalogue().find(login.service.as_str());
        let aliases = service.filter(|_| version == Version::V2).into_iter().flat_map(|service| &service.aliases);
        let as_alias = |alias: &ServiceId| {
            OldAuthId::Version2 { service: alias.clone(), refresh_token: login.refresh_token.clone() }.grant()
        };
        let mut grants = std::iter::once(login.id).chain(aliases.map(as_alias));
        grants.any(|grant| self.0.denylist.denies_grant(grant)).then_some(Denied::Grant)
    }

    async fn stored(
        &self,
        old: &OldAuthId,
        file: &str,
        password: &SecretString,
    ) -> Result<(ServiceId, SecretString), ExchangeError> {
        let OldAuthIds { folder, exported, .. } = &self.0.old;
        let found = match folder {
            Some(folder) => folder.open(old.digest(), file, password).await,
            None => Err(StoredError::Missing.into()),
        };
        let found = match (found, exported) {
            // What has a file is that server's, and no other's.
            (Err(FolderError::Stored(StoredError::Missing)), Some(exported)) => {
                self.0.exported(exported, old, file, password).await.map_err(ExchangeError::from)
            }
            (found, _) => found.map_err(ExchangeError::from),
        };
        found.map(|stored| (stored.service_id.clone(), stored.refresh_token.clone()))
    }

    /// Whether an AuthID may be made up, as far as is known.
    pub fn is_unproven(&self, opened: &Opened) -> bool {
        opened.seal == Seal::Old(Version::V2) && !self.0.old.has_seen(opened.login.id)
    }

    /// Asks the provider about an AuthID that may be made up, if nothing is remembered of it. One that is revoked is
    /// proven: somebody had it.
    ///
    /// # Errors
    /// When it is, or that cannot be told now.
    pub async fn prove(&self, opened: &Opened) -> Result<(), ExchangeError> {
        if !self.is_unproven(opened) || self.denied(opened).is_some() {
            return Ok(());
        }
        self.check_for(opened, Requester::Client).await?;
        self.0.came(opened);
        Ok(())
    }

    /// What is left of the old AuthIDs.
    pub fn old_authids(&self) -> OldView {
        let OldAuthIds { v2, exported, seen, .. } = &self.0.old;
        let export = exported.as_ref().map(|exported| {
            let (taken_over, last) = exported.taken_over();
            ExportView { taken_over, last: last.map(rfc3339) }
        });
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |((service, version), (authids, last)): (&(ServiceId, Version), &(u64, UnixTime))| OldRow {
            service: service.to_string(),
            version: *version,
            authids: *authids,
            last_seen: rfc3339(*last),
        };
        OldView {
            v2: *v2,
            v1: self.0.old.takes(Version::V1),
            export,
            watching_since: rfc3339(self.0.meter.watching_since()),
            seen: seen.rows.iter().map(row).collect(),
        }
    }
}

impl From<FolderError> for ExchangeError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Stored(error) if error.is_guess() => Self::NotStored(error.to_string()),
            FolderError::Guessed(wait) => Self::Guessed(wait),
            FolderError::Busy => Self::NoRoom,
            error => Self::OldStore(error.to_string()),
        }
    }
}

impl From<ExportError> for ExchangeError {
    fn from(error: ExportError) -> Self {
        match error {
            error if error.is_guess() => Self::NotStored(error.to_string()),
            ExportError::Guessed(wait) => Self::Guessed(wait),
            ExportError::Busy => Self::NoRoom,
            error => Self::OldStore(error.to_string()),
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
