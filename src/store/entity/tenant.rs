//! A tenant that holds something. Its row is the lock of the tenant's graph.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    pub create_time: i64,
    /// Its collections, the roots not counted.
    pub collection_count: i64,
    /// Moves where an existing collection's parents or effective `active` may change.
    pub graph_version: i64,
    /// The highest version of a collection that was deleted.
    pub version_floor: i64,
    /// Whether rules may name collections that are not there.
    pub names_missing: bool,
}

impl ActiveModelBehavior for ActiveModel {}
