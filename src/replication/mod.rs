//! Revocations travel: what is added to the denylist of one replica, or taken out of it, is in force at all others.
//!
//! Each replica has a file of its own, which stays the authority: it is enough to start with, whatever can be reached.
//! Rules go over a log in Redis, where the store is there (`shared`), or are fetched from the admin listeners of other
//! replicas (`peers`). Everything is sealed under a key of the keyring (`sealed`), so who can write to Redis or
//! answers in a replica's place adds nothing; and each change carries its time, so what is replayed changes nothing.
//! What a change means is `denylist`'s.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod page;
mod peers;
mod progress;
mod sealed;
mod shared;

pub use page::Page;
pub use progress::Progress;

use crate::clock::Clock;
use crate::denylist::{Change, Denylist, Rules, keep_reason};
use crate::keyring_file::LiveKeyring;
use crate::meter::Meter;
use crate::provider::{Outbound, SetupError};
use crate::seal::Keyring;
use crate::store::{Store, StoreError};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::task::{JoinSet, spawn_blocking};
use url::Url;

/// How many changes are held in memory before they are made: a million come in ten steps.
const MAX_HELD: usize = 100_000;

/// How long a replica with an empty denylist wants no requests until it has got that of others.
const NEW: Duration = Duration::from_secs(60);

/// `denylist.replicate` and `denylist.follow`, checked.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    /// Whether the store is shared and carries the log.
    pub shared: bool,
    /// The denylists of other replicas, at their admin listeners.
    pub follow: Vec<Url>,
    /// Whether a denylist without rules may be one that was just made (`denylist.create`). Where it is not, the file is
    /// the authority, and enough to start with.
    pub may_be_new: bool,
}

impl Replicas {
    /// Whether anything is told or asked.
    pub fn is_on(&self) -> bool {
        self.shared || !self.follow.is_empty()
    }
}

/// Why a round came to no end.
#[derive(Debug, Error)]
enum Fault {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Peer(String),
    #[error("the own denylist: {0}")]
    Own(String),
}

/// The exchange with other replicas; it ends with this.
pub struct Replication {
    parts: Parts,
    progress: Vec<Arc<Progress>>,
    begun_empty: bool,
    begun_at: Duration,
    _tasks: JoinSet<()>,
}

/// What every way of exchange needs.
#[derive(Clone)]
struct Parts {
    keyring: Arc<LiveKeyring>,
    denylist: Arc<Denylist>,
    clock: Clock,
    meter: Meter,
}

impl Replication {
    /// Begins to exchange what `replicas` says. Nobody needs to be there yet.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub fn start(
        replicas: &Replicas,
        keyring: Arc<LiveKeyring>,
        denylist: Arc<Denylist>,
        store: &Arc<Store>,
        outbound: &Outbound,
        clock: Clock,
        meter: Meter,
    ) -> Result<Self, SetupError> {
        let parts = Parts { keyring, denylist, clock, meter };
        let (mut progress, mut tasks) = (Vec::new(), JoinSet::new());
        let mut source = |name: &str| {
            let new = Arc::new(Progress::new(name, parts.clock.clone()));
            progress.push(Arc::clone(&new));
            new
        };
        if replicas.shared {
            tasks.spawn(shared::SharedLog::new(parts.clone(), store.clone(), source("redis")).run());
        }
        if !replicas.follow.is_empty() {
            let client = peers::client(outbound)?;
            for url in &replicas.follow {
                tasks.spawn(peers::Peer::new(parts.clone(), client.clone(), url.clone(), source(url.as_str())).run());
            }
        }
        let begun_empty = replicas.is_on() && replicas.may_be_new && parts.denylist.count() == 0;
        let begun_at = parts.clock.uptime();
        Ok(Self { parts, progress, begun_empty, begun_at, _tasks: tasks })
    }

    /// How far it is, source by source.
    pub fn progress(&self) -> &[Arc<Progress>] {
        &self.progress
    }

    /// Whether this replica may have begun with a new denylist and has not got that of the others yet: for a minute at most,
    /// since nobody may be there.
    pub fn is_new(&self) -> bool {
        let fresh = self.begun_empty && self.parts.clock.uptime() < self.begun_at + NEW;
        fresh && !self.progress.iter().any(|source| source.was_caught_up())
    }

    /// What another replica is told that knows the denylist up to `tag`; `None` if that is all of it.
    ///
    /// # Errors
    /// When the denylist cannot be read.
    pub async fn page(&self, tag: Option<String>) -> Result<Option<Page>, String> {
        page::page(self.parts.clone(), tag).await
    }
}

impl Parts {
    fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.load())
    }

    /// Makes those changes in the own denylist that it lacks.
    async fn take(&self, changes: Vec<Change>) -> Result<Vec<Change>, Fault> {
        let (denylist, keyring, meter) = (self.denylist.clone(), self.keyring(), self.meter.clone());
        let taken = spawn_blocking(move || {
            let mut changes = changes;
            // What opens no more needs no rule; `denylist compact` takes it out, and it must not come back.
            changes.retain(|change| is_needed(change, &keyring));
            let count = denylist.take(&changes)?;
            meter.replicated(count);
            if count > 0 {
                tracing::info!(target: "authseal::audit", event = "rules_received", count, "rules of another server");
            }
            Ok::<_, io::Error>(changes)
        });
        taken.await.map_err(own)?.map_err(own)
    }

    /// What the own denylist has to tell that `known` lacks, up to [`MAX_HELD`] changes or all of them.
    fn news(&self, known: &Rules, limit: usize) -> Result<Vec<Change>, Fault> {
        let (keyring, mut news) = (self.keyring(), Vec::new());
        let visit = |change: Change| {
            if known.lack(&change) && is_needed(&change, &keyring) {
                news.push(change);
            }
            news.len() < limit
        };
        self.denylist.changes(self.clock.now(), visit).map_err(own)?;
        Ok(news)
    }

    /// Takes notice of something sealed that does not open.
    fn refuse(&self, count: usize, progress: &Progress) {
        self.meter.replication_refused(count);
        if progress.may_warn() {
            tracing::warn!(
                count,
                from = progress.name(),
                "revocations of another server do not open with this keyring and are left out"
            );
        }
    }
}

fn is_needed(change: &Change, keyring: &Keyring) -> bool {
    keep_reason(&change.rule, keyring).is_some()
}

fn own(error: impl ToString) -> Fault {
    Fault::Own(error.to_string())
}
