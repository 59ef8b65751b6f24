//! Tenants: they come into being with their first collection, roots and all.

use sea_orm::{ActiveValue::Set, EntityTrait as _};

use super::{Tx, collections, entity::tenant};
use crate::domain::{Collection, CollectionId, Locale, Result, RootNames, ids};

/// Makes the tenant and its two roots where this is its first write.
///
/// # Errors
/// Where the database fails.
pub async fn ensure(tx: &Tx, names: RootNames, default_locale: &Locale) -> Result<()> {
    let found = tenant::Entity::find_by_id(tx.tenant()).one(tx.db()).await?;
    if found.is_some() {
        return Ok(());
    }
    let row = tenant::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        create_time: Set(tx.now.micros()),
        collection_count: Set(0),
        graph_version: Set(0),
        version_floor: Set(0),
    };
    // Another's first write may come between; then its roots stand.
    tenant::Entity::insert(row)
        .on_conflict_do_nothing()
        .exec_without_returning(tx.db())
        .await?;
    for id in [ids::ROOT, ids::NON_NAVIGABLE_ROOT] {
        let root = Collection::root(CollectionId::trusted(id), names, tx.now, default_locale);
        collections::insert_if_absent(tx, &root, default_locale).await?;
    }
    Ok(())
}
