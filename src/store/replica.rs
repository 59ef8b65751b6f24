//! The read replica: a hot standby of the database, for reads that may be behind.
//!
//! Heartbeats say how far it is behind. Each server has a row of its own in the database, in which
//! it writes, again and again, the time that it has run. A replica that shows the row of this
//! server is one of this database; and it shows each write that was acknowledged before that beat
//! was sent. So no two clocks are compared. Whether that holds is found in the snapshot that is read
//! then, for behind one URL there may be several replicas.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, DbErr, EntityTrait as _,
    QueryFilter as _, Statement, sea_query::OnConflict,
};
use tokio::time::{sleep, timeout};

use super::{
    connections::{Begin, Connections},
    engine::{self, Database},
    entity::heartbeat as row,
    pool::Store,
    statements::Statements,
    tx::Tx,
};
use crate::{
    domain::{Consistency, Etag, Reason, Result, Timestamp},
    telemetry::{causes, metrics},
};

/// Between two heartbeats: what is known of a replica that is not behind is about as old.
const BEAT: Duration = Duration::from_millis(500);
/// How long a replica that failed is left alone.
const PAUSE: Duration = Duration::from_secs(2);
/// How old the state of a replica may be whose collection has the etag that is asked for.
const MOST: Duration = Duration::from_secs(60);
/// How long a new server's first heartbeat may take to arrive before that is worth a warning.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long the row of a server that is gone stays.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

const SQL: &str = "SELECT pg_is_in_recovery() AS is_replica, \
    (SELECT beat FROM heartbeats WHERE server = $1) AS beat";

/// A read replica. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Replica(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: Connections,
    /// What this server's heartbeat is called.
    server: String,
    /// What heartbeats are counted from.
    start: Instant,
    /// How long a read there may take.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether reads are sent there.
    is_used: bool,
    /// Why it is not used, as the log says.
    reported: Option<String>,
    /// Until then it is left alone.
    resting: Option<Instant>,
    /// As of when it was seen last.
    newest: Option<Instant>,
}

/// Why a replica can't be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the server is not in recovery, so it is no replica")]
    NotInRecovery,
    #[error("it does not answer within database_read_timeout")]
    Silent,
    #[error("it has no heartbeat of this server: it is of another database, or far behind")]
    Unknown,
    #[error(transparent)]
    Failed(#[from] DbErr),
}

impl Replica {
    /// The replica of that database, where it has one.
    async fn connect(database: &Database) -> Result<Option<Self>> {
        let (Some(of_replica), Some(replica)) = (database.of_replica(), &database.replica) else {
            return Ok(None);
        };
        Ok(Some(Self(Arc::new(Inner {
            connections: engine::postgres(&of_replica, &replica.url, "replica").await?,
            server: format!("{:032x}", rand::random::<u128>()),
            start: Instant::now(),
            patience: replica.timeout,
            state: Mutex::default(),
        }))))
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Whether a read that may be so old is to be tried there.
    fn may(&self, consistency: Consistency, asked: Instant) -> bool {
        let Some(most) = most(consistency) else {
            return false;
        };
        let state = self.0.state();
        let newest = state.newest.filter(|_| state.is_used);
        newest.is_some_and(|newest| newest + most >= asked)
    }
}

/// How old what is read there may be; none of what may not be read there.
fn most(consistency: Consistency) -> Option<Duration> {
    match consistency {
        Consistency::Full => None,
        // The etag says what is new enough; but not of a database that has gone its own way.
        Consistency::AtLeast(_) => Some(MOST),
        Consistency::Within(time) => Some(time),
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot of the replica, and as of when it is; that is not known where the first heartbeat
    /// has not arrived.
    async fn snapshot(&self) -> Result<(Statements, Option<Instant>), Unusable> {
        let db = Statements::begin(&self.connections, Begin::Snapshot).await?;
        let backend = db.get_database_backend();
        let server = self.server.as_str().into();
        let statement = Statement::from_sql_and_values(backend, SQL, [server]);
        let row = db.query_one_raw(statement).await?;
        let row = row.ok_or(Unusable::Silent)?;
        if !row.try_get::<bool>("", "is_replica")? {
            return Err(Unusable::NotInRecovery);
        }
        let beat: Option<i64> = row.try_get("", "beat")?;
        let beat = beat.and_then(|beat| u64::try_from(beat).ok());
        let as_of = beat.map(|beat| self.start + Duration::from_micros(beat));
        if let Some(as_of) = as_of {
            let mut state = self.state();
            state.newest = state.newest.max(Some(as_of));
        }
        Ok((db, as_of))
    }

    /// Looks whether the replica can be used, unless it is left alone.
    async fn check(&self) {
        let resting = self.state().resting;
        if resting.is_none_or(|until| until <= Instant::now()) {
            match timeout(self.patience, self.snapshot()).await {
                Ok(Ok((_, Some(_)))) => self.usable(),
                Ok(Ok((_, None))) => {
                    self.state().is_used = false;
                    if self.start.elapsed() > ARRIVAL {
                        self.unusable(&Unusable::Unknown);
                    }
                }
                Ok(Err(why)) => self.unusable(&why),
                Err(_) => self.unusable(&Unusable::Silent),
            }
        }
        let newest = self.state().newest;
        if let Some(newest) = newest {
            metrics::replica_lag(newest.elapsed());
        }
    }

    fn usable(&self) {
        let mut state = self.state();
        if !state.is_used {
            tracing::info!("reads that may be behind are sent to the read replica");
        }
        state.is_used = true;
        state.reported = None;
        state.resting = None;
    }

    /// Leaves the replica alone for a while.
    fn unusable(&self, why: &Unusable) {
        let mut state = self.state();
        let text = why.to_string();
        if state.reported.as_ref() != Some(&text) {
            let causes = causes(why);
            tracing::warn!(causes, "the read replica is not used: {text}");
        }
        state.is_used = false;
        state.reported = Some(text);
        state.resting = Some(Instant::now() + PAUSE);
    }

    /// Sends a heartbeat to the database.
    async fn beat(&self, store: &Store) {
        // Taken before it is sent: it must not claim what is written meanwhile.
        let beat = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX);
        let beat = row::ActiveModel {
            server: Set(self.server.clone()),
            beat: Set(beat),
            change_time: Set(Timestamp::now().micros()),
        };
        let newer = OnConflict::column(row::Column::Server)
            .update_columns([row::Column::Beat, row::Column::ChangeTime])
            .to_owned();
        let sent = row::Entity::insert(beat)
            .on_conflict(newer)
            .exec_without_returning(&store.writer);
        match timeout(store.writer.patience(), sent).await {
            Ok(Ok(_)) => {}
            // Whether the database can be used, readiness says.
            Ok(Err(error)) => tracing::debug!(causes = causes(&error), "a heartbeat: {error}"),
            Err(_) => tracing::debug!("a heartbeat: the database does not answer"),
        }
    }
}

impl Store {
    /// The same, which sends reads that may be behind to the replica that `database` names.
    ///
    /// # Errors
    /// Where its connections can't be prepared.
    pub async fn with_replica(mut self, database: &Database) -> Result<Self> {
        self.replica = Replica::connect(database).await?;
        Ok(self)
    }

    /// Whether a read that may be so old is tried on the replica.
    pub fn may_read_replica(&self, consistency: Consistency) -> bool {
        let replica = self.replica.as_ref();
        replica.is_some_and(|replica| replica.may(consistency, Instant::now()))
    }

    /// Reads on the replica what `tx` would read, where what is there is fresh enough; and as of
    /// when it is. None where it has to be read from the database itself. `etag` is that of the
    /// collection that was read.
    pub async fn on_replica<T, F>(
        &self,
        tx: &Tx,
        consistency: Consistency,
        read: impl FnOnce(Tx) -> F,
        etag: impl FnOnce(&T) -> Etag,
    ) -> Option<(T, Instant)>
    where
        F: Future<Output = Result<T>>,
    {
        let replica = self.replica.as_ref()?;
        let most = most(consistency)?;
        let asked = Instant::now();
        if !replica.may(consistency, asked) {
            metrics::replica_read("unused");
            return None;
        }
        let inner = &replica.0;
        let attempt = async {
            let (db, as_of) = inner.snapshot().await?;
            let Some(as_of) = as_of.filter(|as_of| *as_of + most >= asked) else {
                return Ok(Err("behind"));
            };
            let mut view = self.session(db, true, None).unit(tx.tenant.clone());
            view.named = tx.named.clone();
            Ok(match (read(view).await, consistency) {
                (Ok(read), Consistency::AtLeast(least)) if etag(&read) < least => Err("behind"),
                (Ok(read), _) => Ok((read, as_of)),
                // It may not have arrived there.
                (Err(error), _) if error.reason == Reason::CollectionNotFound => Err("behind"),
                // What is wrong, the database itself says.
                (Err(_), _) => Err("failed"),
            })
        };
        let why = match timeout(inner.patience, attempt).await {
            Ok(Ok(Ok(read))) => {
                metrics::replica_read("served");
                return Some(read);
            }
            Ok(Ok(Err(why))) => why,
            Ok(Err(why)) => {
                inner.unusable(&why);
                "failed"
            }
            Err(_) => {
                inner.unusable(&Unusable::Silent);
                "failed"
            }
        };
        metrics::replica_read(why);
        None
    }

    /// Sends heartbeats and looks at the replica again and again, for ever, where there is one.
    pub async fn watch_replica(&self) {
        let Some(Replica(inner)) = &self.replica else {
            return;
        };
        loop {
            inner.beat(self).await;
            // It takes a while to arrive.
            sleep(BEAT / 2).await;
            inner.check().await;
            sleep(BEAT / 2).await;
        }
    }

    /// Deletes the heartbeats of servers that are gone. How many there were.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn sweep_heartbeats(&self) -> Result<u64> {
        if self.replica.is_none() {
            return Ok(0);
        }
        let forgotten = i64::try_from(FORGOTTEN.as_micros()).unwrap_or(i64::MAX);
        // One of a server that is there comes back with its next beat.
        let gone = row::Entity::delete_many()
            .filter(row::Column::ChangeTime.lt(Timestamp::now().micros() - forgotten))
            .exec(&self.writer);
        Ok(gone.await?.rows_affected)
    }
}
