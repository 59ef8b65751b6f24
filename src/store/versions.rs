//! Reads the current versions of collections in batches, for [`super::validity`]: one statement
//! serves many concurrent requests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sea_orm::{ConnectionTrait as _, Statement};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::connections::Connections;
use crate::{
    domain::{CollectionId, TenantId},
    telemetry::causes,
};

/// The maximum number of requests that one statement answers.
const ASKED: usize = 1_000;
/// The number of concurrent statements.
const STATEMENTS: usize = 2;

/// Scalar subqueries, so that each row is found by its key, however many the planner expects.
const SQL: &str = "SELECT asked.n, \
    (SELECT version FROM collections WHERE tenant_id = asked.t AND id = asked.c) AS version, \
    (SELECT graph_version FROM tenants WHERE tenant_id = asked.t) AS graph \
    FROM json_to_recordset($1::json) AS asked(n integer, t text, c text)";

/// The versions that a read of a collection depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The version of the collection.
    pub collection: i64,
    /// The version of its tenant's graph; `None` if the read does not depend on it.
    pub graph: Option<i64>,
}

/// A request for the versions of a collection.
#[derive(Debug)]
pub(super) struct VersionsRequest {
    pub(super) tenant: TenantId,
    pub(super) collection: CollectionId,
    pub(super) reply: oneshot::Sender<Option<Versions>>,
}

/// A collection, in the form in which the statement takes it.
#[derive(Serialize)]
struct Key<'a> {
    n: i32,
    t: &'a str,
    c: &'a str,
}

/// Starts the tasks that answer requests, until all senders are dropped. There are several, so that
/// a statement without a response does not block all requests.
pub(super) fn start(connections: &Connections, asked: mpsc::UnboundedReceiver<VersionsRequest>) {
    let asked = Arc::new(Mutex::new(asked));
    for _ in 0..STATEMENTS {
        tokio::spawn(serve(connections.clone(), Arc::clone(&asked)));
    }
}

async fn serve(
    connections: Connections,
    requests: Arc<Mutex<mpsc::UnboundedReceiver<VersionsRequest>>>,
) {
    let mut all = Vec::with_capacity(ASKED);
    while requests.lock().await.recv_many(&mut all, ASKED).await > 0 {
        // Many requests that wait at the same time are often about the same collection.
        let mut replies = BTreeMap::<_, Vec<_>>::new();
        for request in all.drain(..) {
            let asked = (request.tenant, request.collection);
            replies.entry(asked).or_default().push(request.reply);
        }
        match read(&connections, replies.keys()).await {
            Ok(versions) => {
                for (replies, n) in replies.into_values().zip(0..) {
                    for reply in replies {
                        let _ = reply.send(versions.get(&n).copied());
                    }
                }
            }
            Err(error) => {
                let causes = causes(&error);
                tracing::warn!(causes, "reading versions failed: {error}");
            }
        }
    }
}

/// The versions of each collection, by its position in `asked`. Missing collections are left out.
async fn read<'a>(
    connections: &Connections,
    asked: impl ExactSizeIterator<Item = &'a (TenantId, CollectionId)>,
) -> Result<HashMap<i32, Versions>, sea_orm::DbErr> {
    let mut versions = HashMap::with_capacity(asked.len());
    let keys = asked.zip(0..).map(|((tenant, collection), n)| Key {
        n,
        t: tenant.as_str(),
        c: collection.as_str(),
    });
    let keys = serde_json::to_string(&keys.collect::<Vec<_>>());
    let keys = keys.map_err(|error| sea_orm::DbErr::Json(error.to_string()))?;
    let backend = connections.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, SQL, [keys.into()]);
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
