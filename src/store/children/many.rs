//! Taking children out of many lists at once: statements over all of them, where one list at a
//! time would take eight statements for each.
//!
//! Small segments are not merged here: the next edit beside them does that.

use std::collections::{BTreeMap, HashMap, HashSet};

use sea_orm::{ConnectionTrait as _, DbBackend, QueryResult, Statement, Value};
use serde::Serialize;

use super::{directory::SegmentId, rows::list_code};
use crate::{
    domain::{ChildId, ChildType, CollectionId, Error, Result, child_ids},
    store::tx::Tx,
};

/// Lists that one statement is about.
const LISTS: usize = 1_000;

/// A statement as each engine has it. `$1` is the tenant, `$2` the list, `$3` an array of
/// arrays, each of which begins with a collection's id.
struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

/// `$3` has collections and children.
const HOMES: Sql = Sql {
    sqlite: "SELECT collection_id, child_id, segment_id FROM json_each($3) AS wanted \
        CROSS JOIN members WHERE tenant_id = $1 AND list = $2 \
        AND collection_id = wanted.value ->> 0 AND child_id = wanted.value ->> 1",
    postgres: "SELECT found.* FROM json_array_elements($3::json) AS wanted(value), LATERAL (\
        SELECT collection_id, child_id, segment_id FROM members \
        WHERE tenant_id = $1 AND collection_id = wanted.value ->> 0 AND list = $2 \
        AND child_id = wanted.value ->> 1 OFFSET 0) AS found",
};

/// `$3` has collections and segments.
const CONTENTS: Sql = Sql {
    sqlite: "SELECT collection_id, id_list, segment_id FROM json_each($3) AS wanted \
        CROSS JOIN segment_contents WHERE tenant_id = $1 AND list = $2 \
        AND collection_id = wanted.value ->> 0 AND segment_id = wanted.value ->> 1",
    postgres: "SELECT found.* FROM json_array_elements($3::json) AS wanted(value), LATERAL (\
        SELECT collection_id, id_list, segment_id FROM segment_contents \
        WHERE tenant_id = $1 AND collection_id = wanted.value ->> 0 AND list = $2 \
        AND segment_id = (wanted.value ->> 1)::bigint OFFSET 0) AS found",
};

/// `$3` has collections, segments and their ids; the rows are there.
const PUT_CONTENTS: Sql = Sql {
    sqlite: "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, id_list) \
        SELECT $1, value ->> 0, $2, value ->> 1, value ->> 2 FROM json_each($3) WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET id_list = excluded.id_list",
    postgres: "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, id_list) \
        SELECT $1, value ->> 0, $2, (value ->> 1)::bigint, value ->> 2 \
        FROM json_array_elements($3::json) AS put(value) \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET id_list = excluded.id_list",
};

/// `$3` has collections, segments and their lengths; the rows are there.
const PUT_LENGTHS: Sql = Sql {
    sqlite: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, value ->> 0, $2, value ->> 1, 0, value ->> 2 FROM json_each($3) WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) DO UPDATE SET len = excluded.len",
    postgres: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, value ->> 0, $2, (value ->> 1)::bigint, 0, (value ->> 2)::bigint \
        FROM json_array_elements($3::json) AS put(value) \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) DO UPDATE SET len = excluded.len",
};

/// A statement that removes rows of a table by the last part of their keys, which `$3` has
/// beside collections. PostgreSQL deletes by the rows' addresses, which only a look-up by key
/// can give.
macro_rules! drop_rows {
    ($table:literal, $column:literal, $type:literal) => {
        Sql {
            sqlite: concat!(
                "DELETE FROM ",
                $table,
                " WHERE (tenant_id, collection_id, list, ",
                $column,
                ") IN (SELECT $1, value ->> 0, $2, value ->> 1 FROM json_each($3))"
            ),
            postgres: concat!(
                "DELETE FROM ",
                $table,
                " WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM ",
                $table,
                " WHERE tenant_id = $1 AND collection_id = gone.value ->> 0 AND list = $2 AND ",
                $column,
                " = (gone.value ->> 1)::",
                $type,
                ") FROM json_array_elements($3::json) AS gone(value)))"
            ),
        }
    };
}

const DROP_ENTRIES: Sql = drop_rows!("segments", "segment_id", "bigint");
const DROP_CONTENTS: Sql = drop_rows!("segment_contents", "segment_id", "bigint");
const DROP_MEMBERS: Sql = drop_rows!("members", "child_id", "text");

/// Takes children out of lists; answers those that were in them. The
/// collections must be locked: [`crate::store::lock::Locked`] sees to that.
pub(in crate::store) async fn take_out(
    tx: &Tx,
    list: ChildType,
    leaving: &BTreeMap<CollectionId, Vec<ChildId>>,
) -> Result<BTreeMap<CollectionId, Vec<ChildId>>> {
    let lists: Vec<_> = leaving.iter().collect();
    let mut left = BTreeMap::new();
    for lists in lists.chunks(LISTS) {
        take_out_of(tx, list, lists, &mut left).await?;
    }
    Ok(left)
}

async fn take_out_of(
    tx: &Tx,
    list: ChildType,
    lists: &[(&CollectionId, &Vec<ChildId>)],
    left: &mut BTreeMap<CollectionId, Vec<ChildId>>,
) -> Result<()> {
    let pairs = lists.iter().flat_map(|(collection, children)| {
        let pair = |child: &ChildId| (collection.as_str().to_owned(), child.to_string());
        children.iter().map(pair)
    });
    let pairs: Vec<_> = pairs.collect();
    let homes = rows(tx, list, &HOMES, &pairs).await?;
    let mut leaving: HashMap<(String, SegmentId), HashSet<String>> = HashMap::new();
    for (collection, child, segment) in homes {
        let id = CollectionId::trusted(collection.as_str());
        left.entry(id)
            .or_default()
            .push(ChildId::trusted(child.as_str()));
        leaving
            .entry((collection, segment))
            .or_default()
            .insert(child);
    }
    let segments: Vec<_> = leaving.keys().collect();
    let contents = rows(tx, list, &CONTENTS, &segments).await?;
    let (mut kept, mut lengths, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for (collection, ids, segment) in contents {
        let key = (collection, segment);
        let gone = leaving.remove(&key).unwrap_or_default();
        let ids = child_ids::split(&ids);
        let ids: Vec<_> = ids.filter(|id| !gone.contains(*id)).collect();
        let (collection, segment) = key;
        if ids.is_empty() {
            empty.push((collection, segment));
        } else {
            lengths.push((collection.clone(), segment, ids.len()));
            kept.push((collection, segment, child_ids::join(ids)));
        }
    }
    execute(tx, list, &PUT_CONTENTS, &kept).await?;
    execute(tx, list, &PUT_LENGTHS, &lengths).await?;
    execute(tx, list, &DROP_ENTRIES, &empty).await?;
    execute(tx, list, &DROP_CONTENTS, &empty).await?;
    execute(tx, list, &DROP_MEMBERS, &pairs).await
}

async fn rows(
    tx: &Tx,
    list: ChildType,
    sql: &Sql,
    wanted: &[impl Serialize],
) -> Result<Vec<(String, String, SegmentId)>> {
    let found = tx.db().query_all_raw(statement(tx, list, sql, wanted)?);
    let row = |row: &QueryResult| {
        Ok((
            row.try_get_by_index(0)?,
            row.try_get_by_index(1)?,
            row.try_get_by_index(2)?,
        ))
    };
    found.await?.iter().map(row).collect()
}

async fn execute(tx: &Tx, list: ChildType, sql: &Sql, rows: &[impl Serialize]) -> Result<()> {
    if !rows.is_empty() {
        let statement = statement(tx, list, sql, rows)?;
        tx.db().execute_raw(statement).await?;
    }
    Ok(())
}

fn statement(tx: &Tx, list: ChildType, sql: &Sql, rows: &[impl Serialize]) -> Result<Statement> {
    let backend = tx.db().get_database_backend();
    let text = if backend == DbBackend::Postgres {
        sql.postgres
    } else {
        sql.sqlite
    };
    let rows = serde_json::to_string(rows).map_err(Error::internal)?;
    let values: [Value; 3] = [tx.tenant().into(), list_code(list).into(), rows.into()];
    Ok(Statement::from_sql_and_values(backend, text, values))
}
