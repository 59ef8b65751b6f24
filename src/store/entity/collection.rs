//! A collection without its children.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "collections")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub internal_name: String,
    pub slug: String,
    pub slug_chosen: bool,
    pub smart: bool,
    /// JSON; none for a manual collection.
    pub rules: Option<String>,
    pub rules_hash: String,
    pub rules_version: i64,
    /// The version that the tenant's rule set got when the rules last changed; 0 for what never
    /// was smart.
    pub rules_stamp: i64,
    /// 1 the list follows the rules, 2 a job evaluates them.
    pub rules_state: i16,
    /// Whether the rules of others may name it; stays once it is so.
    pub named: bool,
    /// JSON: the order of the products; empty where people give it.
    pub sort: String,
    /// JSON: locale to field to text, or to keywords.
    pub texts: String,
    /// The folded display name in the default locale.
    pub search_name: String,
    /// JSON.
    pub images: String,
    /// 1 yes, 2 no, 3 inherit.
    pub active: i16,
    /// JSON: name to value.
    pub custom_properties: String,
    pub catalog_id: Option<String>,
    pub product_count: i64,
    pub collection_count: i64,
    /// Microseconds since 1970.
    pub create_time: i64,
    /// Microseconds since 1970.
    pub update_time: i64,
    pub version: i64,
}

impl ActiveModelBehavior for ActiveModel {}
