//! The settings of who calls, and of TLS, put together.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use super::{Auth, Problem, Raw, SigningAlgorithm};
use crate::domain::{Identity, Rate, Scope, ScopeNames, TenantId, Tenants};

/// How callers say who they are. Where nothing of it is set, they don't, and everybody may
/// do everything.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The tenant of requests that name none, where their credential is not valid for one
    /// alone.
    pub default_tenant: TenantId,
    /// The tenants that are served, whatever a credential is authorized for.
    pub served: Tenants,
    /// By keys.
    pub keys: Option<KeysConfig>,
    /// Logins with keys.
    pub logins: LoginsConfig,
    /// By tokens that an issuer signed.
    pub jwt: Option<JwtConfig>,
    /// By client certificates; what one is valid for.
    pub certificates: Option<Identity>,
    /// The names that credentials may have for scopes.
    pub scopes: ScopeNames,
    /// How often files are looked at.
    pub reload_interval: Duration,
}

/// Keys.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// Of those next to the database's.
    pub file: Option<PathBuf>,
    /// How long one of the database is remembered.
    pub cache_time: Duration,
    /// Unknown keys that one client address may present; none for no limit.
    pub unknown_rate: Option<Rate>,
}

/// Logins.
#[derive(Clone, Debug)]
pub struct LoginsConfig {
    /// Lifetime of a token.
    pub token_lifetime: Duration,
    /// Maximum lifetime of a login, however often its token is renewed.
    pub max_lifetime: Duration,
    /// Active logins per key.
    pub max_per_key: usize,
    /// With the secret that signs tokens; none for the one in the database.
    pub secret_file: Option<PathBuf>,
    /// How long a login is cached.
    pub cache_time: Duration,
}

/// Tokens that an issuer signed.
#[derive(Clone, Debug)]
pub struct JwtConfig {
    /// Who must have made them.
    pub issuer: String,
    /// For whom; one of these.
    pub audience: Vec<String>,
    /// The issuer's keys.
    pub jwks: JwksPlace,
    /// How they may be signed.
    pub algorithms: Vec<SigningAlgorithm>,
    /// The claim with the tenants.
    pub tenants_claim: String,
    /// The claim with the scopes.
    pub scopes_claim: String,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// How often keys are fetched again.
    pub refresh: Duration,
    /// The shortest time between two fetches.
    pub refetch_interval: Duration,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum JwksPlace {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    Url(reqwest::Url),
}

/// The files of TLS.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The server's certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients, where their certificates are taken.
    pub client_ca: Option<PathBuf>,
    /// How often the files are looked at.
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

/// All if none is listed.
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

/// Who can change what is fetched can make tokens, so it has to come over TLS, or from
/// this machine.
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
