//! A lease: of many callers, on any replica, one works on a record at a time. It is a blob with the holder's random name
//! and a short life, so it ends by itself when its holder dies.

use super::super::refused::Refused;
use crate::seal::random;
use crate::store::{Name, Shelf, Store, StoreError};
use std::time::Duration;

/// How long a lease lasts that is not renewed.
pub(super) const LASTS: Duration = Duration::from_secs(10);
/// How often its holder renews it.
pub(super) const RENEW: Duration = Duration::from_secs(3);

pub(super) struct Lease<'a> {
    store: &'a Store,
    name: Name,
    owner: [u8; 16],
}

impl<'a> Lease<'a> {
    /// A lease to be had on the record of that name.
    pub(super) fn new(store: &'a Store, name: Name) -> Result<Self, Refused> {
        Ok(Self { store, name, owner: random().map_err(|_| Refused::Internal)? })
    }

    /// Tries to get it.
    pub(super) async fn take(&self) -> Result<bool, StoreError> {
        self.store.swap(Shelf::Leases, &self.name, None, Some(&self.owner), LASTS).await
    }

    /// Makes it last anew. If that fails, it may end early, and the mark in the record keeps others away.
    pub(super) async fn renew(&self) {
        let _ = self.store.swap(Shelf::Leases, &self.name, Some(&self.owner), Some(&self.owner), LASTS).await;
    }

    /// Gives it back. If that fails, it ends by itself.
    pub(super) async fn give_back(&self) {
        let _ = self.store.swap(Shelf::Leases, &self.name, Some(&self.owner), None, LASTS).await;
    }
}
