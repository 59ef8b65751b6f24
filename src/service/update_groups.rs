//! On PostgreSQL, updates of different collections of a tenant share a transaction if several of
//! them wait at the same time: one statement locks all of the collections, one message writes them,
//! and one COMMIT follows. So 32 writers do not cost 32 times four round trips.
//!
//! Only updates of properties share, because they depend on nothing but their collection. A group
//! never waits for a lock: a collection that another transaction has locked is left to an update in
//! a transaction of its own, and so is everything if the group fails before its commit. No update
//! waits long for its group to begin: a group that gets no answer from the database holds up nobody
//! else.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::{
    FutureExt as _,
    future::{self, Either},
};
use tokio::sync::oneshot::{self, Sender};

use super::{
    Ancestors, Service, Settings, details,
    groups::{self, Queued, panicked},
    update::{UpdateCollection, Updated},
};
use crate::{
    domain::{Change, Changes, Collection, Error, Result, TenantId, Writing},
    store::{GroupFailure, Sharer, Tx},
    telemetry::{metrics, request},
};

type Done = groups::Done<Updated>;
type Waiting = groups::Waiting<UpdateCollection, Updated>;

impl UpdateCollection {
    /// Whether it may share a transaction: it is to be committed, and depends on nothing but the
    /// current properties of its collection.
    fn can_share(&self) -> bool {
        let Self {
            id,
            changes,
            reader: _,
            parents,
            mutations,
            etag: _,
            validate_only,
            include,
            retry,
        } = self;
        let Changes {
            internal_name: _,
            slug,
            smart: _,
            rules,
            sort,
            texts: _,
            keywords: _,
            images: _,
            cover: _,
            active,
            custom_properties: _,
            catalog_id: _,
        } = changes;
        !id.is_root()
            && *slug == Change::Keep
            && *rules == Change::Keep
            && *sort == Change::Keep
            && active.is_none()
            && parents.is_none()
            && mutations.is_empty()
            && !validate_only
            && !include.products
            && !include.collections
            && include.ancestors == Ancestors::Shown
            && retry.is_none()
    }
}

impl Service {
    /// Does an update in a transaction that it shares with others; `None` if it must be done in one
    /// of its own.
    pub(super) async fn update_shared(
        &self,
        writing: &Writing,
        update: &Arc<UpdateCollection>,
    ) -> Done {
        if !self.groups.is_enabled() || !update.can_share() {
            return None;
        }
        let tenant = writing.tenant();
        request::set_tenant(tenant.as_str());
        let (done, result) = oneshot::channel();
        let waiting = Waiting {
            command: Arc::clone(update),
            sharer: Sharer::new(writing, update.id.clone()),
            done,
        };
        let first = self.groups.add(tenant, waiting);
        let queued = Queued {
            groups: &self.groups,
            tenant,
            command: update,
        };
        if !first.is_empty() {
            // In a task of its own, because it also works for others: it must not end if the caller
            // goes away.
            tokio::spawn(self.clone().run_groups(tenant.clone(), first));
        }
        let done = queued.done(result).await;
        if done.is_some() {
            metrics::attempts(request::operation(), 1);
        }
        done
    }

    /// Runs groups, one after another, as long as there are updates for them.
    async fn run_groups(self, tenant: TenantId, mut group: Vec<Waiting>) {
        while !group.is_empty() {
            let ids = group.iter().map(|it| it.sharer.collection.clone());
            let ids: Vec<_> = ids.collect();
            // If it panics, its updates fail, but not the later ones.
            let start = Instant::now();
            let run = AssertUnwindSafe(self.run_group(group));
            drop(run.catch_unwind().await);
            self.groups.record(start.elapsed());
            group = self.groups.next(&tenant, &ids);
        }
    }

    /// Runs a group; given up when nobody waits for any of its updates any more.
    async fn run_group(&self, group: Vec<Waiting>) {
        let (updates, mut waiting): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|it| ((it.command, it.sharer), it.done))
            .unzip();
        let sharers: Vec<_> = updates.iter().map(|(_, sharer)| sharer).collect();
        let max_size = self.store.groups().bytes;
        let context = (updates.as_slice(), self.settings(), max_size);
        let written =
            self.store
                .write_shared(&sharers, &context, |tx, (updates, settings, max_size)| {
                    let done = together(tx, updates, settings, *max_size);
                    let done = AssertUnwindSafe(done).catch_unwind();
                    done.map(|done| done.unwrap_or_else(|_| Err(panicked())))
                        .boxed()
                });
        let all_gone = future::join_all(waiting.iter_mut().map(Sender::closed));
        let written = match future::select(std::pin::pin!(written), all_gone).await {
            Either::Left((written, _)) => written,
            Either::Right(_) => return,
        };
        match written {
            Ok(done) => {
                for (waiting, done) in waiting.into_iter().zip(done) {
                    drop(waiting.send(done));
                }
            }
            Err(failure) => {
                for waiting in waiting {
                    drop(waiting.send(match &failure {
                        GroupFailure::Lost => None,
                        failure @ (GroupFailure::Begin(_)
                        | GroupFailure::Commit(_)
                        | GroupFailure::Ended) => Some(Err(failure.clone().into())),
                    }));
                }
            }
        }
    }
}

/// Does the updates of a group.
async fn together(
    tx: &Tx,
    updates: &[(Arc<UpdateCollection>, Sharer)],
    settings: &Settings,
    max_size: u64,
) -> Result<Vec<Done>> {
    let ids: Vec<_> = updates
        .iter()
        .map(|(update, _)| update.id.clone())
        .collect();
    let mut locked = tx.lock_free(&ids).await?;
    let mut applied = Vec::with_capacity(updates.len());
    let mut size = 0;
    for (update, _) in updates {
        let result = update.apply_shared(tx, &mut locked, settings).await;
        let more = locked.get(&update.id).map_or(0, Collection::size) as u64;
        // What does not fit is done alone.
        let result = result.filter(|_| size == 0 || size + more <= max_size);
        match &result {
            Some(Ok(_)) => size += more,
            Some(Err(_)) | None => locked.revert(&update.id),
        }
        applied.push(result);
    }
    let saved = locked.save(tx, &settings.default_locale).await?;
    let details = details(tx, saved.into_values().collect(), Ancestors::Shown).await?;
    let details = details.into_iter();
    let details = details.map(|detail| (detail.collection.id.clone(), detail));
    let mut details: HashMap<_, _> = details.collect();
    let done = ids.iter().zip(applied).map(|(id, applied)| {
        let reservation = match applied? {
            Ok(reservation) => reservation,
            Err(error) => return Some(Err(error)),
        };
        let detail = details.remove(id);
        let detail = detail.ok_or_else(|| Error::collection_not_found(id.as_str()));
        Some(detail.map(|detail| Updated {
            detail,
            outcomes: Vec::new(),
            rows_written: 0,
            reservation: Arc::new(reservation),
        }))
    });
    Ok(done.collect())
}
