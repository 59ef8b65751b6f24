//! Logins. They belong to no tenant, and reading them takes no proof: that is part of
//! authenticating the caller.

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::{entity::login as row, pool::Store};
use crate::domain::{Result, Timestamp};

/// A login: the first token that a key was exchanged for, and all renewed from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its id, which is no secret.
    pub id: String,
    /// The API key that was exchanged.
    pub key_id: String,
    /// The hash of the key at the time of login; it changes when the key's secret is rotated.
    pub key_hash: String,
    /// The SHA-256 of the secret in the tokens.
    pub secret_hash: String,
    /// When it expires, however often its token is renewed.
    pub end_time: Timestamp,
}

/// Stores a new login. If its key then has more than `max`, the oldest are deleted: holders
/// of a key who never log out must neither fill the database nor be locked out. Returns the
/// ids of the deleted ones.
///
/// # Errors
/// If the database fails.
pub async fn insert(store: &Store, login: &Login, max: usize) -> Result<Vec<String>> {
    /// More than one is past the limit only after it was lowered.
    const AT_ONCE: u64 = 100;
    let row = row::ActiveModel {
        login_id: Set(login.id.clone()),
        key_id: Set(login.key_id.clone()),
        key_hash: Set(login.key_hash.clone()),
        secret_hash: Set(login.secret_hash.clone()),
        create_time: Set(Timestamp::now().micros()),
        end_time: Set(login.end_time.micros()),
    };
    row::Entity::insert(row)
        .exec_without_returning(&store.writer)
        .await?;
    let past: Vec<String> = row::Entity::find()
        .filter(row::Column::KeyId.eq(&login.key_id))
        .order_by_desc(row::Column::CreateTime)
        .order_by_desc(row::Column::LoginId)
        .select_only()
        .column(row::Column::LoginId)
        .offset(max as u64)
        .limit(AT_ONCE)
        .into_tuple()
        .all(&store.reader)
        .await?;
    // One statement each: two transactions that delete several rows could deadlock.
    for id in &past {
        end(store, id).await?;
    }
    Ok(past)
}

/// The login with that id, unless it was deleted.
///
/// # Errors
/// If the database fails.
pub async fn find(store: &Store, id: &str) -> Result<Option<Login>> {
    let found = row::Entity::find_by_id(id).one(&store.reader).await?;
    Ok(found.map(|row| Login {
        id: row.login_id,
        key_id: row.key_id,
        key_hash: row.key_hash,
        secret_hash: row.secret_hash,
        end_time: Timestamp::from_micros(row.end_time),
    }))
}

/// Deletes a login, if it exists.
///
/// # Errors
/// If the database fails.
pub async fn end(store: &Store, id: &str) -> Result<()> {
    row::Entity::delete_by_id(id).exec(&store.writer).await?;
    Ok(())
}

/// Deletes expired logins. Returns how many they were.
///
/// # Errors
/// If the database fails.
pub async fn sweep(store: &Store) -> Result<u64> {
    let deleted = row::Entity::delete_many()
        .filter(row::Column::EndTime.lte(Timestamp::now().micros()))
        .exec(&store.writer)
        .await?;
    Ok(deleted.rows_affected)
}
