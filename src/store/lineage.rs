//! Reads all ancestors of collections in one statement, with a recursive query. The statements are
//! hand-written, so that each link is found by an index lookup.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, LazyLock},
};

use sea_orm::{
    ConnectionTrait as _, DbBackend, FromQueryResult, Iden as _, Iterable as _, Statement, Value,
};
use serde::Deserialize;

use super::{cell::Cell, children, entity::collection, row, tx::Tx, versions::Versions};
use crate::domain::{
    ChildId, ChildType, Collection, CollectionId, Error, Lineage, Result, Slug, Texts,
    lineage::Ancestor,
};

/// A link from a child to a parent, with data of the parent.
#[derive(Deserialize, FromQueryResult)]
struct Link {
    child_id: String,
    collection_id: String,
    /// `None` if the parent does not exist.
    active: Option<i16>,
    texts: Option<String>,
    version: Option<i64>,
}

/// What to read of the ancestors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ancestors {
    /// Their parents and `active`.
    #[default]
    Shown,
    /// Also their texts and versions, to build paths of names.
    Named,
}

/// Identifies a collection.
#[derive(Clone, Debug)]
pub enum Key {
    /// Its id.
    Id(CollectionId),
    /// Its slug.
    Slug(Slug),
}

impl Key {
    /// The column to search and its value.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Id(id) => ("id", id.as_str()),
            Self::Slug(slug) => ("slug", slug.as_str()),
        }
    }
}

/// The columns of a collection, comma-separated.
static COLUMNS: LazyLock<String> = LazyLock::new(|| {
    let columns = collection::Column::iter().map(|column| column.unquoted().to_owned());
    columns.collect::<Vec<_>>().join(", ")
});

/// A collection with its ancestors, as one statement reads them.
#[derive(Clone, Debug)]
pub struct Found {
    /// The collection.
    pub collection: Collection,
    /// The ancestors.
    pub lineage: Lineage,
    /// The versions of the collection and of the tenant's graph.
    pub versions: Versions,
}

/// Reads a collection and its ancestors, with one statement.
///
/// # Errors
/// If the database fails.
pub async fn get(tx: &Tx, key: &Key, ancestors: Ancestors) -> Result<Option<Found>> {
    let (column, value) = key.parts();
    let backend = tx.db().get_database_backend();
    let sql = Sql::of(backend);
    let links = (sql.array)(&sql.link(ancestors));
    let sql = format!(
        "WITH found AS (SELECT {columns} FROM collections WHERE tenant_id = $1 AND {column} = $2) \
         SELECT found.*, (SELECT graph_version FROM tenants WHERE tenant_id = $1) AS graph, (WITH RECURSIVE up(id) AS (SELECT found.id UNION {next}) \
         SELECT {links} FROM {from}) AS links FROM found",
        columns = *COLUMNS,
        next = sql.next,
        from = sql.links,
    );
    let values: [Value; 2] = [tx.tenant().into(), value.into()];
    let statement = Statement::from_sql_and_values(backend, sql, values);
    let Some(found) = tx.db().query_one_raw(statement).await? else {
        return Ok(None);
    };
    let links: Option<String> = found.try_get("", "links")?;
    let links = links.unwrap_or_else(|| "[]".into());
    let links: Vec<Link> = serde_json::from_str(&links).map_err(Error::internal)?;
    let collection = row::decode(collection::Model::from_query_result(&found, "")?)?;
    let mut lineages = lineages(tx, std::slice::from_ref(&collection.id), links)?;
    Ok(Some(Found {
        lineage: lineages.remove(&collection.id).unwrap_or_default(),
        versions: Versions {
            collection: collection.version,
            graph: found.try_get("", "graph")?,
        },
        collection,
    }))
}

/// The ancestors of each collection, with one statement.
///
/// # Errors
/// If the database fails.
pub async fn of(
    tx: &Tx,
    ids: &[CollectionId],
    ancestors: Ancestors,
) -> Result<HashMap<CollectionId, Lineage>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let links = links(tx, ids, ancestors).await?;
    lineages(tx, ids, links)
}

/// Builds the lineage of each collection from its links and those of all its ancestors.
fn lineages(
    tx: &Tx,
    ids: &[CollectionId],
    mut links: Vec<Link>,
) -> Result<HashMap<CollectionId, Lineage>> {
    // A missing parent is corruption, which `endcap check` reports.
    links.retain(|link| link.active.is_some());
    // Not sorted by the statement: to get the order, SQLite would read all links of the tenant.
    links.sort_unstable_by(|a, b| a.collection_id.cmp(&b.collection_id));
    let mut parents: HashMap<CollectionId, Vec<CollectionId>> = HashMap::new();
    let mut nodes = HashMap::new();
    for link in links {
        let parent = CollectionId::trusted(link.collection_id);
        let child = CollectionId::trusted(link.child_id);
        parents.entry(child).or_default().push(parent.clone());
        let cell = |column| Cell {
            table: "collections",
            tenant: tx.tenant(),
            key: parent.as_str(),
            column,
        };
        if let (Some(active), false) = (link.active, nodes.contains_key(&parent)) {
            let node = Ancestor {
                parents: Vec::new(),
                active: row::active(cell("active"), active)?,
                texts: match &link.texts {
                    Some(texts) => row::texts(cell("texts"), texts)?,
                    None => Texts::default(),
                },
                version: link.version,
            };
            nodes.insert(parent.clone(), node);
        }
    }
    for (id, node) in &mut nodes {
        node.parents = parents.get(id).cloned().unwrap_or_default();
    }
    let nodes = Arc::new(nodes);
    let lineage = |id: &CollectionId| Lineage {
        parents: parents.get(id).cloned().unwrap_or_default(),
        nodes: Arc::clone(&nodes),
    };
    Ok(ids.iter().map(|id| (id.clone(), lineage(id))).collect())
}

/// The parents of one collection.
///
/// # Errors
/// If the database fails.
pub async fn parents(tx: &Tx, id: &CollectionId) -> Result<BTreeSet<CollectionId>> {
    let mut lineages = of(tx, std::slice::from_ref(id), Ancestors::Shown).await?;
    let lineage = lineages.remove(id).unwrap_or_default();
    Ok(lineage.parents.into_iter().collect())
}

/// The links of the collections and of all their ancestors.
async fn links(tx: &Tx, ids: &[CollectionId], ancestors: Ancestors) -> Result<Vec<Link>> {
    let backend = tx.db().get_database_backend();
    let sql = Sql::of(backend);
    let sql = format!(
        "WITH RECURSIVE up(id) AS ({wanted} UNION {next}) \
         SELECT {link} FROM {from}",
        wanted = sql.wanted,
        next = sql.next,
        link = sql
            .link(ancestors)
            .map(|(name, value)| format!("{value} AS {name}"))
            .join(", "),
        from = sql.links,
    );
    let ids = ids.iter().map(CollectionId::as_str).collect::<Vec<_>>();
    let ids = serde_json::to_string(&ids).map_err(Error::internal)?;
    let values: [Value; 2] = [tx.tenant().into(), ids.into()];
    let statement = Statement::from_sql_and_values(backend, sql, values);
    let rows = match ancestors {
        Ancestors::Shown => tx.db().query_ancestors(statement).await?,
        // A buffered write may change names, so buffered writes must be sent first.
        Ancestors::Named => tx.db().query_all_raw(statement).await?,
    };
    rows.iter()
        .map(|row| Ok(Link::from_query_result(row, "")?))
        .collect()
}

/// Parts of the statements that read ancestors. `up` is a recursive table of the ids of collections
/// and their ancestors, without duplicates. Each link is found by its child, so that no plan
/// depends on statistics. `$1` is the tenant.
struct Sql {
    /// Selects the requested ids.
    wanted: &'static str,
    /// Selects the ids of the next level up.
    next: &'static str,
    /// The links of all collections in `up`.
    links: &'static str,
    /// Aggregates the rows into a JSON array of objects.
    array: fn(&[(&'static str, String); 5]) -> String,
}

impl Sql {
    fn of(backend: DbBackend) -> Self {
        if backend == DbBackend::Postgres {
            Self {
                wanted: "SELECT value COLLATE \"C\" FROM json_array_elements_text($2::json)",
                next: "SELECT link.collection_id FROM up, LATERAL (\
                    SELECT collection_id FROM members WHERE tenant_id = $1 AND list = 2 \
                    AND child_id = up.id OFFSET 0) AS link",
                links: "up, LATERAL (SELECT child_id, collection_id FROM members \
                    WHERE tenant_id = $1 AND list = 2 AND child_id = up.id OFFSET 0) AS link",
                array: |link| format!("json_agg(json_build_object({}))::text", named(link)),
            }
        } else {
            Self {
                wanted: "SELECT value FROM json_each($2)",
                next: "SELECT collection_id FROM up CROSS JOIN members \
                    WHERE tenant_id = $1 AND list = 2 AND child_id = up.id",
                links: "up CROSS JOIN members AS link \
                    WHERE link.tenant_id = $1 AND link.list = 2 AND link.child_id = up.id",
                array: |link| format!("json_group_array(json_object({}))", named(link)),
            }
        }
    }

    /// The columns of a link, as pairs of name and SQL expression.
    fn link(&self, ancestors: Ancestors) -> [(&'static str, String); 5] {
        let of_parent = |column: &str| {
            format!(
                "(SELECT parent.{column} FROM collections AS parent \
                 WHERE parent.tenant_id = $1 AND parent.id = link.collection_id)"
            )
        };
        let (texts, version) = match ancestors {
            Ancestors::Shown => ("CAST(NULL AS text)".into(), "CAST(NULL AS bigint)".into()),
            Ancestors::Named => (of_parent("texts"), of_parent("version")),
        };
        [
            ("child_id", "link.child_id".into()),
            ("collection_id", "link.collection_id".into()),
            ("active", of_parent("active")),
            ("texts", texts),
            ("version", version),
        ]
    }
}

/// The columns as alternating names and values: the arguments of a function that builds an object.
fn named(columns: &[(&'static str, String); 5]) -> String {
    let pair = |(name, value): &(&str, String)| format!("'{name}', {value}");
    columns.each_ref().map(pair).join(", ")
}

/// The number of levels of collections below the given ones, counted up to `max`.
///
/// # Errors
/// If the database fails.
pub async fn height(tx: &Tx, ids: &[CollectionId], max: usize) -> Result<usize> {
    let mut level: HashSet<ChildId> = ids.iter().cloned().map(ChildId::from).collect();
    for height in 0..max {
        // Duplicates within a level are removed, but a collection may occur again in a deeper
        // level, because the longest path counts.
        let ids: Vec<_> = level.into_iter().map(CollectionId::from).collect();
        let children = children::lists(tx, ChildType::Collection, &ids).await?;
        if children.is_empty() {
            return Ok(height);
        }
        level = children.into_values().flatten().collect();
    }
    Ok(max)
}
