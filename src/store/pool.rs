//! The database: its connections, and how a transaction begins, is tried again and ends.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Span;

use super::{
    audit,
    children::directory::Directories,
    connections::{Begin, Connections},
    engine::{self, Database, DatabasePlace, Engine},
    error,
    ledger::Ledger,
    lock_set::LockSet,
    observer::Summary,
    replica::Replica,
    rules::memory::{RuleLimits, RuleSets},
    statements::Statements,
    tenants,
    tx::{Session, Tx},
    validity::{Mark, Validity},
    versions::Versions,
    writer::{self, GroupLimits, Learned, Turn, Writer},
};
use crate::{
    domain::{CollectionId, Error, Reading, Reason, Result, TenantId, Writing},
    rate::RateLimiter,
    telemetry::{metrics, request},
};

/// Children a segment aims at; see `children`.
const SEGMENT_TARGET: usize = 256;

/// Searches at once, where no setting says how many.
const SEARCHES: usize = 2;

/// Whether what a write did stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays.
    Commit,
    /// It is answered and undone.
    DryRun,
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
    /// SQLite: one connection, for there is one writer. PostgreSQL: the pool.
    pub(super) writer: Connections,
    /// SQLite: the pool of readers. PostgreSQL: the same pool.
    pub(super) reader: Connections,
    /// SQLite: who gives turns to write.
    group: Option<Writer>,
    segment_target: usize,
    directories: Directories,
    rules: RuleSets,
    rule_limits: RuleLimits,
    /// Whether what was read still holds.
    validity: Validity,
    /// Searches that may run at once: each reads more than it answers.
    searches: Arc<Semaphore>,
    /// A standby of PostgreSQL, for reads that may be behind.
    pub(super) replica: Option<Replica>,
    /// SQLite's write-ahead log.
    pub(super) wal: Option<PathBuf>,
    /// How often each tenant's data may be asked for.
    tenants: Option<Arc<RateLimiter>>,
}

impl Store {
    /// Opens SQLite's file, or prepares to connect to PostgreSQL, which is done when a connection
    /// is needed. The schema is not touched.
    ///
    /// # Errors
    /// Where the file can't be opened.
    pub async fn connect(database: &Database) -> Result<Self> {
        let (engine, writer, reader) = engine::connect(database).await?;
        let validity = match engine {
            Engine::Sqlite => Validity::of_stamps(),
            Engine::Postgres => Validity::of_versions(&reader),
        };
        let group = match engine {
            Engine::Sqlite => Some(Writer::start(writer.clone(), GroupLimits::default())),
            Engine::Postgres => None,
        };
        Ok(Self {
            engine,
            writer,
            reader,
            group,
            segment_target: SEGMENT_TARGET,
            directories: Directories::new(),
            rules: RuleSets::new(),
            rule_limits: RuleLimits::default(),
            validity,
            searches: Arc::new(Semaphore::new(SEARCHES)),
            replica: None,
            wal: match &database.place {
                DatabasePlace::File(path) => {
                    let mut path = path.clone().into_os_string();
                    path.push("-wal");
                    Some(path.into())
                }
                DatabasePlace::Url(_) => None,
            },
            tenants: None,
        })
    }

    /// The same with segments of another size, for tests and benchmarks.
    #[must_use]
    pub fn with_segment_target(mut self, target: usize) -> Self {
        self.segment_target = target.max(1);
        self
    }

    /// The same with other limits of what rules change in one transaction.
    #[must_use]
    pub fn with_rule_limits(mut self, limits: RuleLimits) -> Self {
        self.rule_limits = limits;
        self
    }

    /// The same with so many searches at once.
    #[must_use]
    pub fn with_searches(mut self, count: usize) -> Self {
        self.searches = Arc::new(Semaphore::new(count));
        self
    }

    /// The same, in which groups of writes that share a commit become no larger than that.
    #[must_use]
    pub fn with_groups(mut self, limits: GroupLimits) -> Self {
        let group = self.group.is_some();
        self.group = group.then(|| Writer::start(self.writer.clone(), limits));
        self
    }

    /// The same, asked for the data of each tenant no more often than that. Here, for this
    /// is the one door to the data, whichever protocol asks.
    #[must_use]
    pub fn with_rate(mut self, tenants: Option<Arc<RateLimiter>>) -> Self {
        self.tenants = tenants;
        self
    }

    /// The engine behind it.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Calls `count` for each statement that is sent, but for begin and commit.
    pub fn on_statement(&self, count: impl Fn(&sea_orm::Statement) + Send + Sync + 'static) {
        // It is the readers', too.
        self.writer.observer().on_statement(count);
    }

    /// Closes all connections.
    pub async fn close(self) {
        // Its task has a connection.
        drop(self.group);
        let replica = self.replica.map(|replica| replica.connections().clone());
        for pool in [self.writer, self.reader].into_iter().chain(replica) {
            if let Err(error) = pool.close().await {
                tracing::warn!(%error, "closing the database");
            }
        }
    }

    /// A view of a tenant's data that does not change while it is read.
    ///
    /// # Errors
    /// Where the database can't be reached.
    pub async fn read(&self, reading: &Reading) -> Result<Tx> {
        self.take_rate(reading.tenant())?;
        self.read_on(reading).await
    }

    /// A turn to search: to read more than is answered. Who waits for one keeps no connection
    /// from those who look something up.
    pub async fn search(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.searches.acquire().await.ok()
    }

    /// A later view for a request that has read before, which has been counted.
    ///
    /// # Errors
    /// Where the database can't be reached.
    pub async fn read_on(&self, reading: &Reading) -> Result<Tx> {
        let mut tx = self.snapshot(reading.view()).await?;
        tx.named = reading.tenant().clone();
        Ok(tx)
    }

    /// A view of the data of a tenant that was written to by the same request, which has
    /// been counted.
    ///
    /// # Errors
    /// Where the database can't be reached.
    pub async fn read_back(&self, writing: &Writing) -> Result<Tx> {
        self.snapshot(writing.tenant().clone()).await
    }

    /// A view for one statement, which needs no transaction: a second one may see another state.
    ///
    /// # Errors
    /// Where the tenant is over its rate.
    pub fn look_up(&self, reading: &Reading) -> Result<Tx> {
        self.take_rate(reading.tenant())?;
        let tenant = reading.view();
        request::set_tenant(tenant.as_str());
        let mut tx = self
            .session(
                Statements::Alone(Box::new(self.reader.clone())),
                false,
                None,
            )
            .unit(tenant);
        tx.named = reading.tenant().clone();
        Ok(tx)
    }

    /// Whether what was read is found to hold by stamps, which are looked at before it is read.
    pub fn has_stamps(&self) -> bool {
        self.engine == Engine::Sqlite
    }

    /// What is to be known before a collection is read by its id, to find later whether that still
    /// holds.
    pub fn before(&self, tx: &Tx, collection: &CollectionId) -> Option<Mark> {
        self.validity.stamps(&tx.tenant, collection)
    }

    /// What a read depends on, of which that was known before; none where it can't be known.
    pub fn mark(&self, before: Option<Mark>, versions: Versions) -> Option<Mark> {
        match self.engine {
            Engine::Sqlite => before,
            Engine::Postgres => Some(Mark::Versions(versions)),
        }
    }

    /// Whether all that was read of collections still holds.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn holds(&self, tx: &Tx, read: &[(CollectionId, Mark)]) -> Result<bool> {
        self.validity.holds(&tx.tenant, read).await
    }

    async fn snapshot(&self, tenant: TenantId) -> Result<Tx> {
        request::set_tenant(tenant.as_str());
        let db = Statements::begin(&self.reader, Begin::Snapshot).await?;
        Ok(self.session(db, true, None).unit(tenant))
    }

    pub(super) fn session(
        &self,
        db: Statements,
        is_snapshot: bool,
        learned: Option<Learned>,
    ) -> Arc<Session> {
        Arc::new(Session {
            db,
            engine: self.engine,
            is_snapshot,
            segment_target: self.segment_target,
            directories: self.directories.clone(),
            rules: self.rules.clone(),
            rule_limits: self.rule_limits,
            learned,
        })
    }

    /// Runs `run` in a transaction and commits it, or undoes all where it fails.
    /// Run again where the database asks for that, up to the writer's deadline; so
    /// `run` must have no effect but on the transaction.
    ///
    /// # Errors
    /// That of `run`; where the database can't be reached or stays too busy.
    pub async fn write<C, T, F>(
        &self,
        writing: &Writing,
        mode: Mode,
        context: &C,
        run: F,
    ) -> Result<T>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>> + Send + Sync,
    {
        self.take_rate(writing.tenant())?;
        self.write_on(writing, mode, context, run).await
    }

    /// The same for work that a request has left, and which is not counted.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn write_on<C, T, F>(
        &self,
        writing: &Writing,
        mode: Mode,
        context: &C,
        run: F,
    ) -> Result<T>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>> + Send + Sync,
    {
        const ATTEMPTS: u32 = 10;
        request::set_tenant(writing.tenant().as_str());
        let mut attempt = 0;
        let mut carried = LockSet::default();
        let mut alone = false;
        loop {
            // Its future is large, and deep in those of its callers.
            let once = self.write_once(writing, mode, context, &run, carried.clone(), alone);
            let result = Box::pin(once).await;
            attempt += 1;
            match result {
                Err(error) if error::is_retryable(&error) && attempt < ATTEMPTS => {
                    metrics::retried(error::retry_cause(&error));
                    if let Some(set) = error::to_lock(&error) {
                        carried.join(set.clone());
                    }
                    alone |= error::is_lost(&error);
                    pause(writing.deadline(), attempt).await?;
                }
                result => {
                    metrics::attempts(request::operation(), attempt);
                    return result;
                }
            }
        }
    }

    async fn write_once<C, T, F>(
        &self,
        writing: &Writing,
        mode: Mode,
        context: &C,
        run: &F,
        carried: LockSet,
        alone: bool,
    ) -> Result<T>
    where
        C: Sync + ?Sized,
        F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>> + Send + Sync,
    {
        let (db, turn) = match &self.group {
            Some(group) => {
                let (db, turn) = group.turn(alone).await?;
                (db, Some(turn))
            }
            None => (Statements::begin(&self.writer, Begin::Write).await?, None),
        };
        let learned = turn.as_ref().map(|turn| Arc::clone(&turn.learned));
        let session = self.session(db, false, learned);
        let mut tx = session.unit(writing.tenant().clone());
        tx.subject = Arc::clone(writing.subject());
        tx.carried = carried;
        tx.is_dry_run = matches!(mode, Mode::DryRun);
        let result = match run(&tx, context).await {
            Ok(value) => {
                tenants::settle(&tx);
                // A dry run finds what a commit would.
                tx.db().flush().await.map(|()| value).map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        let ledger = tx.finish();
        match (&result, mode) {
            (Ok(_), Mode::Commit) => self.commit(session, turn, ledger, writing).await?,
            (Ok(_), Mode::DryRun) => {
                metrics::transaction("dry_run");
                undo(session, turn).await?;
            }
            (Err(error), _) => {
                metrics::transaction("undone");
                session.db.fail(&error.message);
                // Where its group was not committed, what it has found may not hold either.
                undo(session, turn).await?;
            }
        }
        result
    }

    /// Commits, alone or with the group, and does what follows from it.
    async fn commit(
        &self,
        session: Arc<Session>,
        turn: Option<Turn>,
        ledger: Ledger,
        writing: &Writing,
    ) -> Result<()> {
        let operation = request::operation();
        let (statements, rows) = session.db.counts();
        let entries = audit::entries(&ledger);
        let (directories, span) = (self.directories.clone(), Span::current());
        let (rules, tenant) = (self.rules.clone(), writing.tenant().clone());
        let written = session.db.bytes();
        let author = audit::Author::of(writing);
        let changing = self.validity.change(writing.tenant(), &ledger);
        if let Some(turn) = &turn {
            writer::learn(&turn.learned, &ledger.learned);
        }
        let after = move || {
            for (name, kept) in ledger.learned {
                directories.keep(name, kept);
            }
            if let Some(compiled) = ledger.rules {
                rules.keep(tenant, compiled);
            }
            drop(changing);
            metrics::transaction("committed");
            metrics::committed(operation, statements, rows);
            if let Some(count) = ledger.lists_followed {
                metrics::lists_changed(operation, count);
            }
            span.in_scope(|| audit::log(&author, operation, &entries));
        };
        match turn {
            Some(turn) => {
                let (trace, start) = (session.db.trace(), Instant::now());
                drop(session);
                turn.keep(written, after).await?;
                // The commit of its group, in its own trace.
                let took = start.elapsed();
                let observer = self.writer.observer();
                trace
                    .iter()
                    .for_each(|trace| observer.span(trace, Summary::COMMIT, took, None));
            }
            None => {
                session.db.commit().await?;
                after();
            }
        }
        Ok(())
    }

    fn take_rate(&self, tenant: &TenantId) -> Result<()> {
        if let Some(tenants) = &self.tenants {
            tenants.take(tenant.as_str())?;
        }
        Ok(())
    }

    /// Measures the pools again and again, for ever.
    pub async fn watch_pools(&self) {
        const EVERY: Duration = Duration::from_secs(1);
        loop {
            metrics::pool(self.writer.figures());
            metrics::pool(self.reader.figures());
            if let Some(replica) = &self.replica {
                metrics::pool(replica.connections().figures());
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Undoes a transaction, or the part of a group: not on drop, so that the connection is clean when
/// it goes back. Fails where the others of its group could not commit.
async fn undo(session: Arc<Session>, turn: Option<Turn>) -> Result<()> {
    if let Some(turn) = turn {
        drop(session);
        return Ok(turn.undo().await?);
    }
    if let Err(error) = session.db.rollback().await {
        tracing::warn!(%error, "undoing a write");
    }
    Ok(())
}

/// Waits before another attempt: about 2 ms doubled each time, with jitter.
async fn pause(deadline: Option<Instant>, attempt: u32) -> Result<()> {
    let most = Duration::from_millis(2 << attempt.min(8));
    let wait = most.mul_f64(rand::random_range(0.5..1.0));
    if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
        return Err(Error::new(
            Reason::DeadlineExceeded,
            "the deadline passed while the database was busy",
        ));
    }
    tokio::time::sleep(wait).await;
    Ok(())
}
