//! Reads on the read replica, see [`super::replica`], where what is there is fresh enough.

use std::time::Instant;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use tokio::time::{sleep, timeout};

use super::{
    engine::Database,
    entity::heartbeat as row,
    pool::Store,
    replica::{BEAT, FORGOTTEN, Replica, Unusable, most},
    tx::Tx,
};
use crate::{
    domain::{Consistency, Etag, Reason, Result, Timestamp},
    telemetry::metrics,
};

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
            inner.beat(&self.writer).await;
            // It takes a while to arrive.
            sleep(BEAT / 2).await;
            inner.check().await;
            sleep(BEAT / 2).await;
        }
    }

    /// Deletes the heartbeats of servers that are gone. How many there were.
    ///
    /// # Errors
    /// If the database fails.
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
