//! Jobs: work that is too much for one transaction, in steps of one transaction each. A step
//! does a part and writes in the same transaction what is left, so a job that is cut off goes
//! on where it was, in whichever process takes it over when its lease has ended.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::{Expr, ExprTrait as _},
};
use serde::{Deserialize, Serialize};

use super::{cell::Cell, entity::job as row, pool::Store, tx::Tx};
use crate::domain::{CollectionId, Error, ProductId, Result, TenantId, Timestamp};

/// How long a process has a job to itself after each step.
const LEASE: Duration = Duration::from_secs(30);

/// A job that this process has.
#[derive(Clone, Debug)]
pub struct Job {
    id: String,
    owner: String,
    /// Whose data it changes.
    pub tenant: TenantId,
    /// What is left to do.
    pub task: Task,
}

/// What is left to do of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Deleted products leave the lists that have them.
    LeaveLists {
        /// Those that are left, the first of them in part.
        products: VecDeque<ProductId>,
        /// The first has left the lists up to this one.
        after: Option<CollectionId>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TaskRow {
    LeaveLists {
        products: Vec<String>,
        after: Option<String>,
    },
}

/// Adds a job, which begins once the transaction is committed.
///
/// # Errors
/// Where the database fails.
pub async fn add(tx: &Tx, task: &Task) -> Result<()> {
    let row = row::ActiveModel {
        job_id: Set(format!("{:032x}", rand::random::<u128>())),
        tenant_id: Set(tx.tenant().into()),
        task: Set(written(task)?),
        owner: Set(String::new()),
        lease_end: Set(0),
        create_time: Set(tx.now.micros()),
    };
    row::Entity::insert(row)
        .exec_without_returning(tx.db())
        .await?;
    Ok(())
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
        let Task::LeaveLists { products, .. } = read(&job)?;
        let products: HashSet<_> = products.into_iter().collect();
        if let Some(id) = ids.iter().find(|id| products.contains(**id)) {
            return Ok(Some((*id).clone()));
        }
    }
    Ok(None)
}

/// Takes a job that nobody does, the oldest first, for the process that `owner` names. How
/// many there are, beside it.
///
/// # Errors
/// Where the database fails.
pub async fn claim(store: &Store, owner: &str) -> Result<(Option<Job>, usize)> {
    let now = Timestamp::now().micros();
    let jobs = row::Entity::find()
        .order_by_asc(row::Column::CreateTime)
        .all(&store.reader)
        .await?;
    let count = jobs.len();
    for job in jobs.into_iter().filter(|job| job.lease_end < now) {
        let claimed = row::Entity::update_many()
            .set(row::ActiveModel {
                owner: Set(owner.into()),
                lease_end: Set(lease_end()),
                ..row::ActiveModel::default()
            })
            .filter(row::Column::JobId.eq(&job.job_id))
            // Of several that see it at once one has it.
            .filter(row::Column::LeaseEnd.eq(job.lease_end))
            .exec(&store.writer)
            .await?;
        if claimed.rows_affected == 1 {
            let task = read(&job)?;
            let job = Job {
                id: job.job_id,
                owner: owner.into(),
                tenant: TenantId::trusted(job.tenant_id),
                task,
            };
            return Ok((Some(job), count));
        }
    }
    Ok((None, count))
}

/// Writes what is left of a job after a step; nothing, when it is done.
///
/// # Errors
/// Where another process has taken it over, so that the step must be undone; where the
/// database fails.
pub async fn advance(tx: &Tx, job: &Job, left: Option<&Task>) -> Result<()> {
    let ours = row::Column::JobId
        .eq(&job.id)
        .and(row::Column::Owner.eq(&job.owner));
    let rows = match left {
        Some(task) => {
            row::Entity::update_many()
                .col_expr(row::Column::Task, Expr::value(written(task)?))
                .col_expr(row::Column::LeaseEnd, Expr::value(lease_end()))
                .filter(ours)
                .exec(tx.db())
                .await?
                .rows_affected
        }
        None => {
            row::Entity::delete_many()
                .filter(ours)
                .exec(tx.db())
                .await?
                .rows_affected
        }
    };
    if rows == 1 {
        return Ok(());
    }
    Err(Error::internal(format!(
        "job {} was taken over by another process",
        job.id
    )))
}

fn lease_end() -> i64 {
    let lease = i64::try_from(LEASE.as_micros()).unwrap_or(i64::MAX);
    Timestamp::now().micros().saturating_add(lease)
}

fn written(task: &Task) -> Result<String> {
    let Task::LeaveLists { products, after } = task;
    let row = TaskRow::LeaveLists {
        products: products.iter().map(ToString::to_string).collect(),
        after: after.as_ref().map(ToString::to_string),
    };
    serde_json::to_string(&row).map_err(Error::internal)
}

fn read(job: &row::Model) -> Result<Task> {
    let cell = Cell {
        table: "jobs",
        tenant: &job.tenant_id,
        key: &job.job_id,
        column: "task",
    };
    let TaskRow::LeaveLists { products, after } = cell.json(&job.task)?;
    Ok(Task::LeaveLists {
        products: products.into_iter().map(ProductId::trusted).collect(),
        after: after.map(CollectionId::trusted),
    })
}
