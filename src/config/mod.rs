//! Configuration from flags, the environment, a TOML file and defaults, in this order of
//! precedence. Everything is parsed before a port is bound, and all problems are reported together.

mod auth;
mod database;
mod database_url;
#[macro_use]
mod declare;
mod kind;
mod problem;
mod sources;
mod values;

use std::{ffi::OsString, fmt::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

pub use auth::{AuthConfig, JwksPlace, JwtConfig, KeysConfig, LoginsConfig, TlsConfig};
pub use database_url::DatabaseUrl;
pub use declare::Setting;
pub use kind::{Kind, Value};
pub use problem::{ConfigError, Problem, invalid_toml};
pub use values::{Auth, CommaList, LogFilter, Opt, SigningAlgorithm};

use crate::{
    domain::{Limits, Locale, Rate, ScopeNames},
    memory::MemoryLimits,
    store::requests::StoredResponseLimits,
    telemetry::{LogConfig, OtlpConfig, TelemetryConfig},
};

mod table;
pub use table::{Flags, Raw, SETTINGS};

/// The parsed settings, grouped by the parts of the program that use them.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listeners, and the limits of requests.
    pub listen: ListenConfig,
    /// The database connection.
    pub database: crate::store::Database,
    /// The limits of the domain.
    pub limits: Limits,
    /// The rate limit per tenant; `None` for no limit.
    pub rate_per_tenant: Option<Rate>,
    /// The maximum number of concurrent searches.
    pub max_searches: usize,
    /// The limits of groups of writes that share a commit of SQLite.
    pub groups: crate::store::GroupLimits,
    /// The size of the read cache, in bytes; 0 disables it.
    pub read_cache_size: usize,
    /// The interval at which expired data is deleted.
    pub sweep_interval: Duration,
    /// The limits of responses stored for retries.
    pub kept: StoredResponseLimits,
    /// The size of SQLite's write-ahead log, in bytes, from which it is checkpointed.
    pub max_wal: u64,
    /// Authentication and authorization.
    pub auth: AuthConfig,
    /// The locale whose texts replace those missing in another locale.
    pub default_locale: Locale,
    /// The allowed locales of texts; empty for all.
    pub locales: Vec<Locale>,
    /// Whether collections accept registered products only.
    pub check_products: bool,
    /// The currency of a sort by price that names none.
    pub default_currency: Option<String>,
    /// Logs, metrics and traces, and where they are exported.
    pub telemetry: TelemetryConfig,
    /// The raw settings, for `endcap config` and for those of the dialects.
    pub raw: Raw,
}

/// The settings of the listeners, and of the requests that they accept.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// The address of the gRPC port.
    pub grpc: SocketAddr,
    /// The address of the REST port.
    pub http: SocketAddr,
    /// The address of the admin port.
    pub admin: SocketAddr,
    /// The allowed CORS origins; `*` for all.
    pub cors_origins: Vec<String>,
    /// The server's certificate; `None` to listen without TLS.
    pub tls: Option<TlsConfig>,
    /// Whether reflection and the API descriptions are served, without authentication.
    pub reflection: bool,
    /// The maximum size of a request message or body, in bytes.
    pub max_body: usize,
    /// The maximum number of items in a request message.
    pub max_message_items: usize,
    /// The maximum size of the body of a request without a credential, in bytes.
    pub max_unauthenticated_body: usize,
    /// The connections to the gRPC and REST ports.
    pub connections: ConnectionConfig,
    /// The connections to the admin port.
    pub admin_connections: ConnectionConfig,
    /// The maximum number of requests in flight.
    pub max_requests_in_flight: usize,
    /// The memory that responses may take until they are sent.
    pub response_memory: MemoryLimits,
    /// The rate limit per caller; `None` for no limit.
    pub rate_per_caller: Option<Rate>,
    /// The maximum duration of a request.
    pub request_timeout: Duration,
    /// How long the server accepts requests after it was told to shut down.
    pub shutdown_delay: Duration,
    /// How long requests in flight may take to end at shutdown.
    pub drain_timeout: Duration,
}

/// The limits on connections: on their number, and on each.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// The maximum number of connections to all listeners that share these limits.
    pub max_connections: usize,
    /// The setting of `max_connections`, for error messages and metrics.
    pub setting: &'static str,
    /// The maximum number of connections without an authenticated request.
    pub max_unauthenticated: usize,
    /// The maximum number of connections per address without a complete request head.
    pub max_pending_per_address: usize,
    /// The proxies, to which the limit per address does not apply.
    pub trusted_proxies: Vec<IpNet>,
    /// The maximum number of concurrent requests on an HTTP/2 connection.
    pub max_streams: u32,
    /// The maximum size of all headers of a request, in bytes; at least 8,192.
    pub max_header_size: usize,
    /// The maximum time from accept to the end of the first request head, including the TLS
    /// handshake; over HTTP/1 also for each later head.
    pub header_timeout: Duration,
    /// The maximum time without a request in flight.
    pub idle_timeout: Duration,
    /// The age at which a connection stops accepting requests.
    pub max_age: Duration,
    /// How long requests in flight may take to end when the connection is closed.
    pub grace: Duration,
    /// How long a client may read nothing of a response over HTTP/2.
    pub response_idle_timeout: Duration,
}

impl Config {
    /// Loads the settings from flags, the environment, and the file. `scopes` are the names that
    /// settings and credentials may use for scopes. Also returns conflicts between settings that
    /// are valid by themselves.
    ///
    /// # Errors
    /// With all problems of single settings: invalid values, and unknown names.
    pub fn load(
        flags: &Flags,
        file: Option<PathBuf>,
        scopes: ScopeNames,
    ) -> Result<(Self, Vec<Problem>), ConfigError> {
        Self::read(flags, std::env::vars_os(), file, scopes)
    }

    /// Like [`Self::load`], from flags only.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of_flags(
        flags: &Flags,
        scopes: ScopeNames,
    ) -> Result<(Self, Vec<Problem>), ConfigError> {
        Self::read(flags, std::iter::empty(), None, scopes)
    }

    fn read(
        flags: &Flags,
        environment: impl Iterator<Item = (OsString, OsString)>,
        file: Option<PathBuf>,
        scopes: ScopeNames,
    ) -> Result<(Self, Vec<Problem>), ConfigError> {
        let (sources, mut problems) =
            sources::Sources::read(flags.clone().given(), SETTINGS, environment, file);
        let raw = match Raw::parse(&sources) {
            Ok(raw) if problems.is_empty() => raw,
            Ok(_) => return Err(ConfigError(problems)),
            Err(more) => {
                problems.extend(more);
                return Err(ConfigError(problems));
            }
        };
        Ok(Self::resolve(raw, scopes))
    }

    fn resolve(raw: Raw, scopes: ScopeNames) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let auth = auth::auth(&raw, scopes, &mut problems);
        let tls = auth::tls(&raw, &mut problems);
        if raw.auth.0.is_empty() {
            let addresses = [
                ("grpc_addr", raw.grpc_addr.0),
                ("http_addr", raw.http_addr.0),
            ];
            for (name, address) in addresses {
                if !address.ip().is_loopback() {
                    problems.push(Problem::new(
                        name,
                        format!(
                            "{address} is reachable from other machines and authentication is \
                             disabled: set `auth`, or `auth = none` if that is intended"
                        ),
                    ));
                }
            }
        }
        let database = database::database(&raw, &mut problems);
        problems.extend(beyond_a_response(&raw));
        let config = Self {
            listen: ListenConfig {
                grpc: raw.grpc_addr.0,
                http: raw.http_addr.0,
                admin: raw.admin_addr.0,
                cors_origins: raw.cors_origins.0.clone(),
                tls,
                reflection: raw.reflection.0,
                max_body: raw.max_body_size.0,
                max_message_items: raw.max_message_items.0,
                max_unauthenticated_body: raw.max_unauthenticated_body_size.0,
                connections: connections(&raw),
                admin_connections: admin_connections(&raw),
                max_requests_in_flight: raw.max_requests_in_flight.0,
                response_memory: MemoryLimits {
                    total: raw.max_response_memory.0,
                    connection: raw.max_connection_response_memory.0,
                    wait: raw.response_memory_timeout.0,
                    idle: raw.response_idle_timeout.0,
                },
                rate_per_caller: raw.rate_per_caller.0.map(|rate| rate.0),
                request_timeout: raw.request_timeout.0,
                shutdown_delay: raw.shutdown_delay.0,
                drain_timeout: raw.drain_timeout.0,
            },
            database,
            limits: limits(&raw),
            rate_per_tenant: raw.rate_per_tenant.0.map(|rate| rate.0),
            max_searches: raw.max_concurrent_searches.0,
            groups: crate::store::GroupLimits {
                units: raw.max_group_commits.0,
                bytes: raw.max_group_commit_size.0 as u64,
                time: raw.max_group_commit_time.0,
            },
            read_cache_size: raw.read_cache_size.0,
            sweep_interval: raw.sweep_interval.0,
            kept: StoredResponseLimits {
                caller: raw.max_kept_size_per_caller.0,
                tenant: raw.max_kept_size_per_tenant.0,
            },
            max_wal: raw.max_wal_size.0 as u64,
            auth,
            default_locale: raw.default_locale.0.clone(),
            locales: raw
                .locales
                .0
                .iter()
                .map(|locale| locale.0.clone())
                .collect(),
            check_products: raw.check_products.0,
            default_currency: raw.default_currency.0.as_ref().map(|it| it.0.clone()),
            telemetry: telemetry(&raw),
            raw,
        };
        (config, problems)
    }
}

impl Raw {
    /// The settings as a TOML file, with secrets hidden.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut group = "";
        for (setting, value) in self.texts() {
            let Setting { name, default, .. } = *setting;
            if setting.group != group {
                let gap = if group.is_empty() { "" } else { "\n" };
                group = setting.group;
                let _ = writeln!(text, "{gap}# {group}");
            }
            let file = self.files.get(name).zip(setting.file);
            // Cannot fail: writing to a string is infallible.
            let _ = match (file, setting.kind.toml(&value)) {
                (Some((path, file)), _) => {
                    let path = toml::Value::from(path.display().to_string());
                    writeln!(text, "{file} = {path}")
                }
                (None, Some(value)) => writeln!(text, "{name} = {value}"),
                (None, None) if default.is_empty() => writeln!(text, "# {name} = \"\""),
                (None, None) => writeln!(text, "{name} = \"\""),
            };
        }
        text
    }
}

fn telemetry(raw: &Raw) -> TelemetryConfig {
    TelemetryConfig {
        log: LogConfig {
            filter: raw.log.0.clone(),
            format: raw.log_format,
        },
        otlp: OtlpConfig {
            disabled: raw.otel_sdk_disabled.0.as_deref().copied(),
            endpoint: raw.otlp_endpoint.0.clone().map(|url| url.0),
            protocol: raw.otlp_protocol.0,
            headers: raw.otlp_headers.0.clone(),
            timeout: raw.otlp_timeout.0.map(|timeout| timeout.0),
            sampler: raw.traces_sampler.0,
            sampler_ratio: raw.traces_sampler_arg.0,
            resource_attributes: raw.resource_attributes.0.clone(),
        },
        tenant_label: raw.metrics_tenant_label.0,
    }
}

fn connections(raw: &Raw) -> ConnectionConfig {
    let max_connections = raw.max_connections.0;
    let max_unauthenticated = raw.max_unauthenticated_connections.0;
    let max_pending = raw.max_pending_connections_per_address.0;
    ConnectionConfig {
        max_connections,
        setting: "max_connections",
        // The others are reserved for authenticated connections.
        max_unauthenticated: max_unauthenticated
            .map_or(max_connections - max_connections / 4, |count| count.0),
        max_pending_per_address: max_pending.map_or((max_connections / 4).max(1), |count| count.0),
        trusted_proxies: raw.trusted_proxies.0.iter().map(|net| net.0).collect(),
        // Cannot fail: `Count` has 32 bits.
        max_streams: u32::try_from(raw.max_connection_streams.0).unwrap_or(u32::MAX),
        max_header_size: raw.max_header_size.0,
        header_timeout: raw.header_timeout.0,
        idle_timeout: raw.connection_idle_timeout.0,
        max_age: raw.max_connection_age.0,
        grace: raw.request_timeout.0,
        response_idle_timeout: raw.response_idle_timeout.0,
    }
}

/// The limits that are so high that the response to a write could exceed 4 MiB, the default maximum
/// of gRPC clients.
fn beyond_a_response(raw: &Raw) -> Vec<Problem> {
    let limits = [
        (
            "max_collection_bytes",
            raw.max_collection_bytes.0,
            3_145_728,
        ),
        (
            "max_custom_property_bytes",
            raw.max_custom_property_bytes.0,
            65_536,
        ),
        // An array can have a number per two bytes of JSON, which takes thirteen bytes on the wire.
        ("max_product_bytes", raw.max_product_bytes.0, 480_000),
        ("max_mutations", raw.max_mutations.0, 10_000),
        ("max_ids", raw.max_ids.0, 20_000),
    ];
    let beyond = limits.into_iter().filter(|(_, value, most)| value > most);
    beyond
        .map(|(name, value, most)| {
            let why = format!(
                "{value} is too high: at most {most}, so that each response to a write fits into \
                 4 MiB, the default limit of gRPC clients"
            );
            Problem::new(name, why)
        })
        .collect()
}

/// The admin port has limits of its own, so that health checks reach it whatever happens on the
/// other ports.
fn admin_connections(raw: &Raw) -> ConnectionConfig {
    let max_connections = raw.max_admin_connections.0;
    let max_pending = raw.max_pending_connections_per_address.0;
    ConnectionConfig {
        max_connections,
        setting: "max_admin_connections",
        // No request to the admin port is authenticated.
        max_unauthenticated: max_connections,
        max_pending_per_address: max_pending.map_or((max_connections / 4).max(1), |count| count.0),
        ..connections(raw)
    }
}

fn limits(raw: &Raw) -> Limits {
    Limits {
        name_chars: raw.max_name_chars.0,
        text_chars: raw.max_text_chars.0,
        locales: raw.max_locales.0,
        collection_bytes: raw.max_collection_bytes.0,
        keywords: raw.max_keywords.0,
        images: raw.max_images.0,
        custom_properties: raw.max_custom_properties.0,
        custom_property_bytes: raw.max_custom_property_bytes.0,
        product_bytes: raw.max_product_bytes.0,
        product_tags: raw.max_product_tags.0,
        product_variants: raw.max_product_variants.0,
        product_prices: raw.max_product_prices.0,
        conditions: raw.max_conditions.0,
        rule_depth: raw.max_rule_depth.0,
        rule_chain: raw.max_rule_chain.0,
        collections: raw.max_collections.0,
        parents: raw.max_parents.0,
        depth: raw.max_depth.0,
        mutations: raw.max_mutations.0,
        mutation_ids: raw.max_mutation_ids.0,
        page_size: raw.max_page_size.0,
        page_bytes: raw.max_page_bytes.0,
        ids: raw.max_ids.0,
        paths: raw.max_paths.0,
        expanded: raw.max_expanded.0,
        expanded_bytes: raw.max_expanded_bytes.0,
        scanned: raw.max_scanned.0,
        lists: raw.max_lists_at_once.0,
        synchronous_products: raw.max_synchronous_products.0,
        synchronous_changes: raw.max_synchronous_changes.0,
        includes: raw.max_includes.0,
        excludes: raw.max_excludes.0,
        pins: raw.max_pins.0,
        kept_bytes: raw.max_kept_response_size.0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::Scope;

    fn load(flags: Flags, environment: &[(&str, &str)], file: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endcap.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let (sources, mut problems) =
            sources::Sources::read(flags.given(), SETTINGS, environment, Some(path.clone()));
        let parsed = Raw::parse(&sources).map_err(|more| problems.extend(more));
        let result = match parsed {
            Ok(raw) if problems.is_empty() => {
                let scopes = ScopeNames::with([("read-only", Scope::CollectionsRead)]);
                match Config::resolve(raw, scopes) {
                    (config, problems) if problems.is_empty() => Ok(config),
                    (_, problems) => Err(ConfigError(problems)),
                }
            }
            _ => Err(ConfigError(problems)),
        };
        result.map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn the_default_limits_are_those_of_the_domain() {
        let limits = load(Flags::default(), &[], "").unwrap().limits;
        assert_eq!(limits, Limits::default());
    }

    /// The default connection limits.
    pub(crate) fn connections() -> ConnectionConfig {
        load(Flags::default(), &[], "").unwrap().listen.connections
    }

    #[test]
    fn connection_limits_follow_from_defaults_and_settings() {
        let shares = |file: &str| {
            let listen = load(Flags::default(), &[], file).unwrap().listen;
            [listen.connections, listen.admin_connections].map(|connections| {
                (
                    connections.max_connections,
                    connections.max_unauthenticated,
                    connections.max_pending_per_address,
                )
            })
        };
        assert_eq!(shares(""), [(1_000, 750, 250), (100, 100, 25)]);
        assert_eq!(
            shares("max_connections = 2\nmax_admin_connections = 1"),
            [(2, 2, 1), (1, 1, 1)]
        );
        let file = "max_unauthenticated_connections = 10\n\
                    max_pending_connections_per_address = 5\n\
                    trusted_proxies = '10.0.0.1, fd00::/8'";
        assert_eq!(shares(file), [(1_000, 10, 5), (100, 100, 5)]);
        let error = load(Flags::default(), &[], "trusted_proxies = 'proxy'").unwrap_err();
        assert!(
            error.contains("must be an IP address or a network"),
            "{error}"
        );
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let flags = Flags {
            grpc_addr: Some("127.0.0.1:1".into()),
            ..Flags::default()
        };
        let environment = [
            ("ENDCAP_GRPC_ADDR", "127.0.0.1:2"),
            ("ENDCAP_HTTP_ADDR", "127.0.0.1:2"),
        ];
        let file = "grpc_addr = '127.0.0.1:3'\nhttp_addr = '127.0.0.1:3'\nadmin-addr = '127.0.0.1:3'\nmax_page_size = 7";
        let config = load(flags, &environment, file).unwrap();
        let ports = [config.listen.grpc, config.listen.http, config.listen.admin];
        assert_eq!(ports.map(|address| address.port()), [1, 2, 3]);
        assert_eq!(config.limits.page_size, 7);
    }

    #[test]
    fn all_configuration_errors_are_reported_at_once_with_their_source() {
        let environment = [
            ("ENDCAP_DRAIN_TIMEOUT", "soon"),
            ("ENDCAP_GRCP_ADDR", "127.0.0.1:2"),
            // Kubernetes adds these for a service named endcap.
            ("ENDCAP_SERVICE_HOST", "10.0.0.1"),
            ("ENDCAP_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
        ];
        let file = "max_depth = 'deep'\ndefault_locale = '?'\ndefault_currency = 'eur'\n\
                    max_deph = 3\ncolour = 1";
        let error = load(Flags::default(), &environment, file).unwrap_err();
        insta::assert_snapshot!(error, @r#"
        invalid configuration:
          ENDCAP_GRCP_ADDR: unknown setting; a similar one is ENDCAP_GRPC_ADDR
          colour in FILE: unknown setting
          max_deph in FILE: unknown setting; a similar one is max_depth
          default_locale in FILE: "?" must be a BCP 47 locale such as en or pt-BR
          default_currency in FILE: "eur" must be three capitals of ISO 4217 such as EUR
          ENDCAP_DRAIN_TIMEOUT: "soon" must be a duration from 1ms to 1h, such as 30s or 500ms
          max_depth in FILE: "deep" must be an integer from 1 to 4294967295
        "#);
    }

    #[test]
    fn a_non_loopback_address_requires_an_explicit_auth_setting() {
        let file = "grpc_addr = '0.0.0.0:50051'";
        assert!(
            load(Flags::default(), &[], file)
                .unwrap_err()
                .contains("auth = none")
        );
        let file = "grpc_addr = '0.0.0.0:50051'\nauth = 'none'";
        assert!(load(Flags::default(), &[], file).is_ok());
        let file = "grpc_addr = '0.0.0.0:50051'\nauth = 'keys'";
        assert!(load(Flags::default(), &[], file).is_ok());
    }

    #[test]
    fn incomplete_or_invalid_authentication_settings_are_rejected() {
        let file =
            "auth = 'none,jwt,certificates'\ncertificate_tenants = '?'\ntls_cert = 'cert.pem'";
        let error = load(Flags::default(), &[], file).unwrap_err();
        insta::assert_snapshot!(error, @r#"
        invalid configuration:
          auth: none can't be combined with other methods
          jwt_issuer: must be set if auth has jwt
          jwt_audience: must be set if auth has jwt
          jwt_jwks: must be set if auth has jwt
          tls_client_ca: must be set if auth has certificates
          certificate_tenants: "?" must be made of ASCII letters, digits and - _ . ~ : @ + /
          tls_cert: must be set together with tls_key
        "#);
        for (jwks, is_fine) in [
            ("https://id.example/keys", true),
            ("http://127.0.0.1:8080/keys", true),
            ("http://[::1]/keys", true),
            ("http://localhost/keys", true),
            ("/etc/keys.json", true),
            ("http://id.example/keys", false),
            ("http://127.0.0.1.example/keys", false),
            ("ftp://id.example/keys", false),
        ] {
            let file = format!(
                "auth = 'jwt'\njwt_issuer = 'https://id.example'\njwt_audience = 'endcap'\n\
                 jwt_jwks = '{jwks}'"
            );
            let loaded = load(Flags::default(), &[], &file);
            assert_eq!(loaded.is_ok(), is_fine, "{jwks}: {:?}", loaded.err());
        }
        let error = load(Flags::default(), &[], "auth = 'certificates'").unwrap_err();
        assert!(error.contains("certificate_tenants: must"), "{error}");
        let error = load(Flags::default(), &[], "jwt_algorithms = 'RS256,HS256'").unwrap_err();
        assert!(error.contains("RS256, RS384"), "{error}");
    }

    #[test]
    fn certificate_scopes_must_be_known_scope_names() {
        let with = |scopes: &str| {
            let file = format!(
                "auth = 'certificates'\ntls_cert = 'c'\ntls_key = 'k'\ntls_client_ca = 'a'\n\
                 certificate_tenants = '*'\ncertificate_scopes = '{scopes}'"
            );
            load(Flags::default(), &[], &file)
        };
        let config = with("read-only, collections.write").unwrap();
        let scopes: Vec<_> = config
            .auth
            .certificates
            .unwrap()
            .scopes
            .into_iter()
            .collect();
        assert_eq!(scopes, [Scope::CollectionsRead, Scope::CollectionsWrite]);
        let error = with("admin,everything").unwrap_err();
        assert!(
            error.contains("certificate_scopes: \"everything\" must be one of"),
            "{error}"
        );
        // The names are checked even if client certificates are not enabled.
        assert!(load(Flags::default(), &[], "certificate_scopes = 'x'").is_err());
    }

    #[test]
    fn limits_that_affect_response_size_have_maximums() {
        for (name, most) in [
            ("max_collection_bytes", 3_145_728),
            ("max_custom_property_bytes", 65_536),
            ("max_mutations", 10_000),
            ("max_ids", 20_000),
        ] {
            let set = |value: usize| load(Flags::default(), &[], &format!("{name} = {value}"));
            assert!(set(most).is_ok(), "{name}");
            let error = set(most + 1).unwrap_err();
            assert!(
                error.contains(&format!("{name}: {} is too high", most + 1)),
                "{error}"
            );
        }
    }

    #[test]
    fn values_in_a_file_are_type_checked_and_an_integer_may_be_a_string() {
        let depth = |file: &str| load(Flags::default(), &[], file).map(|it| it.limits.depth);
        assert_eq!(depth("max_depth = 7").unwrap(), 7);
        assert_eq!(depth("max_depth = '7'").unwrap(), 7);
        for (odd, told) in [
            ("max_depth = [7]", "max_depth in FILE: must be an integer"),
            ("max_depth = true", "max_depth in FILE: must be an integer"),
            ("max_depth = 7.0", "max_depth in FILE: must be an integer"),
            (
                "reflection = 1",
                "reflection in FILE: must be true or false",
            ),
            ("default_tenant = 7", "default_tenant in FILE: must be a"),
            ("tls_cert = false", "tls_cert in FILE: must be a path"),
            (
                "database_url_file = 1",
                "database_url_file in FILE: must be a path",
            ),
            (
                "locales = [1]",
                "locales in FILE: each item must be a string",
            ),
            (
                "cors_origins = ['a,b']",
                "cors_origins in FILE: each item must be a string",
            ),
            ("max-depth = 7\nmax_depth = 8", "is given twice"),
        ] {
            let error = depth(odd).unwrap_err();
            assert!(error.contains(told), "{odd}: {error}");
        }
    }

    #[test]
    fn invalid_toml_is_reported_with_its_line_but_not_quoted() {
        let file = "max_depth = 7\ndatabase_password = hunter2";
        let error = load(Flags::default(), &[], file).unwrap_err();
        assert!(error.contains("FILE: invalid TOML in line 2: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_database_url_is_checked_and_its_password_never_shown() {
        let read = |url: &str| url.parse::<DatabaseUrl>();
        for (url, shown) in [
            ("postgres://me@db/endcap", "postgres://me@db/endcap"),
            ("postgresql://me:hunter2@db:1/x", "postgres://me:***@db:1/x"),
            (
                "postgres://me:h%40nter2@db/x?sslmode=require",
                "postgres://me:***@db/x?sslmode=require",
            ),
            (
                "postgres:///x?host=/run/pg&user=me&password=hunter2",
                "postgres:///x?host=%2Frun%2Fpg&user=me&password=***",
            ),
        ] {
            let url = read(url).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(read(shown).unwrap().to_string(), shown);
        }
        for (odd, told) in [
            ("", "must be a PostgreSQL URL"),
            ("mysql://db/x", "must be a PostgreSQL URL"),
            ("postgres://me:hunter2@db/x\n", "must be a PostgreSQL URL"),
            ("postgres://db:port/x", "invalid port"),
            (
                "postgres://db/x?sslmod=require",
                "unknown parameter \"sslmod\"",
            ),
            ("postgres://db/x?sslmode=hunter", "sslmode"),
            // Passwords with unescaped delimiters.
            ("postgres://me:12#hunter2@db/x", "must be percent-encoded"),
            ("postgres://me:12/hunter2@db/x", "must be percent-encoded"),
            ("postgres://me:12?hunter2@db/x", "must be percent-encoded"),
            ("postgres://me:1a#hunter2@db/x", "must be percent-encoded"),
        ] {
            let error = read(odd).unwrap_err();
            assert!(error.contains(told), "{odd}: {error}");
            assert!(!error.contains("hunter2"), "{odd}: {error}");
        }
    }

    #[test]
    fn incomplete_or_conflicting_postgresql_settings_are_rejected() {
        let url = "database_url = 'postgres://me@db/x'\n";
        let secret = "database_url = 'postgres://me:x@db/x'\n";
        let tls = "database_url = 'postgres://db/x?sslmode=require&sslrootcert=a'\n";
        for (file, told) in [
            (
                "database_password = 'x'".into(),
                "database_password: needs database_url",
            ),
            (
                "database_tls = 'require'".into(),
                "database_tls: needs database_url",
            ),
            (
                "database_tls_ca = 'x'".into(),
                "database_tls_ca: needs database_url",
            ),
            (
                format!("{secret}database_password = 'x'"),
                "also has a password",
            ),
            (
                format!("{tls}database_tls = 'disable'"),
                "also has an sslmode",
            ),
            (
                format!("{tls}database_tls_ca = 'x'"),
                "also has an sslrootcert",
            ),
            (tls.to_owned(), "is not used if database_tls is require"),
            (
                format!("{url}database_tls_ca = 'x'"),
                "is not used if database_tls is prefer",
            ),
            (
                format!("{url}database_tls_cert = 'x'"),
                "must be set together",
            ),
            (
                format!("{url}database_password = \"x\\n\""),
                "database_password in FILE: must be one line",
            ),
            (
                format!("{url}database_tls = 'allow'"),
                "must be disable, prefer, require",
            ),
        ] {
            let error = load(Flags::default(), &[], &file).unwrap_err();
            assert!(error.contains(told), "{file}: {error}");
        }
        let file = format!("{url}database_tls = 'verify-full'\ndatabase_tls_ca = 'x'");
        assert!(load(Flags::default(), &[], &file).is_ok());
        let file = "database_url = 'postgres://db/x?sslmode=verify-ca&sslrootcert=a'";
        let access = load(Flags::default(), &[], file).unwrap().database.access;
        assert_eq!(access.ca, Some("a".into()));
    }

    #[test]
    fn effective_settings_can_be_loaded_again_and_hide_secrets() {
        let file = "database_url = 'postgres://me:hunter2@db/endcap'\nlocales = 'en, pt_BR'";
        let toml = load(Flags::default(), &[], file).unwrap().raw.to_toml();
        assert!(!toml.contains("hunter2"), "{toml}");
        let again = load(Flags::default(), &[], &toml).unwrap();
        assert_eq!(again.raw.to_toml(), toml);
        assert_eq!(again.locales[1].as_str(), "pt-BR");
        assert!(toml.parse::<toml::Table>().is_ok());
    }
}
