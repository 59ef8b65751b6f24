//! The settings of authentication, authorization and TLS, assembled from their raw values.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use super::{Auth, Problem, Raw, SigningAlgorithm};
use crate::domain::{Identity, Rate, Scope, ScopeNames, TenantId, Tenants};

/// The settings of authentication. If none of its methods is enabled, authentication is disabled,
/// and every caller is authorized for everything.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The tenant of requests that name none, unless their credential is for exactly one tenant.
    pub default_tenant: TenantId,
    /// The tenants that are served, whatever a credential is authorized for.
    pub served: Tenants,
    /// Authentication by API keys, if enabled.
    pub keys: Option<KeysConfig>,
    /// Logins with API keys.
    pub logins: LoginsConfig,
    /// Authentication by JWTs of an issuer, if enabled.
    pub jwt: Option<JwtConfig>,
    /// Authentication by client certificates, if enabled: their tenants and scopes.
    pub certificates: Option<Identity>,
    /// The names that credentials may use for scopes.
    pub scopes: ScopeNames,
    /// How often files are checked for changes.
    pub reload_interval: Duration,
}

/// The settings of API keys.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// The key file; its keys are accepted in addition to those in the database.
    pub file: Option<PathBuf>,
    /// How long a key of the database is cached.
    pub cache_time: Duration,
    /// The rate of unknown keys per client address; `None` for no limit.
    pub unknown_rate: Option<Rate>,
}

/// The settings of logins.
#[derive(Clone, Debug)]
pub struct LoginsConfig {
    /// The lifetime of a token.
    pub token_lifetime: Duration,
    /// The maximum lifetime of a login, however often its token is renewed.
    pub max_lifetime: Duration,
    /// The maximum number of active logins per key.
    pub max_per_key: usize,
    /// The file of the secret that signs tokens; `None` for the secret in the database.
    pub secret_file: Option<PathBuf>,
    /// How long a login is cached.
    pub cache_time: Duration,
}

/// The settings of JWTs.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// The required issuer (`iss`).
    pub issuer: String,
    /// The accepted audiences (`aud`).
    pub audience: Vec<String>,
    /// The source of the issuer's keys.
    pub jwks: JwksPlace,
    /// The accepted signature algorithms.
    pub algorithms: Vec<SigningAlgorithm>,
    /// The claim with the tenants.
    pub tenants_claim: String,
    /// The claim with the scopes.
    pub scopes_claim: String,
    /// The allowed clock skew.
    pub leeway: Duration,
    /// How often the keys are fetched again.
    pub refresh: Duration,
    /// The minimum time between two fetches.
    pub refetch_interval: Duration,
}

/// The source of an issuer's keys.
#[derive(Clone, Debug)]
pub enum JwksPlace {
    /// A file with a JSON Web Key Set.
    File(PathBuf),
    /// A URL that responds with one.
    Url(reqwest::Url),
}

/// The files of TLS on the gRPC and REST ports.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The server's certificate, followed by its intermediates.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The authorities of client certificates, if these are accepted.
    pub client_ca: Option<PathBuf>,
    /// How often the files are checked for changes.
    pub reload_interval: Duration,
}

pub(super) fn auth(raw: &Raw, scopes: ScopeNames, problems: &mut Vec<Problem>) -> AuthConfig {
    let methods = &raw.auth.0;
    let has = |method| methods.contains(&method);
    if has(Auth::None) && methods.len() > 1 {
        problems.push(Problem::new(
            "auth",
            "none can't be combined with other methods",
        ));
    }
    let certificate_scopes = certificate_scopes(raw, &scopes, problems);
    AuthConfig {
        default_tenant: raw.default_tenant.0.clone(),
        served: served(raw),
        keys: has(Auth::Keys).then(|| KeysConfig {
            file: raw.keys_file.0.as_ref().map(|file| file.0.clone()),
            cache_time: raw.key_cache_time.0,
            unknown_rate: raw.rate_of_unknown_keys.0.map(|rate| rate.0),
        }),
        logins: LoginsConfig {
            token_lifetime: raw.token_lifetime.0,
            max_lifetime: raw.login_max_lifetime.0,
            max_per_key: raw.max_logins_per_key.0,
            secret_file: raw.token_secret_file.0.as_ref().map(|file| file.0.clone()),
            cache_time: raw.key_cache_time.0,
        },
        jwt: if has(Auth::Jwt) {
            jwt(raw, problems)
        } else {
            None
        },
        certificates: if has(Auth::Certificates) {
            certificates(raw, certificate_scopes, problems)
        } else {
            None
        },
        scopes,
        reload_interval: raw.reload_interval.0,
    }
}

/// The tenants that are served; all if none is listed.
fn served(raw: &Raw) -> Tenants {
    match raw.tenants.0.as_slice() {
        [] => Tenants::All,
        listed => Tenants::Only(listed.iter().map(|tenant| tenant.0.clone()).collect()),
    }
}

fn jwt(raw: &Raw, problems: &mut Vec<Problem>) -> Option<JwtConfig> {
    let issuer = needed("jwt_issuer", raw.jwt_issuer.0.as_ref(), problems);
    let audience = &raw.jwt_audience.0;
    needed("jwt_audience", audience.first(), problems);
    let jwks = needed("jwt_jwks", raw.jwt_jwks.0.as_ref(), problems);
    let algorithms = &raw.jwt_algorithms.0;
    needed("jwt_algorithms", algorithms.first(), problems);
    let jwks = match jwks_place(jwks?) {
        Ok(place) => place,
        Err(what) => {
            problems.push(Problem::new("jwt_jwks", what));
            return None;
        }
    };
    Some(JwtConfig {
        issuer: issuer?.clone(),
        audience: audience.clone(),
        jwks,
        algorithms: algorithms.clone(),
        tenants_claim: raw.jwt_tenants_claim.clone(),
        scopes_claim: raw.jwt_scopes_claim.clone(),
        leeway: raw.jwt_leeway.0,
        refresh: raw.jwt_refresh.0,
        refetch_interval: raw.jwt_refetch_interval.0,
    })
}

fn needed<'a, T>(name: &str, value: Option<&'a T>, problems: &mut Vec<Problem>) -> Option<&'a T> {
    if value.is_none() {
        problems.push(Problem::new(name, "must be set if auth has jwt"));
    }
    value
}

/// Parses the place of a key set. Whoever can tamper with the keys can issue tokens, so they have
/// to be fetched over TLS or from this machine.
fn jwks_place(text: &str) -> Result<JwksPlace, String> {
    if !text.contains("://") {
        return Ok(JwksPlace::File(text.into()));
    }
    let url: reqwest::Url = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
    let is_here = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(JwksPlace::Url(url)),
        "http" if is_here => Ok(JwksPlace::Url(url)),
        _ => Err(format!(
            "{text:?} must be a file or an https URL; http is allowed on loopback only"
        )),
    }
}

fn certificate_scopes(
    raw: &Raw,
    names: &ScopeNames,
    problems: &mut Vec<Problem>,
) -> BTreeSet<Scope> {
    let scopes = raw.certificate_scopes.0.iter();
    let scopes = scopes.filter_map(|name| {
        let problem = |what| problems.push(Problem::new("certificate_scopes", what));
        names.parse(name).map_err(problem).ok()
    });
    scopes.collect()
}

fn certificates(
    raw: &Raw,
    scopes: BTreeSet<Scope>,
    problems: &mut Vec<Problem>,
) -> Option<Identity> {
    if raw.tls_client_ca.0.is_none() {
        let what = "must be set if auth has certificates";
        problems.push(Problem::new("tls_client_ca", what));
    }
    if raw.certificate_tenants.0.is_empty() {
        let what = "must name tenants, or be *, if auth has certificates";
        problems.push(Problem::new("certificate_tenants", what));
    }
    let names = raw.certificate_tenants.0.iter().map(String::as_str);
    match Tenants::parse(names) {
        Ok(tenants) => Some(Identity {
            subject: Arc::default(),
            tenants,
            scopes,
        }),
        Err(what) => {
            problems.push(Problem::new("certificate_tenants", what));
            None
        }
    }
}

pub(super) fn tls(raw: &Raw, problems: &mut Vec<Problem>) -> Option<TlsConfig> {
    let path =
        |name: &super::Opt<super::values::FileName>| name.0.as_ref().map(|file| file.0.clone());
    let (cert, key) = (path(&raw.tls_cert), path(&raw.tls_key));
    let client_ca = path(&raw.tls_client_ca);
    match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsConfig {
            cert,
            key,
            client_ca,
            reload_interval: raw.reload_interval.0,
        }),
        (None, None) => {
            if client_ca.is_some() {
                let what = "needs tls_cert and tls_key";
                problems.push(Problem::new("tls_client_ca", what));
            }
            None
        }
        (Some(_), None) | (None, Some(_)) => {
            let what = "must be set together with tls_key";
            problems.push(Problem::new("tls_cert", what));
            None
        }
    }
}
