//! Transactions that several callers share on PostgreSQL, where a round trip for each statement of
//! each of them costs more than the statements. On SQLite, [`super::writer`] lets any units of work
//! share a commit; here, the same statements do the work of all callers, so they must want the same
//! of different collections.

use std::time::Instant;

use futures::future::BoxFuture;
use opentelemetry::{Context, trace::FutureExt as _};
use tracing::{Instrument as _, Span};

use super::{
    audit, connections::Begin, error, observer::Summary, pool::Store, statements::Statements,
    tenants, tx::Tx, writer::GroupFailure,
};
use crate::{
    domain::{CollectionId, Error, Result, TenantId, Writing},
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
    /// Runs the work of all sharers in one transaction and commits it. Its statements are counted,
    /// and appear in traces and in the log, as those of the first one.
    ///
    /// # Errors
    /// [`GroupFailure::Lost`] if nothing was committed, so that each may be tried alone; if the
    /// transaction cannot be begun, or its commit fails.
    pub async fn write_shared<C, T, F>(
        &self,
        tenant: &TenantId,
        sharers: &[&Sharer],
        context: &C,
        run: F,
    ) -> std::result::Result<T, GroupFailure>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>> + Send + Sync,
    {
        let shared = self.write_together(tenant, sharers, context, run);
        let Some(first) = sharers.first() else {
            return shared.await;
        };
        let shared = shared
            .with_context(first.trace.clone())
            .instrument(first.span.clone());
        match &first.request {
            Some(request) => request.scope(shared).await,
            None => shared.await,
        }
    }

    async fn write_together<C, T, F>(
        &self,
        tenant: &TenantId,
        sharers: &[&Sharer],
        context: &C,
        run: F,
    ) -> std::result::Result<T, GroupFailure>
    where
        C: Sync + ?Sized,
        F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>> + Send + Sync,
    {
        let lost = |error: Error| {
            tracing::debug!("a shared transaction was rolled back: {error}");
            GroupFailure::Lost
        };
        let db = Statements::begin(&self.writer, Begin::Write).await;
        let session = self.session(db.map_err(GroupFailure::Begin)?, false, None);
        let tx = session.unit(tenant.clone());
        let done = match run(&tx, context).await {
            Ok(value) => {
                tenants::settle(&tx);
                tx.db().flush().await.map(|()| value).map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        let ledger = tx.finish();
        let value = match done {
            Ok(value) => value,
            Err(error) => {
                metrics::transaction("undone");
                session.db.fail(&error.message);
                if let Err(error) = session.db.rollback().await {
                    tracing::warn!(%error, "rolling back a write failed");
                }
                return Err(lost(error));
            }
        };
        let (entries, changed) = (audit::entries(&ledger), ledger.touched.len());
        let after = self.after_commit(&session, tenant, ledger, request::operation());
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
        Ok(value)
    }
}
