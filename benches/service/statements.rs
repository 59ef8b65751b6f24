//! The number of statements of each operation, and on PostgreSQL of round trips, including BEGIN
//! and COMMIT. On SQLite the server's metrics count them, without ROLLBACK; on PostgreSQL a proxy
//! does.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use endcap::grpc::pb;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    postgres, proxy,
    proxy::Sent,
    requests::{self, CHILDREN, GET, LIST, MUTATE, UPDATE},
    server::{Options, Server},
};

/// The tenant of requests in Oracle's dialect.
const TENANT: &str = "default";
/// How many lists there are, all of them empty.
const LISTS: usize = 1_000;
const PAGED: &str = "paged";
const PAGED_LENGTH: usize = 10_000;
/// A list of a single segment.
const SHORT: &str = "short";
const SHORT_LENGTH: usize = 100;

/// How often an operation is counted, and how often it runs before that, until all statements are
/// prepared.
const COUNTED: usize = 9;
const WARM_UP: usize = 5;

/// The statements and round trips of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Count {
    statements: u64,
    trips: u64,
}

/// The counts at commit d847d87, before requests were optimized: statements on SQLite, and
/// statements and round trips on PostgreSQL.
const BEFORE: [(&str, u64, u64, u64); 16] = [
    ("GetCollection", 3, 5, 5),
    ("ListChildren, page of 50", 3, 5, 5),
    ("ListCollections, 50", 5, 7, 7),
    ("rename", 6, 6, 6),
    ("move 1 in a list of 100", 7, 7, 7),
    ("move 1 in a list of 10,000", 9, 9, 9),
    ("create a collection", 18, 18, 18),
    ("delete a collection", 16, 16, 16),
    ("upsert a product", 7, 7, 7),
    ("a product deleted from 1 list", 13, 14, 14),
    ("a product deleted from 64 lists", 391, 392, 392),
    ("a product deleted from 1,000 lists", 14, 15, 15),
    ("assignProducts, 1 product in 1 list", 9, 9, 9),
    ("assignProducts, 1 product in 100 lists", 603, 603, 603),
    ("upsert a product with collectionIds, 1 list", 15, 16, 16),
    (
        "upsert a product with collectionIds, 100 lists",
        609,
        610,
        610,
    ),
];

/// Counts on both databases.
pub(crate) async fn run() {
    let sqlite = Server::start(Options::default()).await;
    let sqlite = Counter::new(&sqlite, None).operations().await;
    let has_postgres = std::env::var_os(postgres::URL_VARIABLE).is_some()
        || std::panic::catch_unwind(postgres::programs).is_ok();
    let on_postgres = if has_postgres {
        let (url, sent) = proxy::start(&postgres::new_database().await).await;
        let server = Server::start(Options {
            database_url: Some(&url),
            // Few connections, so that all of them have soon prepared all statements.
            flags: &["--database-max-connections", "2"],
            ..Options::default()
        })
        .await;
        Some(Counter::new(&server, Some(sent)).operations().await)
    } else {
        println!("LEFT OUT: all of PostgreSQL: there is none\n");
        None
    };
    print(&sqlite, on_postgres.as_deref());
}

fn print(sqlite: &[(&str, Count)], on_postgres: Option<&[(&str, Count)]>) {
    println!(
        "| operation | SQLite: statements before | now | PostgreSQL: statements before | now \
         | round trips before | now |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (at, (name, on_sqlite)) in sqlite.iter().enumerate() {
        let before = BEFORE.iter().find(|(known, ..)| known == name);
        let before = |of: fn(&(&str, u64, u64, u64)) -> u64| {
            before.map_or("–".into(), |before| of(before).to_string())
        };
        let now = |of: fn(&Count) -> u64| {
            let counts = on_postgres.map(|counts| &counts[at].1);
            counts.map_or("–".into(), |count| of(count).to_string())
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} |",
            before(|it| it.1),
            on_sqlite.statements,
            before(|it| it.2),
            now(|it| it.statements),
            before(|it| it.3),
            now(|it| it.trips)
        );
    }
}

struct Counter<'a> {
    server: &'a Server,
    sent: Option<Arc<Sent>>,
    rest: reqwest::Client,
    counts: Vec<(&'static str, Count)>,
}

impl<'a> Counter<'a> {
    fn new(server: &'a Server, sent: Option<Arc<Sent>>) -> Self {
        Self {
            server,
            sent,
            rest: reqwest::Client::new(),
            counts: Vec::new(),
        }
    }

    async fn operations(mut self) -> Vec<(&'static str, Count)> {
        requests::numbered(self.server, TENANT, LISTS, 0).await;
        requests::filled(self.server, TENANT, PAGED, 0, PAGED_LENGTH).await;
        requests::filled(self.server, TENANT, SHORT, 0, SHORT_LENGTH).await;
        self.reads().await;
        self.collection_writes().await;
        self.product_writes().await;
        self.lists_of_products().await;
        self.counts
    }

    async fn reads(&mut self) {
        let server = self.server;
        let nothing = async |_| ();
        let get = requests::get(TENANT, "0");
        let act = async |()| drop(server.raw(GET, &get).await);
        self.count("GetCollection", nothing, act).await;
        let page = async |()| {
            let start = rand::random_range(0..PAGED_LENGTH - 50);
            let page = requests::children(TENANT, PAGED, start);
            server.raw(CHILDREN, &page).await;
        };
        self.count("ListChildren, page of 50", nothing, page).await;
        let list = requests::list(TENANT);
        let act = async |()| drop(server.raw(LIST, &list).await);
        self.count("ListCollections, 50", nothing, act).await;
    }

    async fn collection_writes(&mut self) {
        let server = self.server;
        let rename = async |number: usize| {
            let rename = requests::rename(TENANT, "0", number as u64);
            server.raw(UPDATE, &rename).await;
        };
        self.count("rename", async |number| number, rename).await;
        for (name, id, length) in [
            ("move 1 in a list of 100", SHORT, SHORT_LENGTH),
            ("move 1 in a list of 10,000", PAGED, PAGED_LENGTH),
        ] {
            let moved = async |()| {
                let moved = requests::move_one(TENANT, id, length);
                server.raw(MUTATE, &moved).await;
            };
            self.count(name, async |_| (), moved).await;
        }
        let id = |number: usize| format!("made-{number}");
        let create = async |number| requests::filled(server, TENANT, &id(number), 0, 0).await;
        let numbered = async |number| number;
        self.count("create a collection", numbered, create).await;
        let delete = async |number| {
            let delete = pb::DeleteCollectionRequest {
                tenant_id: TENANT.into(),
                collection_id: id(number),
                ..Default::default()
            };
            let method = "CollectionService/DeleteCollection";
            server.raw(method, &delete).await;
        };
        // Deletes the collections that were just created.
        self.count("delete a collection", numbered, delete).await;
    }

    async fn product_writes(&mut self) {
        let server = self.server;
        let upsert = async |number| {
            let product = pb::Product {
                id: requests::product(number),
                title: format!("Hat {number}"),
                ..Default::default()
            };
            let upsert = pb::UpsertProductsRequest {
                tenant_id: TENANT.into(),
                products: vec![product],
                ..Default::default()
            };
            let method = "ProductService/UpsertProducts";
            server.raw(method, &upsert).await;
        };
        self.count("upsert a product", async |number| number, upsert)
            .await;
    }

    /// Products that join and leave k lists at once.
    async fn lists_of_products(&mut self) {
        let server = self.server;
        let numbered = async |number| number;
        let (rest, url) = (self.rest.clone(), format!("http://{}", server.http));
        let ask = async |path: &str, body: Value| -> Value {
            let request = rest.request(Method::POST, format!("{url}{path}"));
            let request = request.header("version", "2021-07-28").json(&body);
            let request = request.header("x-ccasset-language", "en");
            let response = request.bearer_auth(&server.key).send().await.unwrap();
            let (status, body) = (response.status(), response.text().await.unwrap());
            assert!(status.is_success(), "{path}: {status} {body}");
            serde_json::from_str(&body).unwrap()
        };
        let ids = |lists: usize| (0..lists).map(|list| list.to_string()).collect::<Vec<_>>();
        // Creates a product in this many lists, and returns its id.
        let make = async |lists: usize| -> String {
            let body = json!({
                "locationId": TENANT, "name": "Hat", "productType": "PHYSICAL",
                "collectionIds": ids(lists),
            });
            let made = ask("/products/", body).await;
            made["_id"].as_str().unwrap().to_owned()
        };
        for (name, lists) in [
            ("a product deleted from 1 list", 1),
            ("a product deleted from 64 lists", 64),
            ("a product deleted from 1,000 lists", LISTS),
        ] {
            let delete = async |id: String| {
                let delete = pb::DeleteProductsRequest {
                    tenant_id: TENANT.into(),
                    ids: vec![id],
                    ..Default::default()
                };
                server.raw("ProductService/DeleteProducts", &delete).await;
            };
            self.count(name, async |_| make(lists).await, delete).await;
        }
        for (name, lists) in [
            ("assignProducts, 1 product in 1 list", 1),
            ("assignProducts, 1 product in 100 lists", 100),
        ] {
            let assign = async |number: usize| {
                let product = format!("assigned-{lists}-{number}");
                let body = json!({
                    "operation": "link", "products": [product], "collections": ids(lists),
                });
                ask("/ccadmin/v1/collections/assignProducts", body).await;
            };
            self.count(name, numbered, assign).await;
        }
        for (name, lists) in [
            ("upsert a product with collectionIds, 1 list", 1),
            ("upsert a product with collectionIds, 100 lists", 100),
        ] {
            let upsert = async |_| drop(make(lists).await);
            self.count(name, numbered, upsert).await;
        }
    }

    /// Counts an operation repeatedly, each time with what `prepare` returns for the number of the
    /// call. Records the lower quartile, to leave out occasional work of the server.
    async fn count<T>(
        &mut self,
        name: &'static str,
        prepare: impl AsyncFn(usize) -> T,
        act: impl AsyncFn(T),
    ) {
        let mut counts = Vec::new();
        for number in 0..WARM_UP + COUNTED {
            let prepared = prepare(number).await;
            let before = self.sent().await;
            act(prepared).await;
            let after = self.sent().await;
            if number >= WARM_UP {
                counts.push(Count {
                    statements: after.statements - before.statements,
                    trips: after.trips - before.trips,
                });
            }
        }
        counts.sort_unstable();
        self.counts.push((name, counts[counts.len() / 4]));
    }

    /// The counts once no more statements arrive: a read-only transaction ends after the response.
    async fn sent(&self) -> Count {
        const QUIET: Duration = Duration::from_millis(15);
        const MAX_POLLS: usize = 100;
        let mut last = self.sent_now().await;
        for _ in 0..MAX_POLLS {
            tokio::time::sleep(QUIET).await;
            let now = self.sent_now().await;
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    async fn sent_now(&self) -> Count {
        if let Some(sent) = &self.sent {
            return Count {
                statements: sent.statements.load(Ordering::Relaxed),
                trips: sent.trips.load(Ordering::Relaxed),
            };
        }
        let url = format!("{}/metrics", self.server.admin);
        let request = self.rest.get(url).bearer_auth(&self.server.key);
        let text = request.send().await.unwrap().text().await.unwrap();
        let counts = text.lines().filter_map(|line| {
            let line = line.strip_prefix("db_client_operation_duration_seconds_count{")?;
            line.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        Count {
            statements: counts.sum::<f64>() as u64,
            trips: 0,
        }
    }
}
