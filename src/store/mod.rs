//! The state store: blobs with a lifetime, by shelf and name. Knows nothing of what is in them, and trusts nobody with
//! what it holds: whoever puts a blob here has sealed it before.
//!
//! Three kinds with the same four verbs, held to the same tests: in this process's memory, in a folder of one machine,
//! in a Redis that many replicas share. The one verb that takes thought is [`Store::swap`], compare and set on the
//! whole blob: leases and rotations are made of it, and nothing else is needed to be safe among many.

mod dir;
pub(crate) mod disk;
mod health;
mod memory;
mod redis;
#[cfg(test)]
mod tests;

pub use health::Health;

use crate::clock::Clock;
use crate::meter::Meter;
use dir::Dir;
use disk::{Disk, Files};
use health::Watched;
use memory::Memory;
use redis::Redis;
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// The longest blob, in bytes: two tokens of 8 KiB, the most that an answer of a provider may hold, and their seal.
pub const MAX_BLOB_LEN: usize = 32 * 1024;

/// What a blob is stored under: 32 bytes that look random.
pub type Name = [u8; 32];

/// What kind of blob it is. Shelves have names of their own and differ in how much care they are owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// AuthIDs that wait to be fetched, for minutes. If one is lost, its person copies it from the page.
    Mailbox,
    /// The newest refresh token of a login, for as long as the login lives. If one is lost, so is the login.
    Records,
    /// Who works on a record right now, for seconds. If one is lost, the holder is taken for dead.
    Leases,
}

impl Shelf {
    /// All shelves.
    const ALL: [Self; 3] = [Self::Mailbox, Self::Records, Self::Leases];

    /// Its name in paths and keys.
    fn as_str(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Records => "records",
            Self::Leases => "leases",
        }
    }

    /// Whether a blob must be on the disk before anybody is told that it was stored.
    fn is_durable(self) -> bool {
        self == Self::Records
    }
}

/// Why the store did not do what it was asked to. Whether it was done all the same is not known.
#[derive(Clone, Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum StoreError {
    #[error("the state folder {}: {cause}", path.display())]
    Dir { path: PathBuf, cause: Arc<std::io::Error> },
    #[error("Redis: {0}")]
    Redis(String),
    #[error("Redis did not answer in time")]
    RedisTimedOut,
    #[error("a blob longer than {MAX_BLOB_LEN} bytes cannot be stored")]
    TooLong,
    #[error("interrupted")]
    Interrupted,
}

/// Where a store is, as configured.
#[derive(Clone, Debug, Default)]
pub enum StorePlace {
    /// In memory.
    #[default]
    Memory,
    /// In a folder.
    Dir(PathBuf),
    /// In Redis: its URL, which may hold a password, and the PEM file of the authority that signed its certificate.
    Redis(SecretString, Option<PathBuf>),
}

impl StorePlace {
    /// Reads `memory`, `dir:<path>`, `redis://…` or `rediss://…`. A relative path starts at `folder`; `ca_file` is for the
    /// last of them.
    ///
    /// # Errors
    /// A sentence that begins with a verb, without the text itself: it may hold a password.
    pub fn parse(text: &str, folder: &Path, ca_file: Option<PathBuf>) -> Result<Self, String> {
        let place = match text.split_once(':') {
            None if text == "memory" => Self::Memory,
            Some(("dir", path)) if !path.trim().is_empty() => Self::Dir(folder.join(path)),
            Some(("redis" | "rediss", _)) if redis::is_url(text) => {
                Self::Redis(text.to_owned().into(), ca_file.clone())
            }
            Some(("redis" | "rediss", _)) => {
                return Err(
                    "is not a URL like \"redis://127.0.0.1:6379/0\" or \"rediss://:PASSWORD@redis.lan:6379/0\"; \
                            characters of a password that have a meaning in URLs are written as `%40`"
                        .to_owned(),
                );
            }
            _ => {
                return Err("must be \"memory\", \"dir:\" and a folder, \"redis://HOST:6379/0\" or \
                            \"rediss://HOST:6379/0\""
                    .to_owned());
            }
        };
        match ca_file {
            Some(_) if !text.starts_with("rediss:") => {
                Err("does not begin with `rediss://`, so `state.ca_file` is of no use; leave that out".to_owned())
            }
            _ => Ok(place),
        }
    }

    /// Whether what is stored there outlives this process.
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Memory)
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
    /// Opens the store at `place`. Redis is not asked for anything yet: its outage must not keep a server from starting.
    ///
    /// # Errors
    /// When the folder cannot be used, or the URL or the certificate file cannot be.
    pub fn open(place: &StorePlace, clock: Clock) -> Result<Self, StoreError> {
        match place {
            StorePlace::Memory => Ok(Self::memory(clock)),
            StorePlace::Dir(path) => Self::on_disk(Arc::new(Files), path, clock),
            StorePlace::Redis(url, ca_file) => {
                Ok(Self::of(Kind::Redis(Box::new(Redis::open(url, ca_file.as_deref())?)), clock))
            }
        }
    }

    /// An empty store in memory.
    pub fn memory(clock: Clock) -> Self {
        Self::of(Kind::Memory(Memory::new(clock.clone())), clock)
    }

    /// A store in a folder of some file system; the folder is made if it is not there.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn on_disk(disk: Arc<dyn Disk>, path: &Path, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self::of(Kind::Dir(Dir::open(disk, path, clock.clone())?), clock))
    }

    fn of(kind: Kind, clock: Clock) -> Self {
        Self { kind, health: Watched::new(clock) }
    }

    /// Whether what is stored outlives this process.
    pub fn is_durable(&self) -> bool {
        !matches!(self.kind, Kind::Memory(_))
    }

    /// The same store, whose failures are counted.
    #[must_use]
    pub fn counted(mut self, meter: Meter) -> Self {
        let kind = match self.kind {
            Kind::Memory(_) => "memory",
            Kind::Dir(_) => "dir",
            Kind::Redis(_) => "redis",
        };
        self.health.count(kind, meter);
        self
    }

    /// What people call this kind of store.
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

    /// How the store does, by what came of the last request to it.
    pub fn health(&self) -> Health {
        self.health.now()
    }

    /// What an operator should know of how the store is set up: sentences for the log. Empty where there is nothing.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn advice(&self) -> Result<Vec<String>, StoreError> {
        match &self.kind {
            Kind::Redis(redis) => self.health.note("ask", redis.advice().await),
            Kind::Memory(_) | Kind::Dir(_) => Ok(Vec::new()),
        }
    }

    /// Keeps `bytes` for `lifetime`, in place of what there was.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put(&self, shelf: Shelf, name: &Name, bytes: &[u8], lifetime: Duration) -> Result<(), StoreError> {
        fits(bytes)?;
        let outcome = match &self.kind {
            Kind::Memory(memory) => {
                memory.put(shelf, name, bytes, lifetime);
                Ok(())
            }
            Kind::Dir(dir) => dir.put(shelf, name, bytes, lifetime).await,
            Kind::Redis(redis) => redis.put(shelf, name, bytes, lifetime).await,
        };
        self.health.note("put", outcome)
    }

    /// A copy of a blob, which stays where it is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let outcome = match &self.kind {
            Kind::Memory(memory) => Ok(memory.read(shelf, name)),
            Kind::Dir(dir) => dir.read(shelf, name).await,
            Kind::Redis(redis) => redis.read(shelf, name).await,
        };
        self.health.note("read", outcome)
    }

    /// Removes a blob and returns it; of several callers exactly one gets it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        let outcome = match &self.kind {
            Kind::Memory(memory) => Ok(memory.take(shelf, name)),
            Kind::Dir(dir) => dir.take(shelf, name).await,
            Kind::Redis(redis) => redis.take(shelf, name).await,
        };
        self.health.note("take", outcome)
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
        let outcome = match &self.kind {
            Kind::Memory(memory) => Ok(memory.swap(shelf, name, expected, new, lifetime)),
            Kind::Dir(dir) => dir.swap(shelf, name, expected, new, lifetime).await,
            Kind::Redis(redis) => redis.swap(shelf, name, expected, new, lifetime).await,
        };
        self.health.note("swap", outcome)
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
        let outcome = match &self.kind {
            Kind::Memory(memory) => {
                memory.heads(shelf, length, &mut each);
                Ok(())
            }
            Kind::Dir(dir) => dir.heads(shelf, length, &mut each),
            Kind::Redis(redis) => redis.heads(shelf, length, &mut each).await,
        };
        self.health.note("list", outcome)
    }
}

fn fits(bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() <= MAX_BLOB_LEN { Ok(()) } else { Err(StoreError::TooLong) }
}
