//! Hand-written statements on any number of lists of one kind, with one JSON document as their
//! parameter.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};
use serde::Serialize;

use super::lists::Lists;
use crate::{
    domain::{Error, Result},
    store::tx::Tx,
};

/// A statement for both engines on the rows of `lists`, which has the columns `key` (the id of a
/// collection), `code` (that of the list's rows) and `value` (the JSON value of the collection).
/// Parameters: `$1` the tenant, `$2` and `$3` those of [`LISTS`], and `$4` where the statement's
/// own comment says so.
pub(in crate::store) struct Sql {
    pub(in crate::store) sqlite: &'static str,
    pub(in crate::store) postgres: &'static str,
}

/// What precedes each statement. `$2` is [`Lists::parameter`], and `$3` a JSON object with one value
/// per collection id. MATERIALIZED looks up the code once per list, not once per child.
const LISTS: Sql = Sql {
    sqlite: "WITH lists AS MATERIALIZED (SELECT each.key, each.value, CASE $2 WHEN 0 THEN \
        coalesce((SELECT 3 FROM switched_lists WHERE tenant_id = $1 \
        AND collection_id = each.key), 1) ELSE $2 END AS code \
        FROM json_each($3) AS each) ",
    postgres: "WITH lists AS MATERIALIZED (SELECT each.key, each.value, \
        (CASE $2::smallint WHEN 0 THEN coalesce((SELECT 3 FROM switched_lists \
        WHERE tenant_id = $1 AND collection_id = each.key), 1) \
        ELSE $2::smallint END)::smallint AS code FROM json_each($3::json) AS each) ",
};

impl Sql {
    /// The statement with its parameters: the lists, the values of `$3`, and `$4` if it has one.
    pub(in crate::store) fn statement(
        &self,
        tx: &Tx,
        list: Lists,
        rows: &impl Serialize,
        also: Option<Value>,
    ) -> Result<Statement> {
        let backend = tx.db().get_database_backend();
        let text = if backend == DbBackend::Postgres {
            [LISTS.postgres, self.postgres].concat()
        } else {
            [LISTS.sqlite, self.sqlite].concat()
        };
        let rows = serde_json::to_string(rows).map_err(Error::internal)?;
        let values: [Value; 3] = [tx.tenant().into(), list.parameter().into(), rows.into()];
        let values = values.into_iter().chain(also);
        Ok(Statement::from_sql_and_values(backend, text, values))
    }
}
