//! Rebuilds the list of a smart collection if it is inconsistent with its rules or damaged, for
//! `endcap reindex`.

use futures::FutureExt as _;

use super::{Service, Settings};
use crate::{
    domain::{Caller, ChildType, CollectionId, Result},
    store::{
        Mode, Tx,
        check::{self, Problem},
        lock::LockSet,
    },
    telemetry::trace,
};

impl Service {
    /// Checks the products of a smart collection, and rebuilds the list if it finds problems.
    /// Returns the problems.
    ///
    /// # Errors
    /// If the caller is not authorized; if the store fails.
    pub async fn reindex(&self, caller: &Caller, id: &CollectionId) -> Result<Vec<Problem>> {
        trace::use_case("Reindex", async {
            let writing = caller.writing()?;
            let context = (id, self.settings());
            self.store
                .write_on(&writing, Mode::Commit, &context, |tx, (id, settings)| {
                    rebuild(tx, id, settings).boxed()
                })
                .await
        })
        .await
    }
}

async fn rebuild(tx: &Tx, id: &CollectionId, settings: &Settings) -> Result<Vec<Problem>> {
    let mut locked = tx.lock(LockSet::of_rules(id)).await?;
    if !locked.get(id).is_some_and(|it| it.kind.is_smart()) {
        // The collection became manual or was deleted in the meantime.
        return Ok(Vec::new());
    }
    let mut problems = check::problems(tx, id).await?;
    problems.retain(|problem| problem.list == ChildType::Product);
    if !problems.is_empty() {
        locked.rebuild(tx, id).await?;
        locked.save(tx, &settings.default_locale).await?;
    }
    Ok(problems)
}
