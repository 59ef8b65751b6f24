//! The sort keys of products in sorted smart collections. Each member row stores its key, so an
//! index lookup finds where a product belongs in a list, and one statement does that for any number
//! of lists.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use crate::{
    domain::{ChildId, ChildType, CollectionId, Error, ProductId, Result},
    store::{children::Lists, entity::member, sql::Sql, tx::Tx},
};

/// A collection and a product in its product list.
pub(in crate::store) type Member = (CollectionId, ChildId);

/// The lists that have sort keys.
pub(in crate::store) const PRODUCTS: Lists = Lists::Current(ChildType::Product);

/// One value per child, grouped by collection id. Serialized as the JSON parameter of a statement.
type Each<'a, T> = BTreeMap<&'a str, Vec<(&'a str, T)>>;

/// The memberships of the products: every (collection, product) pair, with the member's sort key.
/// The key is `None` if the list is not sorted or the product is pinned.
pub(in crate::store) async fn memberships(
    tx: &Tx,
    products: &[ProductId],
) -> Result<HashMap<Member, Option<String>>> {
    // Because the index lacks the sort key, SQLite would take the primary key instead, and read all
    // members of the tenant for each product.
    const MEMBERSHIPS: Sql = Sql {
        sqlite: "SELECT collection_id, child_id, sort_key FROM json_each($2) AS wanted \
            CROSS JOIN members INDEXED BY members_parents \
            WHERE tenant_id = $1 AND list IN (1, 3) AND child_id = wanted.value \
            AND list = coalesce((SELECT 3 FROM switched_lists AS switched \
            WHERE switched.tenant_id = $1 AND switched.collection_id = members.collection_id), 1)",
        // One code at a time: see `Wanted::in_lists`.
        postgres: "SELECT found.* FROM json_array_elements_text($2::json) \
            AS wanted(value), unnest(ARRAY[1, 3]::smallint[]) AS codes(code), \
            LATERAL (SELECT collection_id, child_id, sort_key FROM members \
            WHERE tenant_id = $1 AND list = codes.code AND child_id = wanted.value \
            AND list = coalesce((SELECT 3 FROM switched_lists AS switched \
            WHERE switched.tenant_id = $1 AND switched.collection_id = members.collection_id), 1) \
            OFFSET 0) AS found",
    };
    let ids: BTreeSet<_> = products.iter().map(ProductId::as_str).collect();
    let ids = serde_json::to_string(&ids).map_err(Error::internal)?;
    let values = [tx.tenant().into(), ids.into()];
    let statement = MEMBERSHIPS.statement(tx, values);
    let mut found = HashMap::new();
    for row in tx.db().query_all_raw(statement).await? {
        let collection: String = row.try_get_by_index(0)?;
        let child: String = row.try_get_by_index(1)?;
        let member = (CollectionId::trusted(collection), ChildId::trusted(child));
        found.insert(member, row.try_get_by_index(2)?);
    }
    Ok(found)
}

/// Those of the products that are in a collection's product list, with their sort keys. The key is
/// `None` if the list is not sorted or the product is pinned.
pub(in crate::store) async fn of_products(
    tx: &Tx,
    id: &CollectionId,
    products: &[ProductId],
) -> Result<HashMap<ChildId, Option<String>>> {
    const OF_PRODUCTS: Sql = Sql {
        sqlite: "SELECT child_id, sort_key FROM lists \
            CROSS JOIN json_each(lists.value) AS wanted CROSS JOIN members \
            WHERE tenant_id = $1 AND collection_id = lists.key AND list = lists.code \
            AND child_id = wanted.value",
        postgres: "SELECT found.* FROM lists, \
            json_array_elements_text(lists.value) AS wanted(value), LATERAL (\
            SELECT child_id, sort_key FROM members WHERE tenant_id = $1 \
            AND collection_id = lists.key AND list = lists.code AND child_id = wanted.value \
            OFFSET 0) AS found",
    };
    let products: Vec<_> = products.iter().map(ProductId::as_str).collect();
    let wanted = BTreeMap::from([(id.as_str(), products)]);
    let statement = OF_PRODUCTS.on_lists(tx, PRODUCTS, &wanted, None)?;
    let mut found = HashMap::new();
    for row in tx.db().query_all_raw(statement).await? {
        let child: String = row.try_get_by_index(0)?;
        found.insert(ChildId::trusted(child), row.try_get_by_index(1)?);
    }
    Ok(found)
}

/// The sort keys in a collection's product list. Children without a key are left out.
pub(in crate::store) async fn of_collection(
    tx: &Tx,
    id: &CollectionId,
) -> Result<HashMap<ChildId, String>> {
    let rows: Vec<(String, String)> = member::Entity::find()
        .select_only()
        .column(member::Column::ChildId)
        .column(member::Column::SortKey)
        .filter(member::Column::TenantId.eq(tx.tenant()))
        .filter(member::Column::CollectionId.eq(id.as_str()))
        .filter(
            member::Column::List
                .into_expr()
                .eq(PRODUCTS.code(tx, Expr::value(id.as_str()))),
        )
        .filter(member::Column::SortKey.into_expr().is_not_null())
        .into_tuple()
        .all(tx.db())
        .await?;
    let rows = rows.into_iter();
    Ok(rows.map(|(id, key)| (ChildId::trusted(id), key)).collect())
}

/// Sets or clears the sort keys of members. The members must exist.
pub(in crate::store) async fn put<'a>(
    tx: &Tx,
    list: Lists,
    keys: impl IntoIterator<Item = (&'a Member, Option<&'a str>)>,
) -> Result<()> {
    // Every row exists, so this only ever takes the ON CONFLICT branch, which finds each row by its
    // primary key. SQLite needs `WHERE true` to parse ON CONFLICT after a SELECT.
    const PUT: Sql = Sql {
        sqlite: "INSERT INTO members \
            (tenant_id, collection_id, list, child_id, segment_id, sort_key) \
            SELECT $1, lists.key, lists.code, one.value ->> 0, 0, one.value ->> 1 \
            FROM lists CROSS JOIN json_each(lists.value) AS one WHERE true \
            ON CONFLICT (tenant_id, collection_id, list, child_id) \
            DO UPDATE SET sort_key = excluded.sort_key",
        postgres: "INSERT INTO members \
            (tenant_id, collection_id, list, child_id, segment_id, sort_key) \
            SELECT $1, lists.key, lists.code, one.value ->> 0, 0, one.value ->> 1 \
            FROM lists, json_array_elements(lists.value) AS one(value) \
            ON CONFLICT (tenant_id, collection_id, list, child_id) \
            DO UPDATE SET sort_key = excluded.sort_key",
    };
    let rows = each(keys);
    if rows.is_empty() {
        return Ok(());
    }
    // The member rows themselves may still be buffered, and this statement needs them.
    tx.db().flush().await?;
    let statement = PUT.on_lists(tx, list, &rows, None)?;
    tx.db().execute_raw(statement).await?;
    Ok(())
}

/// For each member and its new key, the existing member that it goes directly after. Members that
/// go first in their list are left out.
pub(in crate::store) async fn before<'a>(
    tx: &Tx,
    keys: impl IntoIterator<Item = (&'a Member, Option<&'a str>)>,
) -> Result<HashMap<Member, ChildId>> {
    const BEFORE: Sql = Sql {
        sqlite: "SELECT lists.key, one.value ->> 0, (\
            SELECT child_id FROM members WHERE tenant_id = $1 AND collection_id = lists.key \
            AND list = lists.code AND sort_key IS NOT NULL \
            AND (sort_key, child_id) < (one.value ->> 1, one.value ->> 0) \
            ORDER BY sort_key DESC, child_id DESC LIMIT 1) \
            FROM lists CROSS JOIN json_each(lists.value) AS one",
        postgres: "SELECT lists.key, one.value ->> 0, (\
            SELECT child_id FROM members WHERE tenant_id = $1 AND collection_id = lists.key \
            AND list = lists.code AND sort_key IS NOT NULL \
            AND (sort_key, child_id) < (one.value ->> 1, one.value ->> 0) \
            ORDER BY sort_key DESC, child_id DESC LIMIT 1) \
            FROM lists, json_array_elements(lists.value) AS one(value)",
    };
    let rows = each(keys);
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = BEFORE.on_lists(tx, PRODUCTS, &rows, None)?;
    let mut found = HashMap::new();
    for row in tx.db().query_all_raw(statement).await? {
        let collection: String = row.try_get_by_index(0)?;
        let child: String = row.try_get_by_index(1)?;
        let before: Option<String> = row.try_get_by_index(2)?;
        if let Some(before) = before {
            let member = (CollectionId::trusted(collection), ChildId::trusted(child));
            found.insert(member, ChildId::trusted(before));
        }
    }
    Ok(found)
}

/// Groups the keys by collection.
fn each<'a>(
    keys: impl IntoIterator<Item = (&'a Member, Option<&'a str>)>,
) -> Each<'a, Option<&'a str>> {
    let mut rows = Each::new();
    for ((collection, child), key) in keys {
        let rows = rows.entry(collection.as_str()).or_default();
        rows.push((child.as_str(), key));
    }
    rows
}
