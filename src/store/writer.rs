//! Group commit for SQLite, which has a single writer: units of work that wait for it share a
//! transaction and its commit.
//!
//! One task owns the writer. It gives each unit its turn, one after another in one transaction, and
//! commits when no unit is waiting or the group is large enough. Tenants take turns, so that one
//! with many writes delays those of another one by one unit each. The task never waits for more
//! units: those that arrive during a commit form the next group. Each unit after the first runs in a
//! savepoint, so it can be rolled back without affecting those before it. A unit may have read what
//! earlier units wrote, so its caller gets the result only after the commit.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::Context;
use sea_orm::{ConnectionTrait as _, DbErr};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    children::directory::{Name, Versioned},
    connection::Connection,
    connections::{Begin, Connections, silent},
    error,
    observer::Summary,
    statements::Statements,
    tenant_queue::TenantQueue,
};
use crate::{
    domain::{Error, TenantId},
    telemetry::metrics::{self, GaugeGuard},
};

/// Limits on a group; one that reaches any of them is committed.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Units of work per group.
    pub units: usize,
    /// Bytes that the group's units have written.
    pub bytes: u64,
    /// How long after its start a group may take further units.
    pub time: Duration,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            units: 64,
            bytes: 4 << 20,
            time: Duration::from_millis(20),
        }
    }
}

/// The name in metrics of the queue for turns, as opposed to the queue for the writer's connection.
const TURNS: &str = "writer_turns";

/// A handle to the single writer. Its task ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    turns: mpsc::UnboundedSender<TurnRequest>,
    connections: Connections,
}

/// A request for a turn.
struct TurnRequest {
    tenant: TenantId,
    reply: oneshot::Sender<Result<Given, DbErr>>,
    /// Whether the unit must be the only one in its group.
    alone: bool,
}

/// Tells a unit whether its group was committed.
type CommitNotice = oneshot::Sender<Result<(), GroupFailure>>;

/// Why a group was not committed.
#[derive(Clone, Debug)]
pub enum GroupFailure {
    /// The transaction could not be begun.
    Begin(DbErr),
    /// The commit failed.
    Commit(DbErr),
    /// The shared transaction could not be committed, perhaps because of another unit. This unit
    /// may be retried in a group of its own.
    Lost,
    /// The writer's task has ended.
    Ended,
}

impl From<GroupFailure> for Error {
    fn from(failure: GroupFailure) -> Self {
        match failure {
            GroupFailure::Begin(error) | GroupFailure::Commit(error) => error.into(),
            GroupFailure::Lost => error::lost(),
            GroupFailure::Ended => ended().into(),
        }
    }
}

/// A unit's turn to write. If it is dropped, the unit is rolled back.
pub(super) struct Turn {
    /// The directories that earlier units of the group left behind.
    pub(super) group_directories: GroupDirectories,
    end: oneshot::Sender<End>,
}

/// What a unit gets for its turn.
struct Given {
    connection: Arc<Connection>,
    turn: Turn,
}

/// Directories of lists that are valid if the group is committed.
pub(super) type GroupDirectories = Arc<Mutex<HashMap<Name, Versioned>>>;

/// How a unit ends its turn.
enum End {
    /// Its changes are kept. `bytes` is how much it wrote, and `after` runs after the commit.
    Keep {
        bytes: u64,
        after: Box<dyn FnOnce() + Send>,
        notice: CommitNotice,
    },
    /// Its changes are rolled back.
    Undo { notice: CommitNotice },
}

impl Writer {
    /// Starts the task that owns the writer.
    pub(super) fn start(connections: Connections, limits: GroupLimits) -> Self {
        let (turns, requests) = mpsc::unbounded_channel();
        let groups = Groups {
            requests,
            waiting: TenantQueue::new(),
            connections: connections.clone(),
            limits,
            next: None,
        };
        tokio::spawn(groups.run());
        Self { turns, connections }
    }

    /// Waits for a turn, no longer than the connection timeout. With `alone`, the unit gets a group
    /// of its own.
    pub(super) async fn turn(
        &self,
        tenant: TenantId,
        alone: bool,
    ) -> Result<(Statements, Turn), DbErr> {
        let connections = &self.connections;
        let trace = connections.observer().transaction(Begin::Write.span());
        let (reply, turn) = oneshot::channel();
        let given = async {
            // If the task has ended, the reply channel is closed, which the next line reports.
            let _ = self.turns.send(TurnRequest {
                tenant,
                reply,
                alone,
            });
            turn.await.unwrap_or_else(|_| Err(ended()))
        };
        let start = Instant::now();
        let waiting = GaugeGuard::waiting(TURNS);
        let given = timeout(connections.acquire_timeout(), given).await;
        drop(waiting);
        metrics::pool_waited(TURNS, given.is_ok().then(|| start.elapsed()));
        let given = given.unwrap_or_else(|_| Err(silent()))?;
        let statements =
            Statements::of_transaction(given.connection, connections.observer().clone(), trace);
        Ok((statements, given.turn))
    }
}

impl Turn {
    /// Keeps the unit's changes, which wrote `bytes` bytes, and returns after the commit. `after`
    /// runs once the group is committed, before this returns.
    pub(super) async fn keep(
        self,
        bytes: u64,
        after: impl FnOnce() + Send + 'static,
    ) -> Result<(), GroupFailure> {
        let (notice, committed) = oneshot::channel();
        let after = Box::new(after);
        let _ = self.end.send(End::Keep {
            bytes,
            after,
            notice,
        });
        committed.await.unwrap_or(Err(GroupFailure::Ended))
    }

    /// Rolls the unit back. Returns after the group's commit, because what the unit read depends on
    /// it.
    pub(super) async fn undo(self) -> Result<(), GroupFailure> {
        let (notice, committed) = oneshot::channel();
        let _ = self.end.send(End::Undo { notice });
        committed.await.unwrap_or(Err(GroupFailure::Ended))
    }
}

/// Whether nobody waits for the turn any more.
fn has_given_up(request: &TurnRequest) -> bool {
    request.reply.is_closed()
}

/// The error if the writer's task has ended.
fn ended() -> DbErr {
    DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::ConnectionClosed)
}

/// The state of the task that owns the writer.
struct Groups {
    requests: mpsc::UnboundedReceiver<TurnRequest>,
    /// The requests that were received and wait.
    waiting: TenantQueue<TurnRequest>,
    connections: Connections,
    limits: GroupLimits,
    /// A request whose turn it is and that must start the next group.
    next: Option<TurnRequest>,
}

/// A group of units that share a transaction.
struct Group {
    connection: Arc<Connection>,
    begun: Instant,
    group_directories: GroupDirectories,
    /// The number of units that have had their turn.
    turns: usize,
    bytes: u64,
    /// For each unit that is kept, what to run after the commit.
    kept: Vec<Box<dyn FnOnce() + Send>>,
    /// The units that wait for the commit.
    notices: Vec<CommitNotice>,
    /// The name of the current savepoint. Only two names are used, alternately: with a number in
    /// each name, every statement would have to be prepared anew.
    savepoint: Option<&'static str>,
}

impl Groups {
    async fn run(mut self) {
        while let Some(first) = self.first().await {
            match self.connections.begin(Begin::Write, &Context::new()).await {
                Ok(connection) => self.group(connection, first).await,
                Err(error) => drop(first.reply.send(Err(error))),
            }
        }
    }

    /// The first unit of a group; waits for one.
    async fn first(&mut self) -> Option<TurnRequest> {
        loop {
            let next = self.next.take().filter(|next| !has_given_up(next));
            if let Some(next) = next.or_else(|| self.waiting()) {
                return Some(next);
            }
            let request = self.requests.recv().await?;
            self.waiting.push(Some(request.tenant.clone()), request);
        }
    }

    /// The next waiting unit.
    fn waiting(&mut self) -> Option<TurnRequest> {
        while let Ok(request) = self.requests.try_recv() {
            self.waiting.push(Some(request.tenant.clone()), request);
        }
        self.waiting.pop(has_given_up)
    }

    /// Runs a group: gives turns in one transaction, then commits it.
    async fn group(&mut self, connection: Connection, first: TurnRequest) {
        let mut group = Group {
            connection: Arc::new(connection),
            begun: Instant::now(),
            group_directories: GroupDirectories::default(),
            turns: 0,
            bytes: 0,
            kept: Vec::new(),
            notices: Vec::new(),
            savepoint: None,
        };
        let alone = first.alone;
        let mut next = Some(first);
        while let Some(request) = next {
            if let Err(error) = group.turn(request).await {
                tracing::warn!(%error, "group commit rolled back");
                group.lose().await;
                return;
            }
            let is_full = group.turns >= self.limits.units
                || group.bytes >= self.limits.bytes
                || group.begun.elapsed() >= self.limits.time;
            // If the first unit was rolled back, there is no work to share a commit with.
            next = if alone || is_full || group.kept.is_empty() {
                None
            } else {
                self.joining()
            };
        }
        group.commit(&self.connections).await;
    }

    /// The next waiting unit, if it may join the current group.
    fn joining(&mut self) -> Option<TurnRequest> {
        let next = self.waiting()?;
        if next.alone {
            self.next = Some(next);
            return None;
        }
        Some(next)
    }
}

impl Group {
    /// Gives a unit its turn and waits for its end. Fails if the transaction is lost.
    async fn turn(&mut self, request: TurnRequest) -> Result<(), DbErr> {
        let is_first = self.turns == 0;
        self.turns += 1;
        let name = match self.savepoint {
            Some("unit_a") => "unit_b",
            Some(_) | None => "unit_a",
        };
        // Set here rather than by the unit, which may be cancelled in the middle of it.
        if !is_first {
            let set = match self.savepoint {
                Some(last) => format!("RELEASE {last}; SAVEPOINT {name}"),
                None => format!("SAVEPOINT {name}"),
            };
            self.connection.execute_unprepared(&set).await?;
            self.savepoint = Some(name);
        }
        let (end, ended) = oneshot::channel();
        let given = Given {
            connection: Arc::clone(&self.connection),
            turn: Turn {
                group_directories: Arc::clone(&self.group_directories),
                end,
            },
        };
        // If nobody receives it, the turn is dropped, and thus the unit is rolled back.
        drop(request.reply.send(Ok(given)));
        match ended.await {
            Ok(End::Keep {
                bytes,
                after,
                notice,
            }) => {
                self.bytes += bytes;
                self.kept.push(after);
                self.notices.push(notice);
                return Ok(());
            }
            Ok(End::Undo { notice }) => self.notices.push(notice),
            // The unit was cancelled, or it panicked.
            Err(_) => {}
        }
        if !is_first {
            let undo = format!("ROLLBACK TO {name}; RELEASE {name}");
            self.connection.execute_unprepared(&undo).await?;
            self.savepoint = None;
        }
        Ok(())
    }

    /// Commits the group, or rolls it back if nothing is kept, and informs its units.
    async fn commit(self, connections: &Connections) {
        if self.kept.is_empty() {
            // The units that were rolled back already have their own errors.
            drop(self.connection.rollback().await);
            notify(self.notices, &Ok(()));
            return;
        }
        let start = Instant::now();
        let committed = self.connection.commit().await;
        // The connection is returned before anybody hears of the commit.
        drop(self.connection);
        let took = start.elapsed();
        let failure = committed.as_ref().err();
        let observer = connections.observer();
        observer.record(&Context::new(), Summary::COMMIT, took, failure);
        if committed.is_ok() {
            metrics::group_committed(self.kept.len(), took);
            for after in self.kept {
                // A panic in there must not end the writer's task.
                drop(catch_unwind(AssertUnwindSafe(after)));
            }
        }
        // The failure may be due to another unit, for example one that is too large for the disk.
        let is_shared = self.turns > 1;
        let failure = |error| {
            if is_shared {
                GroupFailure::Lost
            } else {
                GroupFailure::Commit(error)
            }
        };
        notify(self.notices, &committed.map_err(failure));
    }

    /// Rolls back the whole group, because the transaction is lost.
    async fn lose(self) {
        drop(self.connection.rollback().await);
        notify(self.notices, &Err(GroupFailure::Lost));
    }
}

fn notify(notices: Vec<CommitNotice>, result: &Result<(), GroupFailure>) {
    for notice in notices {
        drop(notice.send(result.clone()));
    }
}

/// Adds the directories that a unit leaves to later units of its group.
pub(super) fn add_directories(
    group_directories: &GroupDirectories,
    directories: &[(Name, Versioned)],
) {
    let mut group_directories = group_directories
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    group_directories.extend(directories.iter().cloned());
}
