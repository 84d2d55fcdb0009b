//! How a store is opened: by its server, which makes what is not there, or by a command, which makes nothing.

use super::dir::Dir;
use super::disk::{Disk, Files};
use super::error::in_folder;
use super::health::Watched;
use super::memory::Memory;
use super::place::{StorePlace, is_usable};
use super::redis::Redis;
use super::{Kind, Store, StoreError};
use crate::clock::Clock;
use std::path::Path;
use std::sync::Arc;

impl Store {
    /// Opens the store at `place` for a server; a folder is made if it is not there. Redis is not asked for anything yet:
    /// its outage must not keep a server from starting.
    ///
    /// # Errors
    /// When the folder cannot be used, or the URL or the certificate file cannot be.
    pub fn open(place: &StorePlace, clock: Clock) -> Result<Self, StoreError> {
        let StorePlace::Dir(root) = place else { return Self::attach(place, clock) };
        is_usable(root).map_err(|cause| in_folder(root, cause))?;
        let store = Self::on_disk(Arc::new(Files::below(root)), root, clock)?;
        // Once more, in case it was made just now where everybody may exchange it.
        is_usable(root).map_err(|cause| in_folder(root, cause))?;
        Ok(store)
    }

    /// Opens the store at `place` for a command, which may be root's: makes nothing and clears nothing away. A folder
    /// that is not there is an empty store.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn attach(place: &StorePlace, clock: Clock) -> Result<Self, StoreError> {
        let kind = match place {
            StorePlace::Memory => Kind::Memory(Memory::new(&clock)),
            StorePlace::Dir(root) => {
                is_usable(root).map_err(|cause| in_folder(root, cause))?;
                Kind::Dir(Dir::of(Arc::new(Files::below(root)), root, clock.clone()))
            }
            StorePlace::Redis { url, ca_file, wait } => {
                Kind::Redis(Box::new(Redis::open(url, ca_file.as_deref(), *wait)?))
            }
        };
        Ok(Self::of(kind, clock))
    }

    /// An empty store in memory.
    pub fn memory(clock: Clock) -> Self {
        Self::of(Kind::Memory(Memory::new(&clock)), clock)
    }

    /// A store in a folder of some file system; the folder is made if it is not there.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn on_disk(disk: Arc<dyn Disk>, path: &Path, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self::of(Kind::Dir(Dir::serving(disk, path, clock.clone())?), clock))
    }

    fn of(kind: Kind, clock: Clock) -> Self {
        Self { kind, health: Watched::new(clock) }
    }
}
