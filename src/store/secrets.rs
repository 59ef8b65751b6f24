//! Secrets that all processes on one database share, so that each can verify what another
//! signed. The first process that needs a secret creates it.
//!
//! They belong to no tenant, and reading them takes no proof. Whoever can read the database
//! can read them, so a signature alone must never be a credential.
//!
//! Reading a secret takes a connection of its own, so callers must not hold one while they wait.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ring::hmac;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, sea_query::Expr,
};
use subtle::ConstantTimeEq as _;

use super::{entity::secret as row, pool::Store};
use crate::domain::{
    Administering, Error, Result, Timestamp,
    digest::{hex, random},
};

/// Random bytes of a secret.
const BYTES: usize = 32;
/// How long a process uses a secret before it checks for a rotation.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);
/// The shortest time between two reads because of a signature that does not verify: forged
/// signatures must not keep the database busy.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// A secret and its predecessor, whose signatures stay valid after a rotation.
#[derive(Clone, Debug)]
pub struct Secret {
    current: hmac::Key,
    previous: Option<hmac::Key>,
}

impl Secret {
    /// A secret with these values.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Self {
        let key = |secret| hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self {
            current: key(current),
            previous: previous.map(key),
        }
    }

    /// The HMAC-SHA256 of the message, as hexadecimal digits.
    pub fn sign(&self, message: &[u8]) -> String {
        hex(hmac::sign(&self.current, message).as_ref())
    }

    /// Whether [`Self::sign`] made that signature, with this secret or its predecessor.
    /// Compares in constant time.
    pub fn verify(&self, message: &[u8], signature: &str) -> bool {
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| {
            let expected = hex(hmac::sign(key, message).as_ref());
            expected.as_bytes().ct_eq(signature.as_bytes()).into()
        })
    }
}

/// A secret in the database, cached. Clones share the cache.
#[derive(Clone, Debug)]
pub struct SharedSecret(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    name: &'static str,
    cached: Mutex<Option<Cached>>,
    /// Held while the secret is read, so that it is read once for all requests that wait.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Cached {
    secret: Arc<Secret>,
    read_at: Instant,
}

impl SharedSecret {
    /// The secret `name`. It is read when it is first needed.
    pub fn new(store: Store, name: &'static str) -> Self {
        Self(Arc::new(Shared {
            store,
            name,
            cached: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }))
    }

    /// Signs the message: see [`Secret::sign`].
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sign(&self, message: &[u8]) -> Result<String> {
        Ok(self.no_older_than(RECHECK_INTERVAL).await?.sign(message))
    }

    /// Whether a process on this database made that signature: see [`Secret::verify`].
    ///
    /// # Errors
    /// If the database fails.
    pub async fn verify(&self, message: &[u8], signature: &str) -> Result<bool> {
        let known = self.no_older_than(RECHECK_INTERVAL).await?;
        if known.verify(message, signature) {
            return Ok(true);
        }
        // Another process may know of a rotation that this one has not seen yet.
        let latest = self.no_older_than(REREAD_INTERVAL).await?;
        Ok(latest.verify(message, signature))
    }

    async fn no_older_than(&self, age: Duration) -> Result<Arc<Secret>> {
        if let Some(secret) = self.cached(age) {
            return Ok(secret);
        }
        let _reading = self.0.reading.lock().await;
        if let Some(secret) = self.cached(age) {
            return Ok(secret);
        }
        let cached = Cached {
            // Taken before the read: a rotation during it must count as not seen.
            read_at: Instant::now(),
            secret: Arc::new(read(&self.0.store, self.0.name).await?),
        };
        let secret = Arc::clone(&cached.secret);
        let mut place = self.0.cached.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(cached);
        Ok(secret)
    }

    fn cached(&self, age: Duration) -> Option<Arc<Secret>> {
        let cached = self.0.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cached.as_ref()?;
        (cached.read_at.elapsed() < age).then(|| Arc::clone(&cached.secret))
    }
}

/// The secret `name`, created if there is none. Processes that create it at the same time
/// all get the same one.
///
/// # Errors
/// If the database fails.
pub async fn read(store: &Store, name: &str) -> Result<Secret> {
    if let Some(secret) = find(&store.reader, name).await? {
        return Ok(secret);
    }
    let new = row::ActiveModel {
        name: Set(name.into()),
        current: Set(random::<BYTES>()),
        previous: Set(None),
        change_time: Set(Timestamp::now().micros()),
    };
    row::Entity::insert(new)
        .on_conflict_do_nothing()
        .exec_without_returning(&store.writer)
        .await?;
    let secret = find(&store.writer, name).await?;
    secret.ok_or_else(|| Error::internal(format!("secret {name:?} was deleted")))
}

/// Replaces every secret. What the current ones signed stays valid until the next rotation.
/// Returns how many secrets there are.
///
/// # Errors
/// If the database fails; some may then have been rotated.
pub async fn rotate(store: &Store, _: &Administering) -> Result<usize> {
    let names: Vec<String> = row::Entity::find()
        .select_only()
        .column(row::Column::Name)
        .into_tuple()
        .all(&store.reader)
        .await?;
    for name in &names {
        row::Entity::update_many()
            .col_expr(row::Column::Previous, Expr::col(row::Column::Current))
            .col_expr(row::Column::Current, Expr::value(random::<BYTES>()))
            .col_expr(
                row::Column::ChangeTime,
                Expr::value(Timestamp::now().micros()),
            )
            .filter(row::Column::Name.eq(name))
            .exec(&store.writer)
            .await?;
    }
    Ok(names.len())
}

async fn find(db: &impl ConnectionTrait, name: &str) -> Result<Option<Secret>> {
    let found = row::Entity::find_by_id(name).one(db).await?;
    Ok(found.map(|row| {
        let previous = row.previous.as_ref().map(String::as_bytes);
        Secret::new(row.current.as_bytes(), previous)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_the_current_and_the_previous_secret_are_valid() {
        let [old, new] = [b"old".as_slice(), b"new"];
        let message = b"message";
        let before = Secret::new(old, None);
        let rotated = Secret::new(new, Some(old));
        let twice = Secret::new(b"newer", Some(new));
        assert_ne!(before.sign(message), rotated.sign(message));
        for secret in [&before, &rotated] {
            assert!(secret.verify(message, &before.sign(message)));
        }
        assert!(twice.verify(message, &rotated.sign(message)));
        assert!(!twice.verify(message, &before.sign(message)));
        assert!(!before.verify(b"another", &before.sign(message)));
        for odd in ["", "00", &before.sign(message).to_uppercase()] {
            assert!(!before.verify(message, odd), "{odd}");
        }
    }

    #[test]
    fn the_debug_format_hides_the_secret() {
        let shown = format!("{:?}", Secret::new(b"hunter2", Some(b"hunter1")));
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
