//! JSON Web Tokens (JWT) signed by an external issuer. This service verifies them, and issues none.

mod jwks;
mod signature;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use self::jwks::KeySet;
use super::{
    rejection::{Reason, refused},
    subject::subject,
};
use crate::{
    config::JwtConfig,
    domain::{Identity, Result, ScopeNames, Tenants, Timestamp, error::Quoted},
    watched::Unusable,
};

/// Verifies JWTs.
#[derive(Debug)]
pub(super) struct Jwt {
    algorithms: Vec<Algorithm>,
    validation: Validation,
    tenants_claim: String,
    scopes_claim: String,
    scopes: ScopeNames,
    keys: KeySet,
    /// Verified tokens, by their SHA-256: to verify a signature takes longer than most requests.
    verified: moka::sync::Cache<[u8; 32], Verified>,
}

/// How many verified tokens are cached.
const CACHE_CAPACITY: u64 = 10_000;

/// A verified token. It stays valid until it expires, or the issuer no longer lists its key.
#[derive(Clone, Debug)]
struct Verified {
    key_id: Option<Arc<str>>,
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
    /// Seconds since 1970.
    expires: f64,
    identity: Arc<Identity>,
}

/// The claims of a token.
#[derive(Deserialize)]
struct Claims {
    /// Declared as a string, because RFC 7519 does not allow a list of issuers.
    #[serde(rename = "iss")]
    _issuer: String,
    sub: String,
    /// Seconds since 1970.
    exp: f64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Jwt {
    pub(super) fn new(
        config: &JwtConfig,
        scopes: &ScopeNames,
        reload_interval: Duration,
    ) -> Result<Self, Unusable> {
        signature::install();
        let mut validation = Validation::default();
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&config.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = config.leeway.as_secs();
        Ok(Self {
            algorithms: config.algorithms.iter().map(|a| a.0).collect(),
            validation,
            tenants_claim: config.tenants_claim.clone(),
            scopes_claim: config.scopes_claim.clone(),
            scopes: scopes.clone(),
            keys: KeySet::new(config, reload_interval)?,
            verified: moka::sync::Cache::new(CACHE_CAPACITY),
        })
    }

    /// Fetches the issuer's keys, if they are at a URL.
    ///
    /// # Errors
    /// With the cause, if that failed.
    pub(super) async fn fetch_keys(&self) -> std::result::Result<(), String> {
        self.keys.fetch().await
    }

    /// Verifies a token, and returns the identity of its bearer.
    pub(super) async fn verify(&self, token: &str) -> Result<Arc<Identity>> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.verified.get(&hash)
            && self.still_holds(&known).await
        {
            return Ok(known.identity);
        }
        let verified = self.verify_anew(token).await?;
        let identity = Arc::clone(&verified.identity);
        self.verified.insert(hash, verified);
        Ok(identity)
    }

    /// Whether a token that was verified before is still valid: not expired, and its key unchanged.
    async fn still_holds(&self, known: &Verified) -> bool {
        let now = Timestamp::now().micros() as f64 / 1e6;
        if known.expires + (self.validation.leeway as f64) < now {
            return false;
        }
        // A reloaded key set consists of new keys, so tokens are verified again after a reload.
        let key = self.keys.find(known.key_id.as_deref(), known.algorithm);
        key.await.is_some_and(|key| Arc::ptr_eq(&key, &known.key))
    }

    async fn verify_anew(&self, token: &str) -> Result<Verified> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|error| refused(Reason::Malformed, format!("malformed JWT: {error}")))?;
        if !self.algorithms.contains(&header.alg) {
            let why = format!("unsupported JWT algorithm {:?}", header.alg);
            return Err(refused(Reason::Unsupported, why));
        }
        // RFC 7515, section 4.1.11: a token with unsupported critical extensions is invalid, and
        // none is supported here.
        if header.crit.is_some() {
            return Err(refused(
                Reason::Unsupported,
                "unsupported critical extensions of a JWT (crit)",
            ));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await;
        let key = key.ok_or_else(|| {
            let kid = Quoted(header.kid.as_deref().unwrap_or("none"));
            refused(
                Reason::Unknown,
                format!("the issuer has no key {kid} for {:?}", header.alg),
            )
        })?;
        // The validation must list only algorithms of the key's family, so it lists the one of this
        // token.
        let mut validation = self.validation.clone();
        validation.algorithms = vec![header.alg];
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| {
                let reason = if matches!(error.kind(), ErrorKind::ExpiredSignature) {
                    Reason::Expired
                } else if matches!(error.kind(), ErrorKind::InvalidSignature) {
                    Reason::Mismatch
                } else {
                    Reason::Invalid
                };
                refused(reason, format!("invalid JWT: {error}"))
            })?
            .claims;
        Ok(Verified {
            key_id: header.kid.map(Into::into),
            algorithm: header.alg,
            key,
            expires: claims.exp,
            identity: Arc::new(self.identity(&claims)?),
        })
    }

    fn identity(&self, claims: &Claims) -> Result<Identity> {
        let words = |claim: &str| words(claims.others.get(claim));
        let tenants = Tenants::parse(words(&self.tenants_claim)).map_err(|why| {
            refused(
                Reason::Invalid,
                format!("invalid claim {} of a JWT: {why}", self.tenants_claim),
            )
        })?;
        // Unknown scopes are ignored: issuers have scopes for other services too.
        let scopes = words(&self.scopes_claim).into_iter();
        let scopes: BTreeSet<_> = scopes
            .filter_map(|name| self.scopes.parse(name).ok())
            .collect();
        Ok(Identity {
            subject: subject("jwt", &claims.sub)?,
            tenants,
            scopes,
        })
    }
}

/// The words of a claim, which is either a space-delimited string or a list of strings.
fn words(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(text)) => text.split_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_a_space_delimited_string_or_a_list() {
        let none: [&str; 0] = [];
        assert_eq!(words(Some(&json!("a  b"))), ["a", "b"]);
        assert_eq!(words(Some(&json!(["a", 1, "b c"]))), ["a", "b c"]);
        assert_eq!(words(Some(&json!({"a": "b"}))), none);
        assert_eq!(words(None), none);
    }
}
