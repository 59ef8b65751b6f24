//! Rules that a job evaluates, because it takes longer than one transaction may. What may be in the
//! new list is gathered among the job's lists: the products that match, and those that change
//! meanwhile. Until all are, the list follows the rules that it followed before.

use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::{
    domain::{Collection, CollectionId, Kind, ProductId, Progress, Result, RulesState, Sort},
    store::{
        cell::Cell,
        entity::evaluation as row,
        jobs::{self, Task},
        row::{self as encoded, count_to_row, counted},
        tx::Tx,
    },
};

/// Rules that a job evaluates.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The job that does.
    pub job: String,
    /// The rules that the list follows until then: none of a manual collection.
    pub kind: Kind,
    /// The order that it has until then.
    pub sort: Option<Sort>,
    /// Up to which product the new rules are evaluated.
    pub last: Option<ProductId>,
    /// How far it is.
    pub progress: Progress,
}

/// The evaluation of a collection's rules, if there is one.
///
/// # Errors
/// Where the database fails.
pub async fn get(tx: &Tx, id: &CollectionId) -> Result<Option<Evaluation>> {
    let row = row::Entity::find_by_id((tx.tenant().to_owned(), id.to_string()));
    row.one(tx.db()).await?.map(decode).transpose()
}

/// How far the evaluation of each collection's rules is; the others are left out.
///
/// # Errors
/// Where the database fails.
pub async fn progress(
    tx: &Tx,
    collections: &[Collection],
) -> Result<HashMap<CollectionId, Progress>> {
    let is_evaluating = |it: &Collection| it.rules_state == RulesState::Evaluating;
    if !collections.iter().any(is_evaluating) {
        return Ok(HashMap::new());
    }
    let all = all(tx).await?.into_iter();
    Ok(all.map(|(id, it)| (id, it.progress)).collect())
}

/// The evaluations of the tenant, by collection.
pub(in crate::store) async fn all(tx: &Tx) -> Result<HashMap<CollectionId, Evaluation>> {
    let rows = row::Entity::find().filter(row::Column::TenantId.eq(tx.tenant()));
    let rows = rows.all(tx.db()).await?.into_iter();
    let evaluation = |row: row::Model| {
        let id = CollectionId::trusted(&*row.collection_id);
        Ok((id, decode(row)?))
    };
    rows.map(evaluation).collect()
}

/// The rules and the order that the list of a collection follows.
///
/// # Errors
/// Where the database fails.
pub async fn followed(tx: &Tx, collection: &Collection) -> Result<(Kind, Option<Sort>)> {
    if collection.rules_state == RulesState::Evaluating
        && let Some(found) = get(tx, &collection.id).await?
    {
        return Ok((found.kind, found.sort));
    }
    Ok((collection.kind.clone(), collection.sort.clone()))
}

/// Lets a job evaluate the rules of a collection, whose list goes on as `before` said. The tenant's
/// rules must be locked exclusively.
pub(in crate::store) async fn begin(tx: &Tx, before: &Collection, total: u64) -> Result<()> {
    let (kind, sort) = followed(tx, before).await?;
    end(tx, &before.id).await?;
    let task = Task::Evaluate {
        collection: before.id.to_string(),
    };
    let row = row::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        collection_id: Set(before.id.to_string()),
        job_id: Set(jobs::add(tx, &task).await?),
        rules: Set(encoded::rules_to_row(&kind)?),
        sort: Set(encoded::sort_to_row(sort.as_ref())?),
        last_product: Set(String::new()),
        done: Set(0),
        total: Set(count_to_row(total)),
    };
    row::Entity::insert(row)
        .exec_without_returning(tx.db())
        .await?;
    Ok(())
}

/// Notes up to which product rules are evaluated, and how many that are in all.
///
/// # Errors
/// Where the database fails.
pub async fn advance(tx: &Tx, id: &CollectionId, last: &ProductId, done: u64) -> Result<()> {
    row::Entity::update_many()
        .set(row::ActiveModel {
            last_product: Set(last.to_string()),
            done: Set(count_to_row(done)),
            ..row::ActiveModel::default()
        })
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::CollectionId.eq(id.as_str()))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Removes the evaluation of a collection's rules, if there is one, and its job.
///
/// # Errors
/// Where the database fails.
pub async fn end(tx: &Tx, id: &CollectionId) -> Result<()> {
    let Some(evaluation) = get(tx, id).await? else {
        return Ok(());
    };
    row::Entity::delete_by_id((tx.tenant().to_owned(), id.to_string()))
        .exec(tx.db())
        .await?;
    jobs::remove(tx, &evaluation.job).await
}

fn decode(row: row::Model) -> Result<Evaluation> {
    let cell = |column| Cell {
        table: "evaluations",
        tenant: &row.tenant_id,
        key: &row.collection_id,
        column,
    };
    let is_smart = row.rules.is_some();
    Ok(Evaluation {
        kind: encoded::kind(cell("rules"), is_smart, row.rules.as_deref())?,
        sort: encoded::sort(cell("sort"), &row.sort)?,
        job: row.job_id,
        last: (!row.last_product.is_empty()).then(|| ProductId::trusted(row.last_product)),
        progress: Progress {
            done: counted(row.done),
            total: counted(row.total),
        },
    })
}
