//! PgBouncer in transaction mode in front of PostgreSQL: migrations, reads and writes work with
//! `database_pooler`, and without it the error names the setting.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use endcap::{
    app::{self, App},
    config::Flags,
    grpc::pb,
    store::{Probe, Store},
};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{
    harness::{Server, append, create, mutate, products},
    postgres,
};

/// A pooler with two connections for all of its clients.
struct PgBouncer {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl PgBouncer {
    async fn start(database_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (server, name) = database_url.rsplit_once('/').unwrap();
        let (user, address) = server
            .trim_start_matches("postgres://")
            .split_once('@')
            .unwrap();
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, server_port) = address.split_once(':').unwrap();
        let port = postgres::free_port();
        let password = match password {
            "" => String::new(),
            password => format!("password={password}"),
        };
        let settings = format!(
            "[databases]\n\
             {name} = host={host} port={server_port} dbname={name} user={user} {password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = 2\n\
             ignore_startup_parameters = extra_float_digits\n"
        );
        let file = folder.path().join("pgbouncer.ini");
        fs::write(&file, settings).unwrap();
        let child = spawn(&file);
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "pgbouncer does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            child,
            url: format!("postgres://{user}@127.0.0.1:{port}/{name}"),
            _folder: folder,
        }
    }
}

fn spawn(settings: &Path) -> Child {
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(Path::new);
    let program = program.into_iter().find(|path| path.exists());
    let program = program.unwrap_or_else(|| {
        panic!("no PgBouncer to test with: scripts/setup installs it (apt-get install pgbouncer)")
    });
    let folder = settings.parent().unwrap();
    postgres::give(folder);
    postgres::of_user(program)
        .current_dir(folder)
        .arg(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // When run as root, it is the child of a child.
        let id = self.child.id().to_string();
        let _ = Command::new("pkill").args(["-INT", "-P", &id]).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn flags(pooler: &str) -> Flags {
    Flags {
        database_pooler: Some(pooler.into()),
        database_max_connections: Some("6".into()),
        ..Flags::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_behind_a_pooler_in_transaction_mode_work() {
    let database = postgres::new_database().await;
    let pooler = PgBouncer::start(&database).await;
    // Migrations also run through the pooler, concurrently.
    let migrate = || async {
        let flags = Flags {
            database_url: Some(pooler.url.clone()),
            ..flags("transaction")
        };
        let config = app::config(&flags, None).unwrap();
        let store = Store::connect(&config.database).await.unwrap();
        store.migrate().await.unwrap();
        store.close().await;
        let mut probe = Probe::new(&config.database).unwrap();
        assert!(probe.schema().await.unwrap().pending().is_empty());
    };
    tokio::join!(migrate(), migrate(), migrate());
    let one = Server::start_at(Some(pooler.url.clone()), flags("transaction")).await;
    let other = Server::start_at(Some(pooler.url.clone()), flags("transaction")).await;
    for n in 0..4 {
        create(&mut one.grpc().await, &format!("c{n}")).await;
    }
    // More clients than the pooler has connections, reading and writing on both replicas.
    let mut writers = Vec::new();
    for (n, server) in [&one, &other].into_iter().cycle().take(8).enumerate() {
        let mut client = server.grpc().await;
        writers.push(tokio::spawn(async move {
            for round in 0..25 {
                let id = format!("c{}", (n + round) % 4);
                let request = pb::MutateChildrenRequest {
                    request_id: format!("r{n}-{round}"),
                    ..mutate(&id, vec![append([format!("p{n}-{round}")])])
                };
                client.mutate_children(request.clone()).await.unwrap();
                client.mutate_children(request).await.unwrap();
                let list = pb::ListCollectionsRequest::default();
                let page = client.list_collections(list).await.unwrap().into_inner();
                assert_eq!(page.collections.len(), 4);
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut all = Vec::new();
    for n in 0..4 {
        all.extend(products(&mut other.grpc().await, &format!("c{n}")).await);
    }
    all.sort();
    let mut expected: Vec<_> = (0..8)
        .flat_map(|n| (0..25).map(move |round| format!("p{n}-{round}")))
        .collect();
    expected.sort();
    assert_eq!(all, expected);
    let ready = one.client.get(format!("{}/readyz", one.admin)).send();
    assert_eq!(ready.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_database_pooler_the_error_names_the_setting() {
    let database = postgres::new_database().await;
    let pooler = PgBouncer::start(&database).await;
    let any = Some("127.0.0.1:0".to_owned());
    let flags = Flags {
        database_url: Some(pooler.url.clone()),
        grpc_addr: any.clone(),
        http_addr: any.clone(),
        admin_addr: any,
        ..flags("none")
    };
    let config = app::config(&flags, None).unwrap();
    let error = App::bind(&config).await.unwrap_err().to_string();
    assert!(error.contains("database_pooler"), "{error}");
    assert!(error.contains("ignore_startup_parameters"), "{error}");
}
