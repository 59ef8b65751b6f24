//! A real server in this process, on free ports and with its own database.

use std::time::{Duration, Instant};

use endcap::{
    app::{self, App},
    config::{Config, Flags},
    domain::{CollectionId, EntryKind, ProductId},
    grpc::pb::{
        self, collection_service_client::CollectionServiceClient,
        product_service_client::ProductServiceClient, rule_service_client::RuleServiceClient,
    },
    service::{ChangeRuleEntries, Include},
    store::{Access, Database, DatabasePlace, Engine, Pooler, Store},
};
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::Channel;

use crate::postgres;

/// The settings of a database that a test uses without a server.
pub(crate) fn database(place: DatabasePlace) -> Database {
    Database {
        place,
        access: Access::default(),
        pooler: Pooler::None,
        max_connections: 2,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: None,
        slow_statement: Duration::from_secs(1),
        replica: None,
    }
}

/// The addition of rule entries, each with its index if it is a pin.
pub(crate) fn rule_entries(
    collection: CollectionId,
    kind: EntryKind,
    add: Vec<(ProductId, Option<u64>)>,
) -> ChangeRuleEntries {
    ChangeRuleEntries {
        collection,
        kind,
        add,
        remove: Vec::new(),
        replace: false,
        etag: None,
        include: Include::default(),
        retry: None,
    }
}

/// Settings of the random test in this file. The environment variable `PROPTEST_CASES` replaces the
/// number of cases.
pub(crate) fn random_test(file: &'static str, cases: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config {
        source_file: Some(file),
        ..Default::default()
    };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => proptest::test_runner::Config { cases, ..config },
    }
}

/// The parts of the use cases with these settings, without a server, on their own database.
pub(crate) async fn migrated(engine: Engine, flags: &Flags) -> (Config, Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = app::config(flags, None).unwrap();
    config.database.place = match engine {
        Engine::Sqlite => DatabasePlace::File(folder.path().join("test.db")),
        Engine::Postgres => DatabasePlace::Url(postgres::new_database().await),
    };
    let store = Store::connect(&config.database).await.unwrap();
    store.migrate().await.unwrap();
    (config, store, folder)
}

/// The URL of a database, for a test's own connection.
pub(crate) fn url(place: &DatabasePlace) -> String {
    match place {
        DatabasePlace::File(file) => format!("sqlite://{}", file.display()),
        DatabasePlace::Url(url) => url.clone(),
    }
}

/// Inserts `count` copies of a collection without its lists. `id` is an SQL expression for the id
/// and slug of copy number `x`, which counts from 1.
pub(crate) async fn copy_collection(
    db: &DatabaseConnection,
    collection: &str,
    id: &str,
    count: usize,
) {
    let rest = "internal_name, smart, rules, rules_hash, rules_version, texts, search_name, \
                images, active, custom_properties, catalog_id, product_count, collection_count, \
                slug_chosen, create_time, update_time, version";
    let copies = format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count}) \
         INSERT INTO collections (tenant_id, id, slug, {rest}) \
         SELECT tenant_id, {id}, {id}, {rest} FROM n, collections WHERE id = '{collection}'"
    );
    db.execute_unprepared(&copies).await.unwrap();
}

/// A running server, which is stopped when this is dropped.
pub(crate) struct Server {
    /// The URL of the REST port.
    pub(crate) http: String,
    /// The URL of the gRPC port.
    pub(crate) grpc: String,
    /// The URL of the admin port.
    pub(crate) admin: String,
    /// A client for REST.
    pub(crate) client: reqwest::Client,
    /// The URL of its database, for a test's own connection.
    pub(crate) database: String,
    /// The flag that names its database, and the flag's value.
    pub(crate) database_flag: [String; 2],
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<bool>,
    _folder: TempDir,
}

/// A builder of HTTP clients; makes sure that the cryptography provider is installed.
pub(crate) fn http_client() -> reqwest::ClientBuilder {
    endcap::crypto::install();
    reqwest::Client::builder()
}

impl Server {
    /// Starts a server with its own database.
    pub(crate) async fn new(engine: Engine) -> Self {
        Self::start(engine, Flags::default()).await
    }

    /// Starts a server with these settings.
    pub(crate) async fn start(engine: Engine, flags: Flags) -> Self {
        let database_url = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(postgres::new_database().await),
        };
        Self::start_at(database_url, flags).await
    }

    /// Starts a server on this PostgreSQL database, or on SQLite.
    pub(crate) async fn start_at(database_url: Option<String>, flags: Flags) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folder_name = folder.path().display().to_string();
        let (database, database_flag) = match &database_url {
            None => {
                let database = format!("sqlite://{folder_name}/endcap.db");
                (database, ["--data-dir".into(), folder_name.clone()])
            }
            Some(url) => (url.clone(), ["--database-url".into(), url.clone()]),
        };
        let any = Some("127.0.0.1:0".to_owned());
        let scheme = flags.tls_cert.as_ref().map_or("http", |_| "https");
        let flags = Flags {
            data_dir: Some(folder_name),
            database_url: database_url.clone(),
            grpc_addr: any.clone(),
            http_addr: any.clone(),
            admin_addr: any,
            ..flags
        };
        let config = app::config(&flags, None).unwrap();
        if database_url.is_some() {
            let store = Store::connect(&config.database).await.unwrap();
            store.migrate().await.unwrap();
            store.close().await;
        }
        let app = App::bind(&config).await.unwrap();
        let addresses = app.addresses();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        let server = Self {
            http: format!("{scheme}://{}", addresses.http),
            grpc: format!("{scheme}://{}", addresses.grpc),
            admin: format!("http://{}", addresses.admin),
            client: http_client().build().unwrap(),
            database,
            database_flag,
            stop: Some(stop),
            running,
            _folder: folder,
        };
        is_ready(&server.admin, true).await;
        server
    }

    /// A gRPC client.
    pub(crate) async fn grpc(&self) -> CollectionServiceClient<Channel> {
        CollectionServiceClient::connect(self.grpc.clone())
            .await
            .unwrap()
            .max_decoding_message_size(usize::MAX)
    }

    /// A gRPC client for products.
    pub(crate) async fn products(&self) -> ProductServiceClient<Channel> {
        ProductServiceClient::connect(self.grpc.clone())
            .await
            .unwrap()
    }

    /// A gRPC client for rules.
    pub(crate) async fn rules(&self) -> RuleServiceClient<Channel> {
        RuleServiceClient::connect(self.grpc.clone()).await.unwrap()
    }

    /// Starts a transaction on another connection that blocks all writes until it ends.
    pub(crate) async fn hold_writes(&self) -> DatabaseTransaction {
        let db = sea_orm::Database::connect(&self.database).await.unwrap();
        // PostgreSQL does not need this; it has locks instead.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let tx = db.begin_with_options(options).await.unwrap();
        if db.get_database_backend() == DbBackend::Postgres {
            let lock = "LOCK TABLE collections IN EXCLUSIVE MODE";
            tx.execute_unprepared(lock).await.unwrap();
        }
        tx
    }

    /// Starts a transaction on another connection that blocks all key lookups until it ends;
    /// `None` on SQLite, where nothing blocks readers.
    pub(crate) async fn hold_keys(&self) -> Option<DatabaseTransaction> {
        let db = sea_orm::Database::connect(&self.database).await.unwrap();
        if db.get_database_backend() != DbBackend::Postgres {
            return None;
        }
        let tx = db.begin().await.unwrap();
        let lock = "LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE";
        tx.execute_unprepared(lock).await.unwrap();
        Some(tx)
    }

    /// Waits until [`Self::hold_writes`] blocks a write of the server. Only PostgreSQL reports it.
    pub(crate) async fn waits_for_a_lock(&self) {
        let db = sea_orm::Database::connect(&self.database).await.unwrap();
        let waiting = "SELECT 1 FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let deadline = Instant::now() + Duration::from_secs(60);
        let waiting = Statement::from_string(DbBackend::Postgres, waiting);
        while db.query_one_raw(waiting.clone()).await.unwrap().is_none() {
            assert!(Instant::now() < deadline, "no write is blocked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The contents of `/metrics`. They are those of the whole process, including other tests.
    pub(crate) async fn metrics(&self) -> String {
        let metrics = self.client.get(format!("{}/metrics", self.admin));
        metrics.send().await.unwrap().text().await.unwrap()
    }

    /// How many requests this limit has rejected in all servers of this process. Other tests may
    /// increase it, too.
    pub(crate) async fn refused(&self, limit: &str) -> u64 {
        let line = format!("endcap_refused_total{{limit=\"{limit}\"}} ");
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|text| text.strip_prefix(&line));
        value.unwrap().parse().unwrap()
    }

    /// Shuts the server down like a signal, and returns whether all in-flight requests completed.
    pub(crate) async fn stop(mut self) -> bool {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.running).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Waits until the server with this admin port is ready or not ready, and returns the response of
/// `/readyz`.
pub(crate) async fn is_ready(admin: &str, expected: bool) -> String {
    let client = http_client().build().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let response = client.get(format!("{admin}/readyz")).send().await.unwrap();
        let is_ready = response.status() == 200;
        let body = response.text().await.unwrap();
        if is_ready == expected {
            return body;
        }
        assert!(Instant::now() < deadline, "{body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A manual collection with an id and an English name.
pub(crate) fn named(id: &str, name: &str) -> pb::Collection {
    let text = pb::LocalizedText {
        display_name: name.into(),
        ..pb::LocalizedText::default()
    };
    pb::Collection {
        id: id.into(),
        texts: [("en".to_owned(), text)].into(),
        ..pb::Collection::default()
    }
}

/// Creates a manual collection under the root.
pub(crate) async fn create(
    client: &mut CollectionServiceClient<Channel>,
    id: &str,
) -> pb::Collection {
    let request = pb::CreateCollectionRequest {
        collection: Some(named(id, id)),
        ..pb::CreateCollectionRequest::default()
    };
    let response = client.create_collection(request).await.unwrap();
    response.into_inner().collection.unwrap()
}

/// A request that gives a collection this English name and no other text.
pub(crate) fn rename(id: &str, name: &str) -> pb::UpdateCollectionRequest {
    pb::UpdateCollectionRequest {
        collection: Some(named(id, name)),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["texts".into()],
        }),
        ..pb::UpdateCollectionRequest::default()
    }
}

/// The whole product list of a collection.
pub(crate) async fn products(
    client: &mut CollectionServiceClient<Channel>,
    id: &str,
) -> Vec<String> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListChildrenRequest {
            collection_id: id.into(),
            child_type: pb::ChildType::Product.into(),
            page_size: 1_000,
            page_token,
            ..pb::ListChildrenRequest::default()
        };
        let page = client.list_children(request).await.unwrap().into_inner();
        all.extend(page.children.into_iter().map(|child| child.id));
        if page.next_page_token.is_empty() {
            return all;
        }
        page_token = page.next_page_token;
    }
}

/// A mutation that appends products.
pub(crate) fn append<S: ToString>(ids: impl IntoIterator<Item = S>) -> pb::ChildMutation {
    let ids = ids.into_iter().map(|id| id.to_string()).collect();
    operation(pb::child_mutation::Operation::Append(
        pb::child_mutation::Append {
            ids,
            ..Default::default()
        },
    ))
}

/// A request that mutates the products of a collection.
pub(crate) fn mutate(id: &str, mutations: Vec<pb::ChildMutation>) -> pb::MutateChildrenRequest {
    pb::MutateChildrenRequest {
        collection_id: id.into(),
        child_type: pb::ChildType::Product.into(),
        mutations,
        ..pb::MutateChildrenRequest::default()
    }
}

/// A mutation with this operation.
pub(crate) fn operation(operation: pb::child_mutation::Operation) -> pb::ChildMutation {
    pb::ChildMutation {
        operation: Some(operation),
    }
}

/// The position with this index.
pub(crate) fn at(index: i32) -> Option<pb::Position> {
    Some(pb::Position {
        position: Some(pb::position::Position::Index(index)),
    })
}

/// A mutation that moves a range to an index.
pub(crate) fn move_range(first_index: i32, last_index: i32, to: i32) -> pb::ChildMutation {
    operation(pb::child_mutation::Operation::MoveRange(
        pb::child_mutation::MoveRange {
            first_index: Some(first_index),
            last_index: Some(last_index),
            position: at(to),
        },
    ))
}

/// A mutation that inserts products at an index.
pub(crate) fn insert<S: ToString>(
    index: i32,
    ids: impl IntoIterator<Item = S>,
) -> pb::ChildMutation {
    operation(pb::child_mutation::Operation::Insert(
        pb::child_mutation::Insert {
            ids: ids.into_iter().map(|id| id.to_string()).collect(),
            position: at(index),
            ..Default::default()
        },
    ))
}

/// Reads the collection with this id.
pub(crate) async fn get(
    client: &mut CollectionServiceClient<Channel>,
    id: &str,
) -> Result<pb::Collection, tonic::Status> {
    let request = pb::GetCollectionRequest {
        key: Some(pb::get_collection_request::Key::CollectionId(id.into())),
        ..pb::GetCollectionRequest::default()
    };
    let response = client.get_collection(request).await?;
    Ok(response.into_inner().collection.unwrap())
}
