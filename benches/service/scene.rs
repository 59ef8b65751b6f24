//! The servers with their data, and the loads on them, as far as the selected rows need them.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;

use crate::{
    bare::Bare,
    load::{Grpc, Http, Sample, Turn, Work},
    pgbench::{self, Pgbench, Postgres},
    requests::{self, CHILDREN, GET, LIST, MUTATE, UPDATE, always},
    rows,
    server::{self, Options, Server, has_setting},
    shim,
};

/// The tenant of most of the data.
const SHOP: &str = "shop";
/// The tenant whose rows pgbench writes.
const YARDSTICK: &str = "yardstick";
/// Tenants with the same number of collections, with empty and with full lists.
const NONE: &str = "none";
const MANY: &str = "many";
/// Tenants with short and with long lists.
const SHORT: &str = "short";
const LONG: &str = "long";

const SUMMER: &str = "summer";
const PAGED: &str = "paged";

/// The length of the list whose pages are read.
const PAGED_LENGTH: usize = 10_000;
/// How many collections are renamed, and in how many lists children are moved.
const WRITTEN: usize = 64;
const SHORT_LENGTH: usize = 100;
const LONG_LENGTH: usize = 100_000;
/// The collections that are listed, and the number of products of each if there are a million.
const LISTED: usize = 100;
const LISTED_LENGTH: usize = 10_000;

/// The setting for the number of writes that share a commit on SQLite.
const GROUP: &str = "--max-group-commits";

const GRPC: [usize; 2] = [1, 64];
const REST: [usize; 2] = [1, 32];
const POSTGRES_WRITERS: [usize; 2] = [1, 32];

/// A load, with the results of its rounds by number of clients.
pub(crate) struct Mode {
    pub(crate) row: &'static str,
    work: Work,
    pid: Option<u32>,
    pub(crate) samples: Vec<(usize, Vec<Sample>)>,
}

impl Mode {
    /// Measures one round per number of clients. The results of a warm-up round are discarded.
    pub(crate) async fn round(&mut self, time: Duration, is_warm_up: bool) {
        for (clients, samples) in &mut self.samples {
            let sample = self.work.measure(self.pid, *clients, time).await;
            if !is_warm_up {
                samples.push(sample);
            }
        }
    }
}

/// All loads and servers. Fields are dropped in this order, so servers stop before what they need.
#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) modes: Vec<Mode>,
    servers: Vec<Server>,
    bare: Vec<Bare>,
    postgres: Option<Postgres>,
    shim: Option<tempfile::TempDir>,
    only: Vec<String>,
    /// Rows that could not be measured, and why.
    pub(crate) left_out: Vec<String>,
}

impl Scene {
    /// Sets up the rows whose names contain one of these; all rows if there are none.
    pub(crate) async fn new(only: Vec<String>) -> Self {
        let mut scene = Self {
            only,
            ..Self::default()
        };
        scene.small().await;
        scene.with_jwts().await;
        scene.uncached().await;
        scene.large().await;
        scene.variants().await;
        scene.on_postgres().await;
        let place = |mode: &Mode| rows::ALL.iter().position(|row| *row == mode.row);
        scene.modes.sort_by_key(place);
        scene
    }

    fn wants(&self, rows: &[&str]) -> bool {
        let is_named = |row: &str| {
            let row = row.to_lowercase();
            self.only.iter().any(|part| row.contains(part))
        };
        self.only.is_empty() || rows.iter().any(|row| is_named(row))
    }

    fn leave_out(&mut self, rows: &[&'static str], why: &str) {
        for row in rows {
            if self.wants(&[row]) {
                let line = format!("LEFT OUT: {row}: {why}");
                eprintln!("{line}");
                self.left_out.push(line);
            }
        }
    }

    fn add(&mut self, row: &'static str, pid: Option<u32>, clients: [usize; 2], work: Work) {
        if self.wants(&[row]) {
            self.modes.push(Mode {
                row,
                work,
                pid,
                samples: clients.map(|clients| (clients, Vec::new())).into(),
            });
        }
    }

    fn grpc(&mut self, row: &'static str, server: &Server, work: Grpc) {
        self.add(row, Some(server.pid()), GRPC, Work::Grpc(work));
    }

    /// SQLite with little data, and bare servers with the same responses.
    async fn small(&mut self) {
        use rows::{
            CHILDREN_BARE, CHILDREN_SQLITE, GET_BARE, GET_SQLITE, JSON_SQLITE, RENAME_SQLITE,
            REST_BARE, REST_SQLITE,
        };
        let reads = [
            GET_SQLITE,
            GET_BARE,
            JSON_SQLITE,
            CHILDREN_SQLITE,
            CHILDREN_BARE,
        ];
        if !self.wants(&reads) && !self.wants(&[REST_SQLITE, REST_BARE, RENAME_SQLITE]) {
            return;
        }
        let server = Server::start(Options::default()).await;
        requests::filled(&server, SHOP, SUMMER, 0, 0).await;
        requests::filled(&server, SHOP, PAGED, 0, PAGED_LENGTH).await;
        requests::numbered(&server, SHOP, WRITTEN, 0).await;
        self.reads(&server, GET_SQLITE, CHILDREN_SQLITE);
        let json = server.path(format!("/v1/collections/{SUMMER}?tenantId={SHOP}"));
        self.add(JSON_SQLITE, Some(server.pid()), GRPC, Work::Http(json));
        let rest = || {
            let query = format!("altId={SHOP}&altType=location");
            server.path(format!("/products/collections/{SUMMER}?{query}"))
        };
        self.add(REST_SQLITE, Some(server.pid()), REST, Work::Http(rest()));
        let renames = server.method(UPDATE, requests::renames(SHOP, WRITTEN));
        self.grpc(RENAME_SQLITE, &server, renames);

        let collection = server.raw(GET, &requests::get(SHOP, SUMMER)).await;
        let middle = PAGED_LENGTH / 2;
        let page = requests::children(SHOP, PAGED, middle);
        let page = server.raw(CHILDREN, &page).await;
        let json = rest().once().await;
        eprintln!(
            "bytes of the responses: GetCollection {}, ListChildren {}, HighLevel GET {}",
            collection.len(),
            page.len(),
            json.len()
        );
        let responses = [("GetCollection", &collection), ("ListChildren", &page)];
        self.bare_tonic(Bare::tonic(&responses)).await;
        self.bare_axum(Bare::axum(&json), rest());
        self.servers.push(server);
    }

    async fn bare_tonic(&mut self, bare: Bare) {
        let channels = server::channels(&bare.address).await;
        let get = always(&requests::get(SHOP, SUMMER));
        let get = Grpc::new(&channels, GET, "none", get);
        let pages = requests::pages(SHOP, PAGED, PAGED_LENGTH, requests::children);
        let pages = Grpc::new(&channels, CHILDREN, "none", pages);
        let pid = Some(bare.pid());
        self.add(rows::GET_BARE, pid, GRPC, Work::Grpc(get));
        self.add(rows::CHILDREN_BARE, pid, GRPC, Work::Grpc(pages));
        self.bare.push(bare);
    }

    fn bare_axum(&mut self, bare: Bare, rest: Http) {
        let address = bare.address.clone();
        let work = Work::Http(Http { address, ..rest });
        self.add(rows::REST_BARE, Some(bare.pid()), REST, work);
        self.bare.push(bare);
    }

    fn reads(&mut self, server: &Server, get: &'static str, children: &'static str) {
        let summer = always(&requests::get(SHOP, SUMMER));
        self.grpc(get, server, server.method(GET, summer));
        let pages = requests::pages(SHOP, PAGED, PAGED_LENGTH, requests::children);
        self.grpc(children, server, server.method(CHILDREN, pages));
    }

    /// SQLite with JWTs in place of keys.
    async fn with_jwts(&mut self) {
        if !self.wants(&[rows::GET_JWT]) {
            return;
        }
        let server = Server::start(Options {
            jwt: true,
            ..Options::default()
        })
        .await;
        requests::filled(&server, SHOP, SUMMER, 0, 0).await;
        let get = always(&requests::get(SHOP, SUMMER));
        let get = Grpc::new(server.channels(), GET, server.jwt.as_ref().unwrap(), get);
        self.grpc(rows::GET_JWT, &server, get);
        self.servers.push(server);
    }

    /// SQLite without the read cache.
    async fn uncached(&mut self) {
        use rows::{CHILDREN_PRODUCTS, CHILDREN_UNCACHED, GET_UNCACHED};
        if !self.wants(&[GET_UNCACHED, CHILDREN_UNCACHED, CHILDREN_PRODUCTS]) {
            return;
        }
        let server = Server::start(Options {
            flags: &["--read-cache-size", "0"],
            ..Options::default()
        })
        .await;
        requests::filled(&server, SHOP, SUMMER, 0, 0).await;
        requests::filled(&server, SHOP, PAGED, 0, PAGED_LENGTH).await;
        requests::registered(&server, SHOP, PAGED_LENGTH).await;
        self.reads(&server, GET_UNCACHED, CHILDREN_UNCACHED);
        let pages = requests::pages(SHOP, PAGED, PAGED_LENGTH, requests::products);
        self.grpc(CHILDREN_PRODUCTS, &server, server.method(CHILDREN, pages));
        self.servers.push(server);
    }

    /// SQLite with millions of memberships.
    async fn large(&mut self) {
        let lists = [rows::LIST_NONE_SQLITE, rows::LIST_MANY_SQLITE];
        let moves = [
            (rows::MOVE_SHORT, SHORT, SHORT_LENGTH),
            (rows::MOVE_LONG, LONG, LONG_LENGTH),
        ];
        if !self.wants(&lists) && !self.wants(&moves.map(|(row, _, _)| row)) {
            return;
        }
        let server = Server::start(Options::default()).await;
        self.lists(&server, lists).await;
        for (row, tenant, length) in moves {
            if self.wants(&[row]) {
                requests::numbered(&server, tenant, WRITTEN, length).await;
                let moves = requests::moves(tenant, WRITTEN, length);
                self.grpc(row, &server, server.method(MUTATE, moves));
            }
        }
        self.servers.push(server);
    }

    /// Lists of collections, in a tenant without memberships and in one with them.
    async fn lists(&mut self, server: &Server, rows: [&'static str; 2]) {
        for (row, tenant, length) in [(rows[0], NONE, 0), (rows[1], MANY, LISTED_LENGTH)] {
            if self.wants(&[row]) {
                requests::numbered(server, tenant, LISTED, length).await;
                let list = always(&requests::list(tenant));
                self.grpc(row, server, server.method(LIST, list));
            }
        }
    }

    /// SQLite with a commit per write, and with slower commits.
    async fn variants(&mut self) {
        let has_groups = has_setting(GROUP);
        let alone: &[&str] = if has_groups { &[GROUP, "1"] } else { &[] };
        let grouped = [rows::RENAME_SLOW];
        let not_grouped = [rows::RENAME_ALONE, rows::RENAME_SLOW_ALONE];
        if !has_groups {
            let why = format!("the server has no {GROUP}, so no write is grouped");
            self.leave_out(&not_grouped, &why);
        }
        let library = self.library(&[grouped[0], not_grouped[1]]);
        let variants = [
            (rows::RENAME_ALONE, alone, true, false),
            (rows::RENAME_SLOW, &[], false, true),
            (rows::RENAME_SLOW_ALONE, alone, true, true),
        ];
        for (row, flags, is_alone, is_slow) in variants {
            let is_possible = (has_groups || !is_alone) && (library.is_some() || !is_slow);
            if !self.wants(&[row]) || !is_possible {
                continue;
            }
            let server = Server::start(Options {
                flags,
                preload: library.as_deref().filter(|_| is_slow),
                ..Options::default()
            })
            .await;
            requests::numbered(&server, SHOP, WRITTEN, 0).await;
            let renames = server.method(UPDATE, requests::renames(SHOP, WRITTEN));
            self.grpc(row, &server, renames);
            self.servers.push(server);
        }
    }

    /// The library that slows down flushes, if the rows need it.
    fn library(&mut self, rows: &[&'static str]) -> Option<PathBuf> {
        if !self.wants(rows) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let library = shim::compile(folder.path());
        if library.is_none() {
            self.leave_out(rows, "there is no C compiler (cc)");
        }
        self.shim = Some(folder);
        library
    }

    async fn on_postgres(&mut self) {
        use rows::{
            CHILDREN_POSTGRES, GET_PGBENCH, GET_POSTGRES, GET_THREE, GET_WITHIN,
            LIST_MANY_POSTGRES, LIST_NONE_POSTGRES, MOVE_POSTGRES, RENAME_PGBENCH, RENAME_POSTGRES,
            RENAME_THREE,
        };
        let lists = [LIST_NONE_POSTGRES, LIST_MANY_POSTGRES];
        let pgbench = [GET_PGBENCH, RENAME_PGBENCH];
        let others = [
            GET_POSTGRES,
            GET_WITHIN,
            GET_THREE,
            CHILDREN_POSTGRES,
            RENAME_POSTGRES,
            RENAME_THREE,
            MOVE_POSTGRES,
        ];
        let all = [&lists[..], &pgbench, &others].concat();
        if !self.wants(&all) {
            return;
        }
        let Some(postgres) = Postgres::start().await else {
            self.leave_out(&all, "there is no PostgreSQL");
            return;
        };
        let server = Server::start(Options {
            database_url: Some(&postgres.url),
            flags: &["--database-max-connections", "32"],
            ..Options::default()
        })
        .await;
        requests::filled(&server, SHOP, SUMMER, 0, 0).await;
        requests::filled(&server, SHOP, PAGED, 0, PAGED_LENGTH).await;
        requests::numbered(&server, SHOP, WRITTEN, 0).await;
        requests::numbered(&server, YARDSTICK, WRITTEN, 0).await;
        requests::numbered(&server, SHORT, WRITTEN, SHORT_LENGTH).await;
        self.reads(&server, GET_POSTGRES, CHILDREN_POSTGRES);
        let within = always(&requests::within(SHOP, SUMMER));
        self.grpc(GET_WITHIN, &server, server.method(GET, within));
        self.lists(&server, lists).await;
        let pid = Some(server.pid());
        let renames = server.method(UPDATE, requests::renames(SHOP, WRITTEN));
        self.add(RENAME_POSTGRES, pid, POSTGRES_WRITERS, Work::Grpc(renames));
        let moves = requests::moves(SHORT, WRITTEN, SHORT_LENGTH);
        let moves = Work::Grpc(server.method(MUTATE, moves));
        self.add(MOVE_POSTGRES, pid, POSTGRES_WRITERS, moves);

        if self.wants(&[GET_THREE, RENAME_THREE]) {
            self.three_servers(&server, &postgres.url).await;
        }

        let read = Pgbench::new(&postgres.url, &pgbench::one_read(SHOP, SUMMER));
        let rename = Pgbench::new(&postgres.url, &pgbench::rename(YARDSTICK));
        if let (Some(read), Some(rename)) = (read, rename) {
            self.add(GET_PGBENCH, None, GRPC, Work::Pgbench(read));
            self.add(
                RENAME_PGBENCH,
                None,
                POSTGRES_WRITERS,
                Work::Pgbench(rename),
            );
        } else {
            self.leave_out(&pgbench, "there is no pgbench");
        }
        self.servers.push(server);
        self.postgres = Some(postgres);
    }

    /// This server and two others on the same database, with the clients distributed over them.
    async fn three_servers(&mut self, first: &Server, url: &str) {
        let mut channels = first.channels().to_vec();
        for _ in 0..2 {
            let server = Server::start(Options {
                database_url: Some(url),
                // Together with the first one, fewer than PostgreSQL allows by default.
                flags: &["--database-max-connections", "16"],
                ..Options::default()
            })
            .await;
            channels.extend_from_slice(server.channels());
            self.servers.push(server);
        }
        let call = |method, make: Box<dyn Fn(Turn) -> Bytes + Send + Sync>| {
            Work::Grpc(Grpc::new(&channels, method, &first.key, make))
        };
        let within = call(GET, Box::new(always(&requests::within(SHOP, SUMMER))));
        self.add(rows::GET_THREE, None, GRPC, within);
        let renames = call(UPDATE, Box::new(requests::renames(SHOP, WRITTEN)));
        self.add(rows::RENAME_THREE, None, POSTGRES_WRITERS, renames);
    }
}
