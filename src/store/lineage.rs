//! What stands above collections, level by level.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use super::{
    children::{self, list_code},
    engine::MAX_BINDS,
    entity::{collection, member},
    row,
    tx::Tx,
};
use crate::domain::{ChildId, ChildType, CollectionId, Lineage, Result, Texts, lineage::Ancestor};

#[derive(FromQueryResult)]
struct LinkRow {
    child_id: String,
    collection_id: String,
    active: i16,
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
            if !ancestors.contains_key(&parent) {
                let node = Ancestor {
                    parents: Vec::new(),
                    active: row::active(link.active)?,
                    texts: match &link.texts {
                        Some(texts) => row::texts(texts)?,
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

/// Links to the children given, with what their parents' descendants need to know.
async fn links(tx: &Tx, children: &HashSet<CollectionId>, above: Above) -> Result<Vec<LinkRow>> {
    let texts: Expr = match above {
        Above::Shown => Expr::value(Option::<String>::None),
        Above::Named => Expr::col((collection::Entity, collection::Column::Texts)),
    };
    let children: Vec<&str> = children.iter().map(CollectionId::as_str).collect();
    let mut links = Vec::new();
    for children in children.chunks(MAX_BINDS) {
        let parent = Expr::col((collection::Entity, collection::Column::Id))
            .equals((member::Entity, member::Column::CollectionId))
            .and(
                Expr::col((collection::Entity, collection::Column::TenantId))
                    .equals((member::Entity, member::Column::TenantId)),
            );
        let rows = member::Entity::find()
            .select_only()
            .column(member::Column::ChildId)
            .column(member::Column::CollectionId)
            .column_as(
                Expr::col((collection::Entity, collection::Column::Active)),
                "active",
            )
            .column_as(texts.clone(), "texts")
            .join(
                sea_orm::JoinType::InnerJoin,
                member::Entity::belongs_to(collection::Entity)
                    .from(member::Column::CollectionId)
                    .to(collection::Column::Id)
                    .on_condition(move |_, _| parent.clone().into())
                    .into(),
            )
            .filter(member::Column::TenantId.eq(tx.tenant()))
            .filter(member::Column::List.eq(list_code(ChildType::Collection)))
            .filter(member::Column::ChildId.is_in(children.iter().copied()))
            .order_by_asc(member::Column::CollectionId)
            .into_model::<LinkRow>()
            .all(tx.db())
            .await?;
        links.extend(rows);
    }
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
        let ids = level.iter().map(ChildId::as_str);
        let end = member::Column::CollectionId;
        let below = children::links(tx, ChildType::Collection, end, ids).await?;
        if below.is_empty() {
            return Ok(height);
        }
        level = below.into_iter().map(|(_, child)| child).collect();
    }
    Ok(max)
}
