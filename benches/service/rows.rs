//! The measured rows, by name, and the ratios between them.

pub(crate) const GET_SQLITE: &str = "GetCollection, SQLite";
pub(crate) const GET_JWT: &str = "GetCollection with a JWT, SQLite";
pub(crate) const GET_POSTGRES: &str = "GetCollection, PostgreSQL";
pub(crate) const GET_BARE: &str = "bare tonic, bytes of GetCollection";
pub(crate) const GET_PGBENCH: &str = "pgbench, one statement";
pub(crate) const CHILDREN_SQLITE: &str = "ListChildren page of 50, SQLite";
pub(crate) const CHILDREN_POSTGRES: &str = "ListChildren page of 50, PostgreSQL";
pub(crate) const CHILDREN_BARE: &str = "bare tonic, bytes of ListChildren";
pub(crate) const GET_UNCACHED: &str = "GetCollection, SQLite, no read cache";
pub(crate) const GET_WITHIN: &str = "GetCollection within 1 s, PostgreSQL";
pub(crate) const GET_THREE: &str = "GetCollection within 1 s, three servers on PostgreSQL";
pub(crate) const RENAME_THREE: &str = "rename, three servers on PostgreSQL";
pub(crate) const CHILDREN_UNCACHED: &str = "ListChildren page of 50, SQLite, no read cache";
pub(crate) const CHILDREN_PRODUCTS: &str = "ListChildren page of 50 with titles and slugs, SQLite";
pub(crate) const JSON_SQLITE: &str = "GetCollection over JSON, SQLite";
pub(crate) const REST_SQLITE: &str = "HighLevel GET, SQLite";
pub(crate) const REST_BARE: &str = "bare axum, bytes of HighLevel GET";
pub(crate) const LIST_NONE_SQLITE: &str = "list 50 collections, no memberships, SQLite";
pub(crate) const LIST_MANY_SQLITE: &str = "list 50 collections, 1,000,000 memberships, SQLite";
pub(crate) const LIST_NONE_POSTGRES: &str = "list 50 collections, no memberships, PostgreSQL";
pub(crate) const LIST_MANY_POSTGRES: &str =
    "list 50 collections, 1,000,000 memberships, PostgreSQL";
pub(crate) const RENAME_SQLITE: &str = "rename, SQLite";
pub(crate) const RENAME_ALONE: &str = "rename, SQLite, not grouped";
pub(crate) const RENAME_SLOW: &str = "rename, SQLite, fdatasync 1 ms slower";
pub(crate) const RENAME_SLOW_ALONE: &str = "rename, SQLite, fdatasync 1 ms slower, not grouped";
pub(crate) const MOVE_SHORT: &str = "move 1 in 64 lists of 100, SQLite";
pub(crate) const MOVE_LONG: &str = "move 1 in 64 lists of 100,000, SQLite";
pub(crate) const RENAME_POSTGRES: &str = "rename, PostgreSQL";
pub(crate) const RENAME_PGBENCH: &str = "pgbench, six statements of a rename";
pub(crate) const MOVE_POSTGRES: &str = "move 1 in 64 lists of 100, PostgreSQL";

/// In the order of measurement: rows that are compared follow each other.
pub(crate) const ALL: [&str; 30] = [
    GET_SQLITE,
    GET_JWT,
    JSON_SQLITE,
    GET_UNCACHED,
    GET_POSTGRES,
    GET_WITHIN,
    GET_THREE,
    GET_BARE,
    GET_PGBENCH,
    CHILDREN_SQLITE,
    CHILDREN_UNCACHED,
    CHILDREN_PRODUCTS,
    CHILDREN_POSTGRES,
    CHILDREN_BARE,
    REST_SQLITE,
    REST_BARE,
    LIST_NONE_SQLITE,
    LIST_MANY_SQLITE,
    LIST_NONE_POSTGRES,
    LIST_MANY_POSTGRES,
    RENAME_SQLITE,
    RENAME_ALONE,
    RENAME_SLOW,
    RENAME_SLOW_ALONE,
    MOVE_SHORT,
    MOVE_LONG,
    RENAME_POSTGRES,
    RENAME_THREE,
    RENAME_PGBENCH,
    MOVE_POSTGRES,
];

/// The figure that a ratio divides.
#[derive(Clone, Copy)]
pub(crate) enum By {
    Rate,
    P50,
}

/// A ratio of two figures within the same run, each with its row and number of clients.
pub(crate) struct Ratio {
    pub(crate) what: &'static str,
    pub(crate) over: (&'static str, usize),
    pub(crate) under: (&'static str, usize),
    pub(crate) by: By,
    /// The value before requests were optimized.
    pub(crate) before: &'static str,
    pub(crate) target: &'static str,
}

const fn rates(
    what: &'static str,
    over: (&'static str, usize),
    under: (&'static str, usize),
    before: &'static str,
    target: &'static str,
) -> Ratio {
    Ratio {
        what,
        over,
        under,
        by: By::Rate,
        before,
        target,
    }
}

const fn times(
    what: &'static str,
    over: &'static str,
    under: &'static str,
    before: &'static str,
) -> Ratio {
    Ratio {
        what,
        over: (over, 1),
        under: (under, 1),
        by: By::P50,
        before,
        target: "at most 1.3",
    }
}

pub(crate) const RATIOS: [Ratio; 26] = [
    rates(
        "GetCollection, SQLite : bare tonic, same bytes",
        (GET_SQLITE, 64),
        (GET_BARE, 64),
        "0.13",
        "at least 0.75",
    ),
    rates(
        "the same, no read cache",
        (GET_UNCACHED, 64),
        (GET_BARE, 64),
        "0.13",
        "–",
    ),
    rates(
        "GetCollection within 1 s, PostgreSQL : bare tonic, same bytes",
        (GET_WITHIN, 64),
        (GET_BARE, 64),
        "–",
        "at least 0.7",
    ),
    rates(
        "GetCollection, SQLite : with a JWT : with a key",
        (GET_JWT, 64),
        (GET_SQLITE, 64),
        "–",
        "at least 0.9",
    ),
    rates(
        "GetCollection within 1 s, PostgreSQL : three servers : one",
        (GET_THREE, 64),
        (GET_WITHIN, 64),
        "–",
        "at least 1",
    ),
    rates(
        "GetCollection, PostgreSQL : bare tonic, same bytes",
        (GET_POSTGRES, 64),
        (GET_BARE, 64),
        "0.05",
        "at least 0.4",
    ),
    rates(
        "GetCollection, PostgreSQL : pgbench, one statement",
        (GET_POSTGRES, 64),
        (GET_PGBENCH, 64),
        "0.05",
        "at least 0.2",
    ),
    rates(
        "GetCollection, SQLite : bare tonic, same bytes, 1 client",
        (GET_SQLITE, 1),
        (GET_BARE, 1),
        "–",
        "–",
    ),
    rates(
        "ListChildren page of 50, SQLite : bare tonic, same bytes",
        (CHILDREN_SQLITE, 64),
        (CHILDREN_BARE, 64),
        "0.13",
        "at least 0.6",
    ),
    rates(
        "the same, no read cache",
        (CHILDREN_UNCACHED, 64),
        (CHILDREN_BARE, 64),
        "0.13",
        "–",
    ),
    rates(
        "ListChildren with titles and slugs : ids alone, no read cache",
        (CHILDREN_PRODUCTS, 64),
        (CHILDREN_UNCACHED, 64),
        "–",
        "–",
    ),
    rates(
        "ListChildren page of 50, PostgreSQL : bare tonic, same bytes",
        (CHILDREN_POSTGRES, 64),
        (CHILDREN_BARE, 64),
        "–",
        "–",
    ),
    rates(
        "GetCollection, SQLite: over JSON : over gRPC",
        (JSON_SQLITE, 64),
        (GET_SQLITE, 64),
        "–",
        "at least 0.6",
    ),
    rates(
        "the same, 1 client",
        (JSON_SQLITE, 1),
        (GET_SQLITE, 1),
        "–",
        "–",
    ),
    rates(
        "HighLevel GET, SQLite : bare axum, same bytes",
        (REST_SQLITE, 32),
        (REST_BARE, 32),
        "0.08",
        "at least 0.55",
    ),
    times(
        "list 50 collections, SQLite, at 1,000,000 memberships : at none, p50",
        LIST_MANY_SQLITE,
        LIST_NONE_SQLITE,
        "120",
    ),
    times(
        "list 50 collections, PostgreSQL, at 1,000,000 memberships : at none, p50",
        LIST_MANY_POSTGRES,
        LIST_NONE_POSTGRES,
        "–",
    ),
    rates(
        "rename, 64 writers, SQLite, grouped : not grouped",
        (RENAME_SQLITE, 64),
        (RENAME_ALONE, 64),
        "–",
        "at least 1.5",
    ),
    rates(
        "the same, fdatasync 1 ms slower",
        (RENAME_SLOW, 64),
        (RENAME_SLOW_ALONE, 64),
        "–",
        "at least 4",
    ),
    rates(
        "rename, SQLite, 64 writers : 1 writer",
        (RENAME_SQLITE, 64),
        (RENAME_SQLITE, 1),
        "1.8",
        "at least 3",
    ),
    rates(
        "the same, fdatasync 1 ms slower",
        (RENAME_SLOW, 64),
        (RENAME_SLOW, 1),
        "–",
        "–",
    ),
    rates(
        "move 1, SQLite, lists of 100, 64 writers : 1 writer",
        (MOVE_SHORT, 64),
        (MOVE_SHORT, 1),
        "1.6",
        "at least 2",
    ),
    rates(
        "move 1, SQLite, lists of 100,000, 64 writers : 1 writer",
        (MOVE_LONG, 64),
        (MOVE_LONG, 1),
        "1.6",
        "at least 2",
    ),
    rates(
        "rename, 32 writers, PostgreSQL : pgbench, six statements",
        (RENAME_POSTGRES, 32),
        (RENAME_PGBENCH, 32),
        "0.34",
        "at least 0.75",
    ),
    rates(
        "rename, 32 writers, PostgreSQL : three servers : one",
        (RENAME_THREE, 32),
        (RENAME_POSTGRES, 32),
        "–",
        "at least 1",
    ),
    rates(
        "move 1, 32 writers, PostgreSQL : pgbench, six statements of a rename",
        (MOVE_POSTGRES, 32),
        (RENAME_PGBENCH, 32),
        "–",
        "–",
    ),
];
