//! Connections to providers that wait for their next request. Only requests whose repeat is harmless come here: a
//! provider may close a connection at the moment in which a request is sent over it, and then nobody knows whether it
//! arrived.
//!
//! A connection is used for its own provider and host only, so what was decided when it was made (address, authorities,
//! proxy) holds for it; and by its own runtime only, whose threads are woken when something comes. It is given up after
//! a while even when it is in use all the time, so that a changed address of a name is taken up. The pool ends with the
//! client that it belongs to: another configuration begins without connections.

use super::connection::Connection;
use super::places::MOST;
use super::service::Provider;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::{self, Handle};
use tokio::time::{Instant, sleep};
use url::{Position, Url};

/// How long a connection waits for its next request: less than the 60 s and more after which load balancers, nginx and
/// the big providers close it.
const IDLE: Duration = Duration::from_secs(45);
/// How old a connection gets.
const AGE: Duration = Duration::from_secs(300);

/// Clones are the same pool. As many connections wait in it, of all providers, as can be in use to one.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    connections: Vec<Idle>,
    /// Somebody will look for those whose time has passed.
    tended: bool,
}

/// A connection and where it leads.
pub(super) struct Kept {
    pub(super) connection: Connection,
    provider: String,
    /// `https://provider.example:8443`
    place: String,
    runtime: runtime::Id,
    born: Instant,
}

struct Idle {
    kept: Kept,
    since: Instant,
}

impl Kept {
    pub(super) fn new(connection: Connection, provider: &Provider, url: &Url) -> Self {
        let place = url[..Position::BeforePath].to_owned();
        let runtime = Handle::current().id();
        Self { connection, provider: provider.id.clone(), place, runtime, born: Instant::now() }
    }

    fn leads_to(&self, provider: &str, place: &str) -> bool {
        self.place == place && self.provider == provider
    }

    fn is_free(&self, runtime: runtime::Id) -> bool {
        self.runtime == runtime && (!self.connection.is_shared() || self.connection.has_room())
    }

    fn shared(&self) -> Option<Self> {
        let connection = self.connection.shared()?;
        Some(Self { connection, provider: self.provider.clone(), place: self.place.clone(), ..*self })
    }
}

impl Pool {
    /// A connection to the host of a provider's URL, if there is one that was not closed.
    pub(super) async fn take(&self, provider: &Provider, url: &Url) -> Option<Kept> {
        loop {
            let mut kept = self.lock().take(&provider.id, &url[..Position::BeforePath])?;
            if kept.connection.is_usable().await {
                return Some(kept);
            }
        }
    }

    /// Lets others use a new connection at the same time, if it can have several.
    pub(super) fn share(&self, kept: &Kept) {
        if let Some(shared) = kept.shared() {
            let mut waiting = self.lock();
            let mut others = waiting.connections.iter().map(|idle| &idle.kept);
            if !others.any(|other| other.leads_to(&kept.provider, &kept.place) && other.is_free(kept.runtime)) {
                self.add(&mut waiting, shared);
            }
        }
    }

    /// Takes a connection back; one that is shared never left.
    pub(super) async fn put(&self, mut kept: Kept) {
        if !kept.connection.is_shared() && kept.connection.is_usable().await {
            self.add(&mut self.lock(), kept);
        }
    }

    /// Gives up what leads to the host of a provider's URL: it seems that nobody is there any more.
    pub(super) fn forget(&self, provider: &Provider, url: &Url) {
        let place = &url[..Position::BeforePath];
        self.lock().connections.retain(|idle| !idle.kept.leads_to(&provider.id, place));
    }

    fn add(&self, waiting: &mut Waiting, kept: Kept) {
        if waiting.connections.len() >= *MOST {
            let longest = waiting.connections.iter().enumerate().min_by_key(|(_, idle)| idle.since);
            longest.map(|(at, _)| at).map(|at| waiting.connections.remove(at));
        }
        waiting.connections.push(Idle { kept, since: Instant::now() });
        if !waiting.tended {
            waiting.tended = true;
            tokio::spawn(tend(Arc::downgrade(&self.0)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The one that waited for the shortest time: so those that are not needed get old.
    fn take(&mut self, provider: &str, place: &str) -> Option<Kept> {
        let (now, here) = (Instant::now(), Handle::current().id());
        let fits = |Idle { kept, .. }: &Idle| kept.is_free(here) && kept.leads_to(provider, place);
        let at = loop {
            let at = self.connections.iter().rposition(fits)?;
            if self.connections[at].is_good(now) {
                break at;
            }
            self.connections.remove(at);
        };
        match self.connections[at].kept.shared() {
            Some(shared) => {
                self.connections[at].since = Instant::now();
                Some(shared)
            }
            None => Some(self.connections.remove(at).kept),
        }
    }

    fn prune(&mut self) {
        let now = Instant::now();
        self.connections.retain(|idle| idle.is_good(now));
    }
}

impl Idle {
    fn is_good(&self, now: Instant) -> bool {
        now - self.since < IDLE && now - self.kept.born < AGE && !self.kept.connection.has_ended()
    }
}

/// Closes what nobody takes in time, for as long as there is something.
async fn tend(waiting: Weak<Mutex<Waiting>>) {
    loop {
        sleep(IDLE / 3).await;
        let Some(waiting) = waiting.upgrade() else { return };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.prune();
        if waiting.connections.is_empty() {
            waiting.tended = false;
            return;
        }
    }
}
