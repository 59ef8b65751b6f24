//! What stands above collections, level by level.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use sea_orm::{
    ColumnTrait as _, FromQueryResult,
    sea_query::{Expr, ExprTrait as _, Query},
};

use super::{
    cell::Cell,
    children::{self, list_code},
    entity::{collection, member},
    row,
    tx::Tx,
    wanted::{self, Wanted},
};
use crate::domain::{ChildId, ChildType, CollectionId, Lineage, Result, Texts, lineage::Ancestor};

#[derive(FromQueryResult)]
struct LinkRow {
    child_id: String,
    collection_id: String,
    active: Option<i16>,
    texts: Option<String>,
}

/// What is read of the collections above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Above {
    /// Their parents, and whether they are shown.
    #[default]
    Shown,
    /// Their texts too, for paths of names.
    Named,
}

/// The lineage of each of `ids`. One statement a level.
///
/// # Errors
/// Where the database fails.
pub async fn of(
    tx: &Tx,
    ids: &[CollectionId],
    above: Above,
) -> Result<HashMap<CollectionId, Lineage>> {
    let mut parents: HashMap<CollectionId, Vec<CollectionId>> = HashMap::new();
    let mut ancestors = HashMap::new();
    let mut level: HashSet<CollectionId> = ids.iter().cloned().collect();
    while !level.is_empty() {
        let mut next = HashSet::new();
        for link in links(tx, &level, above).await? {
            let parent = CollectionId::trusted(link.collection_id);
            let child = CollectionId::trusted(link.child_id);
            parents.entry(child).or_default().push(parent.clone());
            let cell = |column| Cell {
                table: "collections",
                tenant: tx.tenant(),
                key: parent.as_str(),
                column,
            };
            if let (Some(active), false) = (link.active, ancestors.contains_key(&parent)) {
                let node = Ancestor {
                    parents: Vec::new(),
                    active: row::active(cell("active"), active)?,
                    texts: match &link.texts {
                        Some(texts) => row::texts(cell("texts"), texts)?,
                        None => Texts::default(),
                    },
                };
                ancestors.insert(parent.clone(), node);
            }
            next.insert(parent);
        }
        // Roots have no parents, and what was asked already is known.
        for asked in level {
            parents.entry(asked).or_default();
        }
        next.retain(|id| !id.is_root() && !parents.contains_key(id));
        level = next;
    }
    for (id, node) in &mut ancestors {
        node.parents = parents.get(id).cloned().unwrap_or_default();
    }
    let nodes = Arc::new(ancestors);
    Ok(ids
        .iter()
        .map(|id| {
            let lineage = Lineage {
                parents: parents.get(id).cloned().unwrap_or_default(),
                nodes: Arc::clone(&nodes),
            };
            (id.clone(), lineage)
        })
        .collect())
}

/// The parents of one collection.
///
/// # Errors
/// Where the database fails.
pub async fn parents(tx: &Tx, id: &CollectionId) -> Result<BTreeSet<CollectionId>> {
    let links = links(tx, &HashSet::from([id.clone()]), Above::Shown).await?;
    let parents = links.into_iter().map(|link| link.collection_id);
    Ok(parents.map(CollectionId::trusted).collect())
}

/// Links to the children given, with what their parents' descendants need to know.
async fn links(tx: &Tx, children: &HashSet<CollectionId>, above: Above) -> Result<Vec<LinkRow>> {
    // Each parent is looked up by itself, where a planner could turn a join round.
    let of_parent = |column: collection::Column| {
        let parent = member::Column::CollectionId.as_column_ref();
        let select = Query::select()
            .column(column.as_column_ref())
            .from(collection::Entity)
            .and_where(collection::Column::TenantId.eq(tx.tenant()))
            .and_where(collection::Column::Id.into_expr().equals(parent))
            .to_owned();
        Expr::SubQuery(None, Box::new(select.into()))
    };
    let texts: Expr = match above {
        Above::Shown => Expr::value(Option::<String>::None),
        Above::Named => of_parent(collection::Column::Texts),
    };
    let children = children.iter().map(CollectionId::as_str);
    let links = Wanted::new(tx, member::Column::ChildId, children)?;
    let links = links.select(member::Entity, |select| {
        select
            .column(member::Column::ChildId.as_column_ref())
            .column(member::Column::CollectionId.as_column_ref())
            .expr_as(of_parent(collection::Column::Active), "active")
            .expr_as(texts, "texts")
            .and_where(member::Column::TenantId.eq(tx.tenant()))
            .and_where(member::Column::List.eq(list_code(ChildType::Collection)));
    });
    let mut links: Vec<LinkRow> = wanted::models(tx, &links).await?;
    // A parent that is not there is for `endcap check` to tell.
    links.retain(|link| link.active.is_some());
    // Not in the statement: for that order SQLite would read all links of the tenant.
    links.sort_unstable_by(|a, b| a.collection_id.cmp(&b.collection_id));
    Ok(links)
}

/// How many levels of collections stand below, at most `max` counted.
///
/// # Errors
/// Where the database fails.
pub async fn height(tx: &Tx, ids: &[CollectionId], max: usize) -> Result<usize> {
    let mut level: HashSet<ChildId> = ids.iter().cloned().map(ChildId::from).collect();
    for height in 0..max {
        // Each once a level, but again in a deeper one: the longest way counts.
        let ids: Vec<_> = level.into_iter().map(CollectionId::from).collect();
        let below = children::lists(tx, ChildType::Collection, &ids).await?;
        if below.is_empty() {
            return Ok(height);
        }
        level = below.into_values().flatten().collect();
    }
    Ok(max)
}
