//! The statements of the lists over many ids, written out: the ids are bound as one JSON
//! text, where the ORM would bind each column of each row (`benches/children` shows what
//! that costs when a list is loaded).
//!
//! Each id is found by its whole key, so that no plan hangs on statistics: PostgreSQL
//! without them takes a list for a row or two, and would read a million of them to find
//! a hundred.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};
use serde::Serialize;

use super::{
    directory::{Rank, SegmentId},
    handle::Children,
    list::Homes,
    rows::{list_code, split},
};
use crate::domain::{ChildId, Error, Result};

/// One statement as each engine has it. `$1` to `$3` are the list's key, `$4` is JSON.
struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

/// Both statements that find where children are: `$4` is an array of ids. Each join is one that
/// the engine can't turn round.
macro_rules! homes {
    ($also:literal) => {
        Sql {
            sqlite: concat!(
                "SELECT child_id, segment_id FROM json_each($4) AS wanted CROSS JOIN members \
                WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 \
                AND child_id = wanted.value",
                $also
            ),
            postgres: concat!(
                "SELECT child_id, segment_id \
                FROM json_array_elements_text($4::json) AS wanted(value), LATERAL (\
                SELECT child_id, segment_id FROM members WHERE tenant_id = $1 \
                AND collection_id = $2 AND list = $3 AND child_id = wanted.value \
                OFFSET 0) AS found",
                $also
            ),
        }
    };
}

const HOMES: Sql = homes!("");

/// Has a row more, of an id that no child has, if the tenant has a job: a write learns that
/// without a statement of its own.
const HOMES_AND_JOB: Sql =
    homes!(" UNION ALL SELECT '', 0 WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.tenant_id = $1)");

/// `$4` is an array of segments' ids.
const CONTENTS: Sql = Sql {
    sqlite: "SELECT segment_id, id_list FROM json_each($4) AS wanted CROSS JOIN segment_contents \
        WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 AND segment_id = wanted.value",
    postgres: "SELECT segment_id, id_list \
        FROM json_array_elements_text($4::json) AS wanted(value), LATERAL (\
        SELECT segment_id, id_list FROM segment_contents WHERE tenant_id = $1 \
        AND collection_id = $2 AND list = $3 AND segment_id = wanted.value::bigint \
        OFFSET 0) AS found",
};

/// `$4` has for each segment's id its rank and its length.
const PUT_ENTRIES: Sql = Sql {
    sqlite: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, $2, $3, CAST(entry.key AS bigint), entry.value ->> 0, entry.value ->> 1 \
        FROM json_each($4) AS entry WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank, len = excluded.len",
    postgres: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, $2, $3, entry.key::bigint, \
        (entry.value ->> 0)::bigint, (entry.value ->> 1)::bigint \
        FROM json_each($4::json) AS entry \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank, len = excluded.len",
};

/// `$4` has for each segment's id its rank; the rows are there. Half of a long list's
/// segments may be in it, so each engine has the form that it is quick at: SQLite would
/// plan an update to read the list anew for each, and PostgreSQL locks a row that an
/// insert meets before it changes it.
const PUT_RANKS: Sql = Sql {
    sqlite: "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
        SELECT $1, $2, $3, CAST(moved.key AS bigint), moved.value, 0 \
        FROM json_each($4) AS moved WHERE true \
        ON CONFLICT (tenant_id, collection_id, list, segment_id) \
        DO UPDATE SET rank = excluded.rank",
    postgres: "UPDATE segments SET rank = moved.value::bigint \
        FROM json_each_text($4::json) AS moved \
        WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 \
        AND segment_id = moved.key::bigint",
};

/// Both statements that write where children are: `$4` has for each segment's id an
/// array of children.
macro_rules! put_members {
    ($also:literal) => {
        Sql {
            sqlite: concat!(
                "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
                SELECT $1, $2, $3, child.value, CAST(home.key AS bigint) \
                FROM json_each($4) AS home, json_each(home.value) AS child WHERE true",
                $also
            ),
            postgres: concat!(
                "INSERT INTO members (tenant_id, collection_id, list, child_id, segment_id) \
                SELECT $1, $2, $3, child.value, home.key::bigint \
                FROM json_each($4::json) AS home, \
                json_array_elements_text(home.value) AS child(value) WHERE true",
                $also
            ),
        }
    };
}

/// The children are new in the list.
const JOIN_MEMBERS: Sql = put_members!("");

/// The children are in the list.
const MOVE_MEMBERS: Sql = put_members!(
    " ON CONFLICT (tenant_id, collection_id, list, child_id) \
    DO UPDATE SET segment_id = excluded.segment_id"
);

/// `$4` is an array of children. PostgreSQL deletes by the rows' addresses, which only
/// a look-up by key can give.
const DROP_MEMBERS: Sql = Sql {
    sqlite: "DELETE FROM members WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 \
        AND child_id IN (SELECT value FROM json_each($4))",
    postgres: "DELETE FROM members WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM members \
        WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 AND child_id = gone.value) \
        FROM json_array_elements_text($4::json) AS gone(value)))",
};

/// Both statements that remove rows of segments: `$4` is an array of segments' ids.
macro_rules! drop_segments {
    ($table:literal) => {
        Sql {
            sqlite: concat!(
                "DELETE FROM ",
                $table,
                " WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 \
                AND segment_id IN (SELECT value FROM json_each($4))"
            ),
            postgres: concat!(
                "DELETE FROM ",
                $table,
                " WHERE ctid = ANY (ARRAY(SELECT (SELECT ctid FROM ",
                $table,
                " WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 \
                AND segment_id = gone.value::bigint) \
                FROM json_array_elements_text($4::json) AS gone(value)))"
            ),
        }
    };
}

const DROP_ENTRIES: Sql = drop_segments!("segments");
const DROP_CONTENTS: Sql = drop_segments!("segment_contents");

impl Children<'_> {
    /// Which segment has each of the children; those not in the list are left out.
    pub(super) async fn homes(self, children: &[ChildId]) -> Result<HashMap<ChildId, SegmentId>> {
        self.homes_by(&HOMES, children).await
    }

    /// The same, and whether the tenant has a job.
    pub(super) async fn homes_and_job(
        self,
        children: &[ChildId],
    ) -> Result<(HashMap<ChildId, SegmentId>, bool)> {
        let mut homes = self.homes_by(&HOMES_AND_JOB, children).await?;
        let has_job = homes.remove(&ChildId::trusted("")).is_some();
        Ok((homes, has_job))
    }

    async fn homes_by(
        self,
        sql: &Sql,
        children: &[ChildId],
    ) -> Result<HashMap<ChildId, SegmentId>> {
        let wanted: Vec<_> = children.iter().map(ChildId::as_str).collect();
        let found: Vec<(String, SegmentId)> = self.look_up(sql, &wanted).await?;
        let found = found.into_iter();
        Ok(found
            .map(|(child, home)| (ChildId::trusted(child), home))
            .collect())
    }

    /// The ids of the segments named.
    pub(super) async fn contents(
        self,
        wanted: &[SegmentId],
    ) -> Result<BTreeMap<SegmentId, Vec<ChildId>>> {
        let found: Vec<(SegmentId, String)> = self.look_up(&CONTENTS, wanted).await?;
        let found = found.into_iter();
        Ok(found.map(|(id, ids)| (id, split(&ids).collect())).collect())
    }

    /// Writes where segments stand and how long they are, new or changed.
    pub(super) async fn put_entries(
        self,
        entries: &BTreeMap<SegmentId, (Rank, usize)>,
    ) -> Result<u64> {
        let is_empty = entries.is_empty();
        self.execute(&PUT_ENTRIES, entries, is_empty).await
    }

    /// Writes where segments stand that are stored.
    pub(super) async fn put_ranks(self, ranks: &BTreeMap<SegmentId, Rank>) -> Result<u64> {
        self.execute(&PUT_RANKS, ranks, ranks.is_empty()).await
    }

    /// Writes where new children are.
    pub(super) async fn join_members(self, joined: &Homes<'_>) -> Result<u64> {
        self.execute(&JOIN_MEMBERS, joined, joined.is_empty()).await
    }

    /// Writes where children are that were elsewhere in the list.
    pub(super) async fn move_members(self, moved: &Homes<'_>) -> Result<u64> {
        self.execute(&MOVE_MEMBERS, moved, moved.is_empty()).await
    }

    /// Removes children's rows.
    pub(super) async fn drop_members(self, children: &[&ChildId]) -> Result<u64> {
        let gone: Vec<_> = children.iter().map(|id| id.as_str()).collect();
        self.execute(&DROP_MEMBERS, &gone, gone.is_empty()).await
    }

    /// Removes segments.
    pub(super) async fn drop_segments(self, gone: &[SegmentId]) -> Result<u64> {
        let entries = self.execute(&DROP_ENTRIES, &gone, gone.is_empty()).await?;
        let contents = self.execute(&DROP_CONTENTS, &gone, gone.is_empty()).await?;
        Ok(entries + contents)
    }

    async fn look_up<K, V>(self, sql: &Sql, wanted: &[impl Serialize]) -> Result<Vec<(K, V)>>
    where
        K: sea_orm::TryGetable,
        V: sea_orm::TryGetable,
    {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let statement = self.statement(sql, wanted)?;
        let rows = self.tx.db().query_all_raw(statement).await?;
        rows.iter()
            .map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)))
            .collect()
    }

    /// How many rows were written or removed.
    async fn execute(self, sql: &Sql, rows: &impl Serialize, is_empty: bool) -> Result<u64> {
        if is_empty {
            return Ok(0);
        }
        let statement = self.statement(sql, rows)?;
        Ok(self.tx.db().execute_raw(statement).await?.rows_affected())
    }

    fn statement(self, sql: &Sql, rows: &(impl Serialize + ?Sized)) -> Result<Statement> {
        let backend = self.tx.db().get_database_backend();
        let text = if backend == DbBackend::Postgres {
            sql.postgres
        } else {
            sql.sqlite
        };
        let rows = serde_json::to_string(rows).map_err(Error::internal)?;
        let values: [Value; 4] = [
            self.tx.tenant().into(),
            self.collection.as_str().into(),
            list_code(self.list).into(),
            rows.into(),
        ];
        Ok(Statement::from_sql_and_values(backend, text, values))
    }
}

/// The version of the collection, with nothing beside it, and the ids of the segments in `$4`.
const VERSION_AND_CONTENTS: Sql = Sql {
    sqlite: "SELECT version, NULL FROM collections WHERE tenant_id = $1 AND id = $2 \
        UNION ALL SELECT segment_id, id_list FROM json_each($4) AS wanted \
        CROSS JOIN segment_contents WHERE tenant_id = $1 AND collection_id = $2 AND list = $3 \
        AND segment_id = wanted.value",
    postgres: "SELECT version, NULL FROM collections WHERE tenant_id = $1 AND id = $2 \
        UNION ALL SELECT found.* FROM json_array_elements_text($4::json) AS wanted(value), \
        LATERAL (SELECT segment_id, id_list FROM segment_contents WHERE tenant_id = $1 \
        AND collection_id = $2 AND list = $3 AND segment_id = wanted.value::bigint OFFSET 0) \
        AS found",
};

impl Children<'_> {
    /// The ids of the segments named, where the collection has that version; else none.
    pub(super) async fn contents_at(
        self,
        version: i64,
        wanted: &[SegmentId],
    ) -> Result<Option<BTreeMap<SegmentId, Vec<ChildId>>>> {
        let statement = self.statement(&VERSION_AND_CONTENTS, wanted)?;
        let (mut current, mut contents) = (None, BTreeMap::new());
        for row in self.tx.db().query_all_raw(statement).await? {
            let number: i64 = row.try_get_by_index(0)?;
            let ids: Option<String> = row.try_get_by_index(1)?;
            match ids {
                Some(ids) => drop(contents.insert(number, split(&ids).collect())),
                None => current = Some(number),
            }
        }
        Ok((current == Some(version)).then_some(contents))
    }
}
