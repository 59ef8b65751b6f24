//! Rule entries: the products that a smart collection includes, excludes or pins, independently of
//! its rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use crate::{
    domain::{
        ChildId, ChildReason, CollectionId, EntryCounts, EntryKind, Error, ProductId, Result,
        RuleEntry,
    },
    store::{
        entity::rule_entry as row,
        row::{count_from_row, count_to_row},
        sql::Sql,
        tx::Tx,
        wanted::{self, Wanted},
    },
};

/// The `place` of a suspended include: its product was deleted and is not registered again yet.
const ABSENT: u64 = 0;

/// All rule entries of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Products that are members whether they match the rules or not.
    pub includes: BTreeSet<ProductId>,
    /// Suspended includes: their products were deleted. They become includes again when the
    /// products are registered again.
    pub absent: BTreeSet<ProductId>,
    /// Products that are never members. An exclude overrides an include.
    pub excludes: BTreeSet<ProductId>,
    /// Pinned products, each with its fixed index.
    pub pins: BTreeMap<ProductId, u64>,
}

impl FromIterator<(ProductId, NamedFor)> for Named {
    fn from_iter<I: IntoIterator<Item = (ProductId, NamedFor)>>(entries: I) -> Self {
        let mut named = Self::default();
        for (id, of) in entries {
            if let Some(index) = of.pin {
                named.pins.insert(id.clone(), index);
            }
            let sets = [
                (of.include, &mut named.includes),
                (of.absent, &mut named.absent),
                (of.exclude, &mut named.excludes),
            ];
            for (_, set) in sets.into_iter().filter(|(is_in, _)| *is_in) {
                set.insert(id.clone());
            }
        }
        named
    }
}

/// The rule entries of a collection for one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamedFor {
    /// Whether the product is included.
    pub include: bool,
    /// Whether the product was included when it was deleted, and will be again once it is
    /// registered.
    pub absent: bool,
    /// Whether the product is excluded.
    pub exclude: bool,
    /// The index that the product is pinned to.
    pub pin: Option<u64>,
}

impl NamedFor {
    /// Whether the product is a member, given whether it `matches` the rules.
    pub fn verdict(self, matches: bool) -> bool {
        (matches || self.include) && !self.exclude
    }
}

impl Named {
    fn of_kind(&self, kind: EntryKind) -> BTreeMap<&ProductId, Option<u64>> {
        match kind {
            EntryKind::Include => {
                let includes = self.includes.iter().map(|id| (id, None));
                let absent = self.absent.iter().map(|id| (id, Some(ABSENT)));
                includes.chain(absent).collect()
            }
            EntryKind::Exclude => self.excludes.iter().map(|id| (id, None)).collect(),
            EntryKind::Pin => {
                let pins = self.pins.iter();
                pins.map(|(id, index)| (id, Some(*index))).collect()
            }
        }
    }

    /// The included, excluded and pinned products; a product may occur twice.
    pub(in crate::store) fn products(&self) -> impl Iterator<Item = ProductId> {
        let named = self.includes.iter().chain(&self.excludes);
        named.chain(self.pins.keys()).cloned()
    }

    /// The entries for one product.
    pub fn product(&self, id: &ProductId) -> NamedFor {
        NamedFor {
            include: self.includes.contains(id),
            absent: self.absent.contains(id),
            exclude: self.excludes.contains(id),
            pin: self.pins.get(id).copied(),
        }
    }
}

fn code(kind: EntryKind) -> i16 {
    match kind {
        EntryKind::Include => 1,
        EntryKind::Exclude => 2,
        EntryKind::Pin => 3,
    }
}

/// All rule entries of a collection.
///
/// # Errors
/// If the database fails.
pub async fn of_collection(tx: &Tx, id: &CollectionId) -> Result<Named> {
    let rows = row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::CollectionId.eq(id.as_str()))
        .all(tx.db())
        .await?;
    let mut named = Named::default();
    for row in rows {
        let product = ProductId::trusted(row.product_id);
        match (row.kind, row.place) {
            (1, None) => drop(named.includes.insert(product)),
            (1, Some(_)) => drop(named.absent.insert(product)),
            (2, _) => drop(named.excludes.insert(product)),
            (_, place) => {
                named
                    .pins
                    .insert(product, count_from_row(place.unwrap_or_default()));
            }
        }
    }
    Ok(named)
}

/// The rule entries of all collections for the given products. Pairs without an entry are left out.
///
/// # Errors
/// If the database fails.
pub async fn of_products(
    tx: &Tx,
    products: &[ProductId],
) -> Result<HashMap<(CollectionId, ProductId), NamedFor>> {
    let ids = products.iter().map(ProductId::as_str);
    let found = Wanted::new(tx, row::Column::ProductId, ids)?;
    let found = found.select(row::Entity, |select| {
        let columns = [
            row::Column::CollectionId,
            row::Column::ProductId,
            row::Column::Kind,
            row::Column::Place,
        ];
        select
            .columns(columns.map(|column| column.as_column_ref()))
            .and_where(row::Column::TenantId.eq(tx.tenant()));
    });
    let found: Vec<(String, String, i16, Option<i64>)> = wanted::tuples(tx, &found).await?;
    let mut named: HashMap<_, NamedFor> = HashMap::new();
    for (collection, product, kind, place) in found {
        let key = (
            CollectionId::trusted(collection),
            ProductId::trusted(product),
        );
        let named = named.entry(key).or_default();
        match kind {
            1 => (named.include, named.absent) = (place.is_none(), place.is_some()),
            2 => named.exclude = true,
            _ => named.pin = place.map(count_from_row),
        }
    }
    Ok(named)
}

/// The rule entries of a collection for the given products.
///
/// # Errors
/// If the database fails.
pub(in crate::store) async fn of_some(
    tx: &Tx,
    id: &CollectionId,
    products: &[ProductId],
) -> Result<Named> {
    let named = of_products(tx, products).await?.into_iter();
    let named = named.filter(|((of, _), _)| of == id);
    Ok(named
        .map(|((_, product), named)| (product, named))
        .collect())
}

/// Why each of the products, which must be members, is in a smart collection: by a pin, an include
/// or its rules. Returns `None` if the version of the collection is not `version`.
///
/// # Errors
/// If the database fails.
pub async fn reasons(
    tx: &Tx,
    id: &CollectionId,
    version: i64,
    products: &[&ChildId],
) -> Result<Option<Vec<ChildReason>>> {
    // The version check and the entries are one statement, so that they agree: the row without a
    // product is found only if the collection still has that version. CROSS JOIN on SQLite and
    // OFFSET 0 on PostgreSQL make the planner look up each wanted product by its key.
    const REASONS: Sql = Sql {
        sqlite: "SELECT 0, NULL FROM collections \
            WHERE tenant_id = $1 AND id = $2 AND version = $3 \
            UNION ALL SELECT kind, product_id FROM json_each($4) AS wanted CROSS JOIN rule_entries \
            WHERE tenant_id = $1 AND collection_id = $2 AND kind IN (1, 3) \
            AND product_id = wanted.value",
        postgres: "SELECT 0, NULL FROM collections \
            WHERE tenant_id = $1 AND id = $2 AND version = $3 \
            UNION ALL SELECT found.* FROM json_array_elements_text($4::json) AS wanted(value), \
            LATERAL (SELECT kind::int, product_id FROM rule_entries WHERE tenant_id = $1 \
            AND collection_id = $2 AND kind IN (1, 3) AND product_id = wanted.value OFFSET 0) \
            AS found",
    };
    let ids: Vec<_> = products.iter().map(|id| id.as_str()).collect();
    let ids = serde_json::to_string(&ids).map_err(Error::internal)?;
    let values = [
        tx.tenant().into(),
        id.as_str().into(),
        version.into(),
        ids.into(),
    ];
    let statement = REASONS.statement(tx, values);
    let mut is_current = false;
    let mut named: HashMap<String, ChildReason> = HashMap::new();
    for row in tx.db().query_all_raw(statement).await? {
        let kind: i32 = row.try_get_by_index(0)?;
        let product: Option<String> = row.try_get_by_index(1)?;
        let Some(product) = product else {
            is_current = true;
            continue;
        };
        let reason = if kind == i32::from(code(EntryKind::Pin)) {
            ChildReason::Pin
        } else {
            ChildReason::Include
        };
        let known = named.entry(product).or_insert(reason);
        // A product may be both included and pinned.
        *known = Ord::max(*known, reason);
    }
    let reason = |id: &&ChildId| named.get(id.as_str()).copied();
    let reasons = products
        .iter()
        .map(|id| reason(id).unwrap_or(ChildReason::Match));
    Ok(is_current.then(|| reasons.collect()))
}

/// The pins of each collection, in the order of their indexes. Collections without pins are left
/// out.
pub(in crate::store) async fn pins(
    tx: &Tx,
    collections: &[&CollectionId],
) -> Result<HashMap<CollectionId, Vec<(ChildId, u64)>>> {
    if collections.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = collections.iter().map(|id| id.as_str());
    let found = Wanted::new(tx, row::Column::CollectionId, ids)?;
    let found = found.select(row::Entity, |select| {
        let columns = [
            row::Column::CollectionId,
            row::Column::ProductId,
            row::Column::Place,
        ];
        select
            .columns(columns.map(|column| column.as_column_ref()))
            .and_where(row::Column::TenantId.eq(tx.tenant()))
            .and_where(row::Column::Kind.eq(code(EntryKind::Pin)));
    });
    let found: Vec<(String, String, Option<i64>)> = wanted::tuples(tx, &found).await?;
    let mut pins: HashMap<_, Vec<_>> = HashMap::new();
    for (collection, product, place) in found {
        let pins = pins.entry(CollectionId::trusted(collection)).or_default();
        let place = count_from_row(place.unwrap_or_default());
        pins.push((ChildId::trusted(product), place));
    }
    for pins in pins.values_mut() {
        pins.sort_unstable_by_key(|(_, place)| *place);
    }
    Ok(pins)
}

/// The number of entries of each collection, by kind. Collections without entries are left out.
///
/// # Errors
/// If the database fails.
pub async fn counts(tx: &Tx, ids: &[&CollectionId]) -> Result<HashMap<CollectionId, EntryCounts>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = ids.iter().map(|id| id.as_str());
    let rows = Wanted::new(tx, row::Column::CollectionId, ids)?;
    let rows = rows.select(row::Entity, |select| {
        let columns = [row::Column::CollectionId, row::Column::Kind];
        let columns = columns.map(|column| column.as_column_ref());
        select
            .columns(columns.clone())
            .expr_as(Expr::cust("COUNT(*)"), "products")
            .and_where(row::Column::TenantId.eq(tx.tenant()))
            .group_by_columns(columns);
    });
    let rows: Vec<(String, i16, i64)> = wanted::tuples(tx, &rows).await?;
    let mut counts: HashMap<_, EntryCounts> = HashMap::new();
    for (collection, kind, count) in rows {
        let counts = counts.entry(CollectionId::trusted(collection)).or_default();
        match kind {
            1 => counts.includes = count_from_row(count),
            2 => counts.excludes = count_from_row(count),
            _ => counts.pins = count_from_row(count),
        }
    }
    Ok(counts)
}

/// The position after which a page of entries starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// After this product.
    Product(ProductId),
    /// After the pin to this index.
    Index(u64),
}

/// Up to `limit` entries of one kind: pins ordered by index, other kinds by product id.
///
/// # Errors
/// If the database fails.
pub async fn page(
    tx: &Tx,
    id: &CollectionId,
    kind: EntryKind,
    after: Option<&After>,
    limit: usize,
) -> Result<Vec<RuleEntry>> {
    let mut select = row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::CollectionId.eq(id.as_str()))
        .filter(row::Column::Kind.eq(code(kind)));
    select = match after {
        None => select,
        Some(After::Product(product)) => select.filter(row::Column::ProductId.gt(product.as_str())),
        Some(After::Index(index)) => select.filter(row::Column::Place.gt(count_to_row(*index))),
    };
    let order = match kind {
        EntryKind::Pin => row::Column::Place,
        EntryKind::Include | EntryKind::Exclude => row::Column::ProductId,
    };
    let rows = select.order_by_asc(order).limit(limit as u64);
    let rows = rows.all(tx.db()).await?.into_iter();
    Ok(rows
        .map(|row| RuleEntry {
            product: ProductId::trusted(row.product_id),
            index: row
                .place
                .filter(|_| kind == EntryKind::Pin)
                .map(count_from_row),
        })
        .collect())
}

/// Replaces a collection's entries `before` by `after`, writing only the differences.
pub(in crate::store) async fn replace(
    tx: &Tx,
    id: &CollectionId,
    before: &Named,
    after: &Named,
) -> Result<()> {
    for kind in EntryKind::ALL {
        let (old, new) = (before.of_kind(kind), after.of_kind(kind));
        let gone = old.keys().filter(|product| !new.contains_key(*product));
        remove(tx, id, kind, &gone.copied().collect::<Vec<_>>()).await?;
        let changed = new.into_iter();
        let changed = changed.filter(|(product, index)| old.get(product) != Some(index));
        let changed = changed.map(|(product, index)| (id, product, index));
        put(tx, kind, changed).await?;
    }
    Ok(())
}

/// Removes entries of a kind. The rule set must be locked exclusively, so that no row changes its
/// address meanwhile.
async fn remove(
    tx: &Tx,
    id: &CollectionId,
    kind: EntryKind,
    products: &[&ProductId],
) -> Result<()> {
    if products.is_empty() {
        return Ok(());
    }
    let products = products.iter().map(|id| id.as_str());
    let products = Wanted::new(tx, row::Column::ProductId, products)?;
    let key = row::Column::TenantId
        .eq(tx.tenant())
        .and(row::Column::CollectionId.eq(id.as_str()))
        .and(row::Column::Kind.eq(code(kind)));
    row::Entity::delete_many()
        .filter(products.condition(row::Entity, key))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Inserts entries of a kind, or updates the places of existing ones.
async fn put<'a>(
    tx: &Tx,
    kind: EntryKind,
    entries: impl Iterator<Item = (&'a CollectionId, &'a ProductId, Option<u64>)>,
) -> Result<()> {
    // Each row is found by its primary key, for any number of rows. SQLite needs `WHERE true` to
    // parse ON CONFLICT after a SELECT.
    const PUT: Sql = Sql {
        sqlite: "INSERT INTO rule_entries \
            (tenant_id, collection_id, kind, product_id, place) \
            SELECT $1, one.value ->> 0, $2, one.value ->> 1, one.value ->> 2 \
            FROM json_each($3) AS one WHERE true \
            ON CONFLICT (tenant_id, collection_id, kind, product_id) \
            DO UPDATE SET place = excluded.place",
        postgres: "INSERT INTO rule_entries \
            (tenant_id, collection_id, kind, product_id, place) \
            SELECT $1, one.value ->> 0, $2, one.value ->> 1, (one.value ->> 2)::bigint \
            FROM json_array_elements($3::json) AS one(value) \
            ON CONFLICT (tenant_id, collection_id, kind, product_id) \
            DO UPDATE SET place = excluded.place",
    };
    let rows = entries.map(|(collection, product, place)| {
        let place = place.map(count_to_row);
        (collection.as_str(), product.as_str(), place)
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let rows = serde_json::to_string(&rows).map_err(Error::internal)?;
    let values = [tx.tenant().into(), code(kind).into(), rows.into()];
    tx.db().execute_raw(PUT.statement(tx, values)).await?;
    Ok(())
}

/// Removes all entries of a collection.
pub(in crate::store) async fn clear(tx: &Tx, id: &CollectionId) -> Result<()> {
    row::Entity::delete_many()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::CollectionId.eq(id.as_str()))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// Suspends the includes of products that are being deleted, so that they become includes again
/// once the products are registered again. Excludes and pins are kept as they are.
pub(in crate::store) async fn suspend(tx: &Tx, products: &[ProductId]) -> Result<()> {
    let named = of_products(tx, products).await?;
    let included = named.into_iter().filter(|(_, named)| named.include);
    let included: Vec<_> = included.map(|(member, _)| member).collect();
    put_include_place(tx, &included, Some(ABSENT)).await
}

/// Reactivates the suspended includes of products that are registered again, and returns them.
pub(in crate::store) async fn reactivate(
    tx: &Tx,
    products: &[ProductId],
) -> Result<Vec<(CollectionId, ProductId)>> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let named = of_products(tx, products).await?;
    let absent = named.into_iter().filter(|(_, named)| named.absent);
    let absent: Vec<_> = absent.map(|(member, _)| member).collect();
    put_include_place(tx, &absent, None).await?;
    Ok(absent)
}

async fn put_include_place(
    tx: &Tx,
    includes: &[(CollectionId, ProductId)],
    place: Option<u64>,
) -> Result<()> {
    let entries = includes.iter();
    let entries = entries.map(|(collection, product)| (collection, product, place));
    put(tx, EntryKind::Include, entries).await
}
