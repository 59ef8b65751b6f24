//! A tenant. Its row also serves as the lock on the tenant's graph.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    pub create_time: i64,
    /// The number of its collections, without the roots.
    pub collection_count: i64,
    /// Changes when an existing collection's parents or effective `active` may have changed.
    pub graph_version: i64,
    /// The highest version of any deleted collection.
    pub version_floor: i64,
    /// Whether rules may reference collections that do not exist.
    pub names_missing: bool,
}

impl ActiveModelBehavior for ActiveModel {}
