//! Claims jobs for a process. [`super::jobs`] has what jobs do.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use super::{
    entity::job as row,
    jobs::{Job, lease_end, read},
    pool::Store,
};
use crate::domain::{Result, TenantId, Timestamp};

/// The jobs that are not done yet.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Their number.
    pub count: usize,
    /// The age of the oldest.
    pub lag: Duration,
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
