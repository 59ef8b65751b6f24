//! The table of all metrics, from which docs/reference/metrics.md is generated.

use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

/// The definition of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The name over OTLP.
    pub name: &'static str,
    /// The kind: counter, updowncounter, gauge or histogram.
    pub kind: &'static str,
    /// The unit, in UCUM.
    pub unit: &'static str,
    /// What it measures.
    pub description: &'static str,
    /// The attributes that its values can have.
    pub attributes: &'static [&'static str],
}

/// Buckets for the duration of requests, in seconds.
const DURATIONS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Buckets for the duration of statements, in seconds.
const STATEMENTS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// Buckets for the size of bodies, in bytes.
const SIZES: [f64; 9] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];
/// Buckets for counts.
const COUNTS: [f64; 9] = [
    1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 1_000.0, 10_000.0, 100_000.0,
];

macro_rules! instrument {
    (counter, $meter:ident, $name:literal, $unit:literal, $doc:expr) => {
        $meter
            .u64_counter($name)
            .with_unit($unit)
            .with_description($doc)
            .build()
    };
    (updown, $meter:ident, $name:literal, $unit:literal, $doc:expr) => {
        $meter
            .i64_up_down_counter($name)
            .with_unit($unit)
            .with_description($doc)
            .build()
    };
    (gauge, $meter:ident, $name:literal, $unit:literal, $doc:expr) => {
        $meter
            .f64_gauge($name)
            .with_unit($unit)
            .with_description($doc)
            .build()
    };
    (seconds, $meter:ident, $name:literal, $unit:literal, $doc:expr) => {
        $meter
            .f64_counter($name)
            .with_unit($unit)
            .with_description($doc)
            .build()
    };
    (histogram($buckets:ident), $meter:ident, $name:literal, $unit:literal, $doc:expr) => {
        $meter
            .f64_histogram($name)
            .with_unit($unit)
            .with_description($doc)
            .with_boundaries($buckets.to_vec())
            .build()
    };
}

macro_rules! instrument_type {
    (counter) => { Counter<u64> };
    (updown) => { UpDownCounter<i64> };
    (gauge) => { Gauge<f64> };
    (seconds) => { Counter<f64> };
    (histogram) => { Histogram<f64> };
}

macro_rules! kind_name {
    (counter) => {
        "counter"
    };
    (updown) => {
        "updowncounter"
    };
    (gauge) => {
        "gauge"
    };
    (seconds) => {
        "counter"
    };
    (histogram) => {
        "histogram"
    };
}

/// Declares all metrics: the description, field, kind, name, unit and attributes of each.
macro_rules! metrics {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $kind:ident $(($buckets:ident))? = $name:literal, $unit:literal,
        [$($attribute:literal),*];
    )+) => {
        /// The instruments of all metrics.
        #[derive(Debug)]
        pub(super) struct Instruments {
            $($(#[doc = $doc])+ pub(super) $field: instrument_type!($kind),)+
        }

        /// The definitions of all metrics, in the order of the documentation.
        pub const DEFINITIONS: &[Definition] = &[$(
            Definition {
                name: $name,
                kind: kind_name!($kind),
                unit: $unit,
                description: concat!($($doc),+).trim_ascii(),
                attributes: &[$($attribute),*],
            },
        )+];

        impl Instruments {
            pub(super) fn new(meter: &Meter) -> Self {
                Self {
                    $($field: instrument!(
                        $kind $(($buckets))?, meter, $name, $unit, concat!($($doc),+).trim_ascii()
                    ),)+
                }
            }
        }
    };
}

metrics! {
    /// Duration of a gRPC call, to the last byte of its response.
    rpc_duration: histogram(DURATIONS) = "rpc.server.call.duration", "s",
        ["rpc.system.name", "rpc.method", "rpc.status_code", "error.type", "endcap.tenant"];
    /// Size of the request messages of a gRPC call, as received.
    rpc_request_size: histogram(SIZES) = "rpc.server.request.size", "By",
        ["rpc.system.name", "rpc.method"];
    /// Size of the response messages of a gRPC call, as sent.
    rpc_response_size: histogram(SIZES) = "rpc.server.response.size", "By",
        ["rpc.system.name", "rpc.method"];
    /// Duration of a REST request, to the last byte of its response.
    http_duration: histogram(DURATIONS) = "http.server.request.duration", "s",
        ["http.request.method", "http.route", "http.response.status_code", "url.scheme",
         "network.protocol.version", "error.type", "endcap.tenant"];
    /// Size of the body of a REST request, as received.
    http_request_size: histogram(SIZES) = "http.server.request.body.size", "By",
        ["http.request.method", "http.route"];
    /// Size of the body of a response over REST, as sent.
    http_response_size: histogram(SIZES) = "http.server.response.body.size", "By",
        ["http.request.method", "http.route"];
    /// REST requests whose last byte is not sent yet.
    http_active: updown = "http.server.active_requests", "{request}",
        ["http.request.method", "url.scheme"];
    /// gRPC calls whose last byte is not sent yet; open streams are among them.
    rpc_active: updown = "endcap.rpc.active_calls", "{call}", ["rpc.method"];
    /// Requests in flight, up to the head of their response: what max_requests_in_flight limits.
    requests_in_flight: updown = "endcap.requests_in_flight", "{request}", [];
    /// Open connections of all ports.
    connections: updown = "endcap.connections", "{connection}", [];
    /// Requests and connections that were refused because of a limit, by the limit's setting.
    refused: counter = "endcap.refused", "{request}", ["limit"];
    /// Requests whose credential was rejected, by reason.
    authentication_failures: counter = "endcap.authentication.failures", "{request}", ["reason"];
    /// Responses that were kept for a retry and sent again, whole or as a summary.
    replayed: counter = "endcap.kept_responses.replayed", "{response}", ["form"];
    /// Size of the responses that are kept for retries, as of the last sweep.
    kept: gauge = "endcap.kept_responses", "By", [];
    /// Memory of responses that clients have not read yet.
    response_memory: gauge = "endcap.response_memory", "By", [];
    /// Duration of a database statement.
    statement_duration: histogram(STATEMENTS) = "db.client.operation.duration", "s",
        ["db.system.name", "db.operation.name", "db.collection.name", "db.response.status_code",
         "error.type"];
    /// Connections of a pool, used or idle.
    pool_connections: gauge = "db.client.connection.count", "{connection}",
        ["db.client.connection.pool.name", "db.client.connection.state"];
    /// Connections that a pool may have.
    pool_max: gauge = "db.client.connection.max", "{connection}",
        ["db.client.connection.pool.name"];
    /// Transactions that wait for a connection or for their BEGIN.
    pool_pending: updown = "db.client.connection.pending_requests", "{request}",
        ["db.client.connection.pool.name"];
    /// How long a transaction waited for a connection and its BEGIN.
    pool_wait: histogram(STATEMENTS) = "db.client.connection.wait_time", "s",
        ["db.client.connection.pool.name"];
    /// Transactions that got no connection within database_acquire_timeout.
    pool_timeouts: counter = "db.client.connection.timeouts", "{timeout}",
        ["db.client.connection.pool.name"];
    /// Writes that shared a commit: all writes on SQLite, updates of properties on PostgreSQL.
    group_size: histogram(COUNTS) = "endcap.commit_group.size", "{transaction}", [];
    /// Duration of such a commit.
    commit_duration: histogram(STATEMENTS) = "endcap.commit_group.duration", "s", [];
    /// Write transactions, by outcome: committed, dry_run, or undone (rolled back).
    transactions: counter = "endcap.transactions", "{transaction}", ["outcome"];
    /// Attempts that a write took.
    attempts: histogram(COUNTS) = "endcap.transaction.attempts", "{attempt}", ["operation"];
    /// Write transactions that were run again, by cause.
    retries: counter = "endcap.transaction.retries", "{retry}", ["cause"];
    /// Rows that a committed write inserted, updated or deleted.
    rows_written: histogram(COUNTS) = "endcap.rows_written", "{row}", ["operation"];
    /// Statements that a committed write took.
    statements: histogram(COUNTS) = "endcap.transaction.statements", "{statement}", ["operation"];
    /// Look-ups in the cache of lists' directories, by result: hit or miss.
    directory_lookups: counter = "endcap.directory_cache.lookups", "{lookup}", ["result"];
    /// Look-ups of responses in the read cache, by result: hit, miss, or wait for a response that
    /// another request was reading.
    read_cache_lookups: counter = "endcap.read_cache.lookups", "{lookup}", ["result"];
    /// Responses, and their translations into JSON, that were evicted from the read cache because it
    /// was full.
    read_cache_evictions: counter = "endcap.read_cache.evictions", "{response}", [];
    /// Size of the responses, and their translations into JSON, in the read cache.
    read_cache_size: gauge = "endcap.read_cache.size", "By", [];
    /// Reads that accept older data, by result at the read replica: served; or sent to the primary
    /// database because the replica was behind, failed, or was unused after a failure.
    replica_reads: counter = "endcap.replica.reads", "{read}", ["result"];
    /// The replica lag when it was last measured: the time since the newest heartbeat of this
    /// server that the replica has. Up to half a second if there is no delay.
    replica_lag: gauge = "endcap.replica.lag", "s", [];
    /// Size of SQLite's database file.
    sqlite_file: gauge = "endcap.sqlite.file", "By", [];
    /// Size of SQLite's write-ahead log.
    sqlite_wal: gauge = "endcap.sqlite.wal", "By", [];
    /// Checkpoints that emptied SQLite's write-ahead log because it was over max_wal_size, by
    /// outcome: done or failed.
    checkpoints: counter = "endcap.sqlite.checkpoints", "{checkpoint}", ["outcome"];
    /// Jobs that are not done yet, of all servers on the database.
    jobs: gauge = "endcap.jobs", "{job}", [];
    /// Age of the oldest job that is not done yet.
    job_lag: gauge = "endcap.jobs.lag", "s", [];
    /// Steps of jobs that failed, and are retried.
    job_failures: counter = "endcap.jobs.failures", "{failure}", [];
    /// Evaluations of a smart collection's rules by a write, by cause: product (over one product
    /// that changed), or rules (over all products, because rules, entries or the order changed).
    rule_evaluations: counter = "endcap.rules.evaluations", "{evaluation}", ["cause"];
    /// Smart collections that were evaluated because a changed product could affect them.
    rule_candidates: histogram(COUNTS) = "endcap.rules.candidates", "{collection}", [];
    /// Lists of smart collections that a committed write changed, because products or rules changed.
    lists_changed: histogram(COUNTS) = "endcap.rules.lists_changed", "{list}", ["operation"];
    /// Writes that failed while updating lists of smart collections, by cause: product or rules.
    rule_failures: counter = "endcap.rules.failures", "{failure}", ["cause", "error.type"];
    /// Pending migrations of the database.
    pending_migrations: gauge = "endcap.migrations.pending", "{migration}", [];
    /// Whether the server is ready: 1, or 0.
    ready: gauge = "endcap.ready", "", [];
    /// When the server's TLS certificate expires, in seconds since 1970.
    certificate_expiry: gauge = "endcap.tls.certificate.expiry", "s", [];
    /// When the issuer's key set was last fetched, in seconds since 1970.
    key_set_time: gauge = "endcap.jwks.fetch_time", "s", [];
    /// Always 1; the attributes have the version and the engine that are running.
    build_info: gauge = "endcap.build_info", "", ["version", "engine"];
    /// Processor time of the process.
    cpu: seconds = "process.cpu.time", "s", ["process.cpu.state"];
    /// Resident memory of the process.
    memory: gauge = "process.memory.usage", "By", [];
    /// Open file descriptors of the process.
    open_files: gauge = "process.unix.file_descriptor.count", "{file_descriptor}", [];
    /// File descriptors that the process may open.
    max_files: gauge = "process.unix.file_descriptor.limit", "{file_descriptor}", [];
    /// Threads of the process.
    threads: gauge = "process.thread.count", "{thread}", [];
    /// How long the process has run.
    uptime: gauge = "process.uptime", "s", [];
}
