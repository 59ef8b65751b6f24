//! The issuer's keys, from a file or from a URL.

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

/// The longest wait for the issuer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a key set at most.
const MAX_SIZE: usize = 1 << 20;

/// An issuer's keys.
#[derive(Debug)]
pub(super) enum KeySet {
    /// In a file.
    File(Watched<Keys>),
    /// At a URL.
    Url(Arc<Fetched>),
}

/// A key set, read.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: Arc<DecodingKey>,
}

/// A key set that is fetched: at first when a token comes, then again from time to time, and
/// for a token whose key is not in it. While that fails, the keys that there were are kept.
#[derive(Debug)]
pub(super) struct Fetched {
    url: reqwest::Url,
    client: reqwest::Client,
    refresh: Duration,
    refetch_interval: Duration,
    keys: RwLock<Arc<Keys>>,
    /// Held while keys are fetched, so that they are fetched once for all who wait.
    last: tokio::sync::Mutex<Option<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    at: Instant,
    succeeded: bool,
}

/// Why keys could not be fetched.
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
                    // The address is what the operator trusts, not where it points to.
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
    /// With why that failed.
    pub(super) async fn fetch(&self) -> Result<(), String> {
        match self {
            Self::File(_) => Ok(()),
            Self::Url(fetched) => fetched.get().await.map(drop).map_err(|error| {
                let causes = crate::telemetry::causes(&error);
                format!("{}: {error}: {causes}", fetched.url)
            }),
        }
    }

    /// The key of that name, where it is for that algorithm. Without a name the only key
    /// that is for it.
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
            // The caller's key is known: there is nothing to wait for.
            let this = Arc::clone(self);
            tokio::spawn(async move { this.fetch(this.refetch_interval).await });
        }
        known
    }

    fn current(&self) -> Arc<Keys> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    /// Whether it is time to fetch again: soon, where the last attempt failed. Not while
    /// somebody does.
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

    /// Fetches the keys, where the last attempt began `interval` ago or longer.
    async fn fetch(&self, interval: Duration) {
        let mut last = self.last.lock().await;
        if last
            .as_ref()
            .is_some_and(|last| last.at.elapsed() < interval)
        {
            return;
        }
        // Noted first: whoever is cut off while waiting has made an attempt, too.
        let at = Instant::now();
        *last = Some(Attempt {
            at,
            succeeded: false,
        });
        match self.get().await {
            Ok(keys) => {
                metrics::key_set_fetched();
                tracing::info!(url = %self.url, count = keys.0.len(), "the issuer's keys are fetched");
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
                    "the issuer's keys can't be fetched: {error}; using cached keys"
                );
            }
        }
    }

    async fn get(&self) -> Result<Keys, FetchError> {
        let mut headers = HeaderMap::new();
        trace::propagate(&mut headers);
        let request = self.client.get(self.url.clone()).headers(headers);
        let answer = request.send().await?;
        let mut answer = answer.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_SIZE {
                return Err(FetchError::TooLarge);
            }
        }
        Keys::parse(&body).map_err(FetchError::Malformed)
    }
}

impl Keys {
    /// Reads a key set, and leaves out what is for other purposes or not known.
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
            // A secret among public keys is a mistake, and would verify what anybody signs.
            _ => return None,
        };
        // The names in a key set and in a token's header are the same.
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
    fn a_key_is_found_by_its_name_for_what_it_is_for() {
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
    fn without_a_name_the_only_key_is_meant() {
        let one = format!(r#"{{"kid":"r",{RSA}}},{{"kid":"e",{EC}}}"#);
        assert!(has(&one, None, Algorithm::RS256));
        let two = format!(r#"{{"kid":"r",{RSA}}},{{{RSA}}}"#);
        assert!(!has(&two, None, Algorithm::RS256));
        assert!(has(&two, Some("r"), Algorithm::RS256));
    }

    #[test]
    fn what_is_no_key_set_is_reported() {
        for odd in ["", "[]", "{}", "<html>"] {
            assert!(Keys::parse(odd.as_bytes()).is_err(), "{odd}");
        }
    }
}
