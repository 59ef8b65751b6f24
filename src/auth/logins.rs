//! Logins: an API key is exchanged for a short-lived token, which can be renewed until the login
//! expires. This is how clients of dialects with logins begin.
//!
//! A login is a row in the database, so that every process on it sees a logout. The login's first
//! token and all tokens renewed from it refer to that row. They are valid as long as the row
//! exists, and the key has the same hash as at login. The tokens themselves are not stored.

use std::{sync::Arc, time::Duration};

use subtle::ConstantTimeEq as _;

use super::{
    rejection::{Reason, refused},
    tokens::{AccessToken, Claims, Signer, seconds},
};
use crate::{
    config::LoginsConfig,
    domain::{
        ApiKey, Result, Timestamp,
        digest::{random, sha256},
    },
    store::{
        Store,
        logins::{self, Login},
    },
    telemetry::metrics,
    watched::Unusable,
};

/// The most logins that are cached.
const CACHED: u64 = 10_000;

/// Begins, renews and ends logins.
#[derive(Debug)]
pub(super) struct Logins {
    store: Store,
    signer: Signer,
    token_lifetime: Duration,
    max_lifetime: Duration,
    max_per_key: usize,
    /// Logins by id; `None` for one that was ended or does not exist.
    cached: moka::sync::Cache<String, Option<Arc<Login>>>,
}

/// A valid token. Its key has not been checked yet.
#[derive(Debug)]
pub(super) struct Presented<'a> {
    pub(super) login: Arc<Login>,
    secret: &'a str,
}

impl Logins {
    pub(super) fn new(
        config: &LoginsConfig,
        reload_interval: Duration,
        store: Store,
    ) -> Result<Self, Unusable> {
        Ok(Self {
            signer: Signer::new(config, reload_interval, store.clone())?,
            store,
            token_lifetime: config.token_lifetime,
            max_lifetime: config.max_lifetime,
            max_per_key: config.max_per_key,
            cached: moka::sync::Cache::builder()
                .max_capacity(CACHED)
                .time_to_live(config.cache_time)
                .build(),
        })
    }

    /// Begins a login with a key, and returns its first token. The oldest logins beyond the limit
    /// per key are ended.
    pub(super) async fn begin(&self, key: &ApiKey, now: Timestamp) -> Result<AccessToken> {
        let secret = random::<32>();
        let end = seconds(now).saturating_add(self.max_lifetime.as_secs());
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        let login = Arc::new(Login {
            id: random::<16>(),
            key_id: key.id.clone(),
            key_hash: key.hash.clone(),
            secret_hash: sha256(&secret),
            // Whole seconds, as in tokens.
            end_time: Timestamp::from_micros(end.saturating_mul(1_000_000)),
        });
        for ended in logins::insert(&self.store, &login, self.max_per_key).await? {
            metrics::refused("max_logins_per_key");
            self.cached.insert(ended, None);
        }
        let presented = Presented {
            login,
            secret: &secret,
        };
        self.renew(&presented, key, now).await
    }

    /// Issues a new token of a login, which expires no later than the login and its key.
    pub(super) async fn renew(
        &self,
        presented: &Presented<'_>,
        key: &ApiKey,
        now: Timestamp,
    ) -> Result<AccessToken> {
        let login = &presented.login;
        let start = seconds(now);
        let end = start
            .saturating_add(self.token_lifetime.as_secs())
            .min(seconds(login.end_time))
            .min(key.expire_time.map_or(u64::MAX, seconds));
        let claims = Claims {
            login: &login.id,
            secret: presented.secret,
        };
        Ok(AccessToken {
            text: self.signer.issue(&claims, end).await?,
            lifetime: Duration::from_secs(end.saturating_sub(start)),
        })
    }

    /// Verifies a token, and returns its login. The caller has to check the key.
    pub(super) async fn read<'a>(&self, token: &'a str, now: Timestamp) -> Result<Presented<'a>> {
        let Claims { login: id, secret } = self.signer.read(token, now).await?;
        let login = self.find(id).await?;
        let login = login.ok_or_else(|| {
            refused(
                Reason::Revoked,
                format!("login {id} was ended or does not exist"),
            )
        })?;
        let hash = sha256(secret);
        // In constant time, so that timing does not reveal how much of the hash matches.
        if !bool::from(hash.as_bytes().ct_eq(login.secret_hash.as_bytes())) {
            return Err(refused(
                Reason::Mismatch,
                format!("secret mismatch for login {id}"),
            ));
        }
        if login.end_time <= now {
            return Err(refused(Reason::Expired, format!("login {id} is expired")));
        }
        Ok(Presented { login, secret })
    }

    /// Ends a login with all its tokens: in this process at once, and in others when their cache
    /// entry expires.
    pub(super) async fn end(&self, token: &str, now: Timestamp) -> Result<()> {
        let presented = self.read(token, now).await?;
        let id = &presented.login.id;
        logins::end(&self.store, id).await?;
        self.cached.insert(id.clone(), None);
        Ok(())
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Login>>> {
        if let Some(known) = self.cached.get(id) {
            return Ok(known);
        }
        let found = logins::find(&self.store, id).await?.map(Arc::new);
        // `or_insert`, because a logout during the read has cached `None`, which must not be
        // replaced.
        let entry = self.cached.entry_by_ref(id).or_insert(found);
        Ok(entry.into_value())
    }
}
