//! Reads on the read replica (see [`super::replica`]), if its data is fresh enough; and the tasks
//! that keep the heartbeats.

use std::time::Instant;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use tokio::time::{sleep, timeout};

use super::{
    engine::Database,
    entity::heartbeat as row,
    pool::Store,
    replica::{HEARTBEAT_INTERVAL, HEARTBEAT_RETENTION, Replica, Unusable, max_staleness},
    tx::Tx,
};
use crate::{
    domain::{Consistency, Etag, Reason, Result, Timestamp},
    telemetry::metrics,
};

impl Store {
    /// The same with the read replica that `database` configures, if any.
    ///
    /// # Errors
    /// If its connections cannot be prepared.
    pub async fn with_replica(mut self, database: &Database) -> Result<Self> {
        self.replica = Replica::connect(database).await?;
        Ok(self)
    }

    /// Whether a read with this consistency should be tried on the replica.
    pub fn may_read_replica(&self, consistency: Consistency) -> bool {
        let replica = self.replica.as_ref();
        replica.is_some_and(|replica| replica.may(consistency, Instant::now()))
    }

    /// Runs `read` on the replica instead of `tx`, if the replica is fresh enough, and returns the
    /// result with the time as of which it is current. Returns `None` if the read must be done on
    /// the database itself. `etag` extracts the etag of the collection from the result.
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
        let max = max_staleness(consistency)?;
        let asked = Instant::now();
        if !replica.may(consistency, asked) {
            metrics::replica_read("unused");
            return None;
        }
        let inner = &replica.0;
        let attempt = async {
            let (db, as_of) = inner
                .snapshot(&inner.connections.for_tenant(&tx.tenant))
                .await?;
            let Some(as_of) = as_of.filter(|as_of| *as_of + max >= asked) else {
                return Ok(Err("behind"));
            };
            let mut view = self.session(db, true, None).unit(tx.tenant.clone());
            view.named = tx.named.clone();
            Ok(match (read(view).await, consistency) {
                (Ok(read), Consistency::AtLeast(least)) if etag(&read) < least => Err("behind"),
                (Ok(read), _) => Ok((read, as_of)),
                // The collection may not be replicated yet.
                (Err(error), _) if error.reason == Reason::CollectionNotFound => Err("behind"),
                // The read is repeated on the database, which reports the error.
                (Err(_), _) => Err("failed"),
            })
        };
        let why = match timeout(inner.read_timeout, attempt).await {
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

    /// Sends heartbeats and checks the replica, forever; returns at once if there is no replica.
    pub async fn watch_replica(&self) {
        let Some(Replica(inner)) = &self.replica else {
            return;
        };
        loop {
            inner.beat(&self.writer).await;
            // Heartbeats take a while to be replicated.
            sleep(HEARTBEAT_INTERVAL / 2).await;
            inner.check().await;
            sleep(HEARTBEAT_INTERVAL / 2).await;
        }
    }

    /// Deletes the heartbeats of servers that no longer run and returns their number.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sweep_heartbeats(&self) -> Result<u64> {
        if self.replica.is_none() {
            return Ok(0);
        }
        let retention = i64::try_from(HEARTBEAT_RETENTION.as_micros()).unwrap_or(i64::MAX);
        // If such a server runs after all, its next heartbeat creates the row again.
        let gone = row::Entity::delete_many()
            .filter(row::Column::ChangeTime.lt(Timestamp::now().micros() - retention))
            .exec(&self.writer);
        Ok(gone.await?.rows_affected)
    }
}
