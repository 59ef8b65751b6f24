//! The alternative to compare with: a row per child with its position, where a move shifts all rows
//! in between.

use std::time::{Duration, Instant};

use endcap::store::{Database, DatabasePlace};
use rand::{RngExt as _, rngs::StdRng};
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, DatabaseConnection, DbBackend, Statement,
    TransactionTrait as _, Value,
};

use crate::{Op, measure, product, scattered};

pub(crate) struct Naive {
    db: DatabaseConnection,
    n: u64,
    /// How long loading took, including the index.
    pub(crate) loaded: Duration,
    /// How long a bare insert took of as many rows as this service stores for the list.
    pub(crate) bare: Duration,
}

const CHUNK: u64 = 5_000;
/// The target size of this service's segments.
const SEGMENT: u64 = 256;

impl Naive {
    pub(crate) async fn load(database: &Database, n: u64) -> Self {
        let url = match &database.place {
            DatabasePlace::File(path) => {
                format!(
                    "sqlite://{}?mode=rwc",
                    path.with_extension("naive").display()
                )
            }
            DatabasePlace::Url(url) => url.clone(),
        };
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        options.map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
                .pragma("cache_size", "-65536")
                .pragma("mmap_size", "268435456")
        });
        let db = sea_orm::Database::connect(options).await.unwrap();
        let postgres = db.get_database_backend() == DbBackend::Postgres;
        let (text, without) = if postgres {
            ("text COLLATE \"C\"", "")
        } else {
            ("text", "WITHOUT ROWID")
        };
        let tables = [
            format!("CREATE TABLE IF NOT EXISTS naive (collection {text} NOT NULL, child {text} NOT NULL, position bigint NOT NULL, PRIMARY KEY (collection, child)) {without}"),
            "CREATE INDEX IF NOT EXISTS naive_position ON naive (collection, position)".into(),
            // The rows that this service stores: a child's with its look-up, and those of segments.
            format!("CREATE TABLE IF NOT EXISTS bare (tenant_id {text} NOT NULL, collection_id {text} NOT NULL, list smallint NOT NULL, child_id {text} NOT NULL, segment_id bigint NOT NULL, PRIMARY KEY (tenant_id, collection_id, list, child_id)) {without}"),
            "CREATE UNIQUE INDEX IF NOT EXISTS bare_parents ON bare (tenant_id, list, child_id, collection_id)".into(),
            format!("CREATE TABLE IF NOT EXISTS bare_segments (tenant_id {text} NOT NULL, collection_id {text} NOT NULL, list smallint NOT NULL, segment_id bigint NOT NULL, rank bigint NOT NULL, len bigint NOT NULL, PRIMARY KEY (tenant_id, collection_id, list, segment_id)) {without}"),
            format!("CREATE TABLE IF NOT EXISTS bare_contents (tenant_id {text} NOT NULL, collection_id {text} NOT NULL, list smallint NOT NULL, segment_id bigint NOT NULL, ids {text} NOT NULL, PRIMARY KEY (tenant_id, collection_id, list, segment_id))"),
        ];
        for table in tables {
            db.execute_unprepared(&table).await.unwrap();
        }
        let mut naive = Self {
            db,
            n,
            loaded: Duration::ZERO,
            bare: Duration::ZERO,
        };
        let collection = naive.collection();
        let started = Instant::now();
        naive
            .insert_all(
                n,
                "INSERT INTO naive (collection, child, position) VALUES ",
                |number| format!("('{collection}','{}',{number})", product(number)),
            )
            .await;
        naive.loaded = started.elapsed();
        let started = Instant::now();
        naive
            .insert_all(n, "INSERT INTO bare VALUES ", |number| {
                let segment = number / SEGMENT;
                format!(
                    "('default','{collection}',1,'{}',{segment})",
                    product(number)
                )
            })
            .await;
        let segments = n.div_ceil(SEGMENT);
        naive
            .insert_all(segments, "INSERT INTO bare_segments VALUES ", |number| {
                format!("('default','{collection}',1,{number},{number},{SEGMENT})")
            })
            .await;
        naive
            .insert_all(segments, "INSERT INTO bare_contents VALUES ", |number| {
                let ids = number * SEGMENT..(number * SEGMENT + SEGMENT).min(n);
                let ids: Vec<_> = ids.map(product).collect();
                format!("('default','{collection}',1,{number},'{}')", ids.join(","))
            })
            .await;
        naive.bare = started.elapsed();
        if naive.db.get_database_backend() == DbBackend::Postgres {
            naive.db.execute_unprepared("ANALYZE naive").await.unwrap();
        }
        naive
    }

    fn collection(&self) -> String {
        format!("n{}", self.n)
    }

    /// In transactions of 100,000 rows, as this service's lists are loaded.
    async fn insert_all(&self, rows: u64, head: &str, row: impl Fn(u64) -> String) {
        let mut next = 0;
        while next < rows {
            let tx = self.db.begin().await.unwrap();
            let end = (next + 100_000).min(rows);
            while next < end {
                let stop = (next + CHUNK).min(end);
                let rows: Vec<_> = (next..stop).map(&row).collect();
                let sql = format!("{head}{}", rows.join(","));
                tx.execute_unprepared(&sql).await.unwrap();
                next = stop;
            }
            tx.commit().await.unwrap();
        }
    }

    /// Runs the statements in one transaction. Each `?` is bound in order.
    async fn transaction(&self, statements: Vec<(String, Vec<Value>)>) -> Duration {
        let started = Instant::now();
        let tx = self.db.begin().await.unwrap();
        for (sql, values) in statements {
            tx.execute_raw(self.statement(&sql, values)).await.unwrap();
        }
        tx.commit().await.unwrap();
        started.elapsed()
    }

    async fn query(&self, sql: &str, values: Vec<Value>) -> (Duration, usize) {
        let statement = self.statement(sql, values);
        let started = Instant::now();
        let rows = self.db.query_all_raw(statement).await.unwrap();
        (started.elapsed(), rows.len())
    }

    fn statement(&self, sql: &str, values: Vec<Value>) -> Statement {
        let backend = self.db.get_database_backend();
        let mut text = String::new();
        let mut number = 0;
        for c in sql.chars() {
            if c == '?' && backend == DbBackend::Postgres {
                number += 1;
                text.push_str(&format!("${number}"));
            } else {
                text.push(c);
            }
        }
        Statement::from_sql_and_values(backend, text, values)
    }

    /// Moves `size` positions from `start` to `to`: sets them aside, shifts the others, and inserts
    /// them.
    fn shift(&self, start: u64, size: u64, to: u64) -> Vec<(String, Vec<Value>)> {
        let c = || Value::from(self.collection());
        let v = |n: u64| Value::from(n as i64);
        let parked = 1u64 << 40;
        let update = |sql: &str, values| {
            (
                format!(
                    "UPDATE naive SET position = position {sql} WHERE collection = ? AND position >= ? AND position < ?"
                ),
                values,
            )
        };
        let (low, high, back) = if to < start {
            (to, start, true)
        } else {
            (start + size, to + size, false)
        };
        let sign = if back { "+ ?" } else { "- ?" };
        let by = (to as i64 - start as i64) - parked as i64;
        vec![
            update("+ ?", vec![v(parked), c(), v(start), v(start + size)]),
            update(sign, vec![v(size), c(), v(low), v(high)]),
            update(
                "+ ?",
                vec![
                    Value::from(by),
                    c(),
                    v(parked + start),
                    v(parked + start + size),
                ],
            ),
        ]
    }

    /// Deletes the children at these positions, and closes the gaps, updating each row once.
    fn close(&self, places: &[u64]) -> Vec<(String, Vec<Value>)> {
        let list: Vec<_> = places.iter().map(ToString::to_string).collect();
        let delete = format!(
            "DELETE FROM naive WHERE collection = ? AND position IN ({})",
            list.join(",")
        );
        let mut statements = vec![(delete, vec![self.collection().into()])];
        for (k, place) in places.iter().enumerate() {
            let end = places.get(k + 1).copied().unwrap_or(self.n);
            statements.push(self.slide(place + 1, end, -(k as i64 + 1)));
        }
        statements
    }

    /// Moves the children at `from` to `to`, updating each other row at most twice.
    async fn relocate(&self, from: &[u64], to: &[u64]) -> Duration {
        let list: Vec<_> = from.iter().map(ToString::to_string).collect();
        let sql = format!(
            "SELECT child FROM naive WHERE collection = ? AND position IN ({})",
            list.join(",")
        );
        let statement = self.statement(&sql, vec![self.collection().into()]);
        let started = Instant::now();
        let rows = self.db.query_all_raw(statement).await.unwrap();
        let ids: Vec<String> = rows
            .iter()
            .map(|row| row.try_get_by_index(0).unwrap())
            .collect();
        let mut statements = self.close(from);
        for (k, place) in to.iter().enumerate().rev() {
            let k = k as u64;
            let end = to.get(k as usize + 1).map_or(self.n, |next| next - k - 1);
            statements.push(self.slide(place - k, end, k as i64 + 1));
        }
        let rows: Vec<_> = ids
            .iter()
            .zip(to)
            .map(|(id, at)| format!("('{}','{id}',{at})", self.collection()))
            .collect();
        let sql = format!(
            "INSERT INTO naive (collection, child, position) VALUES {}",
            rows.join(",")
        );
        statements.push((sql, vec![]));
        self.transaction(statements).await;
        started.elapsed()
    }

    fn slide(&self, start: u64, end: u64, by: i64) -> (String, Vec<Value>) {
        let sql = "UPDATE naive SET position = position + ? WHERE collection = ? AND position >= ? AND position < ?";
        let values = vec![
            by.into(),
            self.collection().into(),
            (start as i64).into(),
            (end as i64).into(),
        ];
        (sql.into(), values)
    }

    pub(crate) async fn run(&self, op: Op, random: &mut StdRng, budget: Duration) -> Vec<Duration> {
        let n = self.n;
        let c = || Value::from(self.collection());
        measure(budget, async || match op {
            Op::Rename => unreachable!("no rows of children"),
            Op::Move1 => {
                let (start, to) = (random.random_range(0..n), random.random_range(0..n));
                self.transaction(self.shift(start, 1, to)).await
            }
            Op::Move1000 => {
                let size = 1_000.min(n / 4);
                let start = random.random_range(0..n - size);
                let to = random.random_range(0..n - size);
                self.transaction(self.shift(start, size, to)).await
            }
            Op::MoveHalf => self.transaction(self.shift(n / 4, n / 2, 0)).await,
            Op::MoveIds100 => {
                let from = scattered(random, n, 100);
                let to = random.random_range(0..n - 100);
                self.relocate(&from, &(to..to + 100).collect::<Vec<_>>()).await
            }
            Op::Reorder100 => {
                let (from, to) = (scattered(random, n, 100), scattered(random, n, 100));
                self.relocate(&from, &to).await
            }
            Op::InsertFirst => {
                let id = format!("x{}", random.random::<u64>());
                let v = |n: u64| Value::from(n as i64);
                let all = "UPDATE naive SET position = position + 1 WHERE collection = ?";
                let insert = "INSERT INTO naive (collection, child, position) VALUES (?, ?, ?)";
                let time = self
                    .transaction(vec![
                        (all.into(), vec![c()]),
                        (insert.into(), vec![c(), id.clone().into(), v(0)]),
                    ])
                    .await;
                let delete = "DELETE FROM naive WHERE collection = ? AND child = ?";
                let back = "UPDATE naive SET position = position - 1 WHERE collection = ?";
                self.transaction(vec![
                    (delete.into(), vec![c(), id.into()]),
                    (back.into(), vec![c()]),
                ])
                .await;
                time
            }
            Op::Append100 => {
                let ids: Vec<_> = (0..100).map(|_| format!("y{}", random.random::<u64>())).collect();
                let rows: Vec<_> = ids
                    .iter()
                    .zip(n..)
                    .map(|(id, at)| format!("('{}','{id}',{at})", self.collection()))
                    .collect();
                let sql = format!("INSERT INTO naive (collection, child, position) VALUES {}", rows.join(","));
                let time = self.transaction(vec![(sql, vec![])]).await;
                let delete = "DELETE FROM naive WHERE collection = ? AND position >= ?";
                self.transaction(vec![(delete.into(), vec![c(), Value::from(n as i64)])]).await;
                time
            }
            Op::Remove100 => {
                let places = scattered(random, n, 100);
                let time = self.transaction(self.close(&places)).await;
                let rows: Vec<_> = (n - 100..n)
                    .map(|at| format!("('{}','z{}',{at})", self.collection(), random.random::<u64>()))
                    .collect();
                let sql = format!("INSERT INTO naive (collection, child, position) VALUES {}", rows.join(","));
                self.transaction(vec![(sql, vec![])]).await;
                time
            }
            Op::Page50 => {
                let start = random.random_range(0..n - 50) as i64;
                let sql = "SELECT child FROM naive WHERE collection = ? AND position >= ? AND position < ? ORDER BY position";
                let (time, rows) = self.query(sql, vec![c(), start.into(), (start + 50).into()]).await;
                assert_eq!(rows, 50);
                time
            }
            Op::PlaceOfId => {
                let id = product(random.random_range(0..n));
                let sql = "SELECT position FROM naive WHERE collection = ? AND child = ?";
                self.query(sql, vec![c(), id.into()]).await.0
            }
            Op::WholeList => {
                let sql = "SELECT child FROM naive WHERE collection = ? ORDER BY position";
                let (time, rows) = self.query(sql, vec![c()]).await;
                assert_eq!(rows as u64, n);
                time
            }
        })
        .await
    }
}
