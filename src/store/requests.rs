//! Idempotency: stores the first response to each request, for retries with the same idempotency
//! key.
//!
//! A response may be a thousand times as large as its request, so large ones are compressed, and
//! only a summary is kept of those that are still too large. The stored bytes per caller and per
//! tenant are limited; beyond the limits, the oldest responses are deleted.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _,
    sea_query::{Expr, ExprTrait as _, Func, Query},
};

use super::{
    entity::request as row,
    error::{broken_constraint, concurrent_duplicate},
    pool::Store,
    statements::Write,
    tx::Tx,
};
use crate::domain::{Error, Reason, Result, Retryable, Timestamp};

/// How long a response is kept: 24 hours, in microseconds.
const RETENTION: i64 = 24 * 60 * 60 * 1_000_000;
/// Responses of fewer bytes are stored uncompressed.
const SMALL: usize = 512;
/// The number of responses that are considered for deletion at a time.
const BATCH: u64 = 1_000;
/// The approximate size of a row without its response, in bytes.
const ROW: i64 = 256;

const PLAIN: i16 = 0;
const GZIP: i16 = 1;
const SUMMARY: i16 = 2;

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredResponse {
    /// The whole response.
    Whole(Vec<u8>),
    /// A summary, because the response was too large.
    Summary(Vec<u8>),
}

/// Limits on the bytes of stored responses.
#[derive(Clone, Copy, Debug)]
pub struct StoredResponseLimits {
    /// Per caller.
    pub caller: usize,
    /// Per tenant.
    pub tenant: usize,
}

/// Claims an idempotency key for this transaction. Returns the stored response if the same request
/// was completed within the last 24 hours.
///
/// This must be the first statement of a transaction: a concurrent duplicate then waits here until
/// this one has committed, instead of failing because of its changes.
///
/// # Errors
/// [`Reason::RequestIdReused`] if another request used the key; if a concurrent duplicate was
/// faster, so that the transaction must be retried; if the database fails.
pub async fn claim(tx: &Tx, request: &Retryable) -> Result<Option<StoredResponse>> {
    let found = row::Entity::find_by_id(key(tx, request))
        .one(tx.db())
        .await?;
    match found {
        Some(row) if row.create_time < oldest(tx.now) => {
            row::Entity::delete_by_id(key(tx, request))
                .exec(tx.db())
                .await?;
        }
        Some(row) if row.fingerprint == request.fingerprint => {
            return unpack(row.form, row.answer).map(Some);
        }
        Some(_) => {
            return Err(Error::new(
                Reason::RequestIdReused,
                format!("request_id: {:?} was used for another request", request.id),
            ));
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
        form: Set(PLAIN),
        create_time: Set(tx.now.micros()),
    };
    row::Entity::insert(row)
        .exec_without_returning(tx.db())
        .await
        .map_err(|error| match broken_constraint(&error) {
            Some(_) => concurrent_duplicate(),
            None => error.into(),
        })?;
    Ok(None)
}

/// A response in the form in which it is stored.
#[derive(Debug)]
pub struct Packed {
    form: i16,
    response: Vec<u8>,
}

impl Packed {
    /// Packs `whole` if it is given and takes no more than `max` bytes when packed, else the
    /// summary.
    ///
    /// # Errors
    /// If compression fails.
    pub fn new(
        max: usize,
        whole: Option<Vec<u8>>,
        summary: impl FnOnce() -> Vec<u8>,
    ) -> Result<Self> {
        let packed = whole.map(pack).transpose()?;
        let packed = packed.filter(|(_, response)| response.len() <= max);
        match packed {
            Some((form, response)) => Ok(Self { form, response }),
            None => Ok(Self {
                form: SUMMARY,
                response: gzip(&summary())?,
            }),
        }
    }
}

/// Stores the response to a claimed request.
pub fn store_response(tx: &Tx, request: &Retryable, packed: Packed) {
    let Packed { form, response } = packed;
    let (tenant, subject, method, id) = key(tx, request);
    let update = row::Entity::update_many()
        .col_expr(row::Column::Form, Expr::value(form))
        .col_expr(row::Column::Answer, Expr::value(response))
        .filter(row::Column::TenantId.eq(tenant))
        .filter(row::Column::Subject.eq(subject))
        .filter(row::Column::Method.eq(method))
        .filter(row::Column::RequestId.eq(id));
    tx.db().later(Write {
        statement: update.build(tx.db().get_database_backend()),
        rows: 1,
        links: false,
    });
}

fn pack(response: Vec<u8>) -> Result<(i16, Vec<u8>)> {
    if response.len() < SMALL {
        return Ok((PLAIN, response));
    }
    Ok((GZIP, gzip(&response)?))
}

fn gzip(response: &[u8]) -> Result<Vec<u8>> {
    let compress = || {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(response)?;
        gzip.finish()
    };
    compress().map_err(Error::internal)
}

fn gunzip(response: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    let read = GzDecoder::new(response).read_to_end(&mut whole);
    read.map_err(Error::internal)?;
    Ok(whole)
}

fn unpack(form: i16, response: Vec<u8>) -> Result<StoredResponse> {
    match form {
        PLAIN => Ok(StoredResponse::Whole(response)),
        GZIP => gunzip(&response).map(StoredResponse::Whole),
        SUMMARY => gunzip(&response).map(StoredResponse::Summary),
        form => Err(Error::internal(io::Error::other(format!(
            "unknown value {form} of requests.form"
        )))),
    }
}

/// Deletes the oldest responses of callers and tenants that are over their limits. Returns the
/// number of bytes that remain, and the number of deleted responses.
///
/// # Errors
/// If the database fails; some responses may then be deleted already.
pub async fn trim(store: &Store, limits: &StoredResponseLimits) -> Result<(u64, u64)> {
    let mut tenants: BTreeMap<String, i64> = BTreeMap::new();
    let (mut kept, mut trimmed) = (0, 0);
    for (tenant, subject, bytes) in sums(store).await? {
        let over = bytes - bytes_to_row(limits.caller);
        let (count, freed) = trim_of(store, &tenant, Some(&subject), over).await?;
        trimmed += count;
        *tenants.entry(tenant).or_default() += bytes - freed;
    }
    for (tenant, bytes) in tenants {
        let over = bytes - bytes_to_row(limits.tenant);
        let (count, freed) = trim_of(store, &tenant, None, over).await?;
        trimmed += count;
        kept += bytes - freed;
    }
    Ok((u64::try_from(kept).unwrap_or_default(), trimmed))
}

fn bytes_to_row(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The stored bytes per tenant and caller.
async fn sums(store: &Store) -> Result<Vec<(String, String, i64)>> {
    let sums = row::Entity::find()
        .select_only()
        .columns([row::Column::TenantId, row::Column::Subject])
        .column_as(size().sum().cast_as("bigint"), "bytes")
        .group_by(row::Column::TenantId)
        .group_by(row::Column::Subject)
        .into_tuple()
        .all(&store.reader)
        .await?;
    Ok(sums)
}

fn size() -> Expr {
    let length = Func::cust("length").arg(row::Column::Answer.into_expr());
    Expr::from(length).add(ROW)
}

/// Deletes the oldest responses of a tenant, or of one of its callers, until `over` bytes are
/// freed. Returns the number of deleted responses and their bytes.
async fn trim_of(
    store: &Store,
    tenant: &str,
    subject: Option<&str>,
    over: i64,
) -> Result<(u64, i64)> {
    let (mut count, mut freed) = (0, 0);
    while freed < over {
        let mut oldest = row::Entity::find()
            .select_only()
            .columns([
                row::Column::Subject,
                row::Column::Method,
                row::Column::RequestId,
            ])
            .column_as(size().cast_as("bigint"), "bytes")
            .filter(row::Column::TenantId.eq(tenant));
        if let Some(subject) = subject {
            oldest = oldest.filter(row::Column::Subject.eq(subject));
        }
        let oldest: Vec<(String, String, String, i64)> = oldest
            .order_by_asc(row::Column::CreateTime)
            .limit(BATCH)
            .into_tuple()
            .all(&store.reader)
            .await?;
        let mut keys = Vec::new();
        for (subject, method, id, bytes) in oldest {
            if freed >= over {
                break;
            }
            freed += bytes;
            keys.push([subject, method, id]);
        }
        if keys.is_empty() {
            break;
        }
        count += keys.len() as u64;
        let columns = [
            row::Column::Subject,
            row::Column::Method,
            row::Column::RequestId,
        ];
        let named = Expr::tuple(columns.map(|column| column.into_expr())).in_tuples(
            keys.into_iter()
                .map(|[subject, method, id]| (subject, method, id)),
        );
        let delete = Query::delete()
            .from_table(row::Entity)
            .and_where(row::Column::TenantId.eq(tenant))
            .and_where(named)
            .to_owned();
        store.writer.execute(&delete).await?;
    }
    Ok((count, freed))
}

/// Deletes all responses older than 24 hours and returns their number. Each statement deletes those
/// of one hour, so that writers never wait long.
///
/// # Errors
/// If the database fails; some responses may then be deleted already.
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
            .filter(row::Column::CreateTime.lt(Ord::min(end, first + HOUR)))
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

/// The creation time before which a response is expired.
fn oldest(now: Timestamp) -> i64 {
    now.micros() - RETENTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_responses_round_trip_and_corrupt_ones_are_rejected() {
        for size in [0, 1, SMALL - 1, SMALL, 100_000] {
            let response: Vec<u8> = (0..size).map(|at| (at % 7) as u8).collect();
            let (form, packed) = pack(response.clone()).unwrap();
            assert!(packed.len() <= response.len().max(SMALL));
            assert_eq!(
                unpack(form, packed).unwrap(),
                StoredResponse::Whole(response)
            );
        }
        assert!(unpack(9, Vec::new()).is_err());
        assert!(unpack(GZIP, vec![1, 2, 3]).is_err());
    }
}
