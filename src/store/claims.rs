//! Claims jobs for a process. [`super::jobs`] has what jobs do.

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
    /// Their number.
    pub count: usize,
    /// The age of the oldest.
    pub lag: Duration,
}

/// Ends the leases of the process `owner`, or all leases if there is none, so that another process can
/// claim the jobs at once. If the database fails, the jobs wait until their leases expire.
pub async fn release_or_warn(store: &Store, owner: Option<&str>) {
    if let Err(error) = release(store, owner).await {
        let causes = causes(&error);
        tracing::warn!(causes, "releasing the leases of jobs failed: {error}");
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

/// Claims a job without a valid lease, the oldest first, for the process `owner`. Also returns the
/// number and the age of the waiting jobs.
///
/// # Errors
/// If the database fails.
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
            // Optimistic concurrency: if several processes see the job, only one updates it.
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
