//! API keys: those in the key file, and those in the database with a cache. The file is consulted
//! first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use serde::Deserialize;

use super::{
    rejection::{Reason, refused},
    unknown::{LookUp, Peer, UnknownKeys},
};
use crate::{
    config::{KeysConfig, invalid_toml},
    domain::{ApiKey, Error, Identity, Result, Scope, ScopeNames, Tenants, Timestamp, key},
    store::{Store, keys},
    watched::{Unusable, Watched},
};

/// The capacity of each cache: of keys in the database, and of rejected ids.
const CACHE_CAPACITY: u64 = 10_000;

pub(super) type ById = BTreeMap<String, IdentifiedKey>;

/// Verifies API keys.
#[derive(Debug)]
pub(super) struct Keys {
    file: Option<Watched<ById>>,
    store: Store,
    cache_time: Duration,
    /// Keys of the database. An entry older than the cache time is read again, but still shows that
    /// the key existed, so that the limits on unknown keys don't apply to it.
    cached: moka::sync::Cache<String, Read>,
    /// Ids of unknown or revoked keys.
    rejected: moka::sync::Cache<String, Rejected>,
    unknown: UnknownKeys,
}

/// Reads the key file, if one is configured.
pub(super) fn open(
    config: &KeysConfig,
    scopes: &ScopeNames,
    reload_interval: Duration,
) -> Result<Option<Watched<ById>>, Unusable> {
    let scopes = scopes.clone();
    let parse = move |contents: &[Vec<u8>]| parse(contents, &scopes);
    let file = config.file.as_ref();
    file.map(|path| Watched::open(vec![path.clone()], reload_interval, parse))
        .transpose()
}

/// A key, and the identity of its bearer.
#[derive(Clone, Debug)]
pub(super) struct IdentifiedKey {
    pub(super) key: Arc<ApiKey>,
    pub(super) identity: Arc<Identity>,
}

/// A key as it was read from the database, and when.
#[derive(Clone, Debug)]
struct Read {
    known: IdentifiedKey,
    at: Instant,
}

/// Why a key of the database was rejected.
#[derive(Clone, Copy, Debug)]
enum Rejected {
    Unknown,
    Revoked,
}

impl Rejected {
    fn error(self, id: &str) -> Error {
        match self {
            Self::Unknown => refused(Reason::Unknown, format!("unknown key {id}")),
            Self::Revoked => refused(Reason::Revoked, format!("key {id} is revoked")),
        }
    }
}

impl Keys {
    pub(super) fn new(
        config: &KeysConfig,
        scopes: &ScopeNames,
        reload_interval: Duration,
        store: Store,
    ) -> Result<Self, Unusable> {
        Ok(Self {
            file: open(config, scopes, reload_interval)?,
            store,
            cache_time: config.cache_time,
            cached: moka::sync::Cache::new(CACHE_CAPACITY),
            rejected: moka::sync::Cache::builder()
                .max_capacity(CACHE_CAPACITY)
                .time_to_live(config.cache_time)
                .build(),
            unknown: UnknownKeys::new(config.unknown_rate),
        })
    }

    /// Verifies an API key. `peer` is who presented it, for the limits on unknown keys.
    pub(super) async fn verify(&self, text: &str, peer: Option<Peer>) -> Result<IdentifiedKey> {
        let id = key::id(text).ok_or_else(|| refused(Reason::Malformed, "malformed API key"))?;
        let known = self.valid(id, peer).await?;
        if !known.key.is(text) {
            return Err(refused(
                Reason::Mismatch,
                format!("secret mismatch for key {id}"),
            ));
        }
        Ok(known)
    }

    /// The key with this id, for a bearer whose login was made when the key had this hash.
    pub(super) async fn known(&self, id: &str, hash: &str) -> Result<IdentifiedKey> {
        let known = self.valid(id, None).await?;
        if known.key.hash != hash {
            return Err(refused(
                Reason::Revoked,
                format!("the secret of key {id} was rotated after the login"),
            ));
        }
        Ok(known)
    }

    async fn valid(&self, id: &str, peer: Option<Peer>) -> Result<IdentifiedKey> {
        let file = self.file.as_ref().map(Watched::get);
        let known = match file.as_ref().and_then(|file| file.get(id)) {
            Some(known) => known.clone(),
            None => self.of_database(id, peer).await?,
        };
        if known.key.is_expired(Timestamp::now()) {
            return Err(refused(Reason::Expired, format!("key {id} is expired")));
        }
        Ok(known)
    }

    async fn of_database(&self, id: &str, peer: Option<Peer>) -> Result<IdentifiedKey> {
        let cached = self.cached.get(id);
        if let Some(known) = self.fresh(cached.as_ref()) {
            return Ok(known);
        }
        if let Some(why) = self.rejected.get(id) {
            return Err(why.error(id));
        }
        // A key that was found before is read once per cache time, and needs no limit.
        let peer = peer.filter(|_| cached.is_none());
        match self.look_up(id, peer).boxed().await? {
            Ok(known) => {
                let read = Read {
                    known: known.clone(),
                    at: Instant::now(),
                };
                self.cached.insert(id.into(), read);
                Ok(known)
            }
            Err(why) => {
                self.cached.invalidate(id);
                self.rejected.insert(id.into(), why);
                Err(why.error(id))
            }
        }
    }

    /// The cached key, if it was read less than the cache time ago.
    fn fresh(&self, read: Option<&Read>) -> Option<IdentifiedKey> {
        let read = read.filter(|read| read.at.elapsed() < self.cache_time);
        read.map(|read| read.known.clone())
    }

    /// Reads the key from the database, within the limits on unknown keys if there is a peer.
    async fn look_up(
        &self,
        id: &str,
        peer: Option<Peer>,
    ) -> Result<Result<IdentifiedKey, Rejected>> {
        let counted = match peer {
            Some(peer) => Some(self.unknown.look_up(peer).await?),
            None => None,
        };
        // Another request with the same key may have read it while this one waited for its slot.
        if let Some(known) = self.fresh(self.cached.get(id).as_ref()) {
            counted.into_iter().for_each(LookUp::give_back);
            return Ok(Ok(known));
        }
        let found = keys::find(&self.store, id).await;
        // Only unknown keys count against the peer, and not those that a database error left
        // unread.
        if let Some(counted) = counted
            && !matches!(found, Ok(None))
        {
            counted.give_back();
        }
        Ok(match found? {
            None => Err(Rejected::Unknown),
            Some(stored) if stored.revoke_time.is_some() => Err(Rejected::Revoked),
            Some(stored) => Ok(stored.key.into()),
        })
    }
}

impl From<ApiKey> for IdentifiedKey {
    fn from(key: ApiKey) -> Self {
        let identity = Identity {
            subject: format!("key:{}", key.id).into(),
            tenants: key.tenants.clone(),
            scopes: key.scopes.clone(),
        };
        Self {
            key: Arc::new(key),
            identity: Arc::new(identity),
        }
    }
}

/// The contents of a key file (TOML).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<Entry>,
}

/// A key in a key file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(default)]
    label: String,
    hash: String,
    tenants: Vec<String>,
    scopes: Vec<String>,
    expires: Option<String>,
}

fn parse(contents: &[Vec<u8>], scopes: &ScopeNames) -> Result<ById, String> {
    let text = contents.first().map_or(&[][..], Vec::as_slice);
    let text = str::from_utf8(text).map_err(|_| "is not UTF-8")?;
    let file: File = toml::from_str(text).map_err(|error| invalid_toml(text, &error))?;
    let mut keys = ById::new();
    for entry in file.keys {
        let id = entry.id.clone();
        let key = read(entry, scopes).map_err(|why| format!("key {id:?}: {why}"))?;
        if keys.insert(id.clone(), IdentifiedKey::from(key)).is_some() {
            return Err(format!("duplicate key {id:?}"));
        }
    }
    Ok(keys)
}

fn read(entry: Entry, names: &ScopeNames) -> Result<ApiKey, String> {
    if !key::is_id(&entry.id) {
        return Err("id must be 16 hexadecimal digits, as `endcap key create` writes it".into());
    }
    if entry.hash.len() != 64 || !entry.hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("hash must be 64 hexadecimal digits, as `endcap key create` writes it".into());
    }
    let scopes = entry.scopes.iter().map(|scope| names.parse(scope));
    let scopes: BTreeSet<Scope> = scopes.collect::<Result<_, String>>()?;
    let expires = entry.expires.map(|text| {
        let time: jiff::Timestamp = text.parse().map_err(|error| format!("expires: {error}"))?;
        Ok::<_, String>(Timestamp::from_micros(time.as_microsecond()))
    });
    Ok(ApiKey {
        id: entry.id,
        label: entry.label,
        hash: entry.hash.to_ascii_lowercase(),
        tenants: Tenants::parse(entry.tenants.iter().map(String::as_str))?,
        scopes,
        expire_time: expires.transpose()?,
    })
}

/// The key as an entry of a key file.
pub fn to_toml(key: &ApiKey) -> String {
    let list = |names: Vec<&str>| toml::Value::from(names);
    let scopes = key.scopes.iter().map(|scope| scope.name()).collect();
    let expires = key.expire_time.map(|time| {
        let time = jiff::Timestamp::from_microsecond(time.micros());
        time.map(|time| time.to_string()).unwrap_or_default()
    });
    let values = [
        ("id", Some(key.id.as_str().into())),
        ("label", Some(key.label.as_str().into())),
        ("hash", Some(key.hash.as_str().into())),
        ("tenants", Some(list(key.tenants.names()))),
        ("scopes", Some(list(scopes))),
        ("expires", expires.map(toml::Value::from)),
    ];
    let mut text = String::from("[[keys]]\n");
    for (name, value) in values {
        if let Some(value) = value {
            // Cannot fail: writing to a string is infallible.
            let _ = writeln!(text, "{name} = {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_api_key_parses_back_and_malformed_files_are_rejected() {
        let parse = |contents: &[Vec<u8>]| parse(contents, &ScopeNames::default());
        let (text, id) = key::generate();
        let key = ApiKey {
            id: id.clone(),
            label: "a \"label\"\nof two lines".into(),
            hash: key::hash(&text),
            tenants: Tenants::parse(["a", "b"]).unwrap(),
            scopes: BTreeSet::from([Scope::CollectionsRead, Scope::Admin]),
            expire_time: Some(Timestamp::from_micros(1_700_000_000_000_000)),
        };
        let file = format!("# Ours\n{}", to_toml(&key));
        assert!(!file.contains(&text));
        assert_eq!(*parse(&[file.clone().into()]).unwrap()[&id].key, key);
        let twice = format!("{file}{}", to_toml(&key));
        assert!(parse(&[twice.into()]).unwrap_err().contains("duplicate"));
        for (from, to) in [
            ("hash = \"", "hash = \"x"),
            ("\"admin\"", "\"root\""),
            ("\"b\"", "\"b b\""),
            ("expires = \"2", "expires = \"x"),
            ("label", "lable"),
            ("id = \"", "id = \"x"),
        ] {
            let odd = file.replacen(from, to, 1);
            assert_ne!(odd, file, "{from}");
            assert!(parse(&[odd.into()]).is_err(), "{to}");
        }
        assert!(parse(&[Vec::new()]).unwrap().is_empty());
    }
}
