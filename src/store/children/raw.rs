//! The statements that read and write lists, written out: what they are about is bound as one
//! JSON text, where the ORM would bind each column of each row (`benches/children` shows what
//! that costs when a list is loaded). Each is about any number of lists of one kind, so that
//! many lists take as many statements as one does.
//!
//! Each row is found by its whole key, so that no plan hangs on statistics: PostgreSQL
//! without them takes a list for a row or two, and would read a million of them to find
//! a hundred.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TryGetable, Value};
use serde::Serialize;

use super::{
    directory::SegmentId,
    handle::Children,
    list::Difference,
    rows::{list_code, split},
};
use crate::{
    domain::{ChildId, ChildType, CollectionId, Error, Result},
    store::{statements::Write, tx::Tx},
};

/// Something for each of some collections, by their ids.
pub(super) type Each<'a, T> = BTreeMap<&'a str, T>;

/// One statement as each engine has it. `$1` is the tenant, `$2` the kind of list, `$3` is a JSON
/// object that has something for each collection's id.
struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

/// Both statements that find where children are: `$3` has arrays of ids. Each join is one that
/// the engine can't turn round.
macro_rules! homes {
    ($also:literal) => {
        Sql {
            sqlite: concat!(
                "SELECT collection_id, child_id, segment_id FROM json_each($3) AS lists \
                CROSS JOIN json_each(lists.value) AS wanted CROSS JOIN members \
                WHERE tenant_id = $1 AND collection_id = lists.key AND list = $2 \
                AND child_id = wanted.value",
                $also
            ),
            postgres: concat!(
                "SELECT found.* FROM json_each($3::json) AS lists, \
                json_array_elements_text(lists.value) AS wanted(value), LATERAL (\
                SELECT collection_id, child_id, segment_id FROM members WHERE tenant_id = $1 \
                AND collection_id = lists.key AND list = $2 AND child_id = wanted.value \
                OFFSET 0) AS found",
                $also
            ),
        }
    };
}

const HOMES: Sql = homes!("");

/// Has a row more, of ids that nothing has, if the tenant has a job: a write learns that
/// without a statement of its own.
const HOMES_AND_JOB: Sql = homes!(
    " UNION ALL SELECT '', '', 0 WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.tenant_id = $1)"
);

/// `$3` has arrays of segments' ids.
const CONTENTS: Sql = Sql {
    sqlite: "SELECT collection_id, segment_id, id_list FROM json_each($3) AS lists \
        CROSS JOIN json_each(lists.value) AS wanted CROSS JOIN segment_contents \
        WHERE tenant_id = $1 AND collection_id = lists.key AND list = $2 \
        AND segment_id = wanted.value",
    postgres: "SELECT found.* FROM json_each($3::json) AS lists, \
        json_array_elements_text(lists.value) AS wanted(value), LATERAL (\
        SELECT collection_id, segment_id, id_list FROM segment_contents WHERE tenant_id = $1 \
        AND collection_id = lists.key AND list = $2 AND segment_id = wanted.value::bigint \
        OFFSET 0) AS found",
};

/// `$3` has for each segment's id its rank and its length.
const PUT_ENTRIES: Sql = Sql {
    sqlite: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, lists.key, $2, CAST(entry.key AS bigint), entry.value ->> 0, entry.value ->> 1 \
        FROM json_each($3) AS lists CROSS JOIN json_each(lists.value) AS entry WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank, len = excluded.len",
    postgres: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, lists.key, $2, entry.key::bigint, \
        (entry.value ->> 0)::bigint, (entry.value ->> 1)::bigint \
        FROM json_each($3::json) AS lists, json_each(lists.value) AS entry \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank, len = excluded.len",
};

/// `$3` has for each segment's id its rank; the rows are there. Half of a long list's
/// segments may be in it, so each engine has the form that it is quick at: SQLite would
/// plan an update to read the list again for each, and PostgreSQL locks a row that an
/// insert meets before it changes it.
const PUT_RANKS: Sql = Sql {
    sqlite: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, lists.key, $2, CAST(moved.key AS bigint), moved.value, 0 \
        FROM json_each($3) AS lists CROSS JOIN json_each(lists.value) AS moved WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank",
    // The text is parsed once, and a rank then found in it by its key.
    postgres: "UPDATE segments SET rank = \
        ((SELECT $3::jsonb) #>> ARRAY[collection_id, segment_id::text])::bigint \
        WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM segments WHERE tenant_id = $1 \
        AND collection_id = lists.key AND list = $2 AND segment_id = moved.key::bigint) \
        FROM json_each($3::json) AS lists, json_object_keys(lists.value) AS moved(key)))",
};

/// `$3` has for each segment's id its ids as one text.
const PUT_CONTENTS: Sql = Sql {
    sqlite: "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, id_list) \
        SELECT $1, lists.key, $2, CAST(put.key AS bigint), put.value \
        FROM json_each($3) AS lists CROSS JOIN json_each(lists.value) AS put WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET id_list = excluded.id_list",
    postgres: "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, id_list) \
        SELECT $1, lists.key, $2, put.key::bigint, put.value \
        FROM json_each($3::json) AS lists, json_each_text(lists.value) AS put \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET id_list = excluded.id_list",
};

/// Both statements that write where children are: `$3` has for each segment's id an
/// array of children.
macro_rules! put_members {
    ($also:literal) => {
        Sql {
            sqlite: concat!(
                "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
                SELECT $1, lists.key, $2, child.value, CAST(home.key AS bigint) \
                FROM json_each($3) AS lists CROSS JOIN json_each(lists.value) AS home \
                CROSS JOIN json_each(home.value) AS child WHERE true",
                $also
            ),
            postgres: concat!(
                "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
                SELECT $1, lists.key, $2, child.value, home.key::bigint \
                FROM json_each($3::json) AS lists, json_each(lists.value) AS home, \
                json_array_elements_text(home.value) AS child(value) WHERE true",
                $also
            ),
        }
    };
}

/// The children are new in their lists.
const JOIN_MEMBERS: Sql = put_members!("");

/// The children are in their lists, or may be.
const MOVE_MEMBERS: Sql = put_members!(
    " ON CONFLICT (tenant_id, collection_id, list, child_id) \
    DO UPDATE SET segment_id = excluded.segment_id"
);

/// Both statements that remove rows of a table by the last column of its key, of which `$3` has
/// arrays. PostgreSQL deletes by the rows' addresses, which only a look-up by key can give.
macro_rules! drop_rows {
    ($table:literal, $column:literal, $type:literal) => {
        Sql {
            sqlite: concat!(
                "DELETE FROM ",
                $table,
                " WHERE (tenant_id, collection_id, list, ",
                $column,
                ") IN (SELECT $1, lists.key, $2, gone.value FROM json_each($3) AS lists \
                CROSS JOIN json_each(lists.value) AS gone)"
            ),
            postgres: concat!(
                "DELETE FROM ",
                $table,
                " WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM ",
                $table,
                " WHERE tenant_id = $1 AND collection_id = lists.key AND list = $2 AND ",
                $column,
                " = gone.value::",
                $type,
                ") FROM json_each($3::json) AS lists, \
                json_array_elements_text(lists.value) AS gone(value)))"
            ),
        }
    };
}

const DROP_ENTRIES: Sql = drop_rows!("segments", "segment_id", "bigint");
const DROP_CONTENTS: Sql = drop_rows!("segment_contents", "segment_id", "bigint");
const DROP_MEMBERS: Sql = drop_rows!("members", "child_id", "text");

/// Removes whole lists but for the children of which `$3` has arrays.
const CLEAR_MEMBERS: Sql = Sql {
    sqlite: "DELETE FROM members WHERE tenant_id = $1 AND list = $2 \
        AND collection_id IN (SELECT key FROM json_each($3)) \
        AND (collection_id, child_id) NOT IN (SELECT lists.key, kept.value \
        FROM json_each($3) AS lists CROSS JOIN json_each(lists.value) AS kept)",
    postgres: "DELETE FROM members WHERE ctid = ANY (ARRAY(SELECT found.ctid \
        FROM json_object_keys($3::json) AS lists(key), LATERAL (\
        SELECT ctid, child_id FROM members WHERE tenant_id = $1 AND collection_id = lists.key \
        AND list = $2 OFFSET 0) AS found \
        WHERE (lists.key, found.child_id) NOT IN (SELECT lists.key, kept.value \
        FROM json_each($3::json) AS lists, json_array_elements_text(lists.value) AS kept(value))))",
};

/// Where children are, by collections' ids; those not in their lists are left out.
pub(super) type Homes = HashMap<String, HashMap<ChildId, SegmentId>>;

/// Which segment has each of the children.
pub(super) async fn homes(
    tx: &Tx,
    list: ChildType,
    wanted: &Each<'_, &[ChildId]>,
) -> Result<Homes> {
    homes_by(tx, list, &HOMES, wanted).await
}

/// The same, and whether the tenant has a job.
pub(super) async fn homes_and_job(
    tx: &Tx,
    list: ChildType,
    wanted: &Each<'_, &[ChildId]>,
) -> Result<(Homes, bool)> {
    let mut homes = homes_by(tx, list, &HOMES_AND_JOB, wanted).await?;
    let has_job = homes.remove("").is_some();
    Ok((homes, has_job))
}

async fn homes_by(
    tx: &Tx,
    list: ChildType,
    sql: &Sql,
    wanted: &Each<'_, &[ChildId]>,
) -> Result<Homes> {
    let wanted = wanted.iter().map(|(id, children)| {
        let children: Vec<_> = children.iter().map(ChildId::as_str).collect();
        (*id, children)
    });
    let wanted = wanted.collect();
    let mut homes = Homes::new();
    for (collection, child, home) in look_up::<String, _>(tx, list, sql, &wanted).await? {
        let homes = homes.entry(collection).or_default();
        homes.insert(ChildId::trusted(child), home);
    }
    Ok(homes)
}

/// The ids of the segments named, by collections' ids.
pub(super) async fn contents(
    tx: &Tx,
    list: ChildType,
    wanted: &Each<'_, &[SegmentId]>,
) -> Result<HashMap<String, BTreeMap<SegmentId, Vec<ChildId>>>> {
    let mut contents: HashMap<_, BTreeMap<_, _>> = HashMap::new();
    for (collection, segment, ids) in look_up::<_, String>(tx, list, &CONTENTS, wanted).await? {
        let contents = contents.entry(collection).or_default();
        contents.insert(segment, split(&ids).collect());
    }
    Ok(contents)
}

/// A part of the differences, for the collections where there is something of it.
macro_rules! part {
    ($differences:ident, $part:ident) => {{
        let some = $differences.iter().filter(|(_, it)| !it.$part.is_empty());
        some.map(|(id, it)| (id.as_str(), &it.$part))
            .collect::<Each<'_, _>>()
    }};
}

/// Writes what is different in lists. No two of the statements are about the same row.
pub(super) fn write(
    tx: &Tx,
    list: ChildType,
    differences: &[(&CollectionId, Difference<'_>)],
) -> Result<()> {
    let emptied = differences.iter().filter(|(_, it)| it.emptied);
    let emptied: Each<'_, Vec<_>> = emptied
        .map(|(id, it)| (id.as_str(), it.moved.values().flatten().collect()))
        .collect();
    let dropped = part!(differences, dropped);
    later(tx, list, &DROP_ENTRIES, &dropped)?;
    later(tx, list, &DROP_CONTENTS, &dropped)?;
    later(tx, list, &CLEAR_MEMBERS, &emptied)?;
    later(tx, list, &DROP_MEMBERS, &part!(differences, removed))?;
    later(tx, list, &PUT_ENTRIES, &part!(differences, entries))?;
    later(tx, list, &PUT_RANKS, &part!(differences, ranks))?;
    later(tx, list, &PUT_CONTENTS, &part!(differences, contents))?;
    later(tx, list, &JOIN_MEMBERS, &part!(differences, joined))?;
    later(tx, list, &MOVE_MEMBERS, &part!(differences, moved))
}

/// The rows that are found, if any are wanted.
async fn look_up<A: TryGetable, B: TryGetable>(
    tx: &Tx,
    list: ChildType,
    sql: &Sql,
    wanted: &Each<'_, impl Serialize>,
) -> Result<Vec<(String, A, B)>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let statement = statement(tx, list, sql, wanted)?;
    let rows = tx.db().query_all_raw(statement).await?;
    let row = |row: &sea_orm::QueryResult| {
        Ok((
            row.try_get_by_index(0)?,
            row.try_get_by_index(1)?,
            row.try_get_by_index(2)?,
        ))
    };
    rows.iter().map(row).collect()
}

fn later<T: Serialize>(tx: &Tx, list: ChildType, sql: &Sql, rows: &Each<'_, T>) -> Result<()> {
    if !rows.is_empty() {
        tx.db().later(Write {
            statement: statement(tx, list, sql, rows)?,
            // Whoever made the differences knows.
            rows: 0,
            links: list == ChildType::Collection,
        });
    }
    Ok(())
}

fn statement(tx: &Tx, list: ChildType, sql: &Sql, rows: &impl Serialize) -> Result<Statement> {
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

/// The version of the one collection in `$3` and whether it is smart, without ids, and the ids of its
/// segments
/// of which `$3` has an array.
const VERSION_AND_CONTENTS: Sql = Sql {
    sqlite: "SELECT version, NULL, smart FROM collections \
        WHERE tenant_id = $1 AND id = (SELECT key FROM json_each($3)) \
        UNION ALL SELECT segment_id, id_list, NULL FROM json_each($3) AS lists \
        CROSS JOIN json_each(lists.value) AS wanted CROSS JOIN segment_contents \
        WHERE tenant_id = $1 AND collection_id = lists.key AND list = $2 \
        AND segment_id = wanted.value",
    postgres: "SELECT version, NULL, smart FROM collections \
        WHERE tenant_id = $1 AND id = (SELECT json_object_keys($3::json)) \
        UNION ALL SELECT found.*, NULL FROM json_each($3::json) AS lists, \
        json_array_elements_text(lists.value) AS wanted(value), LATERAL (\
        SELECT segment_id, id_list FROM segment_contents WHERE tenant_id = $1 \
        AND collection_id = lists.key AND list = $2 AND segment_id = wanted.value::bigint \
        OFFSET 0) AS found",
};

/// The ids of the segments named, and whether the collection is smart, where it has that version;
/// else none.
pub(super) async fn contents_at(
    list: Children<'_>,
    version: i64,
    wanted: &[SegmentId],
) -> Result<Option<(BTreeMap<SegmentId, Vec<ChildId>>, bool)>> {
    let wanted = Each::from([(list.collection.as_str(), wanted)]);
    let statement = statement(list.tx, list.list, &VERSION_AND_CONTENTS, &wanted)?;
    let (mut current, mut contents) = (None, BTreeMap::new());
    for row in list.tx.db().query_all_raw(statement).await? {
        let number: i64 = row.try_get_by_index(0)?;
        let ids: Option<String> = row.try_get_by_index(1)?;
        if let Some(ids) = ids {
            contents.insert(number, split(&ids).collect());
        } else {
            current = Some((number, row.try_get_by_index(2)?));
        }
    }
    let current = current.filter(|(number, _)| *number == version);
    Ok(current.map(|(_, is_smart)| (contents, is_smart)))
}
