//! Reads and changes on behalf of somebody.

use super::{Fleet, FleetError, effects::Effects};
use crate::{
    access::{Access, Actor},
    now_ms,
    store::Tx,
};

// === impl Fleet ===

impl Fleet {
    /// Reads on behalf of `actor`. The job gets the actor's rights as they are in the same snapshot.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        actor: &Actor,
        job: impl FnOnce(&Tx, &Access) -> Result<T, FleetError> + Send + 'static,
    ) -> Result<T, FleetError> {
        let actor = actor.clone();
        self.0.store.read(move |tx| job(tx, &tx.access(&actor)?)).await
    }

    /// The same for reads that may scan millions of rows.
    pub(crate) async fn ask_long<T: Send + 'static>(
        &self,
        actor: &Actor,
        job: impl FnOnce(&Tx, &Access) -> Result<T, FleetError> + Send + 'static,
    ) -> Result<T, FleetError> {
        let actor = actor.clone();
        let read = self.0.store.read_long(move |tx| job(tx, &tx.access(&actor)?));
        read.await
    }

    /// Changes something on behalf of `actor`, in one transaction, with its effects after the commit.
    pub(crate) async fn act<T: Send + 'static>(
        &self,
        actor: &Actor,
        job: impl Fn(&Tx, &Access, &mut Effects) -> Result<T, FleetError> + Send + 'static,
    ) -> Result<T, FleetError> {
        let actor = actor.clone();
        self.change(move |tx, effects| {
            let access = tx.access(&actor)?;
            job(tx, &access, effects)
        })
        .await
    }

    /// What the actor may do at this moment; `None` after the login has ended.
    pub(crate) async fn access(&self, actor: &Actor) -> Result<Option<Access>, FleetError> {
        let credential = actor.credential;
        let read = self
            .0
            .store
            .read_login(move |tx| tx.find_access(credential, now_ms()));
        Ok(read.await?)
    }
}
