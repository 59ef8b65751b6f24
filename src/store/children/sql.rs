//! Hand-written statements on any number of lists of one kind, with one JSON document as their
//! parameter.

use sea_orm::{Statement, Value};
use serde::Serialize;

use super::lists::Lists;
use crate::{
    domain::{Error, Result},
    store::{sql::Sql, tx::Tx},
};

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
    /// The statement on the rows of `lists`, which has the columns `key` (the id of a collection),
    /// `code` (that of the list's rows) and `value` (the JSON value of the collection). Parameters:
    /// `$1` the tenant, `$2` and `$3` the lists and their values, and `$4` where the statement's own
    /// comment says so.
    pub(in crate::store) fn on_lists(
        &self,
        tx: &Tx,
        list: Lists,
        rows: &impl Serialize,
        also: Option<Value>,
    ) -> Result<Statement> {
        let rows = serde_json::to_string(rows).map_err(Error::internal)?;
        let values: [Value; 3] = [tx.tenant().into(), list.parameter().into(), rows.into()];
        let mut statement = self.statement(tx, values.into_iter().chain(also));
        statement.sql.insert_str(0, LISTS.text(tx));
        Ok(statement)
    }
}
