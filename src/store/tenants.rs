//! Tenants. A tenant's row and its roots are created with its first write. The row represents the
//! tenant's graph of collections: it is locked before the graph changes.

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, QueryTrait as _,
};

use super::{
    cell::Cell, collections, entity::tenant, error::needs_more_locks, ledger::Graph,
    lock_set::LockSet, row::count_to_row, rules, statements::Write, tx::Tx,
};
use crate::domain::{Collection, CollectionId, Error, Locale, Result, RootNames, ids};

/// Creates the tenant and its two roots if this is its first write, and locks its graph.
///
/// # Errors
/// If the database fails.
pub async fn ensure_locked(tx: &Tx, names: RootNames, default_locale: &Locale) -> Result<()> {
    lock_graph(tx).await?;
    if tx.with_ledger(|ledger| ledger.graph.is_none()) {
        make(tx, names, default_locale).await?;
        lock_graph(tx).await?;
    }
    Ok(())
}

/// Creates the tenant and its two roots if this is its first write.
///
/// # Errors
/// If the database fails.
pub async fn ensure(tx: &Tx, names: RootNames, default_locale: &Locale) -> Result<()> {
    let found = tenant::Entity::find_by_id(tx.tenant()).one(tx.db()).await?;
    if found.is_none() {
        make(tx, names, default_locale).await?;
    }
    Ok(())
}

async fn make(tx: &Tx, names: RootNames, default_locale: &Locale) -> Result<()> {
    let row = tenant::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        create_time: Set(tx.now.micros()),
        collection_count: Set(0),
        graph_version: Set(0),
        version_floor: Set(0),
        names_missing: Set(false),
    };
    // Another transaction may create the tenant at the same time; then its rows are kept.
    tenant::Entity::insert(row)
        .on_conflict_do_nothing()
        .exec_without_returning(tx.db())
        .await?;
    rules::create(tx).await?;
    for id in [ids::ROOT, ids::NON_NAVIGABLE_ROOT] {
        let root = Collection::root(CollectionId::trusted(id), names, tx.now, default_locale);
        collections::insert_if_absent(tx, &root, default_locale).await?;
    }
    Ok(())
}

/// The number of the tenant's collections, without the roots; `None` if the tenant does not exist
/// yet.
pub(super) async fn collection_count(tx: &Tx) -> Result<Option<u64>> {
    let row = tenant::Entity::find_by_id(tx.tenant()).one(tx.db()).await?;
    row.map(|row| count_cell(tx).count(row.collection_count))
        .transpose()
}

/// Whether the tenant is marked as one whose rules may reference collections that do not exist.
pub(super) async fn names_missing(tx: &Tx) -> Result<bool> {
    let row = tenant::Entity::find_by_id(tx.tenant()).one(tx.db()).await?;
    Ok(row.is_some_and(|row| row.names_missing))
}

fn count_cell(tx: &Tx) -> Cell<'_> {
    Cell {
        table: "tenants",
        tenant: tx.tenant(),
        key: "",
        column: "collection_count",
    }
}

/// Locks the tenant's graph, unless this unit has locked it already.
pub(super) async fn lock_graph(tx: &Tx) -> Result<()> {
    if tx.with_ledger(|ledger| ledger.graph.is_some()) {
        return Ok(());
    }
    let row = tenant::Entity::find_by_id(tx.tenant())
        .lock_exclusive()
        .one(tx.db())
        .await?;
    let cell = count_cell(tx);
    let graph = row.map(|row| {
        Ok::<_, Error>(Graph {
            collections: cell.count(row.collection_count)?,
            version: row.graph_version,
            version_floor: row.version_floor,
            names_missing: row.names_missing,
        })
    });
    let graph = graph.transpose()?;
    tx.with_ledger(|ledger| ledger.graph = graph);
    Ok(())
}

/// Marks the tenant as one whose rules may reference collections that do not exist.
///
/// # Errors
/// If the graph is not locked yet, so that the transaction must start over.
pub(super) fn note_missing(tx: &Tx) -> Result<()> {
    if tx.with_ledger(|ledger| ledger.graph.is_none()) {
        return Err(needs_more_locks(LockSet {
            graph: true,
            ..LockSet::default()
        }));
    }
    tx.with_ledger(|ledger| ledger.names_missing = true);
    Ok(())
}

/// Writes the tenant's row if the changes in the ledger require it.
pub(super) fn settle(tx: &Tx) {
    let graph = tx.with_ledger(|ledger| ledger.graph_after(tx.now));
    let Some(graph) = graph else { return };
    let update = tenant::Entity::update_many()
        .set(tenant::ActiveModel {
            collection_count: Set(count_to_row(graph.collections)),
            graph_version: Set(graph.version),
            version_floor: Set(graph.version_floor),
            names_missing: Set(graph.names_missing),
            ..tenant::ActiveModel::default()
        })
        .filter(tenant::Column::TenantId.eq(tx.tenant()));
    tx.db().later(Write {
        statement: update.build(tx.db().get_database_backend()),
        rows: 1,
        links: false,
    });
}
