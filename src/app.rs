//! The composition root: settings in, a running server out, and its orderly end.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    auth::Authenticator,
    config::Config,
    dialect, domain, grpc,
    http::{self, Listener, Readiness, Tls},
    service::{Service, Settings},
    store::{Database, Engine, Store},
    watched::Unusable,
};

/// A server that is bound and not yet running.
#[derive(Debug)]
pub struct App {
    store: Store,
    grpc: Listener,
    http: Listener,
    admin: Listener,
    service: Router,
    readiness: Readiness,
    health: HealthReporter,
    asks: bool,
    drain_timeout: Duration,
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database can't be opened or migrated.
    #[error("{0}")]
    Database(#[from] domain::Error),
    /// A PostgreSQL database has an old schema.
    #[error("the database lacks {0} migrations; run `endcap migrate` first")]
    NotMigrated(usize),
    /// A file of credentials or certificates can't be used.
    #[error("{0}")]
    File(#[from] Unusable),
    /// An address can't be listened on.
    #[error("can't listen on {0}")]
    Listen(#[from] io::Error),
    /// The API's descriptors can't be read.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The gRPC port.
    pub grpc: SocketAddr,
    /// The REST port.
    pub http: SocketAddr,
    /// The port for health.
    pub admin: SocketAddr,
}

/// Opens the database. The embedded one is migrated; of a shared one `endcap migrate`
/// must have been run.
///
/// # Errors
/// Where it can't be opened, or is not migrated.
pub async fn open(database: &Database) -> Result<Store, StartError> {
    let store = Store::connect(database).await?;
    match store.engine() {
        Engine::Sqlite => store.migrate().await?,
        Engine::Postgres => match store.pending_migrations().await? {
            0 => {}
            pending => return Err(StartError::NotMigrated(pending)),
        },
    }
    Ok(store)
}

impl App {
    /// Opens the database, see [`open`], and binds the ports.
    ///
    /// # Errors
    /// Where any of that fails.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let store = open(&config.database).await?;
        let authenticator = Authenticator::new(&config.auth, &store)?;
        let settings = Settings {
            limits: config.limits.clone(),
            default_locale: config.default_locale.clone(),
            locales: config.locales.clone(),
        };
        let service = Service::new(store.clone(), settings);
        let (routes, health) = grpc::routes(grpc::Context {
            service: service.clone(),
            max_message: config.listen.max_body,
            reflection: config.listen.reflection,
        })
        .await?;
        let rest = dialect::Context {
            service,
            highlevel: config.highlevel,
            max_body: config.listen.max_body,
        };
        let tls = config.listen.tls.as_ref().map(Tls::open).transpose()?;
        let tls = tls.map(Arc::new);
        let (grpc, http) = (config.listen.grpc, config.listen.http);
        Ok(Self {
            asks: authenticator.asks(),
            readiness: Readiness::new(store.clone()),
            store,
            grpc: Listener::bind(grpc).await?.with_tls(tls.clone()),
            http: Listener::bind(http).await?.with_tls(tls),
            admin: Listener::bind(config.listen.admin).await?,
            service: http::service(routes, rest, authenticator, &config.listen),
            health,
            drain_timeout: config.listen.drain_timeout,
        })
    }

    /// Whether anybody is asked who they are.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            grpc: self.grpc.address,
            http: self.http.address,
            admin: self.admin.address,
        }
    }

    /// Serves until `stop` ends; then says so to health checks, lets requests under
    /// way end within the drain timeout, and closes the database. Whether all ended.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        let (stopping, stopped) = watch::channel(false);
        let (admin_stopping, admin_stopped) = watch::channel(false);
        let grpc = http::serve(self.grpc, self.service.clone(), stopped.clone());
        let http = http::serve(self.http, self.service, stopped);
        let admin = http::admin_router(self.readiness.clone());
        let admin = tokio::spawn(http::serve(self.admin, admin, admin_stopped));
        let mut serving = tokio::spawn(async { tokio::join!(grpc, http) });

        stop.await;
        tracing::info!("stopping");
        self.readiness.drain();
        for service in ["", grpc::SERVICE_NAME] {
            self.health
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
        stopping.send_replace(true);
        let drained = tokio::time::timeout(self.drain_timeout, &mut serving).await;
        let drained = drained.is_ok();
        if !drained {
            tracing::warn!("requests were still under way after the drain timeout");
            serving.abort();
        }
        // Up to here the admin port tells that the server is stopping.
        admin_stopping.send_replace(true);
        admin.abort();
        if drained {
            self.store.close().await;
        }
        tracing::info!("stopped");
        drained
    }
}
