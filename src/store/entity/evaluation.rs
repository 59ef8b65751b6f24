//! Rules that a job evaluates.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "evaluations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collection_id: String,
    /// The job that evaluates them, whose lists have what may be in the new list.
    pub job_id: String,
    /// JSON: the rules that the list follows until then; none of a collection without.
    pub rules: Option<String>,
    /// JSON: the order that it has until then; empty where people give it.
    pub sort: String,
    /// Up to which product the new rules are evaluated; empty before the first.
    pub last_product: String,
    /// How many products are.
    pub done: i64,
    /// How many products there were at the start.
    pub total: i64,
}

impl ActiveModelBehavior for ActiveModel {}
