//! Taking jobs, see [`super::jobs`], for a process to do.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::Expr,
};

use super::{
    entity::job as row,
    jobs::{Job, lease_end, read},
    pool::Store,
};
use crate::{
    domain::{Result, TenantId, Timestamp},
    telemetry::causes,
};

/// The jobs that are not done yet.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// How many.
    pub count: usize,
    /// The age of the oldest.
    pub lag: Duration,
}

/// Lets others take the jobs of the process that `owner` names at once, or those of all. Where the
/// database fails they wait until the leases end.
pub async fn release_or_warn(store: &Store, owner: Option<&str>) {
    if let Err(error) = release(store, owner).await {
        let causes = causes(&error);
        tracing::warn!(
            causes,
            "unfinished jobs wait until their leases end: {error}"
        );
    }
}

async fn release(store: &Store, owner: Option<&str>) -> Result<()> {
    let mut jobs = row::Entity::update_many()
        .col_expr(row::Column::LeaseEnd, Expr::value(0))
        .filter(row::Column::LeaseEnd.gt(0));
    if let Some(owner) = owner {
        jobs = jobs.filter(row::Column::Owner.eq(owner));
    }
    jobs.exec(&store.writer).await?;
    Ok(())
}

/// Takes a job that nobody does, the oldest first, for the process that `owner` names. How
/// many there are, next to it.
///
/// # Errors
/// Where the database fails.
pub async fn claim(store: &Store, owner: &str) -> Result<(Option<Job>, Waiting)> {
    let now = Timestamp::now().micros();
    let jobs = row::Entity::find()
        .order_by_asc(row::Column::CreateTime)
        .all(&store.reader)
        .await?;
    let oldest = jobs.first().map_or(now, |job| job.create_time);
    let lag = Duration::from_micros(u64::try_from(now - oldest).unwrap_or_default());
    let waiting = Waiting {
        count: jobs.len(),
        lag,
    };
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
            let job = Job {
                task: read(&job)?,
                id: job.job_id,
                owner: owner.into(),
                tenant: TenantId::trusted(job.tenant_id),
            };
            return Ok((Some(job), waiting));
        }
    }
    Ok((None, waiting))
}
