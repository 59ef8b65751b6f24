//! A running evaluation of a collection's rules by a job.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "evaluations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub collection_id: String,
    /// The job that evaluates the rules. Its lists collect candidates for the new list.
    pub job_id: String,
    /// JSON: the old rules, which the list follows until the job is done; `None` if it was manual.
    pub rules: Option<String>,
    /// JSON: the old sort order, which the list has until then; empty if it was manual.
    pub sort: String,
    /// The last product over which the new rules were evaluated; empty at the start.
    pub last_product: String,
    /// The number of products over which the new rules were evaluated.
    pub done: i64,
    /// The number of products at the start.
    pub total: i64,
    /// Whether more products moved in the list than can be recorded since the job began to build the
    /// next list, which thus can't become the current one.
    pub outdated: bool,
}

impl ActiveModelBehavior for ActiveModel {}
