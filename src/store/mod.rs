//! The state store: blobs with a lifetime, by shelf and name. Knows nothing of what is in them, and trusts nobody with
//! what it holds: whoever puts a blob here has sealed it before.
//!
//! Three kinds with the same four verbs, held to the same tests: in this process's memory, in a folder of one machine,
//! in a Redis that many replicas share. The one verb that takes thought is [`Store::swap`], compare-and-swap on the
//! whole blob: rotations are made of it, and nothing else is needed to be safe among many. Every verb ends in
//! two seconds, whatever the disk or the network do.

mod advice;
mod copies;
mod dir;
pub(crate) mod disk;
mod error;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod health;
mod line;
mod log;
mod memory;
mod names;
mod open;
mod place;
mod redis;
mod server;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;

pub use error::StoreError;
pub use health::Health;
pub use log::LogEntry;
pub use place::StorePlace;

use crate::meter::Meter;
use dir::Dir;
use health::{Verb, Watched};
use memory::Memory;
use redis::Redis;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a request may take. A refresh makes five or so and has 20 s; a store that is slower than this is down.
const LIMIT: Duration = Duration::from_secs(2);

/// The longest blob, in bytes: two tokens of 8 KiB, the most that an answer of a provider may hold, and their seal.
pub const MAX_BLOB_LEN: usize = 32 * 1024;

/// What a blob is stored under: 32 bytes that look random.
pub type Name = [u8; 32];

/// What kind of blob it is. Shelves have names of their own and differ in how much care they are owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// AuthIDs that wait to be fetched, for minutes. If one is lost, its user copies it from the page.
    Mailbox,
    /// The newest refresh token of a login, for as long as the login lives. If one is lost, so is the login.
    Records,
}

impl Shelf {
    /// All shelves.
    const ALL: [Self; 2] = [Self::Mailbox, Self::Records];

    /// Its name in paths and keys.
    fn as_str(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Records => "records",
        }
    }

    /// Whether a blob must be on the disk before anybody is told that it was stored.
    fn is_durable(self) -> bool {
        self == Self::Records
    }
}

/// A store.
pub struct Store {
    kind: Kind,
    health: Watched,
}

enum Kind {
    Memory(Memory),
    Dir(Dir),
    Redis(Box<Redis>),
}

impl Store {
    /// Whether what is stored outlives this process.
    pub fn is_durable(&self) -> bool {
        !matches!(self.kind, Kind::Memory(_))
    }

    /// The same store, whose requests are counted.
    #[must_use]
    pub fn counted(mut self, meter: Meter) -> Self {
        let kind = match &mut self.kind {
            Kind::Memory(_) => "memory",
            Kind::Dir(_) => "dir",
            Kind::Redis(redis) => {
                redis.count(meter.clone());
                "redis"
            }
        };
        meter.has_store(kind);
        self.health.count(kind, meter);
        self
    }

    /// What users call this kind of store.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Memory(_) => "memory",
            Kind::Dir(_) => "a folder",
            Kind::Redis(_) => "Redis",
        }
    }

    /// Whether replicas on several machines find there what one of them has put there.
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Redis(_))
    }

    /// How the store does, by what came of the last requests to it.
    pub fn health(&self) -> Health {
        self.health.now()
    }

    /// Asks a store that fails whether it still does: requests of its users may be rare.
    pub async fn probe(&self) {
        let (health, name) = (self.health(), [0; 32]);
        if health.writing.is_some() {
            // As long as can be: a full disk may have room for less.
            let _ = self.put(Shelf::Mailbox, &name, &[0; MAX_BLOB_LEN], Duration::from_secs(1)).await;
        }
        if health.reading.is_some() {
            let _ = self.read(Shelf::Mailbox, &name).await;
        }
    }

    /// Whether another server may answer since this was last asked, so that [`Store::advice`] may be another.
    pub fn was_replaced(&self) -> bool {
        matches!(&self.kind, Kind::Redis(redis) if redis.was_replaced())
    }

    /// What an operator should know of how the store is set up: sentences for the log. Empty where there is nothing.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn advice(&self) -> Result<Vec<String>, StoreError> {
        self.timed(Verb::Ask, async {
            match &self.kind {
                Kind::Memory(_) => Ok(Vec::new()),
                Kind::Dir(dir) => dir.advice().await,
                Kind::Redis(redis) => redis.advice(self.health.clock.now()).await,
            }
        })
        .await
    }

    /// Keeps `bytes` for `lifetime`, in place of what there was.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put(&self, shelf: Shelf, name: &Name, bytes: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        fits(bytes)?;
        let work = async {
            match &self.kind {
                Kind::Memory(memory) => {
                    memory.put(shelf, name, bytes, lifetime);
                    Ok(())
                }
                Kind::Dir(dir) => dir.put(shelf, name, bytes, lifetime).await,
                Kind::Redis(redis) => redis.put(shelf, name, bytes, lifetime).await,
            }
        };
        self.timed(Verb::Put, work).await
    }

    /// A copy of a blob, which stays where it is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let work = async {
            match &self.kind {
                Kind::Memory(memory) => Ok(memory.read(shelf, name)),
                Kind::Dir(dir) => dir.read(shelf, name).await,
                Kind::Redis(redis) => redis.read(shelf, name).await,
            }
        };
        self.timed(Verb::Read, work).await
    }

    /// Removes a blob and returns it; of several callers exactly one gets it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let work = async {
            match &self.kind {
                Kind::Memory(memory) => Ok(memory.take(shelf, name)),
                Kind::Dir(dir) => dir.take(shelf, name).await,
                Kind::Redis(redis) => redis.take(shelf, name).await,
            }
        };
        self.timed(Verb::Take, work).await
    }

    /// Puts `new` in the place of `expected`, or removes it, if exactly that is what there is (`None`: nothing). Returns
    /// whether it was. No two blobs with a random part are alike, so nobody is fooled by one that went and came back.
    ///
    /// # Errors
    /// When the store fails. Then it may have been done.
    pub async fn swap(
        &self,
        shelf: Shelf,
        name: &Name,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        fits(new.unwrap_or_default())?;
        let work = async {
            match &self.kind {
                Kind::Memory(memory) => Ok(memory.swap(shelf, name, expected, new, lifetime)),
                Kind::Dir(dir) => dir.swap(shelf, name, expected, new, lifetime).await,
                Kind::Redis(redis) => redis.swap(shelf, name, expected, new, lifetime).await,
            }
        };
        let swapped = self.timed(Verb::Swap, work).await?;
        if swapped && new.is_some() {
            self.health.swapped();
        }
        Ok(swapped)
    }

    /// The first `length` bytes of every blob on a shelf, in no order, with those that end or begin meanwhile or
    /// without. Takes as long as there are blobs, so it is for the command line.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn heads(
        &self,
        shelf: Shelf,
        length: usize,
        mut each: impl FnMut(&[u8]) + Send,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let outcome = match &self.kind {
            Kind::Memory(memory) => {
                memory.heads(shelf, length, &mut each);
                Ok(())
            }
            Kind::Dir(dir) => dir.heads(shelf, length, &mut each).await,
            Kind::Redis(redis) => redis.heads(shelf, length, &mut each).await,
        };
        self.health.note(Verb::List, begun.elapsed(), &outcome);
        outcome
    }

    /// Does what every request needs: an end, and notice taken of what came of it.
    async fn timed<T>(&self, verb: Verb, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let begun = Instant::now();
        let outcome = limited(work).await;
        self.health.note(verb, begun.elapsed(), &outcome);
        outcome
    }
}

/// Work on a store, given up after [`LIMIT`]. Whether it is done all the same is not known.
async fn limited<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(LIMIT, work).await.unwrap_or(Err(StoreError::TimedOut))
}

fn fits(bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() <= MAX_BLOB_LEN { Ok(()) } else { Err(StoreError::TooLong) }
}
