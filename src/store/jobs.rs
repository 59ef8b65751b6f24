//! Background jobs: work that is too large for one transaction, done in steps of one transaction
//! each. Each step removes what it did from the remaining work in the same transaction, so an
//! interrupted job continues where it stopped, in whichever process takes it over after its lease
//! expires; only an evaluation of rules starts over. [`super::claims`] assigns jobs to processes.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, Query},
};
use serde::{Deserialize, Serialize};

use super::{
    cell::Cell,
    children::select_members,
    engine::MAX_BINDS,
    entity::{job as row, job_list as list, member},
    row::count_to_row,
    sql::Sql,
    tx::Tx,
};
use crate::domain::{
    ChildId, ChildType, CollectionId, Error, ProductId, Result, TenantId, Timestamp,
};

/// How long a process keeps a job after each step before another one may take it over.
const LEASE: Duration = Duration::from_secs(30);

/// Bound parameters per row of a job's lists.
const LIST_BINDS: usize = 3;

/// A job that this process has claimed.
#[derive(Clone, Debug)]
pub struct Job {
    /// The job's id.
    pub id: String,
    pub(super) owner: String,
    /// The tenant whose data it changes.
    pub tenant: TenantId,
    /// The work, as it was when the job was claimed.
    pub task: Task,
}

/// The source of an error: a step of a job that this process does not have any more.
#[derive(Debug, thiserror::Error)]
#[error("another process has the job {0} now, or it was replaced")]
struct NotOurs(String);

/// The work of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Removes deleted products from the lists that contained them at that time.
    LeaveLists {
        /// The ids of the products.
        products: Vec<String>,
    },
    /// Evaluates the rules of a smart collection.
    Evaluate {
        /// The id of the collection.
        collection: String,
    },
    /// Updates the lists of smart collections for changed products. Its lists start with each
    /// product under an empty collection id; each is then replaced by the lists that it may join or
    /// leave.
    Follow,
    /// Derives the facts of products from their attributes.
    DeriveFacts(FactsTask),
    /// Removes what the evaluation of a smart collection's rules left: the products that it did not
    /// check again, and the list that is not the current one.
    CleanUp {
        /// The id of the collection.
        collection: String,
    },
}

/// Which products still need their facts derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsTask {
    /// Only products that were last written before that time, in microseconds since 1970.
    pub before: i64,
    /// Only products whose id is greater than this one.
    pub after: String,
}

/// Adds a job that removes products from all lists that contain them now. It starts after the
/// commit.
///
/// # Errors
/// If the database fails.
pub async fn leave_lists(tx: &Tx, products: &[ProductId]) -> Result<()> {
    let task = Task::LeaveLists {
        products: products.iter().map(ToString::to_string).collect(),
    };
    let id = add(tx, &task).await?;
    let ids = products.iter().map(ProductId::as_str);
    let found = select_members(tx, ChildType::Product, ids, |select| {
        select
            .column(member::Column::CollectionId.as_column_ref())
            .column(member::Column::ChildId.as_column_ref());
    })?;
    // The lists are recorded here, so lists that get a product later keep it.
    let lists = Query::select()
        .expr(Expr::value(id.as_str()))
        .columns([list::Column::CollectionId, list::Column::ChildId])
        .from_subquery(found, "found")
        .to_owned();
    let mut insert = Query::insert();
    insert.into_table(list::Entity).columns([
        list::Column::JobId,
        list::Column::CollectionId,
        list::Column::ChildId,
    ]);
    let insert = insert.select_from(lists).map_err(Error::internal)?;
    tx.db().execute(insert).await?;
    Ok(())
}

/// Adds a job and returns its id. It starts after the commit.
pub(super) async fn add(tx: &Tx, task: &Task) -> Result<String> {
    let id = format!("{:032x}", rand::random::<u128>());
    let row = row::ActiveModel {
        job_id: Set(id.clone()),
        tenant_id: Set(tx.tenant().into()),
        task: Set(serde_json::to_string(task).map_err(Error::internal)?),
        owner: Set(String::new()),
        lease_end: Set(0),
        create_time: Set(tx.now.micros()),
    };
    row::Entity::insert(row)
        .exec_without_returning(tx.db())
        .await?;
    tx.with_ledger(|ledger| ledger.job_added = true);
    Ok(id)
}

/// Turns a job that evaluates the rules of a collection, whichever process has it, into one that
/// removes what it left, which may be too much for this transaction.
pub(super) async fn clean_up(tx: &Tx, id: &str, collection: &CollectionId) -> Result<()> {
    let task = Task::CleanUp {
        collection: collection.to_string(),
    };
    row::Entity::update_many()
        .set(row::ActiveModel {
            task: Set(serde_json::to_string(&task).map_err(Error::internal)?),
            owner: Set(String::new()),
            lease_end: Set(0),
            ..row::ActiveModel::default()
        })
        .filter(row::Column::JobId.eq(id))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Adds a job that updates the lists of smart collections for the given products. It starts after
/// the commit.
pub(super) async fn follow(tx: &Tx, products: &[ProductId]) -> Result<()> {
    let id = add(tx, &Task::Follow).await?;
    let nowhere = CollectionId::trusted("");
    let lists = products.iter();
    let lists = lists.map(|product| (nowhere.clone(), ChildId::from(product.clone())));
    add_lists(tx, &id, &lists.collect::<Vec<_>>()).await
}

/// Adds to a job's lists, skipping entries that exist.
///
/// # Errors
/// If the database fails.
pub async fn add_lists(tx: &Tx, job: &str, lists: &[(CollectionId, ChildId)]) -> Result<()> {
    for lists in lists.chunks(MAX_BINDS / LIST_BINDS) {
        let rows = lists.iter().map(|(collection, child)| list::ActiveModel {
            job_id: Set(job.into()),
            collection_id: Set(collection.to_string()),
            child_id: Set(child.to_string()),
        });
        list::Entity::insert_many(rows)
            .on_conflict_do_nothing()
            .exec_without_returning(tx.db())
            .await?;
    }
    Ok(())
}

/// Has all of the tenant's running rule evaluations check these products again in the end, because
/// the products changed in the meantime. They are recorded under an empty collection id.
pub(super) async fn recheck(tx: &Tx, products: &[ProductId]) -> Result<()> {
    const RECHECK: Sql = Sql {
        sqlite: "INSERT INTO job_lists (job_id, collection_id, child_id) \
            SELECT job_id, '', changed.value FROM evaluations \
            CROSS JOIN json_each($2) AS changed WHERE tenant_id = $1 ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO job_lists (job_id, collection_id, child_id) \
            SELECT job_id, '', changed.value FROM evaluations, \
            json_array_elements_text($2::json) AS changed(value) WHERE tenant_id = $1 \
            ON CONFLICT DO NOTHING",
    };
    let products: Vec<_> = products.iter().map(ProductId::as_str).collect();
    let products = serde_json::to_string(&products).map_err(Error::internal)?;
    let values = [tx.tenant().into(), products.into()];
    tx.db().execute_raw(RECHECK.statement(tx, values)).await?;
    Ok(())
}

/// Has the running evaluations of the rules of these collections, if there are any, check the places
/// of products in their lists again in the end, because the products moved or joined, or their rule
/// entries changed, in the meantime. They are recorded under the collection's id, unless `max` are
/// already.
pub(super) async fn recheck_places(
    tx: &Tx,
    places: &BTreeMap<&CollectionId, Vec<ChildId>>,
    max: u64,
) -> Result<()> {
    const RECHECK_PLACES: Sql = Sql {
        sqlite: "INSERT INTO job_lists (job_id, collection_id, child_id) \
            SELECT job_id, lists.key, changed.value FROM json_each($2) AS lists \
            CROSS JOIN evaluations CROSS JOIN json_each(lists.value) AS changed \
            WHERE tenant_id = $1 AND evaluations.collection_id = lists.key AND (SELECT count(*) \
            FROM (SELECT 1 FROM job_lists AS old WHERE old.job_id = evaluations.job_id \
            AND old.collection_id = lists.key LIMIT $3)) < $3 ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO job_lists (job_id, collection_id, child_id) \
            SELECT job_id, lists.key, changed.value FROM json_each($2::json) AS lists, \
            LATERAL (SELECT job_id FROM evaluations WHERE tenant_id = $1 \
            AND collection_id = lists.key OFFSET 0) AS evaluation, \
            json_array_elements_text(lists.value) AS changed(value) WHERE (SELECT count(*) \
            FROM (SELECT 1 FROM job_lists AS old WHERE old.job_id = evaluation.job_id \
            AND old.collection_id = lists.key LIMIT $3) AS few) < $3 ON CONFLICT DO NOTHING",
    };
    let places = places.iter().filter(|(_, products)| !products.is_empty());
    let places = places.map(|(id, products)| {
        let products: Vec<_> = products.iter().map(ChildId::as_str).collect();
        (id.as_str(), products)
    });
    let places: BTreeMap<_, _> = places.collect();
    if places.is_empty() {
        return Ok(());
    }
    let places = serde_json::to_string(&places).map_err(Error::internal)?;
    let values = [tx.tenant().into(), places.into(), count_to_row(max).into()];
    tx.db()
        .execute_raw(RECHECK_PLACES.statement(tx, values))
        .await?;
    Ok(())
}

/// The number of products that a job must check again.
pub(super) async fn changed_count(tx: &Tx, job: &Job) -> Result<u64> {
    let changed = list::Entity::find().filter(list::Column::JobId.eq(&job.id));
    Ok(changed.count(tx.db()).await?)
}

/// Up to `count` of the products that a job must check again, by id.
pub(super) async fn changed(tx: &Tx, job: &Job, count: usize) -> Result<Vec<ProductId>> {
    recorded(tx, job, "", count).await
}

/// Up to `count` of the products whose places a job must check again, by id.
pub(super) async fn changed_places(
    tx: &Tx,
    job: &Job,
    id: &CollectionId,
    count: usize,
) -> Result<Vec<ProductId>> {
    recorded(tx, job, id.as_str(), count).await
}

async fn recorded(tx: &Tx, job: &Job, collection: &str, count: usize) -> Result<Vec<ProductId>> {
    let ids: Vec<String> = list::Entity::find()
        .select_only()
        .column(list::Column::ChildId)
        .filter(list::Column::JobId.eq(&job.id))
        .filter(list::Column::CollectionId.eq(collection))
        .order_by_asc(list::Column::ChildId)
        .limit(count as u64)
        .into_tuple()
        .all(tx.db())
        .await?;
    Ok(ids.into_iter().map(ProductId::trusted).collect())
}

/// Records that a job has checked products again, up to this one.
pub(super) async fn checked(tx: &Tx, job: &Job, last: &ProductId) -> Result<()> {
    remove_to(tx, job, ("", last.as_str())).await
}

/// Records that a job has checked the places of products again, up to this one; `None` for all.
pub(super) async fn checked_places(
    tx: &Tx,
    job: &Job,
    id: &CollectionId,
    last: Option<&ProductId>,
) -> Result<()> {
    let mut delete = list::Entity::delete_many()
        .filter(list::Column::JobId.eq(&job.id))
        .filter(list::Column::CollectionId.eq(id.as_str()));
    if let Some(last) = last {
        delete = delete.filter(list::Column::ChildId.lte(last.as_str()));
    }
    delete.exec(tx.db()).await?;
    Ok(())
}

/// Removes the entries of a job's lists, in order, up to this one: a collection and a child. To
/// name each of them would be slow: PostgreSQL, for which the lists that it saw last were empty,
/// would compare each of the remaining entries with each of these.
async fn remove_to(tx: &Tx, job: &Job, (collection, child): (&str, &str)) -> Result<()> {
    let entry = Expr::tuple([
        list::Column::CollectionId.into_expr(),
        list::Column::ChildId.into_expr(),
    ]);
    let last = Expr::tuple([Expr::value(collection), Expr::value(child)]);
    list::Entity::delete_many()
        .filter(list::Column::JobId.eq(&job.id))
        .filter(entry.lte(last))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// One of the given products that a job of the tenant is still deleting, if there is one.
///
/// # Errors
/// If the database fails.
pub async fn deleting(tx: &Tx, ids: &[&ProductId]) -> Result<Option<ProductId>> {
    let jobs = row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .all(tx.db())
        .await?;
    for job in jobs {
        let products = match read(&job)? {
            Task::LeaveLists { products } => products,
            Task::Evaluate { .. } | Task::Follow | Task::DeriveFacts(_) | Task::CleanUp { .. } => {
                continue;
            }
        };
        let products: HashSet<_> = products.iter().map(String::as_str).collect();
        if let Some(id) = ids.iter().find(|id| products.contains(id.as_str())) {
            return Ok(Some((*id).clone()));
        }
    }
    Ok(None)
}

/// Up to `count` of the remaining entries of a job's lists, in order: children by collection.
///
/// # Errors
/// If the database fails.
pub async fn next_lists(
    tx: &Tx,
    job: &Job,
    count: usize,
) -> Result<BTreeMap<CollectionId, Vec<ChildId>>> {
    let rows = list::Entity::find()
        .filter(list::Column::JobId.eq(&job.id))
        .order_by_asc(list::Column::CollectionId)
        .order_by_asc(list::Column::ChildId)
        .limit(count as u64)
        .all(tx.db())
        .await?;
    let mut lists: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        let children = lists.entry(CollectionId::trusted(row.collection_id));
        children.or_default().push(ChildId::trusted(row.child_id));
    }
    Ok(lists)
}

/// Keeps products in lists that they are added to: the tenant's jobs no longer remove them there,
/// even if the lists contained them before.
///
/// # Errors
/// If the database fails.
pub(super) async fn keep(tx: &Tx, added: &BTreeMap<&CollectionId, Vec<ChildId>>) -> Result<()> {
    const KEEP: Sql = Sql {
        sqlite: "DELETE FROM job_lists WHERE (job_id, collection_id, child_id) IN (\
            SELECT jobs.job_id, lists.key, kept.value FROM jobs CROSS JOIN json_each($2) AS lists \
            CROSS JOIN json_each(lists.value) AS kept \
            WHERE jobs.tenant_id = $1 AND jobs.task LIKE $3)",
        postgres: "DELETE FROM job_lists WHERE ctid = ANY (ARRAY(SELECT (\
            SELECT ctid FROM job_lists WHERE job_id = jobs.job_id AND collection_id = lists.key \
            AND child_id = kept.value) FROM jobs, json_each($2::json) AS lists, \
            json_array_elements_text(lists.value) AS kept(value) \
            WHERE jobs.tenant_id = $1 AND jobs.task LIKE $3))",
    };
    /// The lists of other jobs are not about what to remove.
    const LEAVE_LISTS: &str = r#"{"leave_lists":%"#;
    if added.is_empty() {
        return Ok(());
    }
    let added = added.iter().map(|(id, children)| {
        let children: Vec<_> = children.iter().map(ChildId::as_str).collect();
        (id.as_str(), children)
    });
    let added: BTreeMap<_, _> = added.collect();
    let added = serde_json::to_string(&added).map_err(Error::internal)?;
    let values = [tx.tenant().into(), added.into(), LEAVE_LISTS.into()];
    tx.db().execute_raw(KEEP.statement(tx, values)).await?;
    Ok(())
}

/// Removes entries that are done from a job's lists. If `done` is empty, the job is done and is
/// removed.
///
/// # Errors
/// If another process has taken the job over, so that this step must be rolled back; if the
/// database fails.
pub async fn advance(
    tx: &Tx,
    job: &Job,
    done: &BTreeMap<CollectionId, Vec<ChildId>>,
) -> Result<()> {
    let Some((last, children)) = done.last_key_value() else {
        // Deleting only our own job also checks that the lease was not lost.
        let deleted = row::Entity::delete_many().filter(ours(job)).exec(tx.db());
        return still_ours(job, deleted.await?.rows_affected);
    };
    renew(tx, job).await?;
    let child = children.last().map_or("", ChildId::as_str);
    remove_to(tx, job, (last.as_str(), child)).await
}

/// Whether the tenant has a job.
pub(super) async fn exist(tx: &Tx) -> Result<bool> {
    let jobs = row::Entity::find().filter(row::Column::TenantId.eq(tx.tenant()));
    Ok(jobs.one(tx.db()).await?.is_some())
}

/// Whether the job exists and this process still has it.
///
/// # Errors
/// If the database fails.
pub async fn is_ours(tx: &Tx, job: &Job) -> Result<bool> {
    let row = row::Entity::find().filter(ours(job)).one(tx.db()).await?;
    Ok(row.is_some())
}

/// The remaining work of a job that derives facts; `None` if the job is done.
///
/// # Errors
/// If the database fails.
pub async fn facts_task(tx: &Tx, job: &Job) -> Result<Option<FactsTask>> {
    let row = row::Entity::find_by_id(&job.id).one(tx.db()).await?;
    Ok(match row.as_ref().map(read).transpose()? {
        Some(Task::DeriveFacts(task)) => Some(task),
        Some(
            Task::LeaveLists { .. } | Task::Evaluate { .. } | Task::Follow | Task::CleanUp { .. },
        )
        | None => None,
    })
}

/// Records the remaining work of a job that derives facts, and renews its lease.
///
/// # Errors
/// As for [`advance`].
pub async fn go_on(tx: &Tx, job: &Job, task: FactsTask) -> Result<()> {
    let task = serde_json::to_string(&Task::DeriveFacts(task)).map_err(Error::internal)?;
    let noted = row::Entity::update_many()
        .col_expr(row::Column::Task, Expr::value(task))
        .col_expr(row::Column::LeaseEnd, Expr::value(lease_end()))
        .filter(ours(job))
        .exec(tx.db());
    still_ours(job, noted.await?.rows_affected)
}

/// Renews the lease of a job.
///
/// # Errors
/// As for [`advance`].
pub async fn renew(tx: &Tx, job: &Job) -> Result<()> {
    let renewed = row::Entity::update_many()
        .col_expr(row::Column::LeaseEnd, Expr::value(lease_end()))
        .filter(ours(job))
        .exec(tx.db());
    still_ours(job, renewed.await?.rows_affected)
}

fn ours(job: &Job) -> Expr {
    row::Column::JobId
        .eq(&job.id)
        .and(row::Column::Owner.eq(&job.owner))
}

fn still_ours(job: &Job, rows: u64) -> Result<()> {
    if rows == 1 {
        return Ok(());
    }
    Err(Error::internal(NotOurs(job.id.clone())))
}

/// Whether an error means that another process has the job now, or that the job was replaced.
pub fn is_not_ours(error: &Error) -> bool {
    let source = error.source.as_ref();
    source.is_some_and(|source| source.is::<NotOurs>())
}

pub(super) fn lease_end() -> i64 {
    let lease = i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
    Timestamp::now().micros().saturating_add(lease)
}

pub(super) fn read(job: &row::Model) -> Result<Task> {
    let cell = Cell {
        table: "jobs",
        tenant: &job.tenant_id,
        key: &job.job_id,
        column: "task",
    };
    cell.json(&job.task)
}
