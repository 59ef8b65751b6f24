//! The table of all settings.

use std::collections::BTreeMap;

use super::{
    Auth, CommaList, Count, DatabaseUrl, Opt, Problem, SigningAlgorithm, Size, Switch, Time,
    sources,
    values::{
        Address, FileName, Folder, HeaderSize, LocaleName, LogFilter, LongTime, Network, Pause,
        PoolerName, RateText, TenantName,
    },
};
use crate::telemetry::LogFormat;

settings! {
    "Listening" {
        /// The gRPC port; speaks REST too
        grpc_addr: Address = "127.0.0.1:50051",
        /// The REST port; speaks gRPC and gRPC-Web too
        http_addr: Address = "127.0.0.1:8080",
        /// The port for /livez, /readyz and /metrics
        admin_addr: Address = "127.0.0.1:9090",
        /// Addresses or networks of proxies and load balancers, separated by commas, whose connections max_pending_connections_per_address does not apply to
        trusted_proxies: CommaList<Network> = "",
        /// Origins whose pages may call, separated by commas; * for all
        cors_origins: CommaList<String> = "",
    }
    "Data" {
        /// The folder of the embedded database, made where it is missing
        data_dir: Folder = "./data",
        /// A PostgreSQL URL, to use that in place of the embedded database
        database_url: Opt<DatabaseUrl> = "",
        /// Connections at most: to PostgreSQL, or that read SQLite
        database_max_connections: Count = "8",
        /// What stands before PostgreSQL: none, or transaction for a pooler such as PgBouncer in transaction mode
        database_pooler: PoolerName = "none",
        /// Searches at once: lists that take reading more than they answer, such as those by a part of a name; others wait
        max_concurrent_searches: Count = "2",
        /// The longest wait for a connection
        database_acquire_timeout: Time = "10s",
    }
    "TLS" {
        /// A file of certificates in PEM, the server's own first; with it both ports speak TLS alone
        tls_cert: Opt<FileName> = "",
        /// The file of that certificate's private key, in PEM
        tls_key: Opt<FileName> = "",
        /// A file of the authorities, in PEM, whose client certificates `certificates` takes
        tls_client_ca: Opt<FileName> = "",
    }
    "Who calls" {
        /// How callers say who they are: keys, jwt, certificates, separated by commas; or `none`, which lets everybody do everything. The default is that, on loopback only
        auth: CommaList<Auth> = "",
        /// A TOML file of keys, beside those in the database
        keys_file: Opt<FileName> = "",
        /// How long a key of the database is remembered: so long one that was revoked may still be taken
        key_cache_time: Time = "10s",
        /// How long the token of a login lasts
        token_lifetime: Time = "5m",
        /// Maximum lifetime of a login, however often its token is renewed
        login_max_lifetime: LongTime = "12h",
        /// A file with the secret that signs login tokens; by default the secret is in the database
        token_secret_file: Opt<FileName> = "",
        /// The issuer of tokens: their `iss`
        jwt_issuer: Opt<String> = "",
        /// Whom tokens must be meant for: one of these, separated by commas, in their `aud`
        jwt_audience: CommaList<String> = "",
        /// The issuer's JSON Web Key Set: a file, or an https URL
        jwt_jwks: Opt<String> = "",
        /// Algorithms that tokens may be signed with, separated by commas
        jwt_algorithms: CommaList<SigningAlgorithm> = "RS256,ES256,EdDSA",
        /// The claim that says which tenants a token is good for: a text or a list; * for all
        jwt_tenants_claim: String = "tenants",
        /// The claim that says what a token allows: a text with spaces, or a list
        jwt_scopes_claim: String = "scope",
        /// How far the issuer's clock may be off
        jwt_leeway: Time = "30s",
        /// How often a key set is fetched anew
        jwt_refresh: Time = "5m",
        /// The shortest time between two fetches of a key set, also for a key that is not in it
        jwt_refetch_interval: Time = "30s",
        /// What a client certificate allows, separated by commas
        certificate_scopes: CommaList<String> = "collections.read",
        /// The tenants that a client certificate is good for, separated by commas; * for all
        certificate_tenants: CommaList<String> = "",
        /// How often files of keys, key sets and certificates are looked at
        reload_interval: Time = "5s",
        /// Whether the server describes its API to everybody who asks
        reflection: Switch = "true",
        /// The tenant of requests that name none, where their credential is not good for one alone
        default_tenant: TenantName = "default",
        /// The locale whose texts stand in for those that another lacks
        default_locale: LocaleName = "en",
        /// Locales that texts may be written in, separated by commas; empty for all
        locales: CommaList<LocaleName> = "",
        /// Whether a collection takes only registered products
        check_products: Switch = "false",
        /// Whether HighLevel requests must have a Version header
        highlevel_require_version: Switch = "true",
        /// Id of the catalog in Oracle Commerce's API
        oracle_catalog_id: String = "cloudCatalog",
        /// Name of that catalog
        oracle_catalog_name: String = "Product Catalog",
    }
    "Running" {
        /// The longest that a request may take
        request_timeout: Time = "30s",
        /// How long a client may take from connecting to the end of its first request head, the TLS handshake included; over HTTP/1 also for each later head, from its first byte
        header_timeout: Time = "10s",
        /// How long a connection may have no request under way before it is closed
        connection_idle_timeout: Time = "5m",
        /// How long a connection may live: it then takes no more requests, and is closed when those under way have ended, or after request_timeout
        max_connection_age: Time = "1h",
        /// How long a read waits for memory for its response where others take all of max_response_memory
        response_memory_timeout: Time = "5s",
        /// How long a client may take nothing of a response before its stream is reset
        response_idle_timeout: Time = "30s",
        /// How often what is old is swept away: answers kept for retries, rates of those who ask no more
        sweep_interval: Time = "5m",
        /// How long the server still takes connections and requests after it was told to stop and says that it is not ready
        shutdown_delay: Pause = "0s",
        /// How long requests under way may take to end when the server stops
        drain_timeout: Time = "20s",
        /// What to log: a level, or directives such as info,endcap=debug
        log: LogFilter = "info,sqlx=warn",
        /// pretty, json, or auto: pretty on a terminal, else json
        log_format: LogFormat = "auto",
    }
    "Limits" {
        /// Bytes of a request's message or body
        max_body_size: Size = "16MiB",
        /// Items of a request's message: over gRPC texts and messages, of JSON values and names, at all depths
        max_message_items: Count = "500000",
        /// Bytes of the body of a request that needs no credential: a login, a health check, reflection
        max_unauthenticated_body_size: Size = "16KiB",
        /// Bytes of a request's headers together
        max_header_size: HeaderSize = "32KiB",
        /// Open connections, the gRPC and REST ports together; for one more, the oldest without authentication is closed
        max_connections: Count = "1000",
        /// Connections without an authenticated request; the others of max_connections are reserved for those with one. Empty for three quarters of max_connections
        max_unauthenticated_connections: Opt<Count> = "",
        /// Connections of one address (of IPv6, a /64) on which no complete request head has come; for one more, the oldest is closed. Empty for a quarter of the port's connections
        max_pending_connections_per_address: Opt<Count> = "",
        /// Open connections of the admin port; for one more, the oldest is closed
        max_admin_connections: Count = "100",
        /// Requests under way on one HTTP/2 connection
        max_connection_streams: Count = "200",
        /// Requests under way; more are refused at once
        max_requests_in_flight: Count = "512",
        /// Lists that a request takes deleted products out of; they leave more lists than that one part after the other, after the response
        max_lists_at_once: Count = "10000",
        /// Size, compressed, of a response that is kept for a retry of its request; of a larger one a summary is kept
        max_kept_response_size: Size = "64KiB",
        /// Size of the responses that are kept for one caller; where they are larger, the oldest go
        max_kept_size_per_caller: Size = "64MiB",
        /// The same for all callers of one tenant
        max_kept_size_per_tenant: Size = "256MiB",
        /// Size of the embedded database's write-ahead log, beyond which it is emptied into the database
        max_wal_size: Size = "64MiB",
        /// Memory of responses over 16 KiB that their clients have not taken yet; reads wait for it, then get 503
        max_response_memory: Size = "256MiB",
        /// The same of one connection
        max_connection_response_memory: Size = "32MiB",
        /// How often one caller may ask, such as 100/10s; empty for no limit
        rate_per_caller: Opt<RateText> = "",
        /// Unknown API keys that one client address may present, such as 100/10s; empty for no limit
        rate_of_unknown_keys: Opt<RateText> = "100/10s",
        /// How often the data of one tenant may be asked for, such as 100/10s; empty for no limit
        rate_per_tenant: Opt<RateText> = "",
        /// Active logins per API key; a new one past the limit ends the oldest
        max_logins_per_key: Count = "1000",
        /// Characters of a name, a display name or a slug
        max_name_chars: Count = "255",
        /// Characters of a description or an SEO text
        max_text_chars: Count = "65536",
        /// Locales of a collection
        max_locales: Count = "64",
        /// Bytes of a collection's texts, images, rules and custom properties together
        max_collection_bytes: Count = "3145728",
        /// Keywords of a collection in one locale
        max_keywords: Count = "250",
        /// Images of a collection
        max_images: Count = "100",
        /// Custom properties of a collection
        max_custom_properties: Count = "100",
        /// Bytes of a collection's custom properties together, as JSON
        max_custom_property_bytes: Count = "65536",
        /// Bytes of a product's attributes, as JSON
        max_product_bytes: Count = "262144",
        /// Rules of a collection, conditions and groups together; also the comparisons of a filter
        max_conditions: Count = "50",
        /// Levels of groups in a collection's rules
        max_rule_depth: Count = "8",
        /// Collections of a tenant
        max_collections: Count = "100000",
        /// Parents of a collection
        max_parents: Count = "32",
        /// Levels of collections below a root
        max_depth: Count = "32",
        /// Mutations of a request
        max_mutations: Count = "1000",
        /// Ids that the mutations of a request name together
        max_mutation_ids: Count = "100000",
        /// Items of a page
        max_page_size: Count = "1000",
        /// Bytes of a page over gRPC: it ends before an item that does not fit, and its token goes on there; BatchGetCollections refuses more
        max_page_bytes: Size = "4MiB",
        /// Ids that a read or a filter names
        max_ids: Count = "1000",
        /// Paths from the roots that an answer lists: of one collection the first, of a list no more
        max_paths: Count = "1000",
        /// Collections that an answer shows below others
        max_expanded: Count = "20000",
        /// Bytes of the collections that an answer shows below others, each as often as it is shown
        max_expanded_bytes: Size = "32MiB",
        /// Collections or products that a list may examine one by one if the database can't evaluate its filter or order
        max_scanned: Count = "10000",
    }
}
