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
    /// JSON; `None` for a manual collection.
    pub rules: Option<String>,
    pub rules_hash: String,
    pub rules_version: i64,
    /// The version of the tenant's rule set at the last change of these rules; 0 if the collection
    /// was never smart.
    pub rules_stamp: i64,
    /// 1: the list follows the rules. 2: a job is evaluating new rules.
    pub rules_state: i16,
    /// Whether rules of other collections may reference it. Never reset.
    pub named: bool,
    /// JSON: the sort order of the products; empty if the order is manual.
    pub sort: String,
    /// JSON: for each locale, texts by field name, and keywords.
    pub texts: String,
    /// The case-folded display name in the default locale.
    pub search_name: String,
    /// JSON.
    pub images: String,
    /// Whether it is active: 1 yes, 2 no, 3 inherited from its parents.
    pub active: i16,
    /// JSON: values by property name.
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
