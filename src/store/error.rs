//! Translates driver errors: what each means to a caller, and which of them to retry. It also has
//! the errors by which transactions ask to be retried. [`super::cause`] explains outages to
//! operators.

use std::borrow::Cow;

use sea_orm::{ConnAcquireErr, DbErr, SqlErr, sqlx};

use super::{
    cause::{Cause, driver},
    lock_set::LockSet,
};
use crate::domain::{Error, Reason};

const UNAVAILABLE: &str = "the database is unavailable or too busy; try again";

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if is_full(&error) {
            Self::new(
                Reason::StorageFull,
                "the database can't write: its disk is full or fails; reads still work",
            )
            .caused_by(error)
        } else if let Some(cause) = Cause::of(&error) {
            // The cause says everything that the driver's error does.
            if cause.may_pass() {
                Self::new(Reason::DatabaseUnavailable, UNAVAILABLE).caused_by(cause)
            } else if cause.is_outage() {
                let message = format!("the database is unavailable: {}", cause.brief());
                Self::new(Reason::DatabaseUnavailable, message).caused_by(cause)
            } else {
                Self::internal(cause)
            }
        } else if is_unavailable(&error) || retry_code(&error) {
            Self::new(Reason::DatabaseUnavailable, UNAVAILABLE).caused_by(error)
        } else {
            Self::internal(error)
        }
    }
}

/// A duplicate of the request was completed while this one was in progress.
#[derive(Debug, thiserror::Error)]
#[error("a concurrent duplicate of the request was completed")]
struct ConcurrentDuplicate;

/// The error of a request whose concurrent duplicate was faster: a retry finds its response.
pub(super) fn concurrent_duplicate() -> Error {
    Error::new(
        Reason::DatabaseUnavailable,
        "a request with the same idempotency key is in progress; retry later",
    )
    .caused_by(ConcurrentDuplicate)
}

/// The shared transaction of a group commit was lost because of another unit of work.
#[derive(Debug, thiserror::Error)]
#[error("the group commit was rolled back because of another unit of work")]
struct Lost;

/// The error of a unit of work whose group was lost: it is retried in a transaction of its own.
pub(super) fn lost() -> Error {
    Error::new(Reason::DatabaseUnavailable, UNAVAILABLE).caused_by(Lost)
}

/// A unit of work must lock more than it has locked.
#[derive(Debug, thiserror::Error)]
#[error("the transaction needs more locks: {0:?}")]
struct NeedsMoreLocks(LockSet);

/// The error of a transaction that must start over and lock everything in `set` first.
pub(super) fn needs_more_locks(set: LockSet) -> Error {
    Error::new(
        Reason::DatabaseUnavailable,
        "too many conflicting transactions; retry later",
    )
    .caused_by(NeedsMoreLocks(set))
}

/// The locks that the next attempt must take in addition to its own.
pub(super) fn to_lock(error: &Error) -> Option<&LockSet> {
    let source = error.source.as_ref()?;
    source
        .downcast_ref::<NeedsMoreLocks>()
        .map(|NeedsMoreLocks(set)| set)
}

/// Whether the connection is broken, so that another one may work.
pub(super) fn is_dead(error: &DbErr) -> bool {
    matches!(
        driver(error),
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
    ) || code(error).is_some_and(|code| code.starts_with("57P"))
}

/// Whether the same transaction may succeed if it is retried.
pub(super) fn is_retryable(error: &Error) -> bool {
    let Some(source) = &error.source else {
        return false;
    };
    source.is::<ConcurrentDuplicate>()
        || source.is::<NeedsMoreLocks>()
        || source.is::<Lost>()
        || source.downcast_ref().is_some_and(retry_code)
}

/// Whether the unit of work must be retried without a group.
pub(super) fn is_lost(error: &Error) -> bool {
    error
        .source
        .as_ref()
        .is_some_and(|source| source.is::<Lost>())
}

/// Why a transaction is retried, as a label for metrics.
pub(super) fn retry_cause(error: &Error) -> &'static str {
    let Some(source) = &error.source else {
        return "other";
    };
    if source.is::<ConcurrentDuplicate>() {
        return "concurrent_duplicate";
    }
    if source.is::<NeedsMoreLocks>() {
        return "lock_set_grew";
    }
    if source.is::<Lost>() {
        return "group_lost";
    }
    let code = source.downcast_ref().and_then(code);
    match code.as_deref() {
        Some("40001") => "serialization_failure",
        Some("40P01") => "deadlock",
        Some("5" | "261" | "517" | "773") => "busy",
        _ => "other",
    }
}

/// The driver's message if the error is a violated unique constraint.
pub(super) fn broken_constraint(error: &DbErr) -> Option<String> {
    if let SqlErr::UniqueConstraintViolation(message) = error.sql_err()? {
        Some(message)
    } else {
        None
    }
}

/// Whether it is a serialization failure or deadlock (PostgreSQL), or SQLITE_BUSY with its extended
/// codes (SQLite).
pub(super) fn retry_code(error: &DbErr) -> bool {
    matches!(
        code(error).as_deref(),
        Some("40001" | "40P01" | "5" | "261" | "517" | "773")
    )
}

/// Whether a lock was not available within `lock_timeout` (PostgreSQL).
pub(super) fn timed_out_on_a_lock(error: &DbErr) -> bool {
    code(error).as_deref() == Some("55P03")
}

/// Whether the disk is full (both engines) or fails (SQLite). SQLite's extended codes have more
/// information in the upper bits.
fn is_full(error: &DbErr) -> bool {
    const FULL: u32 = 13;
    const IO: u32 = 10;
    let Some(code) = code(error) else {
        return false;
    };
    // An SQLSTATE has five characters; SQLite's codes are shorter numbers.
    let is_sqlite = code.len() < 5;
    code == "53100"
        || is_sqlite && matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(FULL | IO))
}

/// The database's error code: an SQLSTATE on PostgreSQL.
pub(super) fn code(error: &DbErr) -> Option<Cow<'_, str>> {
    driver(error)?.as_database_error()?.code()
}

fn is_unavailable(error: &DbErr) -> bool {
    if matches!(
        error,
        DbErr::Conn(_)
            | DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed)
    ) {
        return true;
    }
    match driver(error) {
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => true,
        // Class 08: connection; 25006: a standby; 25P03 and 57014: timeouts; 53: insufficient
        // resources; 57P: shutdown by the operator.
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            matches!(&*code, "25006" | "25P03" | "57014")
                || ["08", "53", "57P"]
                    .iter()
                    .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}
