//! Authentication: verifies the credentials of a request, and returns the identity of the caller.
//! There is one file per type of credential; the middleware is in `http`.
//!
//! An error tells the client only that the credentials are missing or invalid. The reason is in the
//! error's source, which is logged.

mod jwt;
mod keys;
mod logins;
mod rejection;
mod subject;
mod tokens;
mod unknown;

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};

use crate::{
    config::AuthConfig,
    domain::{Identity, Result, TenantId, Tenants, Timestamp, key},
    rate::RateLimiter,
    store::Store,
    watched::Unusable,
};

use jwt::Jwt;
pub use keys::to_toml;
use keys::{IdentifiedKey, Keys};
use logins::{Logins, Presented};
pub(crate) use rejection::Rejection;
use rejection::{Reason, refused};
use subject::subject;
pub use tokens::AccessToken;
pub use unknown::Peer;

/// The identity in a client certificate that a trusted authority signed. The listener adds it to
/// the extensions of requests.
#[derive(Clone, Debug)]
pub struct ClientCertificate(pub Arc<str>);

/// Authenticates callers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    kinds: Arc<Kinds>,
    served: Arc<Tenants>,
    /// The rate limit per caller, which logins count against too.
    callers: Option<Arc<RateLimiter>>,
}

/// The accepted types of credentials.
#[derive(Debug)]
struct Kinds {
    /// The identity of all callers, if authentication is disabled.
    anonymous_identity: Option<Arc<Identity>>,
    by_key: Option<ByKey>,
    /// The lifetime of the tokens that a server without authentication issues.
    token_lifetime: Duration,
    jwt: Option<Jwt>,
    /// The tenants and scopes of client certificates.
    certificates: Option<Identity>,
    default_tenant: TenantId,
}

/// Authentication by API keys, and by logins with them.
#[derive(Debug)]
struct ByKey {
    keys: Keys,
    logins: Logins,
}

/// Reads the files that the settings name, and returns those that can't be used, by setting.
pub fn unusable_files(config: &AuthConfig) -> Vec<(&'static str, Unusable)> {
    let (scopes, interval) = (&config.scopes, config.reload_interval);
    let keys = config.keys.as_ref();
    let file = keys.and_then(|keys| keys::open(keys, scopes, interval).err());
    let secret = keys.and_then(|_| tokens::open(&config.logins, interval).err());
    let key_set = config.jwt.as_ref();
    let key_set = key_set.and_then(|jwt| Jwt::new(jwt, scopes, interval).err());
    let all = [
        ("keys_file", file),
        ("token_secret_file", secret),
        ("jwt_jwks", key_set),
    ];
    let all = all.into_iter();
    all.filter_map(|(name, why)| Some((name, why?))).collect()
}

/// Fetches the issuer's keys, if they are at a URL.
///
/// # Errors
/// With the cause, if that failed.
pub async fn fetch_keys(config: &AuthConfig) -> std::result::Result<(), String> {
    // A key set in a file is checked with the other files.
    let jwt = config.jwt.as_ref();
    let jwt = jwt.and_then(|jwt| Jwt::new(jwt, &config.scopes, config.reload_interval).ok());
    match jwt {
        Some(jwt) => jwt.fetch_keys().await,
        None => Ok(()),
    }
}

impl Authenticator {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// If one can't be used.
    pub fn new(config: &AuthConfig, store: &Store) -> Result<Self, Unusable> {
        let is_enabled =
            config.keys.is_some() || config.jwt.is_some() || config.certificates.is_some();
        let (scopes, interval) = (&config.scopes, config.reload_interval);
        let keys = config.keys.as_ref();
        let by_key = keys.map(|keys| {
            Ok(ByKey {
                keys: Keys::new(keys, scopes, interval, store.clone())?,
                logins: Logins::new(&config.logins, interval, store.clone())?,
            })
        });
        let jwt = config.jwt.as_ref();
        let jwt = jwt.map(|jwt| Jwt::new(jwt, scopes, interval));
        let kinds = Kinds {
            anonymous_identity: (!is_enabled).then(|| Arc::new(Identity::unlimited("anyone"))),
            by_key: by_key.transpose()?,
            token_lifetime: config.logins.token_lifetime,
            jwt: jwt.transpose()?,
            certificates: config.certificates.clone(),
            default_tenant: config.default_tenant.clone(),
        };
        Ok(Self {
            kinds: Arc::new(kinds),
            served: Arc::new(config.served.clone()),
            callers: None,
        })
    }

    /// Adds a limit on the rate of each caller's logins.
    #[must_use]
    pub fn with_rate(self, callers: Option<Arc<RateLimiter>>) -> Self {
        Self { callers, ..self }
    }

    /// Whether authentication is enabled.
    pub fn authentication_enabled(&self) -> bool {
        self.kinds.anonymous_identity.is_none()
    }

    /// The tenants that this server serves at all.
    pub fn served(&self) -> Arc<Tenants> {
        Arc::clone(&self.served)
    }

    /// The tenant of requests of this identity that don't name one.
    pub fn home(&self, identity: &Identity) -> TenantId {
        identity.tenants.home(&self.kinds.default_tenant).clone()
    }

    /// Authenticates a request from `peer` with its credentials. A bearer token takes precedence
    /// over a client certificate, because clients send it on purpose.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] if the credentials are missing or invalid;
    /// [`crate::domain::Reason::RateLimited`] if the peer presented too many unknown keys; an error
    /// of the database if a key can't be read.
    pub async fn identify(
        &self,
        bearer: Option<&str>,
        certificate: Option<&ClientCertificate>,
        peer: Option<Peer>,
    ) -> Result<Arc<Identity>> {
        let kinds = &*self.kinds;
        if let Some(identity) = &kinds.anonymous_identity {
            return Ok(Arc::clone(identity));
        }
        let Some(token) = bearer else {
            return kinds.by_certificate(certificate);
        };
        // The type of a token follows from its prefix.
        if let Some(by_key) = &kinds.by_key {
            if token.starts_with(key::PREFIX) {
                return Ok(by_key.keys.verify(token, peer).await?.identity);
            }
            if token.starts_with(tokens::PREFIX) {
                let (_, known) = by_key.logged_in(token, Timestamp::now()).boxed().await?;
                return Ok(known.identity);
            }
        }
        match &kinds.jwt {
            Some(jwt) if !token.starts_with(key::PREFIX) => jwt.verify(token).await,
            Some(_) | None => Err(refused(Reason::Unsupported, "unsupported token type")),
        }
    }

    /// Logs in: exchanges an API key for a login token, or a login token for a new one. Counts this
    /// against the caller's rate, because the login path is open, and the middleware does not count
    /// it.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] if the credential is neither or invalid;
    /// [`crate::domain::Reason::RateLimited`] if the caller exceeds its rate, or the peer presented
    /// too many unknown keys; an error of the database.
    pub async fn log_in(&self, bearer: Option<&str>, peer: Option<Peer>) -> Result<AccessToken> {
        self.exchange(bearer, peer, self.callers.as_deref()).await
    }

    /// Like [`Self::log_in`], for a caller whose request the middleware has counted.
    ///
    /// # Errors
    /// As [`Self::log_in`], except for the caller's rate.
    pub async fn renew(&self, bearer: Option<&str>, peer: Option<Peer>) -> Result<AccessToken> {
        self.exchange(bearer, peer, None).await
    }

    async fn exchange(
        &self,
        bearer: Option<&str>,
        peer: Option<Peer>,
        callers: Option<&RateLimiter>,
    ) -> Result<AccessToken> {
        let count = |known: &IdentifiedKey| match callers {
            Some(callers) => callers.take(&known.identity.subject).map(drop),
            None => Ok(()),
        };
        let (kinds, now) = (&*self.kinds, Timestamp::now());
        if kinds.anonymous_identity.is_some() {
            return Ok(AccessToken::anonymous(kinds.token_lifetime));
        }
        let token = bearer.ok_or_else(|| refused(Reason::Missing, "login without an API key"))?;
        let by_key = kinds.by_key.as_ref();
        let by_key = by_key
            .ok_or_else(|| refused(Reason::Unsupported, "a login, but API keys are not enabled"))?;
        if token.starts_with(tokens::PREFIX) {
            let (presented, known) = by_key.logged_in(token, now).await?;
            count(&known)?;
            return by_key.logins.renew(&presented, &known.key, now).await;
        }
        let known = by_key.keys.verify(token, peer).await?;
        // Counted before the login, which writes to the database, even for a key that may only
        // read.
        count(&known)?;
        by_key.logins.begin(&known.key, now).await
    }

    /// Logs out: ends the login of a token, with all tokens renewed from it. Returns `false` if the
    /// credential is not a login token, which a logout can't end.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] if the login has ended already; an error of the
    /// database.
    pub async fn log_out(&self, bearer: Option<&str>) -> Result<bool> {
        let kinds = &*self.kinds;
        if kinds.anonymous_identity.is_some() {
            return Ok(true);
        }
        let token = bearer.filter(|token| token.starts_with(tokens::PREFIX));
        let (Some(token), Some(by_key)) = (token, &kinds.by_key) else {
            return Ok(false);
        };
        by_key.logins.end(token, Timestamp::now()).await?;
        Ok(true)
    }
}

impl ByKey {
    /// The login of a token, and the login's key.
    async fn logged_in<'a>(
        &self,
        token: &'a str,
        now: Timestamp,
    ) -> Result<(Presented<'a>, IdentifiedKey)> {
        let presented = self.logins.read(token, now).await?;
        let login = &presented.login;
        let known = self.keys.known(&login.key_id, &login.key_hash).await?;
        Ok((presented, known))
    }
}

/// Adds the header `WWW-Authenticate` to a response with 401.
pub fn challenge(headers: &mut HeaderMap) {
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
}

/// The bearer token of a request, if it has one.
///
/// # Errors
/// [`crate::domain::Reason::Unauthenticated`] if the header is malformed or repeated.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // With several headers it would be ambiguous which one counts.
    if values.next().is_some() {
        return Err(refused(Reason::Malformed, "several authorization headers"));
    }
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.map(Some).ok_or_else(|| {
        refused(
            Reason::Malformed,
            "an authorization header that is not `Bearer …`",
        )
    })
}

impl Kinds {
    /// Authenticates by client certificate. The TLS handshake has verified its signature.
    fn by_certificate(&self, certificate: Option<&ClientCertificate>) -> Result<Arc<Identity>> {
        match (certificate, &self.certificates) {
            (Some(ClientCertificate(name)), Some(granted)) => Ok(Arc::new(Identity {
                subject: subject("certificate", name)?,
                ..granted.clone()
            })),
            (Some(_), None) => Err(refused(
                Reason::Unsupported,
                "a client certificate, but certificates are not enabled",
            )),
            (None, _) => Err(refused(Reason::Missing, "no credential")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Option<Option<String>> {
        let headers = values
            .iter()
            .map(|value| (AUTHORIZATION, http::HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            });
        bearer(&headers).ok().map(|token| token.map(str::to_owned))
    }

    #[test]
    fn a_bearer_token_is_read_from_one_header_in_any_scheme_case() {
        assert_eq!(read(&[]), Some(None));
        for value in ["Bearer t.o-k", "bearer t.o-k", "BEARER  t.o-k"] {
            assert_eq!(read(&[value]), Some(Some("t.o-k".into())));
        }
        for odd in ["Basic dTpw", "t.o-k", ""] {
            assert_eq!(read(&[odd]), None, "{odd}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"]), None);
    }
}
