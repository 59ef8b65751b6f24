//! Verifies the integrity of stored data, for `endcap check`: walks all collections of all tenants
//! and checks the invariants of each.
//!
//! The walk also finds lists without a collection. It goes from key to key, so it holds only one
//! key at a time and each step is one index lookup.

use std::{collections::HashSet, fmt};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select,
};

use super::{
    children::{self, Children, Lists},
    collections,
    entity::{collection as row, member, segment, segment_content as content, tenant},
    jobs,
    membership::{Expected, expected},
    pool::Store,
    rules::{due::Due, keys},
    tenants,
    tx::Tx,
};
use crate::domain::{
    Administering, ChildType, CollectionId, Kind, ProductId, Result, TenantId, Timestamp,
};

/// A violated invariant of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind of list.
    pub list: ChildType,
    /// What is wrong.
    pub what: String,
}

/// The number of collections of all tenants.
///
/// # Errors
/// If the database fails.
pub async fn collection_count(store: &Store, _: &Administering) -> Result<u64> {
    Ok(row::Entity::find().count(&store.reader).await?)
}

/// The first tenant after `after` that has any data: a row of its own, a collection or a list.
///
/// # Errors
/// If the database fails.
pub async fn tenant_after(
    store: &Store,
    _: &Administering,
    after: Option<&TenantId>,
) -> Result<Option<TenantId>> {
    let (db, after) = (&store.reader, after.map(TenantId::as_str));
    let found = [
        next(db, tenant::Entity::find(), tenant::Column::TenantId, after).await?,
        next(db, row::Entity::find(), row::Column::TenantId, after).await?,
        next(
            db,
            segment::Entity::find(),
            segment::Column::TenantId,
            after,
        )
        .await?,
        next(
            db,
            content::Entity::find(),
            content::Column::TenantId,
            after,
        )
        .await?,
        next(db, member::Entity::find(), member::Column::TenantId, after).await?,
    ];
    Ok(found.into_iter().flatten().min().map(TenantId::trusted))
}

/// The tenant's first collection after `after` that has any data: a row or a list.
///
/// # Errors
/// If the database fails.
pub async fn collection_after(
    tx: &Tx,
    after: Option<&CollectionId>,
) -> Result<Option<CollectionId>> {
    let after = after.map(CollectionId::as_str);
    let rows = row::Entity::find().filter(row::Column::TenantId.eq(tx.tenant()));
    let segments = segment::Entity::find().filter(segment::Column::TenantId.eq(tx.tenant()));
    let contents = content::Entity::find().filter(content::Column::TenantId.eq(tx.tenant()));
    let members = member::Entity::find().filter(member::Column::TenantId.eq(tx.tenant()));
    let found = [
        next(tx.db(), rows, row::Column::Id, after).await?,
        next(tx.db(), segments, segment::Column::CollectionId, after).await?,
        next(tx.db(), contents, content::Column::CollectionId, after).await?,
        next(tx.db(), members, member::Column::CollectionId, after).await?,
    ];
    Ok(found.into_iter().flatten().min().map(CollectionId::trusted))
}

/// The tenant's first smart collection after `after`.
///
/// # Errors
/// If the database fails.
pub async fn smart_after(tx: &Tx, after: Option<&CollectionId>) -> Result<Option<CollectionId>> {
    let smart = row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Smart.eq(true));
    let after = after.map(CollectionId::as_str);
    let found = next(tx.db(), smart, row::Column::Id, after).await?;
    Ok(found.map(CollectionId::trusted))
}

/// Checks the invariants of a collection: each list as in [`Children::problems`], its length
/// against the collection's count, and the products of a smart collection against its rules. If the
/// collection does not exist, it must not have any lists.
///
/// # Errors
/// If the database fails.
pub async fn problems(tx: &Tx, id: &CollectionId) -> Result<Vec<Problem>> {
    // Only the columns that are needed: others may be unreadable.
    let counts: Option<(i64, i64, bool)> = row::Entity::find()
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Id.eq(id.as_str()))
        .select_only()
        .column(row::Column::ProductCount)
        .column(row::Column::CollectionCount)
        .column(row::Column::Smart)
        .into_tuple()
        .one(tx.db())
        .await?;
    let Some((products, collections, smart)) = counts else {
        return remains(tx, id).await;
    };
    let mut problems = Vec::new();
    let lists = [
        (ChildType::Product, products),
        (ChildType::Collection, collections),
    ];
    // One after the other, because a list may be long and is completely in memory.
    for (list, said) in lists {
        let children = Children::uncached(tx, id, list);
        let found = children.problems().await?;
        problems.extend(found.into_iter().map(|what| Problem { list, what }));
        let len = children.page(0, 0).await?.len;
        if i64::try_from(len) != Ok(said) {
            let what = format!("stored child count {said}, actual {len}");
            problems.push(Problem { list, what });
        }
    }
    problems.extend(other_list(tx, id).await?);
    if smart {
        problems.extend(rule_problems(tx, id).await?);
    }
    Ok(problems)
}

/// How the list of a smart collection differs from what its rules require.
async fn rule_problems(tx: &Tx, id: &CollectionId) -> Result<Vec<Problem>> {
    let list = ChildType::Product;
    let Some(collection) = collections::get(tx, id).await? else {
        return Ok(Vec::new());
    };
    let old = Children::uncached(tx, id, list).all().await?;
    let Expected {
        list: new,
        keys,
        due,
    } = expected(tx, &collection, &old).await?;
    let (is, must): (HashSet<_>, HashSet<_>) = (old.iter().collect(), new.iter().collect());
    let missing = new.iter().filter(|id| !is.contains(id));
    let missing = missing.map(|id| format!("{id} is missing: it belongs to the collection"));
    let odd = old.iter().filter(|id| !must.contains(id));
    let odd = odd.map(|id| format!("{id} does not belong to the collection"));
    let mut what: Vec<_> = missing.chain(odd).collect();
    if what.is_empty() && old != new {
        what.push("the products are not in the order of the collection".into());
    }
    if keys::of_collection(tx, id).await? != keys {
        what.push("stored sort keys are wrong".into());
    }
    what.extend(late(tx, &due).await?);
    if let Kind::Smart { rules } = &collection.kind {
        let named: Vec<_> = rules.named_ids().collect();
        let unnoticed = collections::unnamed(tx, &named).await?.into_iter();
        what.extend(unnoticed.map(|id| {
            format!(
                "the rules name {id}, which is not marked as named: changes of its list would be \
                 missed"
            )
        }));
        let missing = collections::missing(tx, rules).await?;
        if !missing.is_empty() && !tenants::names_missing(tx).await? {
            what.extend(missing.into_iter().map(|id| {
                format!(
                    "the rules name {id}, which does not exist, and the tenant is not marked as \
                     having such rules: a new collection with this id would be missed"
                )
            }));
        }
    }
    Ok(what
        .into_iter()
        .map(|what| Problem { list, what })
        .collect())
}

/// The products that are not scheduled for evaluation by the time a condition on their age changes.
async fn late(tx: &Tx, turns: &[(ProductId, Timestamp)]) -> Result<Vec<String>> {
    if turns.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = turns.iter().map(|(id, _)| id.clone()).collect();
    let due = Due::of_products(tx, &ids).await?;
    let is_late = |(id, turn): &&(ProductId, Timestamp)| due.of(id).is_none_or(|due| due > *turn);
    let late = turns.iter().filter(is_late);
    Ok(late
        .map(|(id, turn)| format!("{id} has no evaluation scheduled by {turn}"))
        .collect())
}

/// The remains of lists whose collection does not exist.
async fn remains(tx: &Tx, id: &CollectionId) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (list, rows) in Lists::ALL {
        if let Some(rows) = Rows::of(tx, id, rows).await? {
            let what = format!("the collection does not exist, but has {rows}");
            problems.push(Problem { list, what });
        }
    }
    Ok(problems)
}

/// The remains of a list of products that is not the current one, unless a job may be building or
/// deleting it.
async fn other_list(tx: &Tx, id: &CollectionId) -> Result<Option<Problem>> {
    if jobs::exist(tx).await? {
        return Ok(None);
    }
    let other = children::other(tx, id).await?;
    let rows = Rows::of(tx, id, other).await?;
    Ok(rows.map(|rows| Problem {
        list: ChildType::Product,
        what: format!("no job builds or deletes the list that is not the current one, of {rows}"),
    }))
}

/// The number of rows of a list.
struct Rows {
    segments: u64,
    contents: u64,
    members: u64,
}

impl Rows {
    /// `None` if there are none.
    async fn of(tx: &Tx, id: &CollectionId, list: Lists) -> Result<Option<Self>> {
        let code = list.parameter();
        let segments = segment::Entity::find()
            .filter(segment::Column::TenantId.eq(tx.tenant()))
            .filter(segment::Column::CollectionId.eq(id.as_str()))
            .filter(segment::Column::List.eq(code));
        let contents = content::Entity::find()
            .filter(content::Column::TenantId.eq(tx.tenant()))
            .filter(content::Column::CollectionId.eq(id.as_str()))
            .filter(content::Column::List.eq(code));
        let members = member::Entity::find()
            .filter(member::Column::TenantId.eq(tx.tenant()))
            .filter(member::Column::CollectionId.eq(id.as_str()))
            .filter(member::Column::List.eq(code));
        let rows = Self {
            segments: segments.count(tx.db()).await?,
            contents: contents.count(tx.db()).await?,
            members: members.count(tx.db()).await?,
        };
        let count = rows.segments + rows.contents + rows.members;
        Ok((count > 0).then_some(rows))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segments,
            contents,
            members,
        } = self;
        write!(
            f,
            "{segments} segments, the contents of {contents} segments and {members} members"
        )
    }
}

/// The smallest value of a key column after `after`.
async fn next<E: EntityTrait>(
    db: &impl ConnectionTrait,
    mut select: Select<E>,
    column: E::Column,
    after: Option<&str>,
) -> Result<Option<String>> {
    if let Some(after) = after {
        select = select.filter(column.gt(after));
    }
    let select = select.select_only().column(column).order_by_asc(column);
    Ok(select.into_tuple().one(db).await?)
}
