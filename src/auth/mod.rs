//! Who calls: credentials in, an identity out. One file a kind of credential.
//!
//! A refusal says the same whatever is wrong; what it was stands in the error's source,
//! which is for the log.

mod jwt;
mod keys;
mod subject;
mod tokens;

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};

use crate::{
    config::AuthConfig,
    domain::{Error, Identity, Result, TenantId, Timestamp, key},
    store::Store,
    watched::Unusable,
};

use jwt::Jwt;
use keys::Keys;
pub use keys::to_toml;
use subject::subject;
pub use tokens::AccessToken;
use tokens::Tokens;

/// The name in a client's certificate, which an authority has signed; the listener puts it
/// into the requests' extensions.
#[derive(Clone, Debug)]
pub struct ClientCertificate(pub Arc<str>);

/// Finds out who calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator(Arc<Kinds>);

/// The kinds of credentials that are accepted.
#[derive(Debug)]
struct Kinds {
    /// Of callers that are not asked who they are.
    anyone: Option<Arc<Identity>>,
    keys: Option<Keys>,
    tokens: Tokens,
    jwt: Option<Jwt>,
    /// What a client certificate is good for.
    certificates: Option<Identity>,
    default_tenant: TenantId,
}

impl Authenticator {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// Where a file can't be used.
    pub fn new(config: &AuthConfig, store: &Store) -> Result<Self, Unusable> {
        let is_asked =
            config.keys.is_some() || config.jwt.is_some() || config.certificates.is_some();
        let keys = config.keys.as_ref();
        let keys = keys.map(|keys| Keys::new(keys, config.reload_interval, store.clone()));
        let jwt = config.jwt.as_ref();
        let jwt = jwt.map(|jwt| Jwt::new(jwt, config.reload_interval));
        Ok(Self(Arc::new(Kinds {
            anyone: (!is_asked).then(|| Arc::new(Identity::unlimited("anyone"))),
            keys: keys.transpose()?,
            tokens: Tokens::new(&config.tokens, config.reload_interval)?,
            jwt: jwt.transpose()?,
            certificates: config.certificates.clone(),
            default_tenant: config.default_tenant.clone(),
        })))
    }

    /// Whether anybody is asked who they are.
    pub fn asks(&self) -> bool {
        self.0.anyone.is_none()
    }

    /// The tenant of the identity's requests that name none.
    pub fn home(&self, identity: &Identity) -> TenantId {
        identity.tenants.home(&self.0.default_tenant).clone()
    }

    /// Who calls with these credentials. A bearer's is looked at first: who sends one means
    /// it.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] where none is accepted; where it can't be
    /// looked up.
    pub async fn identify(
        &self,
        bearer: Option<&str>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Arc<Identity>> {
        let kinds = &*self.0;
        if let Some(anyone) = &kinds.anyone {
            return Ok(Arc::clone(anyone));
        }
        let Some(token) = bearer else {
            return kinds.by_certificate(certificate);
        };
        // Each kind of token is known by its form; one more is one more branch.
        if let Some(keys) = &kinds.keys {
            if token.starts_with(key::PREFIX) {
                return keys.verify(token).await;
            }
            if token.starts_with(tokens::PREFIX) {
                let key = kinds.tokens.read(token, Timestamp::now())?;
                return keys.known(key).await;
            }
        }
        match &kinds.jwt {
            Some(jwt) if !token.starts_with(key::PREFIX) => jwt.verify(token).await,
            Some(_) | None => Err(refused("a token of no kind that is accepted")),
        }
    }

    /// A new token for who has a key, or a token for one.
    ///
    /// # Errors
    /// [`crate::domain::Reason::Unauthenticated`] where it is neither; where a key can't be
    /// looked up.
    pub async fn log_in(&self, bearer: Option<&str>) -> Result<AccessToken> {
        let (kinds, now) = (&*self.0, Timestamp::now());
        if kinds.anyone.is_some() {
            return Ok(kinds.tokens.issue("anyone", now));
        }
        let token = bearer.ok_or_else(|| refused("no key to log in with"))?;
        let keys = kinds.keys.as_ref();
        let keys = keys.ok_or_else(|| refused("a login, and no keys are accepted"))?;
        let key = if token.starts_with(tokens::PREFIX) {
            let key = kinds.tokens.read(token, now)?;
            keys.known(key).await?;
            key
        } else {
            keys.verify(token).await?;
            key::id(token).unwrap_or_default()
        };
        Ok(kinds.tokens.issue(key, now))
    }

    /// Ends a token of [`Self::log_in`] before its time, as far as this process is asked.
    pub fn log_out(&self, bearer: Option<&str>) {
        if let Some(token) = bearer {
            self.0.tokens.end(token, Timestamp::now());
        }
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
        return Err(refused("several authorization headers"));
    }
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token
        .map(Some)
        .ok_or_else(|| refused("an authorization header that is not `Bearer …`"))
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
            (Some(_), None) => Err(refused("a client certificate, and none are accepted")),
            (None, _) => Err(refused("no credential")),
        }
    }
}

/// The error of a credential that is not accepted, and why, for the log: truncated, as it may
/// quote the credential's contents.
pub(crate) fn refused(why: impl Into<String>) -> Error {
    const LOGGED_CHARS: usize = 300;
    let mut why = why.into();
    if let Some((end, _)) = why.char_indices().nth(LOGGED_CHARS) {
        why.truncate(end);
        why.push('…');
    }
    Error::unauthenticated().caused_by(why)
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
