//! Who calls: credentials in, an identity out. One file a kind of credential.
//!
//! A refusal says the same whatever is wrong; what it was stands in the error's source,
//! which is for the log.

mod jwt;
mod keys;
mod logins;
mod rejection;
mod subject;
mod tokens;
mod unknown;

use std::{sync::Arc, time::Duration};

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
use keys::{Keys, Known};
use logins::{Logins, Presented};
pub(crate) use rejection::Rejection;
use rejection::{Reason, refused};
use subject::subject;
pub use tokens::AccessToken;
pub use unknown::Peer;

/// The name in a client's certificate, which an authority has signed; the listener puts it
/// into the requests' extensions.
#[derive(Clone, Debug)]
pub struct ClientCertificate(pub Arc<str>);

/// Finds out who calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    kinds: Arc<Kinds>,
    served: Arc<Tenants>,
    /// The rate of each caller, which logins count for too.
    callers: Option<Arc<RateLimiter>>,
}

/// The kinds of credentials that are accepted.
#[derive(Debug)]
struct Kinds {
    /// Of callers that are not asked who they are.
    anyone: Option<Arc<Identity>>,
    by_key: Option<ByKey>,
    /// Lifetime of tokens that a server without authentication gives.
    token_lifetime: Duration,
    jwt: Option<Jwt>,
    /// What a client certificate is valid for.
    certificates: Option<Identity>,
    default_tenant: TenantId,
}

/// Authentication by API keys, and by logins with them.
#[derive(Debug)]
struct ByKey {
    keys: Keys,
    logins: Logins,
}

/// Reads the files that the settings name: those that can't be used, by their settings.
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
/// With why that failed.
pub async fn fetch_keys(config: &AuthConfig) -> std::result::Result<(), String> {
    // Those in a file are checked with the other files.
    let jwt = config.jwt.as_ref();
    let jwt = jwt.and_then(|jwt| Jwt::new(jwt, &config.scopes, config.reload_interval).ok());
    match jwt {
        Some(jwt) => jwt.fetch_keys().await,
        None => Ok(()),
    }
}

impl Authenticator {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// Where a file can't be used.
    pub fn new(config: &AuthConfig, store: &Store) -> Result<Self, Unusable> {
        let is_asked =
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
            anyone: (!is_asked).then(|| Arc::new(Identity::unlimited("anyone"))),
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

    /// The same with a limit on the rate of each caller's logins.
    #[must_use]
    pub fn with_rate(self, callers: Option<Arc<RateLimiter>>) -> Self {
        Self { callers, ..self }
    }

    /// Whether anybody is asked who they are.
    pub fn asks(&self) -> bool {
        self.kinds.anyone.is_none()
    }

    /// The tenants that are served to anybody.
    pub fn served(&self) -> Arc<Tenants> {
        Arc::clone(&self.served)
    }

    /// The tenant of the identity's requests that name none.
    pub fn home(&self, identity: &Identity) -> TenantId {
        identity.tenants.home(&self.kinds.default_tenant).clone()
    }

    /// Who calls with these credentials, from `peer`. A bearer's is looked at first: who
    /// sends one means it.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] where none is accepted;
    /// [`crate::domain::Reason::RateLimited`] if the peer presented too many unknown keys;
    /// where it can't be looked up.
    pub async fn identify(
        &self,
        bearer: Option<&str>,
        certificate: Option<&ClientCertificate>,
        peer: Option<Peer>,
    ) -> Result<Arc<Identity>> {
        let kinds = &*self.kinds;
        if let Some(anyone) = &kinds.anyone {
            return Ok(Arc::clone(anyone));
        }
        let Some(token) = bearer else {
            return kinds.by_certificate(certificate);
        };
        // Each kind of token is known by its form; one more is one more branch.
        if let Some(by_key) = &kinds.by_key {
            if token.starts_with(key::PREFIX) {
                return Ok(by_key.keys.verify(token, peer).await?.identity);
            }
            if token.starts_with(tokens::PREFIX) {
                let (_, known) = by_key.logged_in(token, Timestamp::now()).await?;
                return Ok(known.identity);
            }
        }
        match &kinds.jwt {
            Some(jwt) if !token.starts_with(key::PREFIX) => jwt.verify(token).await,
            Some(_) | None => Err(refused(Reason::Unsupported, "unsupported token type")),
        }
    }

    /// Exchanges a key for a token, or a token for a new one, and counts that for the
    /// caller's rate: at a path that is open to all, where no layer does.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] if it is neither;
    /// [`crate::domain::Reason::RateLimited`] if the caller is over its rate, or the peer
    /// presented too many unknown keys; if the database fails.
    pub async fn log_in(&self, bearer: Option<&str>, peer: Option<Peer>) -> Result<AccessToken> {
        self.exchange(bearer, peer, self.callers.as_deref()).await
    }

    /// The same for a caller whose request was counted.
    ///
    /// # Errors
    /// As [`Self::log_in`], but for the caller's rate.
    pub async fn renew(&self, bearer: Option<&str>, peer: Option<Peer>) -> Result<AccessToken> {
        self.exchange(bearer, peer, None).await
    }

    async fn exchange(
        &self,
        bearer: Option<&str>,
        peer: Option<Peer>,
        callers: Option<&RateLimiter>,
    ) -> Result<AccessToken> {
        let count = |known: &Known| match callers {
            Some(callers) => callers.take(&known.identity.subject).map(drop),
            None => Ok(()),
        };
        let (kinds, now) = (&*self.kinds, Timestamp::now());
        if kinds.anyone.is_some() {
            return Ok(AccessToken::of_anyone(kinds.token_lifetime));
        }
        let token = bearer.ok_or_else(|| refused(Reason::Missing, "no API key to log in with"))?;
        let by_key = kinds.by_key.as_ref();
        let by_key = by_key
            .ok_or_else(|| refused(Reason::Unsupported, "a login, but API keys are not enabled"))?;
        if token.starts_with(tokens::PREFIX) {
            let (presented, known) = by_key.logged_in(token, now).await?;
            count(&known)?;
            return by_key.logins.renew(&presented, &known.key, now).await;
        }
        let known = by_key.keys.verify(token, peer).await?;
        // Before the login: it writes to the database, even with a key that may only read.
        count(&known)?;
        by_key.logins.begin(&known.key, now).await
    }

    /// Ends the login that a token belongs to, with all tokens renewed from it. False if the
    /// credential is no login token, which a logout can't end.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] if the login has ended before; if the
    /// database fails.
    pub async fn log_out(&self, bearer: Option<&str>) -> Result<bool> {
        let kinds = &*self.kinds;
        if kinds.anyone.is_some() {
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
    /// The login that a token belongs to, and its key.
    async fn logged_in<'a>(
        &self,
        token: &'a str,
        now: Timestamp,
    ) -> Result<(Presented<'a>, Known)> {
        let presented = self.logins.read(token, now).await?;
        let login = &presented.login;
        let known = self.keys.known(&login.key_id, &login.key_hash).await?;
        Ok((presented, known))
    }
}

/// Says in the answer that a credential is asked for.
pub fn challenge(headers: &mut HeaderMap) {
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
}

/// The bearer's token, where there is one.
///
/// # Errors
/// [`crate::domain::Reason::Unauthenticated`] where the header can't be read.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // Which of two would count is nothing to guess.
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
    /// Who the client is by its certificate. That an authority has signed it was checked
    /// when the connection began.
    fn by_certificate(&self, certificate: Option<&ClientCertificate>) -> Result<Arc<Identity>> {
        match (certificate, &self.certificates) {
            (Some(ClientCertificate(name)), Some(good_for)) => Ok(Arc::new(Identity {
                subject: subject("certificate", name)?,
                ..good_for.clone()
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
    fn a_token_is_read_from_one_header_whatever_the_schemes_case() {
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
