//! Reading the versions of collections for all who ask at once.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{ConnectionTrait as _, Statement};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::connections::Connections;
use crate::{
    domain::{CollectionId, TenantId},
    telemetry::causes,
};

/// Who is answered by one statement, at most.
const ASKED: usize = 1_000;
/// Statements that run at once.
const STATEMENTS: usize = 2;

/// Each by its key, whatever a planner guesses of how many they are.
const SQL: &str = "SELECT asked.n, \
    (SELECT version FROM collections WHERE tenant_id = asked.t AND id = asked.c) AS version, \
    (SELECT graph_version FROM tenants WHERE tenant_id = asked.t) AS graph \
    FROM json_to_recordset($1::json) AS asked(n integer, t text, c text)";

/// The versions that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The collection's.
    pub collection: i64,
    /// That of its tenant's graph; none where nothing that was read depends on it.
    pub graph: Option<i64>,
}

/// Somebody who asks for the versions of a collection.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) tenant: TenantId,
    pub(super) collection: CollectionId,
    pub(super) answer: oneshot::Sender<Option<Versions>>,
}

/// A collection, as the statement takes it.
#[derive(Serialize)]
struct Key<'a> {
    n: i32,
    t: &'a str,
    c: &'a str,
}

/// Starts what answers all who ask, until nobody can any more: by more than one statement at
/// once, for one that gets no answer must not keep the others waiting.
pub(super) fn start(connections: &Connections, asked: mpsc::UnboundedReceiver<Asked>) {
    let asked = Arc::new(Mutex::new(asked));
    for _ in 0..STATEMENTS {
        tokio::spawn(answer(connections.clone(), Arc::clone(&asked)));
    }
}

async fn answer(connections: Connections, asked: Arc<Mutex<mpsc::UnboundedReceiver<Asked>>>) {
    let mut all = Vec::with_capacity(ASKED);
    while asked.lock().await.recv_many(&mut all, ASKED).await > 0 {
        match read(&connections, &all).await {
            Ok(mut versions) => {
                for (asked, n) in all.drain(..).zip(0..) {
                    let _ = asked.answer.send(versions.remove(&n));
                }
            }
            Err(error) => {
                let causes = causes(&error);
                tracing::warn!(causes, "reading versions: {error}");
                all.clear();
            }
        }
    }
}

/// The versions of each, by its place; those that are not there are left out.
async fn read(
    connections: &Connections,
    asked: &[Asked],
) -> Result<HashMap<i32, Versions>, sea_orm::DbErr> {
    let keys = asked.iter().zip(0..).map(|(asked, n)| Key {
        n,
        t: asked.tenant.as_str(),
        c: asked.collection.as_str(),
    });
    let keys = serde_json::to_string(&keys.collect::<Vec<_>>());
    let keys = keys.map_err(|error| sea_orm::DbErr::Json(error.to_string()))?;
    let backend = connections.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, SQL, [keys.into()]);
    let mut versions = HashMap::with_capacity(asked.len());
    let rows = connections.look_up(statement, |it, sql| it.query_all_raw(sql));
    for row in rows.await? {
        let version: Option<i64> = row.try_get("", "version")?;
        if let Some(collection) = version {
            let graph = row.try_get("", "graph")?;
            versions.insert(row.try_get("", "n")?, Versions { collection, graph });
        }
    }
    Ok(versions)
}
