//! Lists collections with filters, sort orders and pages, as far as SQL can express them. It
//! returns ids and sizes; the collections themselves are read from [`super::collections`].

use std::collections::HashSet;

use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, DbBackend, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait, Select,
    sea_query::{self, Expr, ExprTrait as _, Func, LikeExpr, Query},
};

use super::{
    children::{self, is_current},
    collections::{all, size},
    entity::{collection as row, member},
    row::count_from_row,
    tenants,
    tx::Tx,
    wanted::{self, Wanted},
};
use crate::domain::{
    ChildId, ChildType, CollectionId, Error, Result,
    filter::{CollectionFilter, Comparison, Expression, Matching, Order, OrderBy, TextAttribute},
    ids::{NON_NAVIGABLE_ROOT, ROOT},
    page::Start,
    search::folded,
};

/// Values of `active` in rows: inactive, and active only if a parent is.
const NOT_SHOWN: i16 = 2;
const INHERITED: i16 = 3;

/// A collection on a page.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The collection's id.
    pub id: CollectionId,
    /// When it was created, in microseconds since 1970.
    pub create_time: i64,
    /// Its approximate size in bytes.
    pub bytes: usize,
}

/// A page of collections, and their total number if `count` is set. Ties are broken by id. Without
/// an `order`, the newest collections come first; only then may a page start after a given
/// collection.
///
/// # Errors
/// If the database fails.
pub async fn list(
    tx: &Tx,
    filter: &CollectionFilter,
    order: &[Order],
    start: &Start,
    limit: usize,
    count: bool,
) -> Result<(Vec<Listed>, Option<u64>)> {
    let mut matching = all(tx).filter(condition(filter));
    if filter.orphaned {
        matching = matching.filter(is_orphaned());
    }
    if let Some(ids) = named(tx, filter).await? {
        let named = Wanted::new(tx, row::Column::Id, ids.iter().map(ChildId::as_str))?;
        let of_tenant = row::Column::TenantId.eq(tx.tenant());
        named.narrow(row::Entity, of_tenant, QueryTrait::query(&mut matching));
    }
    if filter.active {
        let hidden = hidden(tx).await?;
        if !hidden.is_empty() {
            matching = matching.filter(none_of(tx, &hidden)?);
        }
    }
    let total = if !count {
        None
    } else if is_plain(filter) {
        // The two roots are created with the tenant and are not counted in its row.
        let roots = if filter.roots { 2 } else { 0 };
        let count = tenants::collection_count(tx).await?;
        Some(count.map_or(0, |count| count + roots))
    } else {
        Some(matching.clone().count(tx.db()).await?)
    };
    let mut page = matching;
    for Order { by, descending } in order {
        let by = match by {
            OrderBy::Id => row::Column::Id,
            OrderBy::InternalName => row::Column::InternalName,
            OrderBy::DisplayName => row::Column::SearchName,
            OrderBy::CreateTime => row::Column::CreateTime,
        };
        page = page.order_by(by, direction(*descending));
    }
    if order.is_empty() {
        page = page.order_by(row::Column::CreateTime, direction(true));
    }
    page = page
        .order_by(row::Column::Id, direction(false))
        .limit(u64::try_from(limit).unwrap_or(u64::MAX));
    match start {
        Start::After(None) => {}
        Start::After(Some((time, id))) => {
            let same_time = row::Column::CreateTime
                .eq(*time)
                .and(row::Column::Id.gt(id.as_str()));
            page = page.filter(row::Column::CreateTime.lt(*time).or(same_time));
        }
        Start::Offset(offset) => page = page.offset(*offset),
    }
    let page = page
        .select_only()
        .columns([row::Column::Id, row::Column::CreateTime])
        .column_as(size(), "bytes");
    let rows: Vec<(String, i64, i64)> = page.into_tuple().all(tx.db()).await?;
    let listed = rows.into_iter().map(|(id, create_time, bytes)| Listed {
        id: CollectionId::trusted(id),
        create_time,
        bytes: count_from_row(bytes) as usize,
    });
    Ok((listed.collect(), total))
}

/// Whether the page requires reading more collections than it returns: to test them against a
/// filter, or to skip those before the page.
pub fn is_search(filter: &CollectionFilter, order: &[Order], start: &Start) -> bool {
    let few = filter.ids.is_some() || filter.parents.is_some();
    let from_start = match start {
        Start::After(_) | Start::Offset(0) => order.is_empty(),
        Start::Offset(_) => false,
    };
    !(few || is_plain(filter) && from_start)
}

/// Whether every collection (except possibly the roots) satisfies the filter.
fn is_plain(filter: &CollectionFilter) -> bool {
    let CollectionFilter {
        name: None,
        ids: None,
        roots: _,
        parents: None,
        orphaned: false,
        smart: None,
        active: false,
        expression: None,
    } = filter
    else {
        return false;
    };
    true
}

fn direction(descending: bool) -> sea_query::Order {
    if descending {
        sea_query::Order::Desc
    } else {
        sea_query::Order::Asc
    }
}

/// The ids that the filter restricts the result to, by itself or as children of its parents; `None`
/// if it does not.
async fn named(tx: &Tx, filter: &CollectionFilter) -> Result<Option<Vec<ChildId>>> {
    let ids = filter.ids.as_ref();
    let ids = ids.map(|ids| ids.iter().cloned().map(ChildId::from));
    let Some(parents) = &filter.parents else {
        return Ok(ids.map(Iterator::collect));
    };
    let lists = children::lists(tx, ChildType::Collection, parents).await?;
    let mut below: HashSet<_> = lists.into_values().flatten().collect();
    if let Some(ids) = ids {
        let ids: HashSet<_> = ids.collect();
        below.retain(|child| ids.contains(child));
    }
    Ok(Some(below.into_iter().collect()))
}

fn condition(filter: &CollectionFilter) -> Condition {
    let mut all = Condition::all();
    if let Some(name) = &filter.name {
        all = all.add(
            row::Column::SearchName
                .into_expr()
                .like(containing(&folded(name))),
        );
    }
    match &filter.ids {
        // Ids are looked up by key: see `named`.
        Some(_) => {}
        None if filter.roots => {}
        None => all = all.add(row::Column::Id.is_not_in([ROOT, NON_NAVIGABLE_ROOT])),
    }
    if let Some(smart) = filter.smart {
        all = all.add(row::Column::Smart.eq(smart));
    }
    if let Some(expression) = &filter.expression {
        all = all.add(written(expression));
    }
    all
}

/// The filter expression as a SQL condition.
fn written(expression: &Expression) -> Condition {
    match expression {
        Expression::All(parts) => parts
            .iter()
            .fold(Condition::all(), |all, part| all.add(written(part))),
        Expression::Any(parts) => parts
            .iter()
            .fold(Condition::any(), |any, part| any.add(written(part))),
        Expression::Not(part) => written(part).not(),
        Expression::Text(attribute, matching, value) => {
            Condition::all().add(text(*attribute, *matching, value))
        }
        Expression::Created(comparison, time) => {
            let column = row::Column::CreateTime.into_expr();
            Condition::all().add(compared(column, *comparison, time.micros()))
        }
    }
}

fn text(attribute: TextAttribute, matching: Matching, value: &str) -> Expr {
    // Qualified by the table: the function that `Wanted` joins has a column `id`, too.
    let (column, part): (Expr, Expr) = match attribute {
        TextAttribute::DisplayName => {
            let column = row::Column::SearchName.into_expr();
            (column.clone(), column)
        }
        // Ids are ASCII, for which both engines' `lower` agree.
        TextAttribute::Id => {
            let column = row::Column::Id.into_expr();
            (column.clone(), Func::lower(column).into())
        }
    };
    let folded = folded(value);
    match (matching, attribute) {
        (Matching::Compared(comparison), TextAttribute::DisplayName) => {
            compared(column, comparison, folded)
        }
        (Matching::Compared(comparison), TextAttribute::Id) => compared(column, comparison, value),
        (Matching::Contains, _) => part.like(containing(&folded)),
        (Matching::StartsWith, _) => part.like(pattern("", &folded, "%")),
        (Matching::EndsWith, _) => part.like(pattern("%", &folded, "")),
    }
}

/// The condition that a collection has no parent and is not a root.
fn is_orphaned() -> Expr {
    let mut link = Query::select();
    link.expr(Expr::value(1))
        .from(member::Entity)
        .and_where(
            member::Column::TenantId
                .into_expr()
                .equals(row::Column::TenantId.as_column_ref()),
        )
        .cond_where(is_current(ChildType::Collection))
        .and_where(
            member::Column::ChildId
                .into_expr()
                .equals(row::Column::Id.as_column_ref()),
        );
    let roots = [ROOT, NON_NAVIGABLE_ROOT];
    Expr::exists(link)
        .not()
        .and(row::Column::Id.is_not_in(roots))
}

fn compared(column: Expr, comparison: Comparison, value: impl Into<Expr>) -> Expr {
    let value = value.into();
    match comparison {
        Comparison::Equal => column.eq(value),
        Comparison::NotEqual => column.ne(value),
        Comparison::Greater => column.gt(value),
        Comparison::GreaterOrEqual => column.gte(value),
        Comparison::Less => column.lt(value),
        Comparison::LessOrEqual => column.lte(value),
    }
}

/// The LIKE pattern for texts that contain `text`.
pub(super) fn containing(text: &str) -> LikeExpr {
    pattern("%", text, "%")
}

fn pattern(before: &str, text: &str, after: &str) -> LikeExpr {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push_str(before);
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push_str(after);
    LikeExpr::new(pattern).escape('!')
}

/// The condition that the id is none of these, which may be more than a statement can bind.
fn none_of(tx: &Tx, ids: &HashSet<ChildId>) -> Result<Expr> {
    let ids: Vec<_> = ids.iter().map(ChildId::as_str).collect();
    let json = serde_json::to_string(&ids).map_err(Error::internal)?;
    let named = if tx.db().get_database_backend() == DbBackend::Postgres {
        "\"collections\".\"id\" NOT IN (SELECT json_array_elements_text($1::json))"
    } else {
        "\"collections\".\"id\" NOT IN (SELECT value FROM json_each(?))"
    };
    Ok(Expr::cust_with_values(named, [json]))
}

/// The inactive collections: those that are marked inactive, and those that inherit from inactive
/// parents only.
///
/// # Errors
/// If the database fails.
pub async fn hidden(tx: &Tx) -> Result<HashSet<ChildId>> {
    let said = all(tx).filter(row::Column::Active.eq(NOT_SHOWN));
    let mut level = ids(tx, said).await?;
    let mut hidden: HashSet<ChildId> = level.iter().cloned().collect();
    while !level.is_empty() {
        let parents: Vec<_> = level.drain(..).map(CollectionId::from).collect();
        let below = children::lists(tx, ChildType::Collection, &parents).await?;
        let below = below.into_values().flatten();
        let below: HashSet<_> = below.filter(|id| !hidden.contains(id)).collect();
        let children = below.iter().map(ChildId::as_str);
        let above = children::links(tx, ChildType::Collection, children).await?;
        let is_hidden = |parent: CollectionId| hidden.contains(&ChildId::from(parent));
        let shown = above
            .into_iter()
            .filter_map(|(parent, child)| (!is_hidden(parent)).then_some(child));
        let shown: HashSet<_> = shown.collect();
        let candidates: Vec<_> = below.difference(&shown).map(ChildId::as_str).collect();
        let inheriting = Wanted::new(tx, row::Column::Id, candidates)?;
        let inheriting = inheriting.select(row::Entity, |select| {
            select
                .column(row::Column::Id.as_column_ref())
                .and_where(row::Column::TenantId.eq(tx.tenant()))
                .and_where(row::Column::Active.eq(INHERITED));
        });
        let inheriting: Vec<String> = wanted::tuples(tx, &inheriting).await?;
        level = inheriting.into_iter().map(ChildId::trusted).collect();
        hidden.extend(level.iter().cloned());
    }
    Ok(hidden)
}

async fn ids(tx: &Tx, collections: Select<row::Entity>) -> Result<Vec<ChildId>> {
    let ids = collections.select_only().column(row::Column::Id);
    let ids: Vec<String> = ids.into_tuple().all(tx.db()).await?;
    Ok(ids.into_iter().map(ChildId::trusted).collect())
}
