//! Tenants: they come into being with their first collection, roots and all.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use super::{Tx, collections, entity::tenant};
use crate::domain::{Collection, CollectionId, Error, Locale, Reason, Result, ids};

/// Makes the tenant and its two roots where this is its first write.
///
/// # Errors
/// Where the database fails.
pub async fn ensure(tx: &Tx, default_locale: &Locale) -> Result<()> {
    let found = tenant::Entity::find_by_id(tx.tenant()).one(&tx.db).await?;
    if found.is_some() {
        return Ok(());
    }
    let row = tenant::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        create_time: Set(tx.now.micros()),
        collection_count: Set(0),
    };
    // Another's first write may come between; then its roots stand.
    tenant::Entity::insert(row)
        .on_conflict_do_nothing()
        .exec_without_returning(&tx.db)
        .await?;
    for id in [ids::ROOT, ids::NON_NAVIGABLE_ROOT] {
        let root = Collection::root(CollectionId::trusted(id), tx.now, default_locale);
        collections::insert_if_absent(tx, &root, default_locale).await?;
    }
    Ok(())
}

/// Counts one more collection of the tenant.
///
/// # Errors
/// [`Reason::TooManyCollections`] where it has `max` already; where the database fails.
pub async fn add_collection(tx: &Tx, max: usize) -> Result<()> {
    let is_full =
        Expr::col(tenant::Column::CollectionCount).gte(i64::try_from(max).unwrap_or(i64::MAX));
    let count = Expr::col(tenant::Column::CollectionCount).add(1);
    let counted = tenant::Entity::update_many()
        .col_expr(tenant::Column::CollectionCount, count)
        .filter(tenant::Column::TenantId.eq(tx.tenant()))
        .filter(is_full.not())
        .exec(&tx.db)
        .await?;
    if counted.rows_affected == 0 {
        return Err(Error::new(
            Reason::TooManyCollections,
            format!("the tenant has {max} collections, which is the limit"),
        ));
    }
    Ok(())
}

/// Counts one collection of the tenant less.
///
/// # Errors
/// Where the database fails.
pub async fn remove_collection(tx: &Tx) -> Result<()> {
    let count = Expr::col(tenant::Column::CollectionCount).sub(1);
    tenant::Entity::update_many()
        .col_expr(tenant::Column::CollectionCount, count)
        .filter(tenant::Column::TenantId.eq(tx.tenant()))
        .exec(&tx.db)
        .await?;
    Ok(())
}

/// Locks the tenant's graph of collections against other changes of links, so that
/// two of them can't make a circle together.
///
/// # Errors
/// Where the database fails.
pub async fn lock_graph(tx: &Tx) -> Result<()> {
    tenant::Entity::find_by_id(tx.tenant())
        .lock_exclusive()
        .one(&tx.db)
        .await?;
    Ok(())
}
