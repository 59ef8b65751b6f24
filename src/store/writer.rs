//! Group commit: on SQLite, which has one writer, units of work that wait for it share a commit.
//!
//! One task owns the writer. It gives the units their turns, one after another in one transaction,
//! and commits when none waits or the group is large enough. It waits for nobody: what comes while
//! it commits makes the next group. A unit after the first has a savepoint, so that undoing it
//! leaves what those before it did. Whatever a unit says to its caller it may have read from those
//! before it, so all are answered only after the commit.

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
};
use crate::{
    domain::Error,
    telemetry::metrics::{self, Counted},
};

/// How large a group of units that share a commit may become before it is committed.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Units in a group.
    pub units: usize,
    /// Bytes that they wrote.
    pub bytes: u64,
    /// How long after its beginning a group takes one more unit.
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

/// What waits for a turn is told apart from what waits for the writer's connection.
const TURNS: &str = "writer_turns";

/// The one writer. Cheap to clone; its task ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    turns: mpsc::UnboundedSender<Asked>,
    connections: Connections,
}

/// Who asks for a turn.
struct Asked {
    reply: oneshot::Sender<Result<Given, DbErr>>,
    /// Whether its group is to be of this unit alone.
    alone: bool,
}

/// The answer to a unit of work: whether its group was committed.
type Answer = oneshot::Sender<Result<(), Failure>>;

/// Why a group was not committed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The commit failed.
    Commit(DbErr),
    /// What the units did together could not be committed, perhaps for what another unit did: this
    /// one may be run again, alone.
    Lost,
    /// Nobody commits any more.
    Ended,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Commit(error) => error.into(),
            Failure::Lost => error::lost(),
            Failure::Ended => ended().into(),
        }
    }
}

/// A unit's turn to write. Where it is dropped, the unit is undone.
pub(super) struct Turn {
    /// What the units of its group have left behind.
    pub(super) learned: Learned,
    end: oneshot::Sender<End>,
}

/// What a turn begins with.
struct Given {
    connection: Arc<Connection>,
    turn: Turn,
}

/// Directories of lists that hold once a group is committed.
pub(super) type Learned = Arc<Mutex<HashMap<Name, Versioned>>>;

/// How a unit ends.
enum End {
    /// What it did stays: how many bytes that were, and what is done once it is committed.
    Keep {
        bytes: u64,
        after: Box<dyn FnOnce() + Send>,
        answer: Answer,
    },
    /// It is undone.
    Undo { answer: Answer },
}

impl Writer {
    /// Starts the task that owns the writer.
    pub(super) fn start(connections: Connections, limits: GroupLimits) -> Self {
        let (turns, asked) = mpsc::unbounded_channel();
        let groups = Groups {
            asked,
            connections: connections.clone(),
            limits,
            next: None,
        };
        tokio::spawn(groups.run());
        Self { turns, connections }
    }

    /// Waits for a turn, no longer than for a connection; `alone` for one in a group of its own.
    pub(super) async fn turn(&self, alone: bool) -> Result<(Statements, Turn), DbErr> {
        let connections = &self.connections;
        let trace = connections.observer().transaction(Begin::Write.span());
        let (reply, turn) = oneshot::channel();
        let given = async {
            // Where the task is gone, nobody answers.
            let _ = self.turns.send(Asked { reply, alone });
            turn.await.unwrap_or_else(|_| Err(ended()))
        };
        let start = Instant::now();
        let waiting = Counted::waiting(TURNS);
        let given = timeout(connections.patience(), given).await;
        drop(waiting);
        metrics::pool_waited(TURNS, given.is_ok().then(|| start.elapsed()));
        let given = given.unwrap_or_else(|_| Err(silent()))?;
        let statements =
            Statements::of_transaction(given.connection, connections.observer().clone(), trace);
        Ok((statements, given.turn))
    }
}

impl Turn {
    /// Keeps what the unit did, which wrote so many bytes; `after` is done once it is committed.
    /// Returns then.
    pub(super) async fn keep(
        self,
        bytes: u64,
        after: impl FnOnce() + Send + 'static,
    ) -> Result<(), Failure> {
        let (answer, committed) = oneshot::channel();
        let after = Box::new(after);
        let _ = self.end.send(End::Keep {
            bytes,
            after,
            answer,
        });
        committed.await.unwrap_or(Err(Failure::Ended))
    }

    /// Undoes it. Returns once what it has read is committed.
    pub(super) async fn undo(self) -> Result<(), Failure> {
        let (answer, committed) = oneshot::channel();
        let _ = self.end.send(End::Undo { answer });
        committed.await.unwrap_or(Err(Failure::Ended))
    }
}

/// The error where the task that owns the writer has ended.
fn ended() -> DbErr {
    DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::ConnectionClosed)
}

/// The task that owns the writer.
struct Groups {
    asked: mpsc::UnboundedReceiver<Asked>,
    connections: Connections,
    limits: GroupLimits,
    /// Who begins the next group.
    next: Option<Asked>,
}

/// Units that share a transaction.
struct Group {
    connection: Arc<Connection>,
    begun: Instant,
    learned: Learned,
    /// The units that have had their turn.
    turns: usize,
    bytes: u64,
    /// Those of them that are kept, and what is done once they are committed.
    kept: Vec<Box<dyn FnOnce() + Send>>,
    /// Who waits for the commit.
    answers: Vec<Answer>,
    /// The name of the savepoint that is set. There are two: a text for each number would be
    /// prepared again each time.
    savepoint: Option<&'static str>,
}

impl Groups {
    async fn run(mut self) {
        while let Some(first) = self.first().await {
            // Who waits no longer needs no transaction.
            if first.reply.is_closed() {
                continue;
            }
            match self.connections.begin(Begin::Write, &Context::new()).await {
                Ok(connection) => self.group(connection, first).await,
                Err(error) => drop(first.reply.send(Err(error))),
            }
        }
    }

    async fn first(&mut self) -> Option<Asked> {
        match self.next.take() {
            Some(next) => Some(next),
            None => self.asked.recv().await,
        }
    }

    /// Gives turns in one transaction, and commits it.
    async fn group(&mut self, connection: Connection, first: Asked) {
        let mut group = Group {
            connection: Arc::new(connection),
            begun: Instant::now(),
            learned: Learned::default(),
            turns: 0,
            bytes: 0,
            kept: Vec::new(),
            answers: Vec::new(),
            savepoint: None,
        };
        let alone = first.alone;
        let mut next = Some(first);
        while let Some(asked) = next {
            if let Err(error) = group.turn(asked).await {
                tracing::warn!(%error, "a group of writes is undone");
                group.lose().await;
                return;
            }
            let is_full = group.turns >= self.limits.units
                || group.bytes >= self.limits.bytes
                || group.begun.elapsed() >= self.limits.time;
            // Where the first was undone, nothing is left to share.
            next = if alone || is_full || group.kept.is_empty() {
                None
            } else {
                self.joining()
            };
        }
        group.commit(&self.connections).await;
    }

    /// Who waits and joins the group that there is.
    fn joining(&mut self) -> Option<Asked> {
        let next = self.asked.try_recv().ok()?;
        if next.alone {
            self.next = Some(next);
            return None;
        }
        Some(next)
    }
}

impl Group {
    /// Gives a turn, and waits until it has ended. Fails where the transaction is lost.
    async fn turn(&mut self, asked: Asked) -> Result<(), DbErr> {
        let is_first = self.turns == 0;
        self.turns += 1;
        let name = match self.savepoint {
            Some("unit_a") => "unit_b",
            Some(_) | None => "unit_a",
        };
        // Here and not by the unit, which may be cut off in the middle of it.
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
                learned: Arc::clone(&self.learned),
                end,
            },
        };
        // Where nobody takes it, it is dropped, and so undone.
        drop(asked.reply.send(Ok(given)));
        match ended.await {
            Ok(End::Keep {
                bytes,
                after,
                answer,
            }) => {
                self.bytes += bytes;
                self.kept.push(after);
                self.answers.push(answer);
                return Ok(());
            }
            Ok(End::Undo { answer }) => self.answers.push(answer),
            // It was cancelled, or it panicked.
            Err(_) => {}
        }
        if !is_first {
            let undo = format!("ROLLBACK TO {name}; RELEASE {name}");
            self.connection.execute_unprepared(&undo).await?;
            self.savepoint = None;
        }
        Ok(())
    }

    /// Commits, or undoes a group of which nothing is kept, and answers.
    async fn commit(self, connections: &Connections) {
        if self.kept.is_empty() {
            // What was undone knows why.
            drop(self.connection.rollback().await);
            answer(self.answers, &Ok(()));
            return;
        }
        let start = Instant::now();
        let committed = self.connection.commit().await;
        // The connection goes back before anybody hears of it.
        drop(self.connection);
        let took = start.elapsed();
        let failure = committed.as_ref().err();
        let observer = connections.observer();
        observer.see(&Context::new(), Summary::COMMIT, took, failure);
        if committed.is_ok() {
            metrics::group_committed(self.kept.len(), took);
            for after in self.kept {
                // The writer outlives what goes wrong there.
                drop(catch_unwind(AssertUnwindSafe(after)));
            }
        }
        // One of them may be too large for the disk.
        let is_shared = self.turns > 1;
        let failure = |error| {
            if is_shared {
                Failure::Lost
            } else {
                Failure::Commit(error)
            }
        };
        answer(self.answers, &committed.map_err(failure));
    }

    /// Undoes all of it, because the transaction is lost.
    async fn lose(self) {
        drop(self.connection.rollback().await);
        answer(self.answers, &Err(Failure::Lost));
    }
}

fn answer(answers: Vec<Answer>, result: &Result<(), Failure>) {
    for answer in answers {
        drop(answer.send(result.clone()));
    }
}

/// Notes directories that hold after a unit of a group.
pub(super) fn learn(learned: &Learned, directories: &[(Name, Versioned)]) {
    let mut learned = learned.lock().unwrap_or_else(PoisonError::into_inner);
    learned.extend(directories.iter().cloned());
}
