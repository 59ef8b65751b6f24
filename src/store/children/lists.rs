//! Which lists a statement is about. Each row of a list has a code: 2 in lists of child collections,
//! and 1 or 3 in lists of products. The table `switched_lists` says which of these two codes the
//! current list of products of a collection has. A job that evaluates rules builds the next list
//! under the other code, and then makes it the current one by a change of that table.

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, EntityTrait as _, Select,
    sea_query::{Condition, Expr, ExprTrait as _, Func, Query, SelectStatement},
};

use crate::{
    domain::{ChildType, CollectionId, Result},
    store::{
        entity::{member, switched_list},
        tx::Tx,
        wanted::Wanted,
    },
};

/// The code of lists of child collections.
const COLLECTIONS: i16 = 2;
/// The codes of lists of products.
const PRODUCTS: [i16; 2] = [1, 3];

/// The lists that a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Lists {
    /// The current lists of this kind.
    Current(ChildType),
    /// Lists whose rows have this code, whether they are current or not.
    Code(i16),
}

impl Lists {
    /// All lists that a collection may have rows of.
    pub(in crate::store) const ALL: [(ChildType, Self); 3] = [
        (ChildType::Product, Self::Code(PRODUCTS[0])),
        (ChildType::Product, Self::Code(PRODUCTS[1])),
        (ChildType::Collection, Self::Code(COLLECTIONS)),
    ];

    /// What the lists consist of.
    pub(super) fn kind(self) -> ChildType {
        match self {
            Self::Current(kind) => kind,
            Self::Code(COLLECTIONS) => ChildType::Collection,
            Self::Code(_) => ChildType::Product,
        }
    }

    /// The code as a parameter of a statement; 0 if it must be looked up.
    pub(in crate::store) fn parameter(self) -> i16 {
        match self {
            Self::Current(ChildType::Product) => 0,
            Self::Current(ChildType::Collection) => COLLECTIONS,
            Self::Code(code) => code,
        }
    }

    /// The code of the list of `collection` (its id).
    pub(in crate::store) fn code(self, tx: &Tx, collection: Expr) -> Expr {
        match self {
            Self::Current(ChildType::Product) => current(Expr::value(tx.tenant()), collection),
            Self::Current(ChildType::Collection) | Self::Code(_) => Expr::value(self.parameter()),
        }
    }
}

impl From<ChildType> for Lists {
    fn from(list: ChildType) -> Self {
        Self::Current(list)
    }
}

/// The code of the current list of products.
fn current(tenant: Expr, collection: Expr) -> Expr {
    let [first, second] = PRODUCTS;
    let switched = Query::select()
        .expr(Expr::value(second))
        .from(switched_list::Entity)
        .and_where(switched_list::Column::TenantId.into_expr().eq(tenant))
        .and_where(
            switched_list::Column::CollectionId
                .into_expr()
                .eq(collection),
        )
        .to_owned();
    // Not EXISTS, for which PostgreSQL may read all switched lists of the tenant into a hash table.
    let switched = Expr::SubQuery(None, Box::new(switched.into()));
    Func::coalesce([switched, Expr::value(first)]).into()
}

/// The conditions that a member is in a current list of products, one for each code, for statements
/// that read all members of the tenant: an index has those with one code in the order of their ids,
/// and the switched lists are read only once.
pub(in crate::store) fn are_current(tx: &Tx) -> [Condition; 2] {
    let [first, second] = PRODUCTS;
    let (code, collection) = (member::Column::List, member::Column::CollectionId);
    let switched = Query::select()
        .column(switched_list::Column::CollectionId)
        .from(switched_list::Entity)
        .and_where(switched_list::Column::TenantId.eq(tx.tenant()))
        .to_owned();
    [
        Condition::all()
            .add(code.eq(first))
            .add(collection.not_in_subquery(switched.clone())),
        Condition::all()
            .add(code.eq(second))
            .add(collection.in_subquery(switched)),
    ]
}

/// A statement that selects the members that are these children, in current lists. `what` is as for
/// [`Wanted::select`]; on PostgreSQL, a limit too applies to each value and each code separately.
pub(in crate::store) fn select_members<'a>(
    tx: &Tx,
    list: ChildType,
    children: impl IntoIterator<Item = &'a str>,
    what: impl FnOnce(&mut SelectStatement),
) -> Result<SelectStatement> {
    let wanted = Wanted::new(tx, member::Column::ChildId, children)?;
    let wanted = match list {
        ChildType::Collection => wanted,
        ChildType::Product => wanted.in_lists(&PRODUCTS),
    };
    Ok(wanted.select(member::Entity, |select| {
        select
            .and_where(member::Column::TenantId.eq(tx.tenant()))
            .cond_where(is_current(list));
        what(select);
    }))
}

/// The condition that a member is in a current list, for statements that find members by child.
pub(in crate::store) fn is_current(list: ChildType) -> Condition {
    let code = member::Column::List;
    match list {
        ChildType::Collection => Condition::all().add(code.eq(COLLECTIONS)),
        ChildType::Product => {
            let (tenant, collection) = (member::Column::TenantId, member::Column::CollectionId);
            // Both codes are named, so that the members are found by an index.
            Condition::all().add(code.is_in(PRODUCTS)).add(
                code.into_expr()
                    .eq(current(tenant.into_expr(), collection.into_expr())),
            )
        }
    }
}

/// The list of products of a collection that is not the current one.
///
/// # Errors
/// If the database fails.
pub(in crate::store) async fn other(tx: &Tx, id: &CollectionId) -> Result<Lists> {
    let [first, second] = PRODUCTS;
    let switched = find_switched(tx, id).one(tx.db()).await?;
    Ok(Lists::Code(switched.map_or(second, |_| first)))
}

/// Makes the other list of products of a collection the current one.
///
/// # Errors
/// If the database fails.
pub(in crate::store) async fn switch(tx: &Tx, id: &CollectionId) -> Result<()> {
    if find_switched(tx, id).one(tx.db()).await?.is_some() {
        return unswitch(tx, id).await;
    }
    let switched = switched_list::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        collection_id: Set(id.to_string()),
    };
    switched_list::Entity::insert(switched)
        .exec_without_returning(tx.db())
        .await?;
    Ok(())
}

/// Gives the current list of products of a collection, which must have no rows, the first code.
///
/// # Errors
/// If the database fails.
pub(in crate::store) async fn unswitch(tx: &Tx, id: &CollectionId) -> Result<()> {
    switched_list::Entity::delete_by_id((tx.tenant().to_owned(), id.to_string()))
        .exec(tx.db())
        .await?;
    Ok(())
}

fn find_switched(tx: &Tx, id: &CollectionId) -> Select<switched_list::Entity> {
    switched_list::Entity::find_by_id((tx.tenant().to_owned(), id.to_string()))
}
