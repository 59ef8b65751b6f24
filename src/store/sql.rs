//! Hand-written statements, which have a text for each engine.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, Value};

use super::tx::Tx;

/// The text of a hand-written statement for both engines.
pub(super) struct Sql {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Sql {
    /// The text for the engine of the transaction.
    pub(super) fn text(&self, tx: &Tx) -> &'static str {
        if tx.db().get_database_backend() == DbBackend::Postgres {
            self.postgres
        } else {
            self.sqlite
        }
    }

    /// The statement for the engine of the transaction, with the values of its parameters.
    pub(super) fn statement(&self, tx: &Tx, values: impl IntoIterator<Item = Value>) -> Statement {
        let backend = tx.db().get_database_backend();
        Statement::from_sql_and_values(backend, self.text(tx), values)
    }
}
