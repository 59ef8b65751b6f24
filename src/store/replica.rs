//! The read replica: a hot standby of the database, for reads that may be stale.
//!
//! Heartbeats measure its lag. Each server has a row in the database, to which it repeatedly writes
//! how long it has been running. If a replica has the row of this server, it replicates this
//! database, and it has every write that was acknowledged before that heartbeat was sent. So clocks
//! of different machines are never compared. This is checked in the same snapshot that serves the
//! read, because there may be several replicas behind one URL.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{
    ActiveValue::Set, ConnectionTrait as _, DbErr, EntityTrait as _, Statement,
    sea_query::OnConflict,
};
use tokio::time::timeout;

use super::{
    connections::{Begin, Connections},
    engine::{self, Database},
    entity::heartbeat as row,
    statements::Statements,
};
use crate::{
    domain::{Consistency, Result, Timestamp},
    telemetry::{causes, metrics},
};

/// The interval between heartbeats, and thus about the smallest lag that can be measured.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
/// How long a replica is not used after it failed.
const PAUSE: Duration = Duration::from_secs(2);
/// The maximum lag of the replica for reads that ask for a minimum etag.
const MAX_LAG: Duration = Duration::from_secs(60);
/// How long a new server's first heartbeat may take to arrive before a warning is logged.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long the row of a server that no longer runs is kept.
pub(super) const HEARTBEAT_RETENTION: Duration = Duration::from_secs(3_600);

const SQL: &str = "SELECT pg_is_in_recovery() AS is_replica, \
    (SELECT beat FROM heartbeats WHERE server = $1) AS beat";

/// A read replica. Clones share its state.
#[derive(Clone, Debug)]
pub(super) struct Replica(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) connections: Connections,
    /// The key of this server's heartbeat row.
    server: String,
    /// The start of this server, from which heartbeats are counted.
    start: Instant,
    /// The timeout for reads on the replica.
    pub(super) read_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether reads are sent to the replica.
    is_used: bool,
    /// Why it is not used, as it was logged last, so that the same reason is not logged again.
    reported: Option<String>,
    /// The replica is not used until then.
    resting: Option<Instant>,
    /// The newest time as of which it was seen to be current.
    newest: Option<Instant>,
}

/// Why a replica cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the server is not in recovery, so it is not a replica")]
    NotInRecovery,
    #[error("it does not answer within database_read_timeout")]
    Silent,
    #[error("it has no heartbeat of this server: it is of another database, or far behind")]
    Unknown,
    #[error(transparent)]
    Failed(#[from] DbErr),
}

impl Replica {
    /// The replica of the database, if one is configured.
    pub(super) async fn connect(database: &Database) -> Result<Option<Self>> {
        let (Some(of_replica), Some(replica)) = (database.of_replica(), &database.replica) else {
            return Ok(None);
        };
        Ok(Some(Self(Arc::new(Inner {
            connections: engine::postgres(&of_replica, &replica.url, "replica").await?,
            server: format!("{:032x}", rand::random::<u128>()),
            start: Instant::now(),
            read_timeout: replica.timeout,
            state: Mutex::default(),
        }))))
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Whether a read with this consistency should be tried on the replica; `asked` is the time of
    /// the request.
    pub(super) fn may(&self, consistency: Consistency, asked: Instant) -> bool {
        let Some(max) = max_staleness(consistency) else {
            return false;
        };
        let state = self.0.state();
        let newest = state.newest.filter(|_| state.is_used);
        newest.is_some_and(|newest| newest + max >= asked)
    }
}

/// The maximum staleness of a read with this consistency; `None` if it must not use the replica.
pub(super) fn max_staleness(consistency: Consistency) -> Option<Duration> {
    match consistency {
        Consistency::Full => None,
        // The etag decides what is new enough, but not if the replica has diverged from the
        // database.
        Consistency::AtLeast(_) => Some(MAX_LAG),
        Consistency::Within(time) => Some(time),
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot of the replica, and the time as of which it is current; `None` if this server's
    /// first heartbeat has not arrived. `connections` are those of the replica.
    pub(super) async fn snapshot(
        &self,
        connections: &Connections,
    ) -> Result<(Statements, Option<Instant>), Unusable> {
        let db = Statements::begin(connections, Begin::Snapshot).await?;
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

    /// Checks whether the replica can be used, unless it failed recently.
    pub(super) async fn check(&self) {
        let resting = self.state().resting;
        if resting.is_none_or(|until| until <= Instant::now()) {
            match timeout(self.read_timeout, self.snapshot(&self.connections)).await {
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
            tracing::info!("the read replica is in use");
        }
        state.is_used = true;
        state.reported = None;
        state.resting = None;
    }

    /// Stops using the replica for a while.
    pub(super) fn unusable(&self, why: &Unusable) {
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
    pub(super) async fn beat(&self, writer: &Connections) {
        // Taken before it is sent, because it must not cover writes that are acknowledged later.
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
            .exec_without_returning(writer);
        match timeout(writer.acquire_timeout(), sent).await {
            Ok(Ok(_)) => {}
            // Logged at debug level only, because the readiness probe reports an unusable database.
            Ok(Err(error)) => {
                let causes = causes(&error);
                tracing::debug!(causes, "writing a heartbeat failed: {error}");
            }
            Err(_) => tracing::debug!("writing a heartbeat timed out"),
        }
    }
}
