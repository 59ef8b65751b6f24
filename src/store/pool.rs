//! [`Store`]: the database connections, and how transactions begin, commit and are retried.
//! [`super::writer`] adds group commit for SQLite.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::sync::Notify;
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
    permits::{Permit, Permits},
    replica::Replica,
    rules::memory::{RuleLimits, RuleSets},
    statements::Statements,
    tenants,
    tx::{Session, Tx},
    validity::{Mark, Validity},
    versions::Versions,
    writer::{self, GroupDirectories, GroupLimits, Turn, Writer},
};
use crate::{
    domain::{CollectionId, Error, Reading, Reason, Result, TenantId, Writing},
    rate::RateLimiter,
    telemetry::{metrics, request},
};

/// The number of children per segment to aim at; see `children`.
const SEGMENT_TARGET: usize = 256;

/// The default number of concurrent searches.
const SEARCHES: usize = 2;

/// Whether the changes of a write are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The changes are committed.
    Commit,
    /// The result is returned, but the changes are rolled back.
    DryRun,
}

/// The database. Clones share its connections and caches.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
    /// SQLite: one connection, because there is only one writer. PostgreSQL: the pool.
    pub(super) writer: Connections,
    /// SQLite: the pool of read-only connections. PostgreSQL: the same pool as `writer`.
    pub(super) reader: Connections,
    /// SQLite: the task that serializes writes and groups them.
    group: Option<Writer>,
    groups: GroupLimits,
    segment_target: usize,
    directories: Directories,
    rules: RuleSets,
    rule_limits: RuleLimits,
    /// Checks whether cached reads are still valid.
    validity: Validity,
    /// Limits concurrent searches, each of which reads more than it returns.
    searches: Permits,
    /// A hot standby of PostgreSQL, for reads that may be stale.
    pub(super) replica: Option<Replica>,
    /// The path of SQLite's write-ahead log.
    pub(super) wal: Option<PathBuf>,
    /// The rate limit per tenant.
    tenants: Option<Arc<RateLimiter>>,
    /// Notified when a job is added by this process.
    job_added: Arc<Notify>,
}

impl Store {
    /// Opens the SQLite file, or prepares connections to PostgreSQL, which are made when they are
    /// needed. Does not touch the schema.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub async fn connect(database: &Database) -> Result<Self> {
        let (engine, writer, reader) = engine::connect(database).await?;
        let validity = match engine {
            Engine::Sqlite => Validity::of_stamps(),
            Engine::Postgres => Validity::of_versions(&reader),
        };
        let groups = GroupLimits::default();
        let group = match engine {
            Engine::Sqlite => Some(Writer::start(writer.clone(), groups)),
            Engine::Postgres => None,
        };
        Ok(Self {
            engine,
            writer,
            reader,
            group,
            groups,
            segment_target: SEGMENT_TARGET,
            directories: Directories::new(),
            rules: RuleSets::new(),
            rule_limits: RuleLimits::default(),
            validity,
            searches: Permits::new(SEARCHES),
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
            job_added: Arc::default(),
        })
    }

    /// The same with another segment size, for tests and benchmarks.
    #[must_use]
    pub fn with_segment_target(mut self, target: usize) -> Self {
        self.segment_target = target.max(1);
        self
    }

    /// The same with other limits on what rules may change in one transaction.
    #[must_use]
    pub fn with_rule_limits(mut self, limits: RuleLimits) -> Self {
        self.rule_limits = limits;
        self
    }

    /// The same with another limit on concurrent searches.
    #[must_use]
    pub fn with_searches(mut self, count: usize) -> Self {
        self.searches = Permits::new(count);
        self
    }

    /// The same with other limits on the groups of writes that share a commit.
    #[must_use]
    pub fn with_groups(mut self, limits: GroupLimits) -> Self {
        let group = self.group.is_some();
        self.group = group.then(|| Writer::start(self.writer.clone(), limits));
        self.groups = limits;
        self
    }

    /// The same with a rate limit per tenant. It is enforced here because all protocols access the
    /// data through this type.
    #[must_use]
    pub fn with_rate(mut self, tenants: Option<Arc<RateLimiter>>) -> Self {
        self.tenants = tenants;
        self
    }

    /// The limits on the groups of writes that share a commit.
    pub fn groups(&self) -> GroupLimits {
        self.groups
    }

    /// The database engine.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Calls `count` for each statement that is sent, except BEGIN and COMMIT.
    pub fn on_statement(&self, count: impl Fn(&sea_orm::Statement) + Send + Sync + 'static) {
        // The readers share the writer's observer.
        self.writer.observer().on_statement(count);
    }

    /// Closes all connections.
    pub async fn close(self) {
        // The writer's task holds a connection while it runs.
        drop(self.group);
        let replica = self.replica.map(|replica| replica.connections().clone());
        for pool in [self.writer, self.reader].into_iter().chain(replica) {
            if let Err(error) = pool.close().await {
                tracing::warn!(%error, "closing the database failed");
            }
        }
    }

    /// Begins a read-only snapshot of a tenant's data.
    ///
    /// # Errors
    /// If the tenant is over its rate limit, or if the database cannot be reached.
    pub async fn read(&self, reading: &Reading) -> Result<Tx> {
        self.take_rate(reading.tenant())?;
        self.read_on(reading).await
    }

    /// Waits for permission to run a search, which reads more than it returns. Call this before
    /// acquiring a connection, so that waiting searches do not take connections from simple
    /// lookups.
    pub async fn search(&self, reading: &Reading) -> Permit {
        self.searches.acquire(Some(&reading.view())).await
    }

    /// Begins another snapshot for a request that already counted against the rate limit.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn read_on(&self, reading: &Reading) -> Result<Tx> {
        let mut tx = self.snapshot(reading.view()).await?;
        tx.named = reading.tenant().clone();
        Ok(tx)
    }

    /// Begins a snapshot to read what the same request has written. It does not count against the
    /// rate limit again.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn read_back(&self, writing: &Writing) -> Result<Tx> {
        self.snapshot(writing.tenant().clone()).await
    }

    /// A unit of work for a single read, without a transaction: a second statement may see another
    /// state.
    ///
    /// # Errors
    /// If the tenant is over its rate limit.
    pub fn look_up(&self, reading: &Reading) -> Result<Tx> {
        self.take_rate(reading.tenant())?;
        let tenant = reading.view();
        request::set_tenant(tenant.as_str());
        let mut tx = self
            .session(
                Statements::Alone(self.reader.for_tenant(&tenant)),
                false,
                None,
            )
            .unit(tenant);
        tx.named = reading.tenant().clone();
        Ok(tx)
    }

    /// Whether cached reads are validated by stamps, which must be taken before the read.
    pub fn has_stamps(&self) -> bool {
        self.engine == Engine::Sqlite
    }

    /// The mark to take before a collection is read by its id, to check later whether the read is
    /// still valid; `None` if versions are used instead, or if the collection is being changed.
    pub fn before(&self, tx: &Tx, collection: &CollectionId) -> Option<Mark> {
        self.validity.stamps(&tx.tenant, collection)
    }

    /// The mark of a read, given the mark from [`Self::before`] and the versions that were read;
    /// `None` if the read cannot be validated later.
    pub fn mark(&self, before: Option<Mark>, versions: Versions) -> Option<Mark> {
        match self.engine {
            Engine::Sqlite => before,
            Engine::Postgres => Some(Mark::Versions(versions)),
        }
    }

    /// Whether everything that was read of these collections is still valid.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn holds(&self, tx: &Tx, read: &[(CollectionId, Mark)]) -> Result<bool> {
        self.validity.holds(&tx.tenant, read).await
    }

    async fn snapshot(&self, tenant: TenantId) -> Result<Tx> {
        request::set_tenant(tenant.as_str());
        let db = Statements::begin(&self.reader.for_tenant(&tenant), Begin::Snapshot).await?;
        Ok(self.session(db, true, None).unit(tenant))
    }

    pub(super) fn session(
        &self,
        db: Statements,
        is_snapshot: bool,
        group_directories: Option<GroupDirectories>,
    ) -> Arc<Session> {
        Arc::new(Session {
            db,
            engine: self.engine,
            is_snapshot,
            segment_target: self.segment_target,
            directories: self.directories.clone(),
            rules: self.rules.clone(),
            rule_limits: self.rule_limits,
            group_directories,
        })
    }

    /// Runs `run` in a transaction and commits it, or rolls back if it fails. Conflicts are retried
    /// up to the writer's deadline, so `run` must have no side effects outside the transaction. It
    /// does not count against the rate limit: see [`Self::take_rate`].
    ///
    /// # Errors
    /// That of `run`; if the database cannot be reached or stays too busy.
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
        let mut known_locks = LockSet::default();
        let mut alone = false;
        loop {
            // Boxed, because this large future would be part of the futures of all callers.
            let once = self.write_once(writing, mode, context, &run, known_locks.clone(), alone);
            let result = Box::pin(once).await;
            attempt += 1;
            match result {
                Err(error) if error::is_retryable(&error) && attempt < ATTEMPTS => {
                    metrics::retried(error::retry_cause(&error));
                    if let Some(set) = error::to_lock(&error) {
                        known_locks.join(set.clone());
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
        known_locks: LockSet,
        alone: bool,
    ) -> Result<T>
    where
        C: Sync + ?Sized,
        F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>> + Send + Sync,
    {
        let (db, turn) = match &self.group {
            Some(group) => {
                let (db, turn) = group.turn(writing.tenant().clone(), alone).await?;
                (db, Some(turn))
            }
            None => {
                let writer = self.writer.for_tenant(writing.tenant());
                (Statements::begin(&writer, Begin::Write).await?, None)
            }
        };
        let group_directories = turn
            .as_ref()
            .map(|turn| Arc::clone(&turn.group_directories));
        let session = self.session(db, false, group_directories);
        let mut tx = session.unit(writing.tenant().clone());
        tx.subject = Arc::clone(writing.subject());
        tx.known_locks = known_locks;
        tx.is_dry_run = matches!(mode, Mode::DryRun);
        let result = work(&tx, context, run).await;
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
                // Its group is awaited even so: if it is not committed, what this unit read is not
                // valid either, and neither is its error.
                undo(session, turn).await?;
            }
        }
        result
    }

    /// Commits, alone or with the group, and updates caches, audit log and metrics.
    async fn commit(
        &self,
        session: Arc<Session>,
        turn: Option<Turn>,
        ledger: Ledger,
        writing: &Writing,
    ) -> Result<()> {
        let operation = request::operation();
        let (entries, span) = (audit::entries(&ledger), Span::current());
        let written = session.db.bytes();
        let author = audit::Author::of(writing);
        if let Some(turn) = &turn {
            writer::add_directories(&turn.group_directories, &ledger.directories);
        }
        let after = self.after_commit(&session, writing.tenant(), ledger, operation);
        let after = move || {
            after();
            span.in_scope(|| audit::log(&author, operation, &entries));
        };
        match turn {
            Some(turn) => {
                let (trace, start) = (session.db.trace(), Instant::now());
                drop(session);
                turn.keep(written, after).await?;
                // The group's commit, recorded in this unit's own trace.
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

    /// What to do after a commit, except for the audit log: updates caches and metrics.
    pub(super) fn after_commit(
        &self,
        session: &Session,
        tenant: &TenantId,
        ledger: Ledger,
        operation: &'static str,
    ) -> impl FnOnce() + Send + use<> {
        let (statements, rows) = session.db.counts();
        let directories = self.directories.clone();
        let (rules, tenant) = (self.rules.clone(), tenant.clone());
        let job_added = ledger.job_added.then(|| Arc::clone(&self.job_added));
        let changing = self.validity.change(&tenant, &ledger);
        move || {
            for (name, directory) in ledger.directories {
                directories.keep(name, directory);
            }
            if let Some(compiled) = ledger.rules {
                rules.keep(tenant, compiled);
            }
            // The caches and stamps are updated before the caller hears of the commit.
            drop(changing);
            metrics::transaction("committed");
            metrics::committed(operation, statements, rows);
            if let Some(count) = ledger.lists_followed {
                metrics::lists_changed(operation, count);
            }
            if let Some(job_added) = job_added {
                job_added.notify_one();
            }
        }
    }

    /// Completes when this process has added a job since it last completed.
    pub async fn job_added(&self) {
        self.job_added.notified().await;
    }

    /// Counts a request against the rate limit of its tenant.
    ///
    /// # Errors
    /// If the tenant is over it.
    pub fn take_rate(&self, tenant: &TenantId) -> Result<()> {
        if let Some(tenants) = &self.tenants {
            tenants.take(tenant.as_str())?;
        }
        Ok(())
    }

    /// Measures the pools every second, forever.
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

/// Does the work of a unit, up to its commit: also for a dry run, so that it reports the same errors.
pub(super) async fn work<C, T, F>(tx: &Tx, context: &C, run: &F) -> Result<T>
where
    C: ?Sized,
    F: for<'a> Fn(&'a Tx, &'a C) -> BoxFuture<'a, Result<T>>,
{
    let value = run(tx, context).await?;
    tenants::settle(tx);
    tx.db().flush().await?;
    Ok(value)
}

/// Rolls back a transaction, or a unit's part of a group. This is not left to drop, so that the
/// connection is clean when it returns to the pool. Fails if the rest of the group could not
/// commit.
pub(super) async fn undo(session: Arc<Session>, turn: Option<Turn>) -> Result<()> {
    if let Some(turn) = turn {
        drop(session);
        return Ok(turn.undo().await?);
    }
    if let Err(error) = session.db.rollback().await {
        tracing::warn!(%error, "rolling back a write failed");
    }
    Ok(())
}

/// Waits before another attempt: about 2 ms, doubled for each attempt, with jitter. Fails if that
/// would exceed the deadline.
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
