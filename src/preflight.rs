//! Preflight checks: opens everything that the settings name before any data is touched, and
//! reports all problems together. A server runs the local checks when it starts, and `endcap config
//! --check` runs all of them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use crate::{
    auth,
    config::{Config, Problem, TlsConfig},
    http::Tls,
    pem,
    store::{Cause, Database, DatabasePlace, Probe},
};

/// Problems with files and addresses on this machine. The data directory is checked when it is
/// opened.
pub fn local(config: &Config) -> Vec<Problem> {
    let mut problems = Problems::default();
    if let Some(tls) = &config.listen.tls {
        server_tls(tls, &mut problems);
    }
    let database = &config.database.access;
    if let Some(ca) = &database.ca {
        problems.authorities("database_tls_ca", ca);
    }
    if let (Some(cert), Some(key)) = (&database.client_cert, &database.client_key) {
        problems.pair(("database_tls_cert", cert), ("database_tls_key", key));
    }
    for (name, why) in auth::unusable_files(&config.auth) {
        problems.add(name, why.to_string());
    }
    for variable in config.telemetry.otlp.problems() {
        problems.add(&variable.name, variable.why);
    }
    let listen = &config.listen;
    addresses(
        [
            ("grpc_addr", listen.grpc),
            ("http_addr", listen.http),
            ("admin_addr", listen.admin),
        ],
        &mut problems,
    );
    problems.0
}

/// Problems with everything else: the database (without reading its data) and its directory, its
/// read replica, and the issuer's key set. Otherwise the pending migrations; `None` for a database
/// that does not exist yet.
///
/// # Errors
/// With all problems.
pub async fn remote(config: &Config) -> Result<Option<Vec<String>>, Vec<Problem>> {
    let mut problems = Problems::default();
    problems.keep("jwt_jwks", auth::fetch_keys(&config.auth).await);
    let name = match &config.database.place {
        DatabasePlace::File(_) => "data_dir",
        DatabasePlace::Url(_) => "database_url",
    };
    let pending = problems.keep(name, pending_migrations(config).await);
    if let Some(replica) = config.database.of_replica() {
        let checked = check_replica(&replica).await;
        problems.keep(
            "database_read_url",
            checked.map_err(|cause| cause.to_string()),
        );
    }
    match pending {
        Some(pending) if problems.0.is_empty() => Ok(pending),
        _ => Err(problems.0),
    }
}

#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, name: &str, why: String) {
        self.0.push(Problem::new(name, why));
    }

    /// Returns the value, or adds the problem.
    fn keep<T>(&mut self, name: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.add(name, why)).ok()
    }

    fn read<T>(
        &mut self,
        (name, path): (&str, &Path),
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        let content = std::fs::read(path).map_err(|error| error.to_string());
        let parsed = content.and_then(|content| parse(&content));
        self.keep(name, parsed.map_err(|why| at(path, &why)))
    }

    /// Checks a certificate chain and its private key.
    fn pair(&mut self, cert: (&str, &Path), key: (&str, &Path)) {
        let certificates = self.read(cert, pem::certificates);
        let private_key = self.read(key, pem::private_key);
        for certificate in certificates.iter().flatten() {
            let is_valid = pem::check_time(certificate);
            self.keep(cert.0, is_valid.map_err(|why| at(cert.1, &why)));
        }
        if let (Some(certificates), Some(private_key)) = (certificates, private_key) {
            let is_its = pem::check_pair(certificates, private_key);
            self.keep(key.0, is_its.map_err(|why| at(key.1, &why)));
        }
    }

    /// Checks a file of authorities. One of them must be valid; others may be there for a rollover.
    fn authorities(&mut self, name: &str, path: &Path) {
        let certificates = self.read((name, path), pem::certificates);
        let all = certificates.unwrap_or_default();
        let whys: Vec<_> = all
            .iter()
            .filter_map(|it| pem::check_time(it).err())
            .collect();
        if !all.is_empty() && whys.len() == all.len() {
            self.add(name, at(path, &whys.join(", ")));
        }
    }
}

fn at(path: &Path, why: &str) -> String {
    format!("{}: {why}", path.display())
}

fn server_tls(tls: &TlsConfig, problems: &mut Problems) {
    let before = problems.0.len();
    problems.pair(("tls_cert", &tls.cert), ("tls_key", &tls.key));
    if let Some(ca) = &tls.client_ca {
        problems.authorities("tls_client_ca", ca);
    }
    // The library reports anything else.
    if problems.0.len() == before {
        let opened = Tls::open(tls).map(drop);
        problems.keep("tls_cert", opened.map_err(|error| error.to_string()));
    }
}

/// Binds all of them at the same time, for a moment, so that conflicts among them are found too.
fn addresses(all: [(&str, SocketAddr); 3], problems: &mut Problems) {
    let _listening = all.map(|(name, address)| {
        let listening = TcpListener::bind(address).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                format!("{address} is in use, by a running server or another program")
            } else {
                format!("{address}: {error}")
            }
        });
        problems.keep(name, listening)
    });
}

async fn check_replica(replica: &Database) -> Result<(), Cause> {
    Probe::new(replica)?.check_replica().await
}

async fn pending_migrations(config: &Config) -> Result<Option<Vec<String>>, String> {
    let database = &config.database;
    let pending = async {
        database.place.check_folder()?;
        if let DatabasePlace::File(file) = &database.place
            && !file.exists()
        {
            return Ok(None);
        }
        let schema = Probe::new(database)?.schema().await?;
        schema.check_floor()?;
        Ok(Some(schema.pending()))
    };
    pending.await.map_err(|cause: Cause| cause.to_string())
}
