//! The issuer's JSON Web Key Set, from a file or fetched from a URL. Keys of a URL are cached, and
//! fetched again when they are old or a token names an unknown key.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use http::HeaderMap;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;

use crate::{
    config::{JwksPlace, JwtConfig},
    telemetry::{metrics, trace},
    watched::{Unusable, Watched},
};

/// The timeout of a fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest accepted key set, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// The issuer's keys, by their source.
#[derive(Debug)]
pub(super) enum KeySet {
    /// In a file, which is watched for changes.
    File(Watched<Keys>),
    /// At a URL.
    Url(Arc<Fetched>),
}

/// The usable keys of a key set.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: Arc<DecodingKey>,
}

/// A key set at a URL. It is fetched when the first token arrives, again after the refresh
/// interval, and for a token whose key is not in it. If fetching fails, the cached keys stay in
/// use.
#[derive(Debug)]
pub(super) struct Fetched {
    url: reqwest::Url,
    client: reqwest::Client,
    refresh: Duration,
    refetch_interval: Duration,
    keys: RwLock<Arc<Keys>>,
    /// The last attempt. Locked during a fetch, so that concurrent requests share one.
    last: tokio::sync::Mutex<Option<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    at: Instant,
    succeeded: bool,
}

/// Why the keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("it has more than {MAX_SIZE} bytes")]
    TooLarge,
    #[error("{0}")]
    Malformed(String),
}

impl KeySet {
    pub(super) fn new(config: &JwtConfig, reload_interval: Duration) -> Result<Self, Unusable> {
        match &config.jwks {
            JwksPlace::File(path) => {
                let parse = |contents: &[Vec<u8>]| {
                    Keys::parse(contents.first().map_or(&[][..], Vec::as_slice))
                };
                let file = Watched::open(vec![path.clone()], reload_interval, parse);
                file.map(Self::File)
            }
            JwksPlace::Url(url) => {
                let client = reqwest::Client::builder()
                    .timeout(FETCH_TIMEOUT)
                    // The operator trusts this address, and not where it may redirect to.
                    .redirect(reqwest::redirect::Policy::none())
                    .build()
                    .map_err(|error| Unusable(format!("a client for {url}: {error}")))?;
                Ok(Self::Url(Arc::new(Fetched {
                    url: url.clone(),
                    client,
                    refresh: config.refresh,
                    refetch_interval: config.refetch_interval,
                    keys: RwLock::default(),
                    last: tokio::sync::Mutex::default(),
                })))
            }
        }
    }

    /// Fetches the keys, if they are at a URL.
    ///
    /// # Errors
    /// With the cause, if that failed.
    pub(super) async fn fetch(&self) -> Result<(), String> {
        match self {
            Self::File(_) => Ok(()),
            Self::Url(fetched) => fetched.get().await.map(drop).map_err(|error| {
                let causes = crate::telemetry::causes(&error);
                format!("{}: {error}: {causes}", fetched.url)
            }),
        }
    }

    /// The key with this id (`kid`), if it is for the algorithm. Without an id, the only key that
    /// is for the algorithm.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Option<Arc<DecodingKey>> {
        match self {
            Self::File(file) => file.get().find(id, algorithm),
            Self::Url(fetched) => fetched.find(id, algorithm).await,
        }
    }
}

impl Fetched {
    async fn find(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Option<Arc<DecodingKey>> {
        let known = self.current().find(id, algorithm);
        if known.is_none() {
            self.fetch(self.refetch_interval).await;
            return self.current().find(id, algorithm);
        }
        if self.is_due() {
            // Refreshed in the background: the key of this token is known, so its request need not
            // wait.
            let this = Arc::clone(self);
            tokio::spawn(async move { this.fetch(this.refetch_interval).await });
        }
        known
    }

    fn current(&self) -> Arc<Keys> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    /// Whether the keys have to be fetched again: after the refresh interval, or sooner if the last
    /// attempt failed. False while a fetch is in progress.
    fn is_due(&self) -> bool {
        let Ok(last) = self.last.try_lock() else {
            return false;
        };
        last.as_ref().is_none_or(|last| {
            let wait = if last.succeeded {
                self.refresh
            } else {
                self.refetch_interval
            };
            last.at.elapsed() >= wait
        })
    }

    /// Fetches the keys, unless the last attempt began less than `interval` ago.
    async fn fetch(&self, interval: Duration) {
        let mut last = self.last.lock().await;
        if last
            .as_ref()
            .is_some_and(|last| last.at.elapsed() < interval)
        {
            return;
        }
        // Stored before the fetch, so that an attempt counts even if its request is cancelled.
        let at = Instant::now();
        *last = Some(Attempt {
            at,
            succeeded: false,
        });
        match self.get().await {
            Ok(keys) => {
                metrics::key_set_fetched();
                tracing::info!(url = %self.url, count = keys.0.len(), "fetched the issuer's key set");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                *last = Some(Attempt {
                    at,
                    succeeded: true,
                });
            }
            Err(error) => {
                let causes = crate::telemetry::causes(&error);
                tracing::warn!(
                    url = %self.url,
                    causes,
                    "fetching the issuer's key set failed: {error}; using cached keys"
                );
            }
        }
    }

    async fn get(&self) -> Result<Keys, FetchError> {
        let mut headers = HeaderMap::new();
        trace::propagate(&mut headers);
        let request = self.client.get(self.url.clone()).headers(headers);
        let response = request.send().await?;
        let mut response = response.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_SIZE {
                return Err(FetchError::TooLarge);
            }
        }
        Keys::parse(&body).map_err(FetchError::Malformed)
    }
}

impl Keys {
    /// Parses a key set. Skips keys for other purposes, and of unknown types.
    fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(text)
            .map_err(|error| format!("invalid JSON Web Key Set: {error}"))?;
        let keys = set.keys.into_iter().filter_map(|key| Key::parse(&key));
        Ok(Self(keys.collect()))
    }

    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<DecodingKey>> {
        let suits = |key: &&Key| key.algorithms.contains(&algorithm);
        let mut found = self.0.iter().filter(suits);
        match id {
            Some(_) => found.find(|key| key.id.as_deref() == id),
            None => found.next().filter(|_| found.next().is_none()),
        }
        .map(|key| Arc::clone(&key.key))
    }
}

impl Key {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library may know more than this program does"
    )]
    fn parse(value: &serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        match jwk.common.public_key_use {
            None | Some(PublicKeyUse::Signature) => {}
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => return None,
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(curve) => match curve.curve {
                EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
                _ => return None,
            },
            // A symmetric key in a public key set is a mistake, and everybody who knows it could
            // sign.
            _ => return None,
        };
        // `alg` has the same names in key sets and in token headers.
        if let Some(name) = value.get("alg").and_then(serde_json::Value::as_str) {
            algorithms.retain(|algorithm| name.parse() == Ok(*algorithm));
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self {
            id: jwk.common.key_id,
            algorithms,
            key: Arc::new(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = r#""kty":"RSA","n":"AQAB","e":"AQAB""#;
    const EC: &str = r#""kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB""#;

    fn has(keys: &str, id: Option<&str>, algorithm: Algorithm) -> bool {
        let set = format!(r#"{{"keys":[{keys}]}}"#);
        let keys = Keys::parse(set.as_bytes()).unwrap();
        keys.find(id, algorithm).is_some()
    }

    #[test]
    fn a_key_is_found_by_id_for_compatible_algorithms_only() {
        let set = format!(
            r#"{{"kid":"r",{RSA}}},{{"kid":"e",{EC}}},{{"kid":"p","alg":"PS256",{RSA}}},
               {{"kid":"x","use":"enc",{RSA}}},{{"kid":"s","kty":"oct","k":"AQAB"}},
               {{"kid":"n","kty":"new"}},{{"kid":"w"}},17"#
        );
        let has = |id, algorithm| has(&set, Some(id), algorithm);
        assert!(has("r", Algorithm::RS256) && has("r", Algorithm::PS512));
        assert!(!has("r", Algorithm::ES256) && !has("r", Algorithm::HS256));
        assert!(has("e", Algorithm::ES256) && !has("e", Algorithm::ES384));
        assert!(has("p", Algorithm::PS256) && !has("p", Algorithm::RS256));
        for odd in ["x", "s", "n", "w", "none"] {
            for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::HS256] {
                assert!(!has(odd, algorithm), "{odd}");
            }
        }
    }

    #[test]
    fn without_a_key_id_the_only_compatible_key_is_used() {
        let one = format!(r#"{{"kid":"r",{RSA}}},{{"kid":"e",{EC}}}"#);
        assert!(has(&one, None, Algorithm::RS256));
        let two = format!(r#"{{"kid":"r",{RSA}}},{{{RSA}}}"#);
        assert!(!has(&two, None, Algorithm::RS256));
        assert!(has(&two, Some("r"), Algorithm::RS256));
    }

    #[test]
    fn an_invalid_key_set_is_rejected() {
        for odd in ["", "[]", "{}", "<html>"] {
            assert!(Keys::parse(odd.as_bytes()).is_err(), "{odd}");
        }
    }
}
