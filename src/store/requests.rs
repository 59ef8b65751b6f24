//! First answers, kept for retries of the same request.

use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::{
    Tx,
    entity::request as row,
    error::{broken_constraint, twin},
};
use crate::domain::{Error, Reason, RequestId, Result};

/// How long an answer is kept: 24 hours, in microseconds.
const KEPT: i64 = 24 * 60 * 60 * 1_000_000;

/// A request that may be sent again.
#[derive(Clone, Debug)]
pub struct Retryable {
    /// The operation; the same id may name another request of another operation.
    pub method: &'static str,
    /// The client's name for the request.
    pub id: RequestId,
    /// Of what the request says, to tell a retry from another request.
    pub fingerprint: String,
}

/// The first answer to the request, where it was answered in the last 24 hours.
///
/// # Errors
/// [`Reason::RequestIdReused`] where another request had the id; where the database
/// fails.
pub async fn answer(tx: &Tx, request: &Retryable) -> Result<Option<Vec<u8>>> {
    let key = (
        tx.tenant().to_owned(),
        request.method.to_owned(),
        request.id.to_string(),
    );
    let found = row::Entity::find_by_id(key).one(&tx.db).await?;
    match found {
        Some(row) if row.create_time < tx.now.micros() - KEPT => Ok(None),
        Some(row) if row.fingerprint == request.fingerprint => Ok(Some(row.answer)),
        Some(_) => Err(Error::new(
            Reason::RequestIdReused,
            format!("request_id: {:?} was used for another request", request.id),
        )
        .about(request.id.as_str())),
        None => Ok(None),
    }
}

/// Keeps the answer, and lets go of the tenant's old ones.
///
/// # Errors
/// Where a twin of the request was answered meanwhile, so that the transaction must
/// run again; where the database fails.
pub async fn keep(tx: &Tx, request: &Retryable, answer: Vec<u8>) -> Result<()> {
    row::Entity::delete_many()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::CreateTime.lt(tx.now.micros() - KEPT))
        .exec(&tx.db)
        .await?;
    let row = row::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        method: Set(request.method.into()),
        request_id: Set(request.id.to_string()),
        fingerprint: Set(request.fingerprint.clone()),
        answer: Set(answer),
        create_time: Set(tx.now.micros()),
    };
    row::Entity::insert(row)
        .exec_without_returning(&tx.db)
        .await
        .map_err(|error| match broken_constraint(&error) {
            Some(_) => twin(),
            None => error.into(),
        })?;
    Ok(())
}
