//! Who calls: credentials in, an identity out. One file a kind of credential.
//!
//! A refusal says the same whatever is wrong; what it was stands in the error's source,
//! which is for the log.

mod jwt;
mod keys;

use std::sync::Arc;

use crate::{
    config::AuthConfig,
    domain::{Error, Identity, Result, TenantId, key},
    store::Store,
    watched::Unusable,
};

use jwt::Jwt;
use keys::Keys;
pub use keys::to_toml;

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
        if token.starts_with(key::PREFIX) {
            if let Some(keys) = &kinds.keys {
                return keys.verify(token).await;
            }
        } else if let Some(jwt) = &kinds.jwt {
            return jwt.verify(token).await;
        }
        Err(refused("a token of no kind that is accepted"))
    }
}

impl Kinds {
    /// Who the client is by its certificate. That an authority has signed it was checked
    /// when the connection began.
    fn by_certificate(&self, certificate: Option<&ClientCertificate>) -> Result<Arc<Identity>> {
        match (certificate, &self.certificates) {
            (Some(ClientCertificate(name)), Some(good_for)) => Ok(Arc::new(Identity {
                subject: format!("certificate:{name}").into(),
                ..good_for.clone()
            })),
            (Some(_), None) => Err(refused("a client certificate, and none are accepted")),
            (None, _) => Err(refused("no credential")),
        }
    }
}

/// The error of a credential that is not accepted, and why, for the log.
pub(crate) fn refused(why: impl Into<String>) -> Error {
    Error::unauthenticated().caused_by(why.into())
}
