//! The composition root: builds a server from its settings, runs it, and shuts it down gracefully.
//! It is the only module that knows all others, except the command line.

mod readiness;

use std::{future::Future, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use readiness::Readiness;
use tokio::sync::watch;

use crate::{
    auth::Authenticator,
    config::{Config, ConfigError, ConnectionConfig, Flags, Problem},
    crypto,
    dialect::{self, Dialects},
    domain,
    domain::{Rate, RootNames, Scope, ScopeNames},
    grpc::{self, Statuses},
    http::{self, Connections, Health, Listener, Tls},
    json,
    memory::Memory,
    preflight,
    rate::RateLimiter,
    service::{Service, Settings},
    store::{
        Cause, Database, DatabasePlace, FolderLock, Probe, Store, claims, logins,
        requests::{self, StoredResponseLimits},
        wal,
    },
    telemetry::metrics,
    watched::Unusable,
};

/// How long after the deadline of a request PostgreSQL aborts its statement. The request should
/// time out first, with an error of its own.
const STATEMENT_GRACE: Duration = Duration::from_secs(1);
/// How long a server that stops tries to release its jobs.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The REST dialects that are served, the JSON API first. OpenAPI descriptions are listed in this
/// order.
pub static DIALECTS: Dialects = &[
    &json::DIALECT,
    &dialect::highlevel::DIALECT,
    &dialect::oracle::DIALECT,
];

/// A server whose ports are bound, and which does not run yet.
#[derive(Debug)]
pub struct App {
    store: Store,
    grpc: Listener,
    http: Listener,
    admin: Listener,
    handler: http::Handler,
    health: Health,
    readiness: Readiness,
    /// The lock on the embedded database's directory, held as long as the server lives.
    _folder: Option<FolderLock>,
    memory: Memory,
    jobs: Service,
    callers: Option<Arc<RateLimiter>>,
    tenants: Option<Arc<RateLimiter>>,
    sweep_interval: Duration,
    kept: StoredResponseLimits,
    max_wal: u64,
    connections: ConnectionConfig,
    admin_connections: ConnectionConfig,
    authentication_enabled: bool,
    shutdown_delay: Duration,
    drain_timeout: Duration,
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] Cause),
    /// A setting, or something that it names, can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file of credentials or certificates can't be used.
    #[error("{0}")]
    File(#[from] Unusable),
    /// An address can't be bound.
    #[error("can't listen on {0}")]
    Listen(#[from] io::Error),
    /// The API's descriptors can't be read.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The addresses that a server listens on.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The gRPC port.
    pub grpc: SocketAddr,
    /// The REST port.
    pub http: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

/// Loads the settings from flags, environment and file, and checks them.
///
/// # Errors
/// With all problems.
pub fn config(flags: &Flags, file: Option<PathBuf>) -> Result<Config, ConfigError> {
    valid(config_to_check(flags, file)?)
}

/// The settings that result from flags alone.
///
/// # Errors
/// With all problems.
pub fn config_of_flags(flags: &Flags) -> Result<Config, ConfigError> {
    valid(Config::of_flags(flags, scope_names())?)
}

fn valid((config, problems): (Config, Vec<Problem>)) -> Result<Config, ConfigError> {
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError(problems))
    }
}

/// Loads the settings, see [`Config::load`], including their conflicts with each other.
///
/// # Errors
/// With all problems of single settings.
pub fn config_to_check(
    flags: &Flags,
    file: Option<PathBuf>,
) -> Result<(Config, Vec<Problem>), ConfigError> {
    Config::load(flags, file, scope_names())
}

/// The scope with this name, or with this name in a dialect.
///
/// # Errors
/// If there is none.
pub fn scope(name: &str) -> Result<Scope, String> {
    scope_names().parse(name)
}

/// The names of the root collections. They are stored under a dialect's names for them, because
/// that dialect sorts and filters by them.
fn root_names() -> RootNames {
    let mut named = DIALECTS.iter().filter_map(|dialect| dialect.root_names);
    named.next().unwrap_or_default()
}

fn scope_names() -> ScopeNames {
    ScopeNames::with(DIALECTS.iter().flat_map(|dialect| dialect.scopes).copied())
}

/// Opens the database for a command. The embedded database is created and migrated if necessary;
/// PostgreSQL must have been migrated with `endcap migrate`.
///
/// # Errors
/// If the database can't be used.
pub async fn open(database: &Database) -> Result<Store, Cause> {
    let schema = Probe::new(database)?.schema().await?;
    schema.check_floor()?;
    if matches!(database.place, DatabasePlace::Url(_)) || schema.pending().is_empty() {
        schema.check()?;
        return Ok(Store::connect(database).await?);
    }
    let _folder = database.place.lock_for_migration()?;
    let store = Store::connect(database).await?;
    store.migrate().await?;
    Ok(store)
}

/// The use cases, on a store.
pub fn service(config: &Config, store: Store) -> Service {
    let settings = Settings {
        limits: config.limits.clone(),
        default_locale: config.default_locale.clone(),
        locales: config.locales.clone(),
        check_products: config.check_products,
        default_currency: config.default_currency.clone(),
        root_names: root_names(),
        memory: Memory::new(config.listen.response_memory),
        facts_of_stored: DIALECTS
            .iter()
            .filter_map(|it| it.facts_of_stored)
            .collect(),
        read_cache_size: config.read_cache_size,
    };
    Service::new(store, settings)
}

/// All protocols behind their middleware, and the health of the server. Requests are refused until
/// the health reports that the server is ready.
///
/// # Errors
/// If the API's descriptors can't be read.
pub fn edge(
    config: &Config,
    service: Service,
    authenticator: Authenticator,
    callers: Option<Arc<RateLimiter>>,
) -> Result<(http::Handler, Health), tonic_reflection::server::Error> {
    let listen = &config.listen;
    let memory = service.settings().memory.clone();
    let service = Arc::new(service);
    let statuses = Statuses::default();
    let context = grpc::Context {
        service: Arc::clone(&service),
        max_message: listen.max_body,
        max_items: listen.max_message_items,
        reflection: listen.reflection,
        requires_tenant: authenticator.authentication_enabled(),
    };
    let grpc = grpc::Services::all(context, statuses.clone())?;
    let rest = dialect::Context {
        service,
        authenticator,
        settings: Arc::new(config.raw.clone()),
        max_body: listen.max_body,
        max_items: listen.max_message_items,
        max_unauthenticated_body: listen.max_unauthenticated_body,
    };
    let health = Health::new(statuses);
    let gated = health.clone();
    let handler = http::handler(grpc, DIALECTS, rest, callers, memory, gated, listen);
    Ok((handler, health))
}

impl App {
    /// Checks the files and addresses that the settings name, and binds the ports. Opens and
    /// migrates the embedded database. With PostgreSQL, the server starts even without it, and
    /// becomes ready once it is there and migrated.
    ///
    /// # Errors
    /// If any of that fails, or this version can't use the database.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        http::raise_file_limit();
        crypto::install();
        let problems = preflight::local(config);
        if !problems.is_empty() {
            return Err(ConfigError(problems).into());
        }
        let database = Database {
            // A backstop only: the request has timed out by then.
            statement_timeout: Some(config.listen.request_timeout + STATEMENT_GRACE),
            ..config.database.clone()
        };
        // Steps that can fail without the database come first.
        let tls = config.listen.tls.as_ref().map(Tls::open).transpose()?;
        let tls = tls.map(Arc::new);
        let folder = database.place.lock_for_server()?;
        let mut probe = Probe::new(&database)?;
        if folder.is_some() {
            // No other process can repair an embedded database, so its problems end the start.
            probe.schema().await?.check_floor()?;
        }
        let (grpc, http) = (config.listen.grpc, config.listen.http);
        let (grpc, http) = (Listener::bind(grpc).await?, Listener::bind(http).await?);
        let admin = Listener::bind(config.listen.admin).await?;
        let limiter = |setting, rate: Option<Rate>| {
            rate.map(|rate| Arc::new(RateLimiter::new(setting, rate)))
        };
        let callers = limiter("rate_per_caller", config.listen.rate_per_caller);
        let tenants = limiter("rate_per_tenant", config.rate_per_tenant);
        let store = Store::connect(&database).await.map_err(Cause::from)?;
        let store = store
            .with_replica(&database)
            .await
            .map_err(Cause::from)?
            .with_rate(tenants.clone())
            .with_searches(config.max_searches)
            .with_groups(config.groups);
        let authenticator = Authenticator::new(&config.auth, &store)?.with_rate(callers.clone());
        let authentication_enabled = authenticator.authentication_enabled();
        let service = service(config, store.clone());
        let jobs = service.clone();
        let memory = service.settings().memory.clone();
        let mut readiness = Readiness::new(probe, service.clone());
        let (handler, health) = edge(config, service, authenticator, callers.clone())?;
        if folder.is_some() {
            store.migrate().await?;
        }
        readiness.check_first(&health).await?;
        Ok(Self {
            authentication_enabled,
            readiness,
            _folder: folder,
            store,
            grpc: grpc.with_tls(tls.clone()),
            http: http.with_tls(tls),
            admin,
            handler,
            health,
            memory,
            jobs,
            callers,
            tenants,
            sweep_interval: config.sweep_interval,
            kept: config.kept,
            max_wal: config.max_wal,
            connections: config.listen.connections.clone(),
            admin_connections: config.listen.admin_connections.clone(),
            shutdown_delay: config.listen.shutdown_delay,
            drain_timeout: config.listen.drain_timeout,
        })
    }

    /// Whether authentication is enabled.
    pub fn authentication_enabled(&self) -> bool {
        self.authentication_enabled
    }

    /// The bound addresses.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            grpc: self.grpc.address,
            http: self.http.address,
            admin: self.admin.address,
        }
    }

    /// Serves until `stop` completes. Then reports that it is not ready, drains requests within the
    /// drain timeout, and closes the database. Returns whether all requests completed.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let (stopping, stopped) = watch::channel(false);
        let (admin_stopping, admin_stopped) = watch::channel(false);
        metrics::build_info(self.store.engine().system_name());
        let connections = Connections::new(self.connections);
        let grpc = http::serve(
            self.grpc,
            self.handler.clone(),
            connections.clone(),
            stopped.clone(),
        );
        let http = http::serve(self.http, self.handler, connections, stopped.clone());
        let admin = http::admin_router(self.health.clone());
        let connections = Connections::new(self.admin_connections);
        let admin = tokio::spawn(http::serve(self.admin, admin, connections, admin_stopped));
        let limiters = [self.callers, self.tenants];
        let (store, health) = (self.store.clone(), self.health.clone());
        let sweeping = sweep(
            store,
            health,
            limiters,
            self.sweep_interval,
            self.kept,
            stopped,
        );
        let sweeping = tokio::spawn(sweeping);
        let (memory, store, max_wal) = (self.memory, self.store.clone(), self.max_wal);
        let (jobs, health, readiness) = (self.jobs, self.health.clone(), self.readiness);
        let owner = format!("{:032x}", rand::random::<u128>());
        let runner = owner.clone();
        let watching = tokio::spawn(async move {
            let time = jobs.follow_time(|| health.ready());
            let jobs = jobs.do_jobs(&runner, || health.ready());
            let checks = readiness.watch(&health);
            tokio::join!(
                memory.watch(),
                wal::watch(&store, max_wal),
                store.watch_pools(),
                store.watch_replica(),
                metrics::watch_process(),
                jobs,
                time,
                checks
            );
        });
        let mut serving = tokio::spawn(async { tokio::join!(grpc, http) });

        stop.await;
        tracing::info!("shutting down: draining requests");
        let health = self.health;
        health.drain();
        // Load balancers may not have noticed yet.
        tokio::time::sleep(self.shutdown_delay).await;
        health.end();
        stopping.send_replace(true);
        let drained = tokio::time::timeout(self.drain_timeout, &mut serving).await;
        let drained = drained.is_ok();
        if !drained {
            tracing::warn!("requests were still in flight after drain_timeout");
            serving.abort();
        }
        // The admin port stays up until here, so that it can report the shutdown.
        admin_stopping.send_replace(true);
        admin.abort();
        sweeping.abort();
        watching.abort();
        // Its transaction, if it is in one, ends with it.
        let _ = watching.await;
        if drained {
            let release = claims::release_or_warn(&self.store, Some(&owner));
            // A database that does not respond must not delay the exit: the leases end anyway.
            let _ = tokio::time::timeout(RELEASE_TIMEOUT, release).await;
            self.store.close().await;
        }
        tracing::info!("shutdown complete");
        drained
    }
}

/// Deletes expired data at every interval until the server stops.
async fn sweep(
    store: Store,
    health: Health,
    limiters: [Option<Arc<RateLimiter>>; 2],
    interval: Duration,
    kept: StoredResponseLimits,
    mut stop: watch::Receiver<bool>,
) {
    // An error means that the sender was dropped, which also stops the server.
    while tokio::time::timeout(interval, stop.wait_for(|stop| *stop))
        .await
        .is_err()
    {
        for limiter in limiters.iter().flatten() {
            limiter.forget_idle();
        }
        if !health.is_ready() {
            continue;
        }
        report("expired responses", requests::sweep(&store).await);
        let trimmed = requests::trim(&store, &kept).await.map(|(bytes, trimmed)| {
            metrics::kept(bytes);
            trimmed
        });
        report("responses over the size limits", trimmed);
        report("expired logins", logins::sweep(&store).await);
        report(
            "heartbeats of stopped servers",
            store.sweep_heartbeats().await,
        );
    }
}

fn report(what: &str, swept: domain::Result<u64>) {
    match swept {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, "deleted {what}"),
        Err(error) => {
            let causes = crate::telemetry::causes(&error);
            tracing::warn!(causes, "deleting {what} failed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dialect::Dialect;

    #[test]
    fn dialects_have_disjoint_names_scopes_and_paths() {
        let claims = |of: fn(&Dialect) -> Vec<&'static str>| {
            let all: Vec<_> = DIALECTS.iter().flat_map(|dialect| of(dialect)).collect();
            let distinct: BTreeSet<_> = all.iter().collect();
            assert_eq!(distinct.len(), all.len(), "{all:?}");
            all
        };
        claims(|dialect| vec![dialect.name]);
        claims(|dialect| vec![dialect.description_path]);
        for (name, scope) in DIALECTS.iter().flat_map(|dialect| dialect.scopes) {
            assert_eq!(scope_names().parse(name), Ok(*scope));
            // Nor does it collide with a standard scope name.
            assert!(name.parse::<Scope>().is_err(), "{name}");
        }
        claims(|dialect| dialect.scopes.iter().map(|(name, _)| *name).collect());
        for path in claims(|dialect| dialect.paths.to_vec()) {
            let claimed_by = DIALECTS.iter().filter(|dialect| dialect.claims(path));
            assert_eq!(claimed_by.count(), 1, "{path}");
        }
    }

    #[test]
    fn open_paths_of_a_dialect_are_among_its_own_paths() {
        for dialect in DIALECTS {
            for path in dialect.open_paths {
                assert!(dialect.claims(path), "{path}");
            }
        }
    }

    #[test]
    fn scopes_are_parsed_from_standard_and_dialect_names() {
        for (name, scope) in [
            ("collections.read", Scope::CollectionsRead),
            ("products/collection.readonly", Scope::CollectionsRead),
            ("products/collection.write", Scope::CollectionsWrite),
        ] {
            assert_eq!(super::scope(name), Ok(scope));
        }
        assert!(super::scope("products.write").is_err());
    }
}
