//! First answers, kept for retries of the same request.

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, sea_query::Expr,
};

use super::{
    entity::request as row,
    error::{broken_constraint, twin},
    pool::Store,
    tx::Tx,
};
use crate::domain::{Error, Reason, Result, Retryable, Timestamp};

/// How long an answer is kept: 24 hours, in microseconds.
const KEPT: i64 = 24 * 60 * 60 * 1_000_000;

/// Claims the request for this transaction. The first answer, where it was answered in
/// the last 24 hours.
///
/// First of all in a transaction: a twin that comes meanwhile waits here until this one
/// has committed, and does not fail of what this one did.
///
/// # Errors
/// [`Reason::RequestIdReused`] where another request had the id; where a twin came
/// first, so that the transaction must run again; where the database fails.
pub async fn claim(tx: &Tx, request: &Retryable) -> Result<Option<Vec<u8>>> {
    let found = row::Entity::find_by_id(key(tx, request))
        .one(tx.db())
        .await?;
    match found {
        Some(row) if row.create_time < oldest(tx.now) => {
            row::Entity::delete_by_id(key(tx, request))
                .exec(tx.db())
                .await?;
        }
        Some(row) if row.fingerprint == request.fingerprint => return Ok(Some(row.answer)),
        Some(_) => {
            return Err(Error::new(
                Reason::RequestIdReused,
                format!("request_id: {:?} was used for another request", request.id),
            )
            .about(request.id.as_str()));
        }
        None => {}
    }
    let row = row::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        subject: Set(tx.subject.to_string()),
        method: Set(request.method.into()),
        request_id: Set(request.id.to_string()),
        fingerprint: Set(request.fingerprint.clone()),
        answer: Set(Vec::new()),
        create_time: Set(tx.now.micros()),
    };
    row::Entity::insert(row)
        .exec_without_returning(tx.db())
        .await
        .map_err(|error| match broken_constraint(&error) {
            Some(_) => twin(),
            None => error.into(),
        })?;
    Ok(None)
}

/// Keeps the answer to a claimed request.
///
/// # Errors
/// Where the database fails.
pub async fn keep(tx: &Tx, request: &Retryable, answer: Vec<u8>) -> Result<()> {
    let (tenant, subject, method, id) = key(tx, request);
    row::Entity::update_many()
        .col_expr(row::Column::Answer, Expr::value(answer))
        .filter(row::Column::TenantId.eq(tenant))
        .filter(row::Column::Subject.eq(subject))
        .filter(row::Column::Method.eq(method))
        .filter(row::Column::RequestId.eq(id))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Lets go of all answers that are older than 24 hours, those of an hour at a time, so
/// that no writer waits long. How many they were.
///
/// # Errors
/// Where the database fails; what was let go of until then is gone.
pub async fn sweep(store: &Store) -> Result<u64> {
    const HOUR: i64 = 60 * 60 * 1_000_000;
    let end = oldest(Timestamp::now());
    let mut swept = 0;
    loop {
        let first = row::Entity::find()
            .select_only()
            .column(row::Column::CreateTime)
            .order_by_asc(row::Column::CreateTime)
            .limit(1)
            .into_tuple::<i64>()
            .one(&store.reader)
            .await?;
        let Some(first) = first.filter(|first| *first < end) else {
            return Ok(swept);
        };
        let deleted = row::Entity::delete_many()
            .filter(row::Column::CreateTime.lt(end.min(first + HOUR)))
            .exec(&store.writer)
            .await?;
        swept += deleted.rows_affected;
    }
}

fn key(tx: &Tx, request: &Retryable) -> (String, String, String, String) {
    (
        tx.tenant().to_owned(),
        tx.subject.to_string(),
        request.method.to_owned(),
        request.id.to_string(),
    )
}

/// When the oldest answer that is kept was given.
fn oldest(now: Timestamp) -> i64 {
    now.micros() - KEPT
}
