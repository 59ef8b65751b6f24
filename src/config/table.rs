//! The table of all settings.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    database_url::DatabaseUrl,
    declare::Setting,
    kind::Value,
    problem::Problem,
    sources,
    values::{
        Address, Auth, CacheSize, CollectorUrl, CommaList, Count, CurrencyCode, FileName, Folder,
        HeaderSize, LocaleName, LogFilter, LongTime, Network, Opt, Pause, PoolerName, RateText,
        SecretText, SigningAlgorithm, Size, Switch, TenantName, Time,
    },
};
use crate::{
    store::DatabaseTls,
    telemetry::{LogFormat, OtlpHeaders, OtlpProtocol, Ratio, ResourceAttributes, TracesSampler},
};

settings! {
    "Listening" {
        /// Address of the gRPC port; it serves REST, too
        grpc_addr: Address = "127.0.0.1:50051",
        /// Address of the REST port; it serves gRPC and gRPC-Web, too
        http_addr: Address = "127.0.0.1:8080",
        /// Address of the admin port: health checks, metrics and the log filter, without authentication
        admin_addr: Address = "127.0.0.1:9090",
        /// Addresses or networks of proxies and load balancers, to which max_pending_connections_per_address does not apply
        trusted_proxies: CommaList<Network> = "",
        /// Origins (scheme, host and port) whose web pages may call the REST and gRPC-Web APIs from
        /// a browser (CORS); * for all. If none is set, browsers refuse the responses to pages of
        /// other origins
        cors_origins: CommaList<String> = "",
    }
    "Database" {
        /// Directory of the embedded SQLite database; created if absent
        data_dir: Folder = "./data",
        /// URL of a PostgreSQL database to use instead of the embedded one
        #[secret(database_url_file)]
        #[reload = "user and password in the file, for new connections"]
        database_url: Opt<DatabaseUrl> = "",
        /// URL of a read replica of the PostgreSQL database, a hot standby. Reads that accept older data (consistency within or at_least) are sent to it if it is fresh enough, and to database_url otherwise
        #[secret(database_read_url_file)]
        #[reload = "user and password in the file, for new connections"]
        database_read_url: Opt<DatabaseUrl> = "",
        /// How long a read from the read replica may take before it is sent to database_url
        database_read_timeout: Time = "500ms",
        /// Connection pool size: connections to PostgreSQL, or connections that read SQLite
        database_max_connections: Count = "8",
        /// Connection pooler in front of PostgreSQL: transaction for one in transaction mode, such as PgBouncer
        database_pooler: PoolerName = "none",
        /// Maximum number of concurrent searches: list requests that read more than they return, such as those that filter by a part of a name; others wait
        max_concurrent_searches: Count = "2",
        /// Maximum number of writes that share a commit (group commit): any writes on SQLite, up to 16 updates of properties on PostgreSQL; 1 commits each write separately
        max_group_commits: Count = "64",
        /// Maximum size of the data written by a group of writes that share a commit
        max_group_commit_size: Size = "4MiB",
        /// How long after its first write a group of writes that share a commit of SQLite accepts another write
        max_group_commit_time: Time = "20ms",
        /// Size of the read cache: responses to reads of a collection and of pages of its children, which are reused while they are current; 0 disables the cache
        read_cache_size: CacheSize = "64MiB",
        /// Maximum wait for a database connection
        database_acquire_timeout: Time = "10s",
        /// Password for PostgreSQL and its read replica, if the URL has none
        #[secret(database_password_file)]
        #[reload = "password in the file, for new connections"]
        database_password: Opt<SecretText> = "",
        /// TLS for connections to PostgreSQL; only verify-ca and verify-full verify the server's certificate. If empty, the sslmode of database_url applies, or else prefer
        database_tls: Opt<DatabaseTls> = "",
        /// PEM file of CA certificates that may have signed the PostgreSQL server's certificate, in addition to public CAs
        #[reload = "contents of the file, for new connections"]
        database_tls_ca: Opt<FileName> = "",
        /// PEM file of the client certificate for PostgreSQL
        #[reload = "contents of the file, for new connections"]
        database_tls_cert: Opt<FileName> = "",
        /// PEM file of the private key of database_tls_cert
        #[reload = "contents of the file, for new connections"]
        database_tls_key: Opt<FileName> = "",
    }
    "TLS" {
        /// PEM file of the server certificate and its intermediates, the server's own first; if set, the gRPC and REST ports accept only TLS
        #[reload = "contents of the file"]
        tls_cert: Opt<FileName> = "",
        /// PEM file of the private key of tls_cert
        #[reload = "contents of the file"]
        tls_key: Opt<FileName> = "",
        /// PEM file of the CA certificates that client certificates must be signed by
        #[reload = "contents of the file"]
        tls_client_ca: Opt<FileName> = "",
    }
    "Authentication and authorization" {
        /// Authentication methods; none disables authentication. If empty, authentication is disabled and the server listens on loopback only
        auth: CommaList<Auth> = "",
        /// TOML file of API keys, in addition to those in the database
        #[reload = "contents of the file"]
        keys_file: Opt<FileName> = "",
        /// How long an API key of the database is cached; a revoked key may be accepted for this time
        key_cache_time: Time = "10s",
        /// Lifetime of a login token
        token_lifetime: Time = "5m",
        /// Maximum lifetime of a login, however often its token is renewed
        login_max_lifetime: LongTime = "12h",
        /// File of the secret that signs login tokens; if empty, the secret is in the database
        #[reload = "contents of the file"]
        token_secret_file: Opt<FileName> = "",
        /// Required issuer (iss) of JWTs
        jwt_issuer: Opt<String> = "",
        /// Accepted audiences (aud) of JWTs
        jwt_audience: CommaList<String> = "",
        /// JSON Web Key Set of the issuer: a file, or an https URL
        #[reload = "contents of the file; of a URL, every jwt_refresh"]
        jwt_jwks: Opt<String> = "",
        /// Accepted signature algorithms of JWTs
        jwt_algorithms: CommaList<SigningAlgorithm> = "RS256,ES256,EdDSA",
        /// Claim with the tenants of a JWT: a space-delimited string or a list; * for all
        jwt_tenants_claim: String = "tenants",
        /// Claim with the scopes of a JWT: a space-delimited string or a list
        jwt_scopes_claim: String = "scope",
        /// Allowed clock skew between the issuer and this server
        jwt_leeway: Time = "30s",
        /// How often the key set is fetched from its URL
        jwt_refresh: Time = "5m",
        /// Minimum time between two fetches of the key set, also for a JWT whose key is not in it
        jwt_refetch_interval: Time = "30s",
        /// Scopes of client certificates
        certificate_scopes: CommaList<String> = "collections.read",
        /// Tenants that client certificates are authorized for; * for all
        certificate_tenants: CommaList<String> = "",
        /// How often files of secrets, API keys, key sets and certificates are checked for changes
        reload_interval: Time = "5s",
    }
    "API" {
        /// Enable gRPC reflection and the pages that describe the REST APIs
        reflection: Switch = "true",
        /// Default tenant: used for requests that name no tenant, if their credential is not for exactly one tenant
        default_tenant: TenantName = "default",
        /// Tenants that the server serves: a request for another tenant is refused, so that it does not create a mistyped tenant; empty for all
        tenants: CommaList<TenantName> = "",
        /// Default locale: its texts are the fallback for texts that are missing in another locale
        default_locale: LocaleName = "en",
        /// Allowed locales of texts; empty for all
        locales: CommaList<LocaleName> = "",
        /// Default currency: used when a collection is sorted by price and the sort names no currency; empty for none
        default_currency: Opt<CurrencyCode> = "",
        /// Accept only registered products in collections
        check_products: Switch = "false",
        /// Require the Version header in HighLevel requests
        highlevel_require_version: Switch = "true",
        /// Id of the catalog in Oracle Commerce's API
        oracle_catalog_id: String = "cloudCatalog",
        /// Name of the catalog in Oracle Commerce's API
        oracle_catalog_name: String = "Product Catalog",
    }
    "Timeouts and logging" {
        /// Maximum duration of a request
        request_timeout: Time = "30s",
        /// Maximum time from the connection to the end of the first request head, including the TLS handshake; over HTTP/1 also for each later head, from its first byte
        header_timeout: Time = "10s",
        /// How long a connection may have no request in flight before it is closed
        connection_idle_timeout: Time = "5m",
        /// Maximum age of a connection: it then accepts no more requests, and is closed when its requests in flight have ended, or after request_timeout
        max_connection_age: Time = "1h",
        /// How long a read waits for memory for its response if max_response_memory is in use
        response_memory_timeout: Time = "5s",
        /// How long a client may read nothing of a response before its stream is reset
        response_idle_timeout: Time = "30s",
        /// How often expired data is deleted: responses kept for retries, logins, idle rate limiters
        sweep_interval: Time = "5m",
        /// How long the server accepts connections and requests after SIGTERM, while it reports that it is not ready
        shutdown_delay: Pause = "0s",
        /// Maximum time for requests in flight to end at shutdown
        drain_timeout: Time = "20s",
        /// Log filter: a level, or directives such as info,endcap=debug
        #[reload = "PUT /log on the admin port"]
        log: LogFilter = "info,sqlx=warn",
        /// Log format; auto is pretty on a terminal and json elsewhere
        log_format: LogFormat = "auto",
    }
    "Limits" {
        /// Maximum size of a request message or body
        max_body_size: Size = "16MiB",
        /// Maximum number of items in a request message at all depths: over gRPC strings and messages, in JSON values and names
        max_message_items: Count = "500000",
        /// Maximum size of the body of a request that needs no credential: a login, a health check, reflection
        max_unauthenticated_body_size: Size = "16KiB",
        /// Maximum size of all headers of a request
        max_header_size: HeaderSize = "32KiB",
        /// Maximum number of connections to the gRPC and REST ports together; to make room for another, the oldest unauthenticated connection is closed
        max_connections: Count = "1000",
        /// Maximum number of connections without an authenticated request; the rest of max_connections is reserved for authenticated connections. If empty, three quarters of max_connections
        max_unauthenticated_connections: Opt<Count> = "",
        /// Maximum number of connections of one address (of IPv6, a /64) without a complete request head; to make room for another, the oldest is closed. If empty, a quarter of the connections of the port
        max_pending_connections_per_address: Opt<Count> = "",
        /// Maximum number of connections to the admin port; to make room for another, the oldest is closed
        max_admin_connections: Count = "100",
        /// Maximum number of requests in flight on one HTTP/2 connection
        max_connection_streams: Count = "200",
        /// Maximum number of requests in flight; more are refused at once
        max_requests_in_flight: Count = "512",
        /// Maximum number of lists from which a request removes deleted products; if there are more, a job removes them after the response
        max_lists_at_once: Count = "10000",
        /// Maximum compressed size of a response that is kept for retries; for a larger response a summary is kept
        max_kept_response_size: Size = "64KiB",
        /// Maximum size of the responses kept for one caller; the oldest are deleted
        max_kept_size_per_caller: Size = "64MiB",
        /// Maximum size of the responses kept for one tenant; the oldest are deleted
        max_kept_size_per_tenant: Size = "256MiB",
        /// Size of the embedded database's write-ahead log beyond which the log is emptied
        max_wal_size: Size = "64MiB",
        /// Memory for responses over 16 KiB until their clients have read them; reads wait for it, then fail with UNAVAILABLE or 503
        max_response_memory: Size = "256MiB",
        /// Memory for responses over 16 KiB on one connection
        max_connection_response_memory: Size = "32MiB",
        /// Rate limit of one caller, such as 100/10s; empty for none
        rate_per_caller: Opt<RateText> = "",
        /// Rate limit of unknown API keys from one client address, such as 100/10s; empty for none
        rate_of_unknown_keys: Opt<RateText> = "100/10s",
        /// Rate limit of requests for one tenant, such as 100/10s; empty for none
        rate_per_tenant: Opt<RateText> = "",
        /// Maximum number of active logins of an API key; a new one ends the oldest
        max_logins_per_key: Count = "1000",
        /// Maximum characters of a name, a display name or a slug
        max_name_chars: Count = "255",
        /// Maximum characters of a description or an SEO text
        max_text_chars: Count = "65536",
        /// Maximum number of locales of a collection
        max_locales: Count = "64",
        /// Maximum bytes of the texts, images, rules and custom properties of a collection together
        max_collection_bytes: Count = "3145728",
        /// Maximum number of keywords of a collection in one locale
        max_keywords: Count = "250",
        /// Maximum number of images of a collection
        max_images: Count = "100",
        /// Maximum number of custom properties of a collection
        max_custom_properties: Count = "100",
        /// Maximum bytes of the custom properties of a collection together, as JSON
        max_custom_property_bytes: Count = "65536",
        /// Maximum bytes of the attributes of a product, as JSON
        max_product_bytes: Count = "262144",
        /// Maximum number of tags of a product
        max_product_tags: Count = "250",
        /// Maximum number of variants of a product
        max_product_variants: Count = "250",
        /// Maximum number of prices of a product
        max_product_prices: Count = "1000",
        /// Maximum number of rules of a collection (conditions and groups together), and of comparisons in a filter
        max_conditions: Count = "500",
        /// Maximum depth of groups in the rules of a collection
        max_rule_depth: Count = "8",
        /// Maximum number of collections in a chain where the rules of each name the next
        max_rule_chain: Count = "8",
        /// Maximum number of products of a tenant over which a request evaluates the rules of a smart collection, and of memberships that a write of products changes; beyond it a job evaluates them, and previews and dry runs are refused
        max_synchronous_products: Count = "100000",
        /// Maximum number of lists of smart collections that a write of products changes; beyond it a job changes them
        max_synchronous_changes: Count = "10000",
        /// Maximum number of products that a smart collection includes whether they match its rules or not
        max_includes: Count = "10000",
        /// Maximum number of products that a smart collection excludes whether they match its rules or not
        max_excludes: Count = "10000",
        /// Maximum number of products that a smart collection pins to an index
        max_pins: Count = "1000",
        /// Maximum number of collections of a tenant
        max_collections: Count = "100000",
        /// Maximum number of parents of a collection
        max_parents: Count = "32",
        /// Maximum depth of collections below a root
        max_depth: Count = "32",
        /// Maximum number of mutations in a request
        max_mutations: Count = "1000",
        /// Maximum number of ids in all mutations of a request
        max_mutation_ids: Count = "100000",
        /// Maximum number of items in a page
        max_page_size: Count = "1000",
        /// Maximum size of a page over gRPC: the page ends before an item that does not fit, and its page token continues there; BatchGetCollections refuses a larger response
        max_page_bytes: Size = "4MiB",
        /// Maximum number of ids in a read or a filter
        max_ids: Count = "1000",
        /// Maximum number of paths from the roots in a response: for one collection the first are returned, a list with more is refused
        max_paths: Count = "1000",
        /// Maximum number of collections in a response that are nested in others
        max_expanded: Count = "20000",
        /// Maximum size of the collections in a response that are nested in others, each counted as often as it is returned
        max_expanded_bytes: Size = "32MiB",
        /// Maximum number of collections or products that a list request examines one by one if the database can't evaluate its filter or sort order
        max_scanned: Count = "10000",
    }
    "Telemetry" {
        /// URL of an OpenTelemetry collector for traces, metrics and logs, such as http://collector:4317; if empty, OTEL_EXPORTER_OTLP_ENDPOINT. Nothing is sent if neither is set
        otlp_endpoint: Opt<CollectorUrl> = "",
        /// Protocol of the collector; if empty, OTEL_EXPORTER_OTLP_PROTOCOL, or http/protobuf
        otlp_protocol: Opt<OtlpProtocol> = "",
        /// Headers for the collector, such as api-key=secret, separated by commas; if empty, OTEL_EXPORTER_OTLP_HEADERS
        #[secret(otlp_headers_file)]
        otlp_headers: Opt<OtlpHeaders> = "",
        /// Timeout of an export to the collector; if empty, OTEL_EXPORTER_OTLP_TIMEOUT, or 10s
        otlp_timeout: Opt<Time> = "",
        /// Which traces are sampled; if empty, OTEL_TRACES_SAMPLER, or parentbased_always_on
        traces_sampler: Opt<TracesSampler> = "",
        /// Share of traces that traceidratio samples; if empty, OTEL_TRACES_SAMPLER_ARG
        traces_sampler_arg: Opt<Ratio> = "",
        /// Resource attributes of this server, such as deployment.environment.name=production, separated by commas; they are added to OTEL_RESOURCE_ATTRIBUTES
        resource_attributes: Opt<ResourceAttributes> = "",
        /// Disable sending to a collector; if empty, OTEL_SDK_DISABLED
        otel_sdk_disabled: Opt<Switch> = "",
        /// Add the tenant as a label to the metrics of requests; only for few tenants
        metrics_tenant_label: Switch = "false",
        /// Duration from which a database statement is logged as slow
        slow_statement: Time = "1s",
    }
}
