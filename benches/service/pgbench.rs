//! A PostgreSQL server as in production, and the throughput of pgbench on the tables of this
//! service.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use crate::{
    load::Sample,
    postgres::{self, Cluster},
    server::run,
};

/// A PostgreSQL server for the benchmark.
pub(crate) struct Postgres {
    pub(crate) url: String,
    _cluster: Option<Cluster>,
}

impl Postgres {
    /// The server that the tests use, if one is configured, or else a new one with default
    /// settings, which flushes every commit. `None` if PostgreSQL is not installed.
    pub(crate) async fn start() -> Option<Self> {
        if std::env::var_os(postgres::URL_VARIABLE).is_some() {
            return Some(Self {
                url: postgres::new_database().await,
                _cluster: None,
            });
        }
        // It panics with a message about what is missing.
        std::panic::catch_unwind(postgres::programs).ok()?;
        let cluster = Cluster::start();
        let url = cluster.url();
        let (_, port) = url.rsplit_once(':').unwrap();
        let (port, _) = port.split_once('/').unwrap();
        // Not with the settings of the tests, which turn off flushing.
        let folder = cluster.folder.display().to_string();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c max_connections=200 \
             -c unix_socket_directories='{folder}'"
        );
        let log = format!("{folder}/log");
        cluster.pg_ctl(&["-o", &options, "-l", &log, "restart"]);
        Some(Self {
            url,
            _cluster: Some(cluster),
        })
    }
}

/// A script that pgbench runs with prepared statements.
pub(crate) struct Pgbench {
    program: PathBuf,
    url: String,
    folder: tempfile::TempDir,
}

impl Pgbench {
    /// Runs of this script; `None` if pgbench is not installed.
    pub(crate) fn new(url: &str, script: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("script"), script).unwrap();
        Some(Self {
            program: program()?,
            url: url.to_owned(),
            folder,
        })
    }

    /// Runs the script with `clients` clients for whole seconds. Does not report the median
    /// duration, because pgbench logs durations of fast servers as zero.
    pub(crate) fn run(&self, clients: usize, time: Duration) -> Sample {
        let (clients, threads) = (clients.to_string(), clients.min(2).to_string());
        let seconds = (time.as_secs_f64().ceil() as u64).max(1).to_string();
        let output = run(Command::new(&self.program)
            .args(["-n", "-M", "prepared", "-c", &clients, "-j", &threads])
            .args(["-T", &seconds, "-f"])
            .arg(self.folder.path().join("script"))
            .arg(&self.url));
        let rate = output.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split(' ').next()?.parse().ok());
        // pgbench prints no rate then: on a busy machine a flush may take longer than the round.
        let rate = rate.or_else(|| output.contains("processed: 0\n").then_some(0.0));
        Sample {
            rate: rate.unwrap_or_else(|| panic!("pgbench: {output}")),
            times: None,
            cpu: None,
        }
    }
}

fn program() -> Option<PathBuf> {
    let beside_server = postgres::programs().join("pgbench");
    let mut all = [beside_server, "pgbench".into()].into_iter();
    all.find(|program| Command::new(program).arg("--version").output().is_ok())
}

/// The columns that are read for a collection.
const COLUMNS: [&str; 20] = [
    "tenant_id",
    "id",
    "internal_name",
    "slug",
    "slug_chosen",
    "smart",
    "rules",
    "rules_hash",
    "rules_version",
    "texts",
    "search_name",
    "images",
    "active",
    "custom_properties",
    "catalog_id",
    "product_count",
    "collection_count",
    "create_time",
    "update_time",
    "version",
];

fn columns() -> String {
    COLUMNS
        .map(|column| format!("collections.{column}"))
        .join(", ")
}

/// Reads the row of one collection, which is the minimum for a read.
pub(crate) fn one_read(tenant: &str, id: &str) -> String {
    format!(
        "SELECT {} FROM collections WHERE collections.tenant_id = '{tenant}' \
         AND collections.id = '{id}' LIMIT 1;\n",
        columns()
    )
}

/// The six statements of a rename before this benchmark existed, for the collection whose id and
/// slug are the number of the client.
pub(crate) fn rename(tenant: &str) -> String {
    let columns = columns();
    let wanted = "json_array_elements_text(CAST('[\"' || :client_id || '\"]' AS json)) AS wanted";
    format!(
        "\\set now random(1800000000000000, 1900000000000000)
BEGIN;
SELECT found.* FROM {wanted} INNER JOIN LATERAL (SELECT {columns} FROM collections WHERE collections.tenant_id = '{tenant}' AND collections.id = wanted.value OFFSET 0 FOR UPDATE) AS found ON true;
SELECT {columns} FROM collections WHERE collections.tenant_id = '{tenant}' AND collections.slug = :client_id LIMIT 1;
UPDATE collections SET tenant_id = '{tenant}', id = :client_id, internal_name = :client_id, slug = :client_id, slug_chosen = true, smart = false, rules = NULL, rules_hash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', rules_version = 1, texts = '{{\"en\":{{\"display_name\":\"name 1\"}}}}', search_name = 'name 1', images = '[]', active = 3, custom_properties = '{{}}', catalog_id = NULL, product_count = 0, collection_count = 0, create_time = 1795709809138318, update_time = :now, version = :now WHERE collections.tenant_id = '{tenant}' AND collections.id = :client_id;
SELECT found.* FROM {wanted} INNER JOIN LATERAL (SELECT members.child_id, members.collection_id, (SELECT collections.active FROM collections WHERE collections.tenant_id = '{tenant}' AND collections.id = members.collection_id) AS active, NULL AS texts FROM members WHERE members.tenant_id = '{tenant}' AND members.list = 2 AND members.child_id = wanted.value OFFSET 0) AS found ON true;
COMMIT;
"
    )
}
