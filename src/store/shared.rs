//! Transactions that several callers share on PostgreSQL, where a round trip for each statement of
//! each of them costs more than the statements. On SQLite, [`super::writer`] lets any units of work
//! share a commit; here, the same statements do the work of all callers, so they must want the same
//! of different collections.

use std::time::Instant;

use futures::future::BoxFuture;
use opentelemetry::{Context, trace::FutureExt as _};
use tracing::{Instrument as _, Span};

use super::{
    audit,
    connections::Begin,
    error,
    ledger::Ledger,
    observer::Summary,
    pool::{self, Store},
    statements::Statements,
    tx::{Session, Tx},
    writer::GroupFailure,
};
use crate::{
    domain::{CollectionId, Result, TenantId, Writing},
    telemetry::{
        metrics,
        request::{self, RequestContext},
    },
};

/// A request that shares its transaction with others: whose it is, and which collection it changes.
#[derive(Debug)]
pub struct Sharer {
    /// The collection.
    pub collection: CollectionId,
    author: audit::Author,
    request: Option<RequestContext>,
    operation: &'static str,
    span: Span,
    trace: Context,
    since: Instant,
}

impl Sharer {
    /// The current request, which changes the collection.
    pub fn new(writing: &Writing, collection: CollectionId) -> Self {
        Self {
            collection,
            author: audit::Author::of(writing),
            request: request::current(),
            operation: request::operation(),
            span: Span::current(),
            trace: Context::current(),
            since: Instant::now(),
        }
    }
}

impl Store {
    /// Runs the work of all sharers, which are of one tenant, in one transaction and commits it.
    /// Its statements are counted, and appear in traces and in the log, as those of the first one.
    ///
    /// # Errors
    /// [`GroupFailure::Lost`] if nothing was committed, so that each may be tried alone; if the
    /// transaction cannot be begun, or its commit fails.
    pub async fn write_shared<C, T, F>(
        &self,
        sharers: &[&Sharer],
        context: &C,
        run: F,
    ) -> std::result::Result<T, GroupFailure>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>> + Send + Sync,
    {
        let Some(first) = sharers.first() else {
            return Err(GroupFailure::Lost);
        };
        let tenant = first.author.tenant();
        let shared = async {
            let db = Statements::begin(&self.writer.for_tenant(tenant), Begin::Write).await;
            let session = self.session(db.map_err(GroupFailure::Begin)?, false, None);
            let tx = session.unit(tenant.clone());
            let done = pool::work(&tx, context, &run).await;
            let ledger = tx.finish();
            match done {
                Ok(value) => {
                    self.commit_shared(&session, sharers, tenant, ledger)
                        .await?;
                    Ok(value)
                }
                Err(error) => {
                    metrics::transaction("undone");
                    session.db.fail(&error.message);
                    tracing::debug!("a shared transaction was rolled back: {error}");
                    drop(pool::undo(session, None).await);
                    Err(GroupFailure::Lost)
                }
            }
        };
        let shared = shared
            .with_context(first.trace.clone())
            .instrument(first.span.clone());
        match &first.request {
            Some(request) => request.scope(shared).await,
            None => shared.await,
        }
    }

    /// Commits, and updates caches, audit log and metrics.
    async fn commit_shared(
        &self,
        session: &Session,
        sharers: &[&Sharer],
        tenant: &TenantId,
        ledger: Ledger,
    ) -> std::result::Result<(), GroupFailure> {
        let (entries, changed) = (audit::entries(&ledger), ledger.touched.len());
        let after = self.after_commit(session, tenant, ledger, request::operation());
        let start = Instant::now();
        session.db.commit().await.map_err(|error| {
            if error::retry_code(&error) {
                GroupFailure::Lost
            } else {
                GroupFailure::Commit(error)
            }
        })?;
        if changed > 0 {
            metrics::group_committed(changed, start.elapsed());
        }
        after();
        for (at, sharer) in sharers.iter().enumerate() {
            let entries = entries.iter().filter(|it| it.is_about(&sharer.collection));
            let log = || audit::log(&sharer.author, sharer.operation, entries);
            sharer.span.in_scope(log);
            // The first one's trace has the statements.
            if at > 0 {
                let took = sharer.since.elapsed();
                let observer = self.writer.observer();
                observer.span(&sharer.trace, Summary::COMMIT, took, None);
            }
        }
        Ok(())
    }
}
