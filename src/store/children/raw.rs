//! Hand-written SQL that reads and writes lists. The parameters are bound as one JSON document,
//! whereas the ORM would bind each column of each row (`benches/children` measures what that costs
//! when a list is loaded). Each statement handles any number of lists of one kind.
//!
//! Each row is found by its full primary key, so that no query plan depends on statistics. Without
//! statistics, PostgreSQL assumes a list to have one or two rows and would read a million to find a
//! hundred.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ConnectionTrait as _, Statement, TryGetable};
use serde::Serialize;

use super::{directory::SegmentId, handle::Children, list::Difference, lists::Lists, rows::split};
use crate::{
    domain::{ChildId, ChildType, CollectionId, Result},
    store::{sql::Sql, statements::Write, tx::Tx},
};

/// One value per collection, by collection id.
pub(super) type Each<'a, T> = BTreeMap<&'a str, T>;

/// Finds the segments of children; `$3` has an array of child ids per collection. The joins are
/// written so that neither planner can reorder them: CROSS JOIN on SQLite, LATERAL with OFFSET 0 on
/// PostgreSQL.
macro_rules! homes {
    ($also:literal) => {
        Sql {
            sqlite: concat!(
                "SELECT collection_id, child_id, segment_id FROM lists \
                CROSS JOIN json_each(lists.value) AS wanted CROSS JOIN members \
                WHERE tenant_id = $1 AND collection_id = lists.key AND list = lists.code \
                AND child_id = wanted.value",
                $also
            ),
            postgres: concat!(
                "SELECT found.* FROM lists, \
                json_array_elements_text(lists.value) AS wanted(value), LATERAL (\
                SELECT collection_id, child_id, segment_id FROM members WHERE tenant_id = $1 \
                AND collection_id = lists.key AND list = lists.code AND child_id = wanted.value \
                OFFSET 0) AS found",
                $also
            ),
        }
    };
}

const HOMES: Sql = homes!("");

/// Like [`HOMES`], with an additional row with empty ids if the tenant has a job, so that a write
/// finds that out without another statement.
const HOMES_AND_JOB: Sql = homes!(
    " UNION ALL SELECT '', '', 0 WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.tenant_id = $1)"
);

/// Reads the ids in segments; `$3` has an array of segment ids per collection.
const CONTENTS: Sql = Sql {
    sqlite: "SELECT collection_id, segment_id, id_list FROM lists \
        CROSS JOIN json_each(lists.value) AS wanted CROSS JOIN segment_contents \
        WHERE tenant_id = $1 AND collection_id = lists.key AND list = lists.code \
        AND segment_id = wanted.value",
    postgres: "SELECT found.* FROM lists, \
        json_array_elements_text(lists.value) AS wanted(value), LATERAL (\
        SELECT collection_id, segment_id, id_list FROM segment_contents WHERE tenant_id = $1 \
        AND collection_id = lists.key AND list = lists.code \
        AND segment_id = wanted.value::bigint \
        OFFSET 0) AS found",
};

/// Inserts or updates segments; `$3` has a rank and a length by segment id.
const PUT_ENTRIES: Sql = Sql {
    sqlite: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, lists.key, lists.code, CAST(entry.key AS bigint), \
        entry.value ->> 0, entry.value ->> 1 \
        FROM lists CROSS JOIN json_each(lists.value) AS entry WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank, len = excluded.len",
    postgres: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, lists.key, lists.code, entry.key::bigint, \
        (entry.value ->> 0)::bigint, (entry.value ->> 1)::bigint \
        FROM lists, json_each(lists.value) AS entry \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank, len = excluded.len",
};

/// Updates the ranks of existing segments; `$3` has a rank by segment id. Up to half the segments
/// of a long list may be in it, so each engine gets the form that it is fast at: SQLite would plan
/// an UPDATE so that it scans the list for each segment, and PostgreSQL would lock each conflicting
/// row of an INSERT before it updates it.
const PUT_RANKS: Sql = Sql {
    sqlite: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, lists.key, lists.code, CAST(moved.key AS bigint), moved.value, 0 \
        FROM lists CROSS JOIN json_each(lists.value) AS moved WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank",
    // The document is parsed once, and each rank is then looked up in it by key.
    postgres: "UPDATE segments SET rank = \
        ((SELECT $3::jsonb) #>> ARRAY[collection_id, segment_id::text])::bigint \
        WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM segments WHERE tenant_id = $1 \
        AND collection_id = lists.key AND list = lists.code AND segment_id = moved.key::bigint) \
        FROM lists, json_object_keys(lists.value) AS moved(key)))",
};

/// Inserts or updates the ids in segments. `$4` has the ids of all these segments, and `$3` where
/// they start in it (from 1) and their length, in bytes, by segment id. They are not in the JSON
/// document, where each separator would have to be escaped and parsed again.
const PUT_CONTENTS: Sql = Sql {
    sqlite: "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, id_list) \
        SELECT $1, lists.key, lists.code, CAST(put.key AS bigint), \
        CAST(substr($4, put.value ->> 0, put.value ->> 1) AS text) \
        FROM lists CROSS JOIN json_each(lists.value) AS put WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET id_list = excluded.id_list",
    postgres: "INSERT INTO segment_contents (tenant_id, collection_id, list, segment_id, id_list) \
        SELECT $1, lists.key, lists.code, put.key::bigint, convert_from(\
        substring($4::bytea, (put.value ->> 0)::integer, (put.value ->> 1)::integer), 'UTF8') \
        FROM lists, json_each(lists.value) AS put \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET id_list = excluded.id_list",
};

/// Writes the segments of children; `$3` has an array of child ids by segment id.
macro_rules! put_members {
    ($also:literal) => {
        Sql {
            sqlite: concat!(
                "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
                SELECT $1, lists.key, lists.code, child.value, CAST(home.key AS bigint) \
                FROM lists CROSS JOIN json_each(lists.value) AS home \
                CROSS JOIN json_each(home.value) AS child WHERE true",
                $also
            ),
            postgres: concat!(
                "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
                SELECT $1, lists.key, lists.code, child.value, home.key::bigint \
                FROM lists, json_each(lists.value) AS home, \
                json_array_elements_text(home.value) AS child(value) WHERE true",
                $also
            ),
        }
    };
}

/// For children that are new in their lists.
const JOIN_MEMBERS: Sql = put_members!("");

/// For children that are, or may be, in their lists already.
const MOVE_MEMBERS: Sql = put_members!(
    " ON CONFLICT (tenant_id, collection_id, list, child_id) \
    DO UPDATE SET segment_id = excluded.segment_id"
);

/// Deletes rows by the last column of the primary key; `$3` has an array of its values per
/// collection. PostgreSQL deletes by row address (`ctid`), which is only found by key lookups, so
/// the planner cannot choose a scan.
macro_rules! drop_rows {
    ($table:literal, $column:literal, $type:literal) => {
        Sql {
            sqlite: concat!(
                "DELETE FROM ",
                $table,
                " WHERE (tenant_id, collection_id, list, ",
                $column,
                ") IN (SELECT $1, lists.key, lists.code, gone.value FROM lists \
                CROSS JOIN json_each(lists.value) AS gone)"
            ),
            postgres: concat!(
                "DELETE FROM ",
                $table,
                " WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM ",
                $table,
                " WHERE tenant_id = $1 AND collection_id = lists.key AND list = lists.code AND ",
                $column,
                " = gone.value::",
                $type,
                ") FROM lists, \
                json_array_elements_text(lists.value) AS gone(value)))"
            ),
        }
    };
}

const DROP_ENTRIES: Sql = drop_rows!("segments", "segment_id", "bigint");
const DROP_CONTENTS: Sql = drop_rows!("segment_contents", "segment_id", "bigint");
const DROP_MEMBERS: Sql = drop_rows!("members", "child_id", "text");

/// Empties lists except for the children in the arrays of `$3`. For two columns, `NOT IN` on SQLite
/// compares each row with all of these, to find NULLs.
const CLEAR_MEMBERS: Sql = Sql {
    sqlite: "DELETE FROM members WHERE (tenant_id, collection_id, list) IN \
        (SELECT $1, key, code FROM lists) \
        AND ((collection_id, child_id) IN (SELECT lists.key, kept.value \
        FROM lists CROSS JOIN json_each(lists.value) AS kept)) IS NOT TRUE",
    postgres: "DELETE FROM members WHERE ctid = ANY (ARRAY(SELECT found.ctid \
        FROM lists, LATERAL (\
        SELECT ctid, child_id FROM members WHERE tenant_id = $1 AND collection_id = lists.key \
        AND list = lists.code OFFSET 0) AS found \
        WHERE (lists.key, found.child_id) NOT IN (SELECT lists.key, kept.value \
        FROM lists, json_array_elements_text(lists.value) AS kept(value))))",
};

/// The segment of each child, by collection id. Children that are not in the list are left out.
pub(super) type Homes = HashMap<String, HashMap<ChildId, SegmentId>>;

/// Finds the segments of children.
pub(super) async fn homes(tx: &Tx, list: Lists, wanted: &Each<'_, &[ChildId]>) -> Result<Homes> {
    homes_by(tx, list, &HOMES, wanted).await
}

/// Like [`homes()`], and whether the tenant has a job.
pub(super) async fn homes_and_job(
    tx: &Tx,
    list: Lists,
    wanted: &Each<'_, &[ChildId]>,
) -> Result<(Homes, bool)> {
    let mut homes = homes_by(tx, list, &HOMES_AND_JOB, wanted).await?;
    let has_job = homes.remove("").is_some();
    Ok((homes, has_job))
}

async fn homes_by(tx: &Tx, list: Lists, sql: &Sql, wanted: &Each<'_, &[ChildId]>) -> Result<Homes> {
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

/// The children in segments, by collection id.
pub(super) async fn contents(
    tx: &Tx,
    list: Lists,
    wanted: &Each<'_, &[SegmentId]>,
) -> Result<HashMap<String, BTreeMap<SegmentId, Vec<ChildId>>>> {
    let mut contents: HashMap<_, BTreeMap<_, _>> = HashMap::new();
    for (collection, segment, ids) in look_up::<_, String>(tx, list, &CONTENTS, wanted).await? {
        let contents = contents.entry(collection).or_default();
        contents.insert(segment, split(&ids).collect());
    }
    Ok(contents)
}

/// One field of the differences, for the collections where it is not empty.
macro_rules! part {
    ($differences:ident, $part:ident) => {{
        let some = $differences.iter().filter(|(_, it)| !it.$part.is_empty());
        some.map(|(id, it)| (id.as_str(), &it.$part))
            .collect::<Each<'_, _>>()
    }};
}

/// Queues the statements that write the differences. No two of them write the same row.
pub(super) fn write(
    tx: &Tx,
    list: Lists,
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
    put_contents(tx, list, &part!(differences, contents))?;
    later(tx, list, &JOIN_MEMBERS, &part!(differences, joined))?;
    later(tx, list, &MOVE_MEMBERS, &part!(differences, moved))
}

/// Queues the statement that writes the ids in segments.
fn put_contents(
    tx: &Tx,
    list: Lists,
    contents: &Each<'_, &BTreeMap<SegmentId, String>>,
) -> Result<()> {
    let mut text = String::new();
    let places: Each<'_, BTreeMap<_, _>> = contents
        .iter()
        .map(|(collection, segments)| {
            let segments = segments.iter().map(|(segment, ids)| {
                let place = [text.len() + 1, ids.len()];
                text.push_str(ids);
                (segment, place)
            });
            (*collection, segments.collect())
        })
        .collect();
    if places.is_empty() {
        return Ok(());
    }
    let text = Some(text.into_bytes().into());
    queue(tx, list, PUT_CONTENTS.on_lists(tx, list, &places, text)?);
    Ok(())
}

/// The rows that a statement finds; it is not sent if nothing is wanted.
async fn look_up<A: TryGetable, B: TryGetable>(
    tx: &Tx,
    list: Lists,
    sql: &Sql,
    wanted: &Each<'_, impl Serialize>,
) -> Result<Vec<(String, A, B)>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let statement = sql.on_lists(tx, list, wanted, None)?;
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

fn later<T: Serialize>(tx: &Tx, list: Lists, sql: &Sql, rows: &Each<'_, T>) -> Result<()> {
    if !rows.is_empty() {
        queue(tx, list, sql.on_lists(tx, list, rows, None)?);
    }
    Ok(())
}

fn queue(tx: &Tx, list: Lists, statement: Statement) {
    tx.db().later(Write {
        statement,
        // The rows are counted from the differences instead.
        rows: 0,
        links: list == Lists::Current(ChildType::Collection),
    });
}

/// In one statement: the version of the one collection in `$3` and whether it is smart, as a row
/// without ids, and the ids in those of its segments that `$3` has an array of.
const VERSION_AND_CONTENTS: Sql = Sql {
    sqlite: "SELECT version, NULL, smart FROM collections \
        WHERE tenant_id = $1 AND id = (SELECT key FROM lists) \
        UNION ALL SELECT segment_id, id_list, NULL FROM lists \
        CROSS JOIN json_each(lists.value) AS wanted CROSS JOIN segment_contents \
        WHERE tenant_id = $1 AND collection_id = lists.key AND list = lists.code \
        AND segment_id = wanted.value",
    postgres: "SELECT version, NULL, smart FROM collections \
        WHERE tenant_id = $1 AND id = (SELECT key FROM lists) \
        UNION ALL SELECT found.*, NULL FROM lists, \
        json_array_elements_text(lists.value) AS wanted(value), LATERAL (\
        SELECT segment_id, id_list FROM segment_contents WHERE tenant_id = $1 \
        AND collection_id = lists.key AND list = lists.code \
        AND segment_id = wanted.value::bigint \
        OFFSET 0) AS found",
};

/// The children in segments, and whether the collection is smart; `None` if the collection's
/// version is not `version`.
pub(super) async fn contents_at(
    list: Children<'_>,
    version: i64,
    wanted: &[SegmentId],
) -> Result<Option<(BTreeMap<SegmentId, Vec<ChildId>>, bool)>> {
    let wanted = Each::from([(list.collection.as_str(), wanted)]);
    let statement = VERSION_AND_CONTENTS.on_lists(list.tx, list.list.into(), &wanted, None)?;
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
