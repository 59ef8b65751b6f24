//! Where driver errors end: what each means to a caller, and which to retry.

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
            // It says all that the driver's error does.
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

/// A duplicate of the request was answered while this one was in progress.
#[derive(Debug, thiserror::Error)]
#[error("a concurrent duplicate of the request was completed")]
struct Twin;

/// The error of a request whose duplicate came first: run again, it finds the answer.
pub(super) fn twin() -> Error {
    Error::new(
        Reason::DatabaseUnavailable,
        "a request with the same idempotency key is in progress; retry later",
    )
    .caused_by(Twin)
}

/// What a unit of work shared a transaction with has lost it.
#[derive(Debug, thiserror::Error)]
#[error("the transaction was lost with another unit of work")]
struct Lost;

/// The error of a unit of work whose transaction was lost by another: run again, it has its own.
pub(super) fn lost() -> Error {
    Error::new(Reason::DatabaseUnavailable, UNAVAILABLE).caused_by(Lost)
}

/// What a unit of work has to lock is more than it has locked.
#[derive(Debug, thiserror::Error)]
#[error("more is to be locked: {0:?}")]
struct Grew(LockSet);

/// The error of a transaction that must begin again and lock all that first.
pub(super) fn grew(set: LockSet) -> Error {
    Error::new(
        Reason::DatabaseUnavailable,
        "too many conflicting transactions; retry later",
    )
    .caused_by(Grew(set))
}

/// What must be locked in the next try, besides what is asked for then.
pub(super) fn to_lock(error: &Error) -> Option<&LockSet> {
    let source = error.source.as_ref()?;
    source.downcast_ref::<Grew>().map(|Grew(set)| set)
}

/// Whether the connection was found dead: another may live.
pub(super) fn is_dead(error: &DbErr) -> bool {
    matches!(
        driver(error),
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
    ) || code(error).is_some_and(|code| code.starts_with("57P"))
}

/// Whether the same transaction may succeed if it is run again.
pub(super) fn is_retryable(error: &Error) -> bool {
    let Some(source) = &error.source else {
        return false;
    };
    source.is::<Twin>()
        || source.is::<Grew>()
        || source.is::<Lost>()
        || source.downcast_ref().is_some_and(retry_code)
}

/// Whether the unit of work is to be run again alone.
pub(super) fn is_lost(error: &Error) -> bool {
    error
        .source
        .as_ref()
        .is_some_and(|source| source.is::<Lost>())
}

/// Why the transaction may succeed if it is run again, in a word.
pub(super) fn retry_cause(error: &Error) -> &'static str {
    let Some(source) = &error.source else {
        return "other";
    };
    if source.is::<Twin>() {
        return "concurrent_duplicate";
    }
    if source.is::<Grew>() {
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

/// The message of the unique constraint that the error is about.
pub(super) fn broken_constraint(error: &DbErr) -> Option<String> {
    if let SqlErr::UniqueConstraintViolation(message) = error.sql_err()? {
        Some(message)
    } else {
        None
    }
}

/// Whether it is one: serialization failure and deadlock (PostgreSQL); busy, also in its extended
/// forms (SQLite).
pub(super) fn retry_code(error: &DbErr) -> bool {
    matches!(
        code(error).as_deref(),
        Some("40001" | "40P01" | "5" | "261" | "517" | "773")
    )
}

/// Whether somebody else has the lock, and will for longer than the transaction waits.
pub(super) fn timed_out_on_a_lock(error: &DbErr) -> bool {
    code(error).as_deref() == Some("55P03")
}

/// No room (PostgreSQL); full, or an error of input or output in its extended forms, which
/// have their number in the upper bits (SQLite).
fn is_full(error: &DbErr) -> bool {
    const FULL: u32 = 13;
    const IO: u32 = 10;
    let Some(code) = code(error) else {
        return false;
    };
    // PostgreSQL's codes have five characters.
    let is_sqlite = code.len() < 5;
    code == "53100"
        || is_sqlite && matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(FULL | IO))
}

/// The database's code for the error: of PostgreSQL its SQLSTATE.
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
        // Class 08: connection; 25006: a standby; 25P03 and 57014: it took too long; 53:
        // resources; 57P: the operator stops the server.
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            matches!(&*code, "25006" | "25P03" | "57014")
                || ["08", "53", "57P"]
                    .iter()
                    .any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}
