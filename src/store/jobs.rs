//! Jobs: work that is too much for one transaction, in steps of one transaction each. A step
//! does a part and takes that off what is left in the same transaction, so a job that is cut off
//! goes on where it was, in whichever process takes it over when its lease has ended.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement,
    sea_query::{Expr, ExprTrait as _, Query},
};
use serde::{Deserialize, Serialize};

use super::{
    cell::Cell,
    children::list_code,
    engine::MAX_BINDS,
    entity::{job as row, job_list as list, member},
    tx::Tx,
    wanted::Wanted,
};
use crate::domain::{
    ChildId, ChildType, CollectionId, Error, ProductId, Result, TenantId, Timestamp,
};

/// How long a process has a job to itself after each step.
const LEASE: Duration = Duration::from_secs(30);

/// Binds of a row of a job's lists.
const LIST_BINDS: usize = 3;

/// A job that this process has.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: String,
    pub(super) owner: String,
    /// Whose data it changes.
    pub tenant: TenantId,
    /// What it is for.
    pub task: Task,
}

/// What a job is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Products, which are deleted, leave the lists that had them then.
    LeaveLists {
        /// Which.
        products: Vec<String>,
    },
    /// The rules of a smart collection are evaluated.
    Evaluate {
        /// Whose.
        collection: String,
    },
    /// Lists of smart collections follow products, of which each is first in the list of no
    /// collection, and then in those that it comes into or leaves.
    Follow,
    /// Products get the facts that their attributes state.
    DeriveFacts(FactsTask),
}

/// Which products are to get facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsTask {
    /// Those that were last written before that time, in microseconds since 1970.
    pub before: i64,
    /// Those after that one, by id.
    pub after: String,
}

/// Adds a job that takes products out of the lists that have them now. It begins once the
/// transaction is committed.
///
/// # Errors
/// Where the database fails.
pub async fn leave_lists(tx: &Tx, products: &[ProductId]) -> Result<()> {
    let task = Task::LeaveLists {
        products: products.iter().map(ToString::to_string).collect(),
    };
    let id = add(tx, &task).await?;
    let ids = products.iter().map(ProductId::as_str);
    let found = Wanted::new(tx, member::Column::ChildId, ids)?;
    let found = found.select(member::Entity, |select| {
        select
            .column(member::Column::CollectionId.as_column_ref())
            .column(member::Column::ChildId.as_column_ref())
            .and_where(member::Column::TenantId.eq(tx.tenant()))
            .and_where(member::Column::List.eq(list_code(ChildType::Product)));
    });
    // Those that are added to later are not among them.
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

/// Adds a job, and answers its id. It begins once the transaction is committed.
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
    Ok(id)
}

/// Removes a job, whoever does it.
pub(super) async fn remove(tx: &Tx, id: &str) -> Result<()> {
    row::Entity::delete_by_id(id).exec(tx.db()).await?;
    list::Entity::delete_many()
        .filter(list::Column::JobId.eq(id))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Lets the lists of smart collections follow products. It begins once the transaction is
/// committed.
pub(super) async fn follow(tx: &Tx, products: &[ProductId]) -> Result<()> {
    let id = add(tx, &Task::Follow).await?;
    let nowhere = CollectionId::trusted("");
    let lists = products.iter();
    let lists = lists.map(|product| (nowhere.clone(), ChildId::from(product.clone())));
    add_lists(tx, &id, &lists.collect::<Vec<_>>()).await
}

/// Adds to the lists of a job, but for those that are there.
///
/// # Errors
/// Where the database fails.
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

/// Lets all jobs of the tenant that evaluate rules look at products in the end, which change while
/// they do.
pub(super) async fn look_again(tx: &Tx, products: &[ProductId]) -> Result<()> {
    const SQLITE: &str = "INSERT INTO job_lists (job_id, collection_id, child_id) \
        SELECT job_id, collection_id, changed.value FROM evaluations \
        CROSS JOIN json_each($2) AS changed WHERE tenant_id = $1 ON CONFLICT DO NOTHING";
    const POSTGRES: &str = "INSERT INTO job_lists (job_id, collection_id, child_id) \
        SELECT job_id, collection_id, changed.value FROM evaluations, \
        json_array_elements_text($2::json) AS changed(value) WHERE tenant_id = $1 \
        ON CONFLICT DO NOTHING";
    let products: Vec<_> = products.iter().map(ProductId::as_str).collect();
    let products = serde_json::to_string(&products).map_err(Error::internal)?;
    let backend = tx.db().get_database_backend();
    let sql = if backend == DbBackend::Postgres {
        POSTGRES
    } else {
        SQLITE
    };
    let values = [tx.tenant().into(), products.into()];
    let insert = Statement::from_sql_and_values(backend, sql, values);
    tx.db().execute_raw(insert).await?;
    Ok(())
}

/// All products in the lists of a job, by id.
pub(super) async fn products(tx: &Tx, job: &str) -> Result<BTreeSet<ProductId>> {
    let ids: Vec<String> = list::Entity::find()
        .select_only()
        .column(list::Column::ChildId)
        .filter(list::Column::JobId.eq(job))
        .into_tuple()
        .all(tx.db())
        .await?;
    Ok(ids.into_iter().map(ProductId::trusted).collect())
}

/// One of the products that a job of the tenant is still deleting, where there is one.
///
/// # Errors
/// Where the database fails.
pub async fn deleting(tx: &Tx, ids: &[&ProductId]) -> Result<Option<ProductId>> {
    let jobs = row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .all(tx.db())
        .await?;
    for job in jobs {
        let products = match read(&job)? {
            Task::LeaveLists { products } => products,
            Task::Evaluate { .. } | Task::Follow | Task::DeriveFacts(_) => continue,
        };
        let products: HashSet<_> = products.iter().map(String::as_str).collect();
        if let Some(id) = ids.iter().find(|id| products.contains(id.as_str())) {
            return Ok(Some((*id).clone()));
        }
    }
    Ok(None)
}

/// Some of the lists that are left, each with what is to be taken out of it, in order.
///
/// # Errors
/// Where the database fails.
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

/// Lets lists keep products that are put into them: no job of the tenant takes those out that
/// were in them before.
///
/// # Errors
/// Where the database fails.
pub(super) async fn keep(tx: &Tx, added: &BTreeMap<&CollectionId, Vec<ChildId>>) -> Result<()> {
    const SQLITE: &str = "DELETE FROM job_lists WHERE (job_id, collection_id, child_id) IN (\
        SELECT jobs.job_id, lists.key, kept.value FROM jobs CROSS JOIN json_each($2) AS lists \
        CROSS JOIN json_each(lists.value) AS kept WHERE jobs.tenant_id = $1)";
    const POSTGRES: &str = "DELETE FROM job_lists WHERE ctid = ANY (ARRAY(SELECT (\
        SELECT ctid FROM job_lists WHERE job_id = jobs.job_id AND collection_id = lists.key \
        AND child_id = kept.value) FROM jobs, json_each($2::json) AS lists, \
        json_array_elements_text(lists.value) AS kept(value) WHERE jobs.tenant_id = $1))";
    if added.is_empty() {
        return Ok(());
    }
    let added = added.iter().map(|(id, children)| {
        let children: Vec<_> = children.iter().map(ChildId::as_str).collect();
        (id.as_str(), children)
    });
    let added: BTreeMap<_, _> = added.collect();
    let added = serde_json::to_string(&added).map_err(Error::internal)?;
    let backend = tx.db().get_database_backend();
    let sql = if backend == DbBackend::Postgres {
        POSTGRES
    } else {
        SQLITE
    };
    let values = [tx.tenant().into(), added.into()];
    let delete = Statement::from_sql_and_values(backend, sql, values);
    tx.db().execute_raw(delete).await?;
    Ok(())
}

/// Notes that the first of the children in a job's lists were seen to; all of them, and the job is
/// done, where there are none.
///
/// # Errors
/// Where another process has taken it over, so that the step must be undone; where the
/// database fails.
pub async fn advance(
    tx: &Tx,
    job: &Job,
    done: &BTreeMap<CollectionId, Vec<ChildId>>,
) -> Result<()> {
    let Some((last, children)) = done.last_key_value() else {
        let deleted = row::Entity::delete_many().filter(ours(job)).exec(tx.db());
        return still_ours(job, deleted.await?.rows_affected);
    };
    renew(tx, job).await?;
    // Of the last list some children may be left.
    let before = list::Column::CollectionId.lt(last.as_str());
    let of_last = list::Column::CollectionId
        .eq(last.as_str())
        .and(list::Column::ChildId.is_in(children.iter().map(ChildId::as_str)));
    list::Entity::delete_many()
        .filter(list::Column::JobId.eq(&job.id))
        .filter(before.or(of_last))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Whether a job is there, and this process has it.
///
/// # Errors
/// Where the database fails.
pub async fn is_ours(tx: &Tx, job: &Job) -> Result<bool> {
    let row = row::Entity::find().filter(ours(job)).one(tx.db()).await?;
    Ok(row.is_some())
}

/// Which products are left of a job that derives facts; none if that is done.
///
/// # Errors
/// Where the database fails.
pub async fn facts_task(tx: &Tx, job: &Job) -> Result<Option<FactsTask>> {
    let row = row::Entity::find_by_id(&job.id).one(tx.db()).await?;
    Ok(match row.as_ref().map(read).transpose()? {
        Some(Task::DeriveFacts(task)) => Some(task),
        Some(Task::LeaveLists { .. } | Task::Evaluate { .. } | Task::Follow) | None => None,
    })
}

/// Notes which products are left of a job that derives facts.
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

/// Keeps a job for this process.
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
    let taken = format!("job {} was taken over by another process", job.id);
    Err(Error::internal(taken))
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
