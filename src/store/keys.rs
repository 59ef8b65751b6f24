//! API keys, as they are stored. They belong to no tenant, because a key may be valid for several.

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    sea_query::Expr,
};

use super::{entity::api_key as row, pool::Store};
use crate::domain::{Administering, ApiKey, Error, Result, Tenants, Timestamp};

/// A stored API key with its status.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// The key, with a hash of its secret.
    pub key: ApiKey,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it was revoked, if it was.
    pub revoke_time: Option<Timestamp>,
}

/// The key with that id, even if it is revoked. Needs no proof of authorization, because it is read
/// to authenticate the caller.
///
/// # Errors
/// If the database fails.
pub async fn find(store: &Store, id: &str) -> Result<Option<StoredKey>> {
    let found = row::Entity::find_by_id(id).one(&store.reader).await?;
    found.map(decode).transpose()
}

/// Stores a new key.
///
/// # Errors
/// If the database fails.
pub async fn insert(store: &Store, _: &Administering, key: ApiKey) -> Result<()> {
    let row = row::ActiveModel {
        key_id: Set(key.id),
        label: Set(key.label),
        hash: Set(key.hash),
        tenants: Set(key.tenants.names().join(",")),
        scopes: Set(key
            .scopes
            .iter()
            .map(|scope| scope.name())
            .collect::<Vec<_>>()
            .join(",")),
        create_time: Set(Timestamp::now().micros()),
        expire_time: Set(key.expire_time.map(Timestamp::micros)),
        revoke_time: Set(None),
    };
    row::Entity::insert(row)
        .exec_without_returning(&store.writer)
        .await?;
    Ok(())
}

/// All keys, the oldest first.
///
/// # Errors
/// If the database fails.
pub async fn list(store: &Store, _: &Administering) -> Result<Vec<StoredKey>> {
    let rows = row::Entity::find()
        .order_by_asc(row::Column::CreateTime)
        .order_by_asc(row::Column::KeyId)
        .all(&store.reader)
        .await?;
    rows.into_iter().map(decode).collect()
}

/// Revokes a key. Returns false if there is no such key, or if it is revoked already.
///
/// # Errors
/// If the database fails.
pub async fn revoke(store: &Store, _: &Administering, id: &str) -> Result<bool> {
    let done = row::Entity::update_many()
        .col_expr(
            row::Column::RevokeTime,
            Expr::value(Timestamp::now().micros()),
        )
        .filter(row::Column::KeyId.eq(id))
        .filter(row::Column::RevokeTime.is_null())
        .exec(&store.writer)
        .await?;
    Ok(done.rows_affected > 0)
}

fn decode(row: row::Model) -> Result<StoredKey> {
    let names = |text: &str| -> Vec<String> {
        let names = text.split(',').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let tenants = names(&row.tenants);
    let scopes = names(&row.scopes);
    let scopes = scopes.iter().map(|scope| scope.parse());
    Ok(StoredKey {
        key: ApiKey {
            id: row.key_id,
            label: row.label,
            hash: row.hash,
            tenants: Tenants::parse(tenants.iter().map(String::as_str)).map_err(Error::internal)?,
            scopes: scopes
                .collect::<std::result::Result<_, String>>()
                .map_err(Error::internal)?,
            expire_time: row.expire_time.map(Timestamp::from_micros),
        },
        create_time: Timestamp::from_micros(row.create_time),
        revoke_time: row.revoke_time.map(Timestamp::from_micros),
    })
}
