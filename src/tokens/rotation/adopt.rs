//! Logins that another server made. Where a refresh token works once, the AuthID's own is put into the store before it is
//! used, so that all who come with this AuthID meet there as for any other login. Nobody has vouched for it: where the
//! provider does not take it, it is taken out again, or a stranger could fill the store.

use super::record::{self, Record};
use super::records::Unread;
use super::{Rotation, RotationPolicy};
use crate::authid::Grant;
use crate::store::{Shelf, StoreError};

impl Rotation {
    /// Whether a login may have no record although it was never used here.
    pub(super) fn is_adopted(login: &Grant, policy: RotationPolicy) -> bool {
        login.is_unsealed() && policy.single_use
    }

    /// Puts the login's own token where its newest one belongs, unless one is there. Of several who do, one succeeds.
    ///
    /// # Errors
    /// When the store fails.
    pub(in crate::tokens) async fn adopt(&self, login: &Grant, policy: RotationPolicy) -> Result<(), StoreError> {
        if !Self::is_adopted(login, policy) {
            return Ok(());
        }
        self.pending_writes.write(&record::name(login)).await?;
        let life = policy.record_life();
        let found = match self.records.read(login, life).await {
            Ok(found) => found,
            Err(Unread::Store) => return Err(StoreError::Interrupted),
            // There is one; the exchange tells what is wrong with it.
            Err(Unread::NoKey(..)) => return Ok(()),
        };
        if found.record.is_none() {
            self.records.swap(login, found.blob.as_deref(), Record::unused(login), life).await?;
        }
        Ok(())
    }

    /// Takes out what [`Rotation::adopt`] put there, unless anything came of it.
    pub(super) async fn disown(&self, login: &Grant, policy: RotationPolicy, blob: Option<&[u8]>) {
        let Some(blob) = blob.filter(|blob| record::generation_of(blob) == Some(0)) else { return };
        let name = record::name(login);
        // If it stays, it ends by itself.
        let _ = self.records.store.swap(Shelf::Records, &name, Some(blob), None, policy.record_life()).await;
        self.records.forget(&name);
    }
}
