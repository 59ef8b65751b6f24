//! Evaluations of rules that are too large for one transaction, so that a job does them. Products
//! that change in the meantime are collected in the lists of the job. Until it finishes, the
//! collection's list keeps following the old rules.

use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::{
    domain::{Collection, CollectionId, Kind, Progress, Result, RulesState, Sort},
    store::{
        cell::Cell,
        entity::evaluation as row,
        jobs::{self, Task},
        row::{self as encoded, count_from_row, count_to_row},
        tx::Tx,
    },
};

/// A running evaluation of a collection's new rules.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The id of the job that evaluates them.
    pub job: String,
    /// The old kind and rules, which the list follows until the job finishes.
    pub kind: Kind,
    /// The old sort order, which the list has until then.
    pub sort: Option<Sort>,
    /// How many products are done, and how many there are.
    pub progress: Progress,
    /// Whether more products moved in the list than can be recorded since the job began to build the
    /// next list.
    pub outdated: bool,
}

/// The running evaluation of a collection's rules, if any.
///
/// # Errors
/// If the database fails.
pub async fn get(tx: &Tx, id: &CollectionId) -> Result<Option<Evaluation>> {
    let row = row::Entity::find_by_id((tx.tenant().to_owned(), id.to_string()));
    row.one(tx.db()).await?.map(decode).transpose()
}

/// The progress of the running evaluations. If none of `collections` is being evaluated, nothing is
/// read.
///
/// # Errors
/// If the database fails.
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

/// The running evaluations of the tenant, by collection.
pub(in crate::store) async fn all(tx: &Tx) -> Result<HashMap<CollectionId, Evaluation>> {
    let rows = row::Entity::find().filter(row::Column::TenantId.eq(tx.tenant()));
    let rows = rows.all(tx.db()).await?.into_iter();
    let evaluation = |row: row::Model| {
        let id = CollectionId::trusted(&*row.collection_id);
        Ok((id, decode(row)?))
    };
    rows.map(evaluation).collect()
}

/// The kind and sort order that a collection's list follows now: the old ones while new rules are
/// being evaluated.
///
/// # Errors
/// If the database fails.
pub async fn followed(tx: &Tx, collection: &Collection) -> Result<(Kind, Option<Sort>)> {
    if collection.rules_state == RulesState::Evaluating
        && let Some(found) = get(tx, &collection.id).await?
    {
        return Ok((found.kind, found.sort));
    }
    Ok((collection.kind.clone(), collection.sort.clone()))
}

/// Starts a job that evaluates the new rules of a collection. Until it finishes, the list follows
/// the rules and the order of `before`; `total` is the number of products. The tenant's rule set
/// must be locked exclusively.
pub(in crate::store) async fn begin(tx: &Tx, before: &Collection, total: u64) -> Result<()> {
    // If an evaluation is already running, its old rules are what the list follows, not those of
    // `before`, which were never applied to it. The new job replaces the running one.
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
        outdated: Set(false),
    };
    row::Entity::insert(row)
        .exec_without_returning(tx.db())
        .await?;
    Ok(())
}

/// Records how many products are done.
///
/// # Errors
/// If the database fails.
pub async fn advance(tx: &Tx, id: &CollectionId, done: u64) -> Result<()> {
    let changes = row::ActiveModel {
        // Versions that store what they find continue after this product. What this version finds is
        // only in memory, so whoever continues the job has to start over.
        last_product: Set(String::new()),
        done: Set(count_to_row(done)),
        ..row::ActiveModel::default()
    };
    update(tx, id, changes).await
}

/// Records whether more products moved in a list than can be recorded since the job that evaluates
/// the collection's rules, if there is one, began to build the next list.
///
/// # Errors
/// If the database fails.
pub async fn set_outdated(tx: &Tx, id: &CollectionId, outdated: bool) -> Result<()> {
    let changes = row::ActiveModel {
        outdated: Set(outdated),
        ..row::ActiveModel::default()
    };
    update(tx, id, changes).await
}

async fn update(tx: &Tx, id: &CollectionId, changes: row::ActiveModel) -> Result<()> {
    row::Entity::update_many()
        .set(changes)
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::CollectionId.eq(id.as_str()))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Removes the evaluation of a collection's rules, if there is one. Its job then removes what it
/// left.
///
/// # Errors
/// If the database fails.
pub async fn end(tx: &Tx, id: &CollectionId) -> Result<()> {
    let Some(evaluation) = get(tx, id).await? else {
        return Ok(());
    };
    row::Entity::delete_by_id((tx.tenant().to_owned(), id.to_string()))
        .exec(tx.db())
        .await?;
    jobs::clean_up(tx, &evaluation.job, id).await
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
        outdated: row.outdated,
        progress: Progress {
            done: count_from_row(row.done),
            total: count_from_row(row.total),
        },
    })
}
