//! The ORM statements of lists. Those that are about many ids are hand-written: [`super::raw`].

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, Condition, EntityTrait as _, QueryFilter as _, QuerySelect as _, Select,
    sea_query::{Expr, ExprTrait as _, Order},
};

use super::{
    directory::{Directory, Entry, Rank, SegmentId},
    handle::Children,
    lists::{Lists, select_members},
};
use crate::{
    domain::{ChildId, ChildType, CollectionId, ProductId, Result, child_ids},
    store::{
        cell::Cell,
        entity::{member, segment, segment_content as content},
        row::count_from_row,
        tx::Tx,
        wanted::{self, Wanted},
    },
};

impl Children<'_> {
    /// The condition that a row belongs to this list, on the columns that all keys start with.
    fn key<C: ColumnTrait>(self, [tenant, collection, list]: [C; 3]) -> Condition {
        let id = Expr::value(self.collection.as_str());
        let code = Lists::from(self.list).code(self.tx, id);
        Condition::all()
            .add(tenant.eq(self.tx.tenant()))
            .add(collection.eq(self.collection.as_str()))
            .add(list.into_expr().eq(code))
    }

    fn content_key(self) -> Condition {
        use content::Column::{CollectionId, List, TenantId};
        self.key([TenantId, CollectionId, List])
    }

    fn member_key(self) -> Condition {
        use member::Column::{CollectionId, List, TenantId};
        self.key([TenantId, CollectionId, List])
    }

    fn segment_contents(self) -> Select<content::Entity> {
        content::Entity::find().filter(self.content_key())
    }

    fn members(self) -> Select<member::Entity> {
        member::Entity::find().filter(self.member_key())
    }

    /// The segment of each child of the list, according to the member rows.
    pub(super) async fn all_homes(self) -> Result<HashMap<ChildId, SegmentId>> {
        let rows: Vec<(String, SegmentId)> = self
            .members()
            .select_only()
            .column(member::Column::ChildId)
            .column(member::Column::SegmentId)
            .into_tuple()
            .all(self.tx.db())
            .await?;
        let rows = rows.into_iter();
        Ok(rows
            .map(|(child, segment)| (ChildId::trusted(child), segment))
            .collect())
    }

    /// The ids in all segments, each as it is stored (one string).
    pub(super) async fn all_contents(self) -> Result<HashMap<SegmentId, String>> {
        let rows: Vec<(SegmentId, String)> = self
            .segment_contents()
            .select_only()
            .column(content::Column::SegmentId)
            .column(content::Column::IdList)
            .into_tuple()
            .all(self.tx.db())
            .await?;
        Ok(rows.into_iter().collect())
    }
}

/// The directories of lists. Empty lists are left out.
pub(super) async fn directories(
    tx: &Tx,
    list: Lists,
    collections: &[&CollectionId],
) -> Result<HashMap<CollectionId, Directory>> {
    if collections.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted = collections.iter().map(|id| id.as_str());
    let segments = Wanted::new(tx, segment::Column::CollectionId, wanted)?;
    let segments = segments.select(segment::Entity, |select| {
        let columns = [
            segment::Column::CollectionId,
            segment::Column::SegmentId,
            segment::Column::Rank,
            segment::Column::Len,
        ];
        select
            .columns(columns.map(|column| column.as_column_ref()))
            .and_where(segment::Column::TenantId.eq(tx.tenant()))
            .and_where(
                segment::Column::List
                    .into_expr()
                    .eq(list.code(tx, wanted::value())),
            );
    });
    let rows: Vec<(String, SegmentId, Rank, i64)> = wanted::tuples(tx, &segments).await?;
    let mut directories: HashMap<CollectionId, Vec<Entry>> = HashMap::new();
    for (collection, id, rank, len) in rows {
        let cell = Cell {
            table: "segments",
            tenant: tx.tenant(),
            key: &collection,
            column: "len",
        };
        let len = cell.count(len)? as usize;
        let collection = CollectionId::trusted(collection);
        let entries = directories.entry(collection).or_default();
        entries.push(Entry { id, rank, len });
    }
    let sorted = directories.into_iter().map(|(collection, mut entries)| {
        entries.sort_unstable_by_key(|entry| entry.rank);
        (collection, entries.into())
    });
    Ok(sorted.collect())
}

/// Up to `limit` collections that contain the child, ordered by id, starting after `after`.
///
/// # Errors
/// If the database fails.
pub async fn parents(
    tx: &Tx,
    list: ChildType,
    child: &ChildId,
    after: Option<&CollectionId>,
    limit: usize,
) -> Result<Vec<CollectionId>> {
    let parents = select_members(tx, list, [child.as_str()], |select| {
        let parent = member::Column::CollectionId.as_column_ref();
        select
            .column(parent.clone())
            .order_by(parent, Order::Asc)
            .limit(limit as u64);
        if let Some(after) = after {
            select.and_where(member::Column::CollectionId.gt(after.as_str()));
        }
    })?;
    let mut parents: Vec<(String,)> = wanted::tuples(tx, &parents).await?;
    // On PostgreSQL the order and the limit are those of a subquery for each code of lists.
    parents.sort_unstable();
    parents.truncate(limit);
    let parents = parents.into_iter();
    Ok(parents.map(|(id,)| CollectionId::trusted(id)).collect())
}

/// The number of parents of each child. Children without parents are left out.
///
/// # Errors
/// If the database fails.
pub async fn parent_counts(
    tx: &Tx,
    list: ChildType,
    children: &[ChildId],
) -> Result<HashMap<ChildId, usize>> {
    let wanted = children.iter().map(ChildId::as_str);
    let counts = select_members(tx, list, wanted, |select| {
        let child = member::Column::ChildId.as_column_ref();
        select
            .column(child.clone())
            .expr_as(member::Column::CollectionId.count(), "parents")
            .group_by_col(child);
    })?;
    let rows: Vec<(String, i64)> = wanted::tuples(tx, &counts).await?;
    let mut counts = HashMap::new();
    // PostgreSQL counts the lists with each code on their own.
    for (id, parents) in rows {
        *counts.entry(ChildId::trusted(id)).or_default() += count_from_row(parents) as usize;
    }
    Ok(counts)
}

/// The collections that contain the products, as pairs in ascending order.
///
/// # Errors
/// If the database fails.
pub async fn memberships(
    tx: &Tx,
    products: &[ProductId],
) -> Result<Vec<(CollectionId, ProductId)>> {
    let products = products.iter().map(ProductId::as_str);
    let found = links(tx, ChildType::Product, products).await?;
    let found = found.into_iter();
    let mut found: Vec<_> = found.map(|(id, child)| (id, child.into())).collect();
    found.sort_unstable();
    Ok(found)
}

/// The number of lists that contain the products, summed over the products and counted up to `max`.
///
/// # Errors
/// If the database fails.
pub async fn memberships_up_to(tx: &Tx, products: &[ProductId], max: usize) -> Result<usize> {
    let products = products.iter().map(ProductId::as_str);
    let mut found = select_members(tx, ChildType::Product, products, |select| {
        select.column(member::Column::ChildId.as_column_ref());
    })?;
    found.limit(max as u64);
    let found: Vec<(String,)> = wanted::tuples(tx, &found).await?;
    Ok(found.len())
}

/// The collections that contain the given children in lists of one kind. To read the contents of a
/// collection's own lists, use [`lists`]: without statistics, PostgreSQL would search the members
/// of all collections.
pub(in crate::store) async fn links(
    tx: &Tx,
    list: ChildType,
    ids: impl Iterator<Item = &str>,
) -> Result<Vec<(CollectionId, ChildId)>> {
    let found = select_members(tx, list, ids, |select| {
        select
            .column(member::Column::CollectionId.as_column_ref())
            .column(member::Column::ChildId.as_column_ref());
    })?;
    let found: Vec<(String, String)> = wanted::tuples(tx, &found).await?;
    let found = found.into_iter();
    Ok(found
        .map(|(collection, child)| {
            let collection = CollectionId::trusted(collection);
            (collection, ChildId::trusted(child))
        })
        .collect())
}

/// The whole lists of the collections. Empty lists are left out.
///
/// # Errors
/// If the database fails.
pub async fn lists(
    tx: &Tx,
    list: ChildType,
    collections: &[CollectionId],
) -> Result<HashMap<CollectionId, Vec<ChildId>>> {
    let wanted = collections.iter().map(CollectionId::as_str);
    let segments = Wanted::new(tx, segment::Column::CollectionId, wanted)?;
    let segments = segments.select(segment::Entity, |select| {
        let same = |held: content::Column, entry: segment::Column| {
            held.into_expr().equals(entry.as_column_ref())
        };
        select
            .column(segment::Column::CollectionId.as_column_ref())
            .column(segment::Column::Rank.as_column_ref())
            .column(content::Column::IdList.as_column_ref())
            .cross_join(content::Entity)
            .and_where(segment::Column::TenantId.eq(tx.tenant()))
            .and_where(
                segment::Column::List
                    .into_expr()
                    .eq(Lists::from(list).code(tx, wanted::value())),
            )
            .and_where(content::Column::TenantId.eq(tx.tenant()))
            .and_where(same(content::Column::List, segment::Column::List))
            .and_where(same(
                content::Column::CollectionId,
                segment::Column::CollectionId,
            ))
            .and_where(same(content::Column::SegmentId, segment::Column::SegmentId));
    });
    let mut segments: Vec<(String, Rank, String)> = wanted::tuples(tx, &segments).await?;
    segments.sort_unstable_by_key(|(_, rank, _)| *rank);
    let mut lists: HashMap<_, Vec<_>> = HashMap::new();
    for (collection, _, ids) in segments {
        let collection = CollectionId::trusted(collection);
        lists.entry(collection).or_default().extend(split(&ids));
    }
    Ok(lists)
}

/// Deletes the lists of a collection, current or not, of one kind or, without `list`, of both.
pub(in crate::store) async fn clear(
    tx: &Tx,
    collection: &CollectionId,
    list: Option<ChildType>,
) -> Result<()> {
    let lists = || {
        let all = Lists::ALL.into_iter();
        let lists = all.filter(move |(kind, _)| list.is_none_or(|list| *kind == list));
        lists.map(|(_, list)| list.parameter())
    };
    segment::Entity::delete_many()
        .filter(segment::Column::TenantId.eq(tx.tenant()))
        .filter(segment::Column::CollectionId.eq(collection.as_str()))
        .filter(segment::Column::List.is_in(lists()))
        .exec(tx.db())
        .await?;
    content::Entity::delete_many()
        .filter(content::Column::TenantId.eq(tx.tenant()))
        .filter(content::Column::CollectionId.eq(collection.as_str()))
        .filter(content::Column::List.is_in(lists()))
        .exec(tx.db())
        .await?;
    member::Entity::delete_many()
        .filter(member::Column::TenantId.eq(tx.tenant()))
        .filter(member::Column::CollectionId.eq(collection.as_str()))
        .filter(member::Column::List.is_in(lists()))
        .exec(tx.db())
        .await?;
    Ok(())
}

pub(super) fn split(ids: &str) -> impl Iterator<Item = ChildId> {
    child_ids::split(ids).map(ChildId::trusted)
}
