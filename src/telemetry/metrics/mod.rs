//! Metrics, through OpenTelemetry: `/metrics` on the admin port reads them, and they are exported
//! over OTLP if that is enabled. They belong to the process, as the log does.

mod bound;
mod limits;
mod process;
mod requests;
mod table;
mod text;

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    KeyValue,
    metrics::{BoundUpDownCounter, MeterProvider as _},
};
use opentelemetry_prometheus_text_exporter::PrometheusExporter;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};

use bound::BoundInstruments;
use limits::LIMITS;
use table::Instruments;

use crate::domain::Error;

pub use process::watch as watch_process;
pub use requests::{CallLabels, ExchangeLabels, Measured};
pub use table::{DEFINITIONS, Definition};
pub use text::Format;

static METRICS: OnceLock<Metrics> = OnceLock::new();

struct Metrics {
    instruments: Instruments,
    bound: BoundInstruments,
    exporter: PrometheusExporter,
    /// Whether the tenant is an attribute of the requests' metrics.
    has_tenant: bool,
    /// Keeps the instruments alive.
    provider: SdkMeterProvider,
}

impl Metrics {
    /// Metrics that `/metrics` and the readers of `builder` read.
    fn new(builder: opentelemetry_sdk::metrics::MeterProviderBuilder, has_tenant: bool) -> Self {
        let exporter = PrometheusExporter::builder().without_scope_info().build();
        let provider = builder.with_reader(exporter.clone()).build();
        let instruments = Instruments::new(&provider.meter("endcap"));
        for limit in LIMITS {
            let limit = KeyValue::new("limit", limit);
            instruments.refused.add(0, &[limit]);
        }
        Self {
            bound: BoundInstruments::new(&instruments),
            instruments,
            exporter,
            has_tenant,
            provider,
        }
    }
}

/// Adds the readers of `builder`. Must be called before the first measurement, and has no effect
/// otherwise.
pub(super) fn install(builder: opentelemetry_sdk::metrics::MeterProviderBuilder, has_tenant: bool) {
    METRICS.get_or_init(|| Metrics::new(builder, has_tenant));
}

/// Exports the last metrics, and stops. Blocks for at most `timeout`.
pub(super) fn shutdown(timeout: Duration) {
    if let Some(metrics) = METRICS.get()
        && let Err(error) = metrics.provider.shutdown_with_timeout(timeout)
    {
        tracing::warn!(%error, "the final export of metrics failed");
    }
}

fn metrics() -> &'static Metrics {
    METRICS.get_or_init(|| {
        let resource = Resource::builder().with_service_name("endcap").build();
        Metrics::new(SdkMeterProvider::builder().with_resource(resource), false)
    })
}

fn instruments() -> &'static Instruments {
    &metrics().instruments
}

/// All metrics, in a text format.
pub fn text(format: Format) -> String {
    let mut all = Vec::new();
    // Cannot fail: writing to memory is infallible.
    let _ = metrics().exporter.export(&mut all);
    format.of(&String::from_utf8_lossy(&all))
}

/// Counts a request or connection that a limit refused; `limit` is the name of its setting.
pub fn refused(limit: &'static str) {
    instruments()
        .refused
        .add(1, &[KeyValue::new("limit", limit)]);
}

/// Counts the limits that an error is about.
pub(super) fn count(error: &Error) {
    limits::of(error).for_each(refused);
}

/// Counts a rejected credential, by reason.
pub fn authentication_failed(reason: &'static str) {
    let reason = KeyValue::new("reason", reason);
    instruments().authentication_failures.add(1, &[reason]);
}

/// Counts a replayed response, by form: `stored` or `current`.
pub fn replayed(form: &'static str) {
    instruments()
        .replayed
        .add(1, &[KeyValue::new("form", form)]);
}

/// Counts a look-up in the cache of directories.
pub fn directory_lookup(is_hit: bool) {
    let result = if is_hit { "hit" } else { "miss" };
    let result = KeyValue::new("result", result);
    instruments().directory_lookups.add(1, &[result]);
}

/// Counts a look-up in the read cache: `hit`, `miss` or `wait`.
pub fn read_cache_lookup(result: &'static str) {
    let Metrics {
        instruments, bound, ..
    } = metrics();
    let lookups = bound.read_cache_lookups.get(&result, || {
        let result = KeyValue::new("result", result);
        instruments.read_cache_lookups.bind(&[result])
    });
    lookups.add(1);
}

/// Counts a response that was evicted from the read cache.
pub fn read_cache_evicted() {
    instruments().read_cache_evictions.add(1, &[]);
}

/// Counts a read that may use the read replica, by its outcome there.
pub fn replica_read(result: &'static str) {
    let result = KeyValue::new("result", result);
    instruments().replica_reads.add(1, &[result]);
}

/// Sets the lag of the read replica.
pub fn replica_lag(lag: Duration) {
    instruments().replica_lag.record(lag.as_secs_f64(), &[]);
}

/// Sets the bytes in the read cache.
pub fn read_cache_size(bytes: u64) {
    instruments().read_cache_size.record(bytes as f64, &[]);
}

/// Sets the bytes of responses in memory.
pub fn response_memory(bytes: usize) {
    instruments().response_memory.record(bytes as f64, &[]);
}

/// Sets the sizes of SQLite's database file and of its write-ahead log, in bytes.
pub fn sqlite_files(database: u64, wal: u64) {
    instruments().sqlite_file.record(database as f64, &[]);
    instruments().sqlite_wal.record(wal as f64, &[]);
}

/// Counts a checkpoint of SQLite's write-ahead log.
pub fn checkpoint(is_done: bool) {
    let outcome = if is_done { "done" } else { "failed" };
    let outcome = KeyValue::new("outcome", outcome);
    instruments().checkpoints.add(1, &[outcome]);
}

/// Sets the bytes of responses stored for retries.
pub fn kept(bytes: u64) {
    instruments().kept.record(bytes as f64, &[]);
}

/// Sets the number of pending jobs, and the age of the oldest.
pub fn jobs(count: usize, lag: Duration) {
    instruments().jobs.record(count as f64, &[]);
    instruments().job_lag.record(lag.as_secs_f64(), &[]);
}

/// Counts a failed step of a job.
pub fn job_failed() {
    instruments().job_failures.add(1, &[]);
}

/// Why rules are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluationCause {
    /// A product changed.
    Product,
    /// The rules, their entries or the sort changed.
    Rules,
}

impl EvaluationCause {
    fn attribute(self) -> KeyValue {
        let name = match self {
            Self::Product => "product",
            Self::Rules => "rules",
        };
        KeyValue::new("cause", name)
    }
}

/// Counts the collections whose rules were evaluated for a changed product.
pub fn candidates(count: usize) {
    let instruments = instruments();
    let cause = EvaluationCause::Product.attribute();
    instruments.rule_evaluations.add(count as u64, &[cause]);
    instruments.rule_candidates.record(count as f64, &[]);
}

/// Counts a collection whose rules were evaluated for all products.
pub fn rules_evaluated() {
    let cause = EvaluationCause::Rules.attribute();
    instruments().rule_evaluations.add(1, &[cause]);
}

/// Records how many lists of smart collections a committed write changed.
pub fn lists_changed(operation: &'static str, count: usize) {
    let operation = KeyValue::new("operation", operation);
    let lists = &instruments().lists_changed;
    lists.record(count as f64, &[operation]);
}

/// Counts a write that failed while it updated lists of smart collections.
pub fn evaluation_failed(cause: EvaluationCause, error: &Error) {
    let kind = KeyValue::new("error.type", format!("{:?}", error.reason));
    instruments()
        .rule_failures
        .add(1, &[cause.attribute(), kind]);
}

/// Sets the number of pending migrations.
pub fn pending_migrations(count: usize) {
    instruments().pending_migrations.record(count as f64, &[]);
}

/// Sets whether the server is ready.
pub fn ready(is_ready: bool) {
    instruments()
        .ready
        .record(f64::from(u8::from(is_ready)), &[]);
}

/// Sets when the server's certificate expires, in seconds since 1970.
pub fn certificate_expiry(seconds: i64) {
    instruments().certificate_expiry.record(seconds as f64, &[]);
}

/// Sets the time of the last fetch of the issuer's key set to now.
pub fn key_set_fetched() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs_f64();
    instruments().key_set_time.record(seconds.floor(), &[]);
}

/// Sets the version and the database engine of this server.
pub fn build_info(engine: &'static str) {
    let version = KeyValue::new("version", env!("CARGO_PKG_VERSION"));
    let engine = KeyValue::new("engine", engine);
    instruments().build_info.record(1.0, &[version, engine]);
}

/// Records a completed gRPC call.
pub fn called(labels: CallLabels, measured: Measured<'_>) {
    let metrics = metrics();
    let instruments = &metrics.instruments;
    let bind = || labels.bind(instruments, metrics.has_tenant);
    let measures = metrics.bound.calls.get(&labels, bind);
    measures.record(measured, &instruments.rpc_duration, || labels.long());
}

/// Records a completed REST request.
pub fn exchanged(labels: &ExchangeLabels, measured: Measured<'_>) {
    let metrics = metrics();
    let instruments = &metrics.instruments;
    let bind = || labels.bind(instruments, metrics.has_tenant);
    let measures = metrics.bound.exchanges.get(labels, bind);
    measures.record(measured, &instruments.http_duration, || labels.long());
}

/// A completed database statement.
#[derive(Clone, Copy, Debug)]
pub struct StatementOutcome<'a> {
    /// The engine.
    pub system: &'static str,
    /// The operation, such as `SELECT`.
    pub operation: &'static str,
    /// The table, if it is known.
    pub table: Option<&'static str>,
    /// The duration.
    pub duration: Duration,
    /// `Some` if it failed; with the database's error code, if there is one.
    pub failure: Option<Option<&'a str>>,
}

/// Records a database statement.
pub fn statement(outcome: StatementOutcome<'_>) {
    let table = |table| KeyValue::new("db.collection.name", table);
    let mut attributes = Vec::with_capacity(5);
    attributes.push(KeyValue::new("db.system.name", outcome.system));
    attributes.push(KeyValue::new("db.operation.name", outcome.operation));
    attributes.extend(outcome.table.map(table));
    if let Some(code) = outcome.failure {
        let error = code.unwrap_or("_OTHER").to_owned();
        attributes.push(KeyValue::new("error.type", error));
        let code = code.map(|code| KeyValue::new("db.response.status_code", code.to_owned()));
        attributes.extend(code);
    }
    let seconds = outcome.duration.as_secs_f64();
    instruments()
        .statement_duration
        .record(seconds, &attributes);
}

/// Records a committed write transaction.
pub fn committed(operation: &'static str, statements: u64, rows: u64) {
    let operation = [KeyValue::new("operation", operation)];
    instruments()
        .statements
        .record(statements as f64, &operation);
    instruments().rows_written.record(rows as f64, &operation);
}

/// Records a commit, and how many writes shared it.
pub fn group_committed(writes: usize, took: Duration) {
    let instruments = instruments();
    instruments.group_size.record(writes as f64, &[]);
    instruments.commit_duration.record(took.as_secs_f64(), &[]);
}

/// Counts an attempt at a write transaction, by outcome.
pub fn transaction(outcome: &'static str) {
    let outcome = KeyValue::new("outcome", outcome);
    instruments().transactions.add(1, &[outcome]);
}

/// Counts a retried write transaction, by the cause of the retry.
pub fn retried(cause: &'static str) {
    instruments()
        .retries
        .add(1, &[KeyValue::new("cause", cause)]);
}

/// Records how many attempts a write took.
pub fn attempts(operation: &'static str, count: u32) {
    let operation = KeyValue::new("operation", operation);
    instruments()
        .attempts
        .record(f64::from(count), &[operation]);
}

/// The state of a connection pool.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    /// The name of the pool.
    pub name: &'static str,
    /// The connections in use.
    pub used: u32,
    /// The connections that are open and not in use.
    pub idle: u32,
    /// The maximum number of connections.
    pub max: u32,
}

/// Sets the number of connections of a pool.
pub fn pool(pool: Pool) {
    let instruments = instruments();
    let name = pool_name(pool.name);
    for (state, count) in [("used", pool.used), ("idle", pool.idle)] {
        let state = KeyValue::new("db.client.connection.state", state);
        let attributes = [name.clone(), state];
        instruments
            .pool_connections
            .record(count.into(), &attributes);
    }
    instruments.pool_max.record(pool.max.into(), &[name]);
}

/// Records how long a transaction waited for a connection of the pool; `None` if it got none in
/// time.
pub fn pool_waited(pool: &'static str, wait: Option<Duration>) {
    let name = [pool_name(pool)];
    match wait {
        Some(wait) => instruments().pool_wait.record(wait.as_secs_f64(), &name),
        None => instruments().pool_timeouts.add(1, &name),
    }
}

fn pool_name(name: &'static str) -> KeyValue {
    KeyValue::new("db.client.connection.pool.name", name)
}

/// Counts something as long as this lives.
#[derive(Debug)]
pub struct GaugeGuard(BoundUpDownCounter<i64>);

impl GaugeGuard {
    /// A request in flight.
    pub fn request() -> Self {
        Self::of(metrics().bound.requests_in_flight.clone())
    }

    /// An open connection.
    pub fn connection() -> Self {
        Self::of(metrics().bound.connections.clone())
    }

    /// A gRPC call whose response is not completely sent.
    pub fn call(method: &'static str) -> Self {
        let Metrics {
            instruments, bound, ..
        } = metrics();
        Self::of(bound.active_calls.get(&method, || {
            let method = KeyValue::new("rpc.method", method);
            instruments.rpc_active.bind(&[method])
        }))
    }

    /// A REST request whose response is not completely sent.
    pub fn exchange(method: &'static str, scheme: &'static str) -> Self {
        let Metrics {
            instruments, bound, ..
        } = metrics();
        Self::of(bound.active_exchanges.get(&(method, scheme), || {
            let method = KeyValue::new("http.request.method", method);
            let scheme = KeyValue::new("url.scheme", scheme);
            instruments.http_active.bind(&[method, scheme])
        }))
    }

    /// A transaction that waits for a connection of the pool.
    pub fn waiting(pool: &'static str) -> Self {
        let Metrics {
            instruments, bound, ..
        } = metrics();
        Self::of(
            bound
                .waiting
                .get(&pool, || instruments.pool_pending.bind(&[pool_name(pool)])),
        )
    }

    fn of(counter: BoundUpDownCounter<i64>) -> Self {
        counter.add(1);
        Self(counter)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
