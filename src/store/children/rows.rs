//! The statements of the lists, but for those over many ids, which are in [`super::raw`].

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait as _, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select,
    sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query},
};

use super::{
    directory::{Entry, Rank, SegmentId},
    handle::Children,
};
use crate::{
    domain::{ChildId, ChildType, CollectionId, ProductId, Result},
    store::{
        engine::MAX_BINDS,
        entity::{member, segment, segment_content as content},
        row::count,
        tx::Tx,
    },
};

/// Binds of a row of a segment's ids.
const CONTENT_BINDS: usize = 5;
/// Values of one `IN` beside the key's others.
const IN_BINDS: usize = MAX_BINDS - 10;

/// What stands between ids in a segment; no id has it.
const SEPARATOR: &str = ",";

/// The list as rows have it.
pub(in crate::store) fn list_code(list: ChildType) -> i16 {
    match list {
        ChildType::Product => 1,
        ChildType::Collection => 2,
    }
}

impl Children<'_> {
    /// That a row is this list's, by the columns that begin each table's key.
    fn key<C: ColumnTrait>(self, [tenant, collection, list]: [C; 3]) -> Condition {
        Condition::all()
            .add(tenant.eq(self.tx.tenant()))
            .add(collection.eq(self.collection.as_str()))
            .add(list.eq(list_code(self.list)))
    }

    fn segment_key(self) -> Condition {
        use segment::Column::{CollectionId, List, TenantId};
        self.key([TenantId, CollectionId, List])
    }

    fn content_key(self) -> Condition {
        use content::Column::{CollectionId, List, TenantId};
        self.key([TenantId, CollectionId, List])
    }

    fn member_key(self) -> Condition {
        use member::Column::{CollectionId, List, TenantId};
        self.key([TenantId, CollectionId, List])
    }

    fn segments(self) -> Select<segment::Entity> {
        segment::Entity::find().filter(self.segment_key())
    }

    fn segment_contents(self) -> Select<content::Entity> {
        content::Entity::find().filter(self.content_key())
    }

    fn members(self) -> Select<member::Entity> {
        member::Entity::find().filter(self.member_key())
    }

    /// The segments in order, without their ids, from the database.
    pub(super) async fn stored_directory(self) -> Result<Vec<Entry>> {
        let rows: Vec<(SegmentId, Rank, i64)> = self
            .segments()
            .select_only()
            .column(segment::Column::SegmentId)
            .column(segment::Column::Rank)
            .column(segment::Column::Len)
            .order_by_asc(segment::Column::Rank)
            .into_tuple()
            .all(self.tx.db())
            .await?;
        let entry = |(id, rank, len)| Entry {
            id,
            rank,
            len: count(len) as usize,
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Which segment has each child of the list, as the member rows say.
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

    /// The ids of all segments, as they are stored.
    pub(super) async fn all_contents(self) -> Result<HashMap<SegmentId, String>> {
        let rows: Vec<(SegmentId, String)> = self
            .segment_contents()
            .select_only()
            .column(content::Column::SegmentId)
            .column(content::Column::Ids)
            .into_tuple()
            .all(self.tx.db())
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// Writes the ids of segments, new or changed. An upsert is the one form that sets
    /// many rows to many values on both engines.
    pub(super) async fn put_contents(self, contents: &[(SegmentId, &[ChildId])]) -> Result<u64> {
        let mut rows = 0;
        for contents in contents.chunks(MAX_BINDS / CONTENT_BINDS) {
            let models = contents.iter().map(|(id, ids)| content::ActiveModel {
                tenant_id: Set(self.tx.tenant().into()),
                collection_id: Set(self.collection.to_string()),
                list: Set(list_code(self.list)),
                segment_id: Set(*id),
                ids: Set(join(ids)),
            });
            let key = [
                content::Column::TenantId,
                content::Column::CollectionId,
                content::Column::List,
                content::Column::SegmentId,
            ];
            let conflict = OnConflict::columns(key)
                .update_column(content::Column::Ids)
                .to_owned();
            rows += content::Entity::insert_many(models)
                .on_conflict(conflict)
                .exec_without_returning(self.tx.db())
                .await?;
        }
        Ok(rows)
    }

    /// Removes segments.
    pub(super) async fn drop_segments(self, segments: &[SegmentId]) -> Result<u64> {
        let mut rows = 0;
        for segments in segments.chunks(IN_BINDS) {
            let entries = segment::Entity::delete_many()
                .filter(self.segment_key())
                .filter(segment::Column::SegmentId.is_in(segments.iter().copied()))
                .exec(self.tx.db())
                .await?;
            let contents = content::Entity::delete_many()
                .filter(self.content_key())
                .filter(content::Column::SegmentId.is_in(segments.iter().copied()))
                .exec(self.tx.db())
                .await?;
            rows += entries.rows_affected + contents.rows_affected;
        }
        Ok(rows)
    }

    /// Removes the whole list.
    pub(super) async fn drop_all(self) -> Result<u64> {
        let db = self.tx.db();
        let entries = segment::Entity::delete_many().filter(self.segment_key());
        let contents = content::Entity::delete_many().filter(self.content_key());
        let members = member::Entity::delete_many().filter(self.member_key());
        Ok(entries.exec(db).await?.rows_affected
            + contents.exec(db).await?.rows_affected
            + members.exec(db).await?.rows_affected)
    }
}

/// At most `limit` collections that have the child, ordered by id, after `after`.
///
/// # Errors
/// Where the database fails.
pub async fn parents(
    tx: &Tx,
    list: ChildType,
    child: &ChildId,
    after: Option<&CollectionId>,
    limit: usize,
) -> Result<Vec<CollectionId>> {
    let mut select = having(tx, list)
        .filter(member::Column::ChildId.eq(child.as_str()))
        .select_only()
        .column(member::Column::CollectionId)
        .order_by_asc(member::Column::CollectionId)
        .limit(limit as u64);
    if let Some(after) = after {
        select = select.filter(member::Column::CollectionId.gt(after.as_str()));
    }
    let rows: Vec<String> = select.into_tuple().all(tx.db()).await?;
    Ok(rows.into_iter().map(CollectionId::trusted).collect())
}

/// How many parents each of the children has; those without are left out.
///
/// # Errors
/// Where the database fails.
pub async fn parent_counts(
    tx: &Tx,
    list: ChildType,
    children: &[ChildId],
) -> Result<HashMap<ChildId, usize>> {
    let mut counts = HashMap::new();
    for children in children.chunks(IN_BINDS) {
        let rows: Vec<(String, i64)> = having(tx, list)
            .filter(member::Column::ChildId.is_in(children.iter().map(ChildId::as_str)))
            .select_only()
            .column(member::Column::ChildId)
            .column_as(Expr::col(member::Column::CollectionId).count(), "parents")
            .group_by(member::Column::ChildId)
            .into_tuple()
            .all(tx.db())
            .await?;
        let rows = rows.into_iter();
        counts.extend(rows.map(|(id, parents)| (ChildId::trusted(id), count(parents) as usize)));
    }
    Ok(counts)
}

/// Which collections have each of the products, both ascending.
///
/// # Errors
/// Where the database fails.
pub async fn memberships(
    tx: &Tx,
    products: &[ProductId],
) -> Result<Vec<(CollectionId, ProductId)>> {
    let products = products.iter().map(ProductId::as_str);
    let found = links(tx, ChildType::Product, member::Column::ChildId, products).await?;
    let found = found.into_iter();
    let mut found: Vec<_> = found.map(|(id, child)| (id, child.into())).collect();
    found.sort_unstable();
    Ok(found)
}

/// Who has what in lists of that kind, where one of the ids is at that end of it.
pub(in crate::store) async fn links(
    tx: &Tx,
    list: ChildType,
    end: member::Column,
    ids: impl Iterator<Item = &str>,
) -> Result<Vec<(CollectionId, ChildId)>> {
    let ids: Vec<_> = ids.collect();
    let mut found = Vec::new();
    for ids in ids.chunks(IN_BINDS) {
        let rows: Vec<(String, String)> = having(tx, list)
            .filter(end.is_in(ids.iter().copied()))
            .select_only()
            .column(member::Column::CollectionId)
            .column(member::Column::ChildId)
            .into_tuple()
            .all(tx.db())
            .await?;
        let rows = rows.into_iter();
        found.extend(rows.map(|(collection, child)| {
            let collection = CollectionId::trusted(collection);
            (collection, ChildId::trusted(child))
        }));
    }
    Ok(found)
}

/// That list of each of the collections, whole; those where it is empty are left out.
///
/// # Errors
/// Where the database fails.
pub async fn lists(
    tx: &Tx,
    list: ChildType,
    collections: &[CollectionId],
) -> Result<HashMap<CollectionId, Vec<ChildId>>> {
    let mut lists: HashMap<_, Vec<_>> = HashMap::new();
    for collections in collections.chunks(IN_BINDS) {
        let of = |column: segment::Column| Expr::col((segment::Entity, column));
        let same_segment = [
            (segment::Column::TenantId, content::Column::TenantId),
            (segment::Column::CollectionId, content::Column::CollectionId),
            (segment::Column::List, content::Column::List),
            (segment::Column::SegmentId, content::Column::SegmentId),
        ]
        .map(|(entry, held)| of(entry).equals((content::Entity, held)));
        let ids = collections.iter().map(CollectionId::as_str);
        let query = Query::select()
            .column((content::Entity, content::Column::CollectionId))
            .column((content::Entity, content::Column::Ids))
            .from(segment::Entity)
            .inner_join(content::Entity, all_of(same_segment))
            .and_where(of(segment::Column::TenantId).eq(tx.tenant()))
            .and_where(of(segment::Column::List).eq(list_code(list)))
            .and_where(of(segment::Column::CollectionId).is_in(ids))
            .order_by((segment::Entity, segment::Column::CollectionId), Order::Asc)
            .order_by((segment::Entity, segment::Column::Rank), Order::Asc)
            .to_owned();
        for row in tx.db().query_all(&query).await? {
            let collection = CollectionId::trusted(row.try_get_by_index::<String>(0)?);
            let ids: String = row.try_get_by_index(1)?;
            lists.entry(collection).or_default().extend(split(&ids));
        }
    }
    Ok(lists)
}

fn all_of(conditions: impl IntoIterator<Item = Expr>) -> Condition {
    let conditions = conditions.into_iter();
    conditions.fold(Condition::all(), Condition::add)
}

/// Removes both lists of a collection.
pub(in crate::store) async fn clear(tx: &Tx, collection: &CollectionId) -> Result<()> {
    segment::Entity::delete_many()
        .filter(segment::Column::TenantId.eq(tx.tenant()))
        .filter(segment::Column::CollectionId.eq(collection.as_str()))
        .exec(tx.db())
        .await?;
    content::Entity::delete_many()
        .filter(content::Column::TenantId.eq(tx.tenant()))
        .filter(content::Column::CollectionId.eq(collection.as_str()))
        .exec(tx.db())
        .await?;
    member::Entity::delete_many()
        .filter(member::Column::TenantId.eq(tx.tenant()))
        .filter(member::Column::CollectionId.eq(collection.as_str()))
        .exec(tx.db())
        .await?;
    Ok(())
}

fn having(tx: &Tx, list: ChildType) -> Select<member::Entity> {
    member::Entity::find()
        .filter(member::Column::TenantId.eq(tx.tenant()))
        .filter(member::Column::List.eq(list_code(list)))
}

fn join(ids: &[ChildId]) -> String {
    let ids: Vec<&str> = ids.iter().map(ChildId::as_str).collect();
    ids.join(SEPARATOR)
}

pub(super) fn split(ids: &str) -> impl Iterator<Item = ChildId> {
    ids.split(SEPARATOR).map(ChildId::trusted)
}
