//! Creating and updating products.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;

use super::{Answer, ProductDetail, Retry, Service, Settings, links, products};
use crate::{
    domain::{
        Caller, ChildId, ChildType, Collection, CollectionId, Constraint, FieldPath, Mutation,
        Product, ProductChanges, Result, Violations,
        field::ProductPart,
        product::{not_found, taken},
    },
    store::{Mode, Tx, collections, products as store, tenants},
};

/// Creates or updates products.
#[derive(Clone, Debug)]
pub struct UpsertProducts {
    /// The products, each once.
    pub products: Vec<ProductUpsert>,
    /// Whether they are new.
    pub expected: Expected,
    /// Whether to answer which collections have them.
    pub tell: bool,
    /// Under which a retry is recognised.
    pub retry: Option<Retry<Vec<Upserted>>>,
}

/// What became of one product.
#[derive(Clone, Debug)]
pub struct Upserted {
    /// The product; its collections where they were asked for, else none.
    pub detail: ProductDetail,
    /// Whether it was not registered before.
    pub created: bool,
}

/// Whether products are expected to be new; it is an error if they are not what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// New or known.
    Any,
    /// Known, or at least in a collection.
    Known,
    /// New: not registered.
    New,
}

/// Creates or updates a product.
#[derive(Clone, Debug)]
pub struct ProductUpsert {
    /// What it is.
    pub changes: ProductChanges,
    /// The collections that have it.
    pub collections: Listing,
}

/// Which collections have a product from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// Those that do.
    #[default]
    Same,
    /// These alone.
    Only(BTreeSet<CollectionId>),
    /// These too.
    Also(BTreeSet<CollectionId>),
}

impl Listing {
    fn named(&self) -> Option<&BTreeSet<CollectionId>> {
        match self {
            Self::Same => None,
            Self::Only(named) | Self::Also(named) => Some(named),
        }
    }
}

/// What products come into a collection and go out of it.
#[derive(Default)]
struct Moves {
    joining: Vec<ChildId>,
    leaving: Vec<ChildId>,
}

impl Service {
    /// Writes products and puts them into the collections named, or does nothing. Answers
    /// them in the order given.
    ///
    /// # Errors
    /// Where the caller may not; where a product breaks rules or is named twice, or a
    /// collection does not exist or is smart; where the store fails.
    pub async fn upsert_products(
        &self,
        caller: &Caller,
        command: UpsertProducts,
    ) -> Result<Answer<Vec<Upserted>>> {
        let writing = caller.writing()?;
        let retry = command.retry.as_ref();
        self.write(
            &writing,
            Mode::Commit,
            &command,
            retry,
            |tx, command, settings| run(tx, command, settings).boxed(),
        )
        .await
    }
}

async fn run(tx: &Tx, command: &UpsertProducts, settings: &Settings) -> Result<Vec<Upserted>> {
    check(command, settings)?;
    tenants::ensure(tx, &settings.default_locale).await?;
    let ids = command.products.iter();
    let ids: Vec<_> = ids.map(|product| product.changes.id.clone()).collect();
    let listed = products::collections_of(tx, &ids).await?;
    let moves = moves(&command.products, &listed);
    let locked = lock(tx, &moves).await?;

    let known = store::lock(tx, &ids).await?;
    match command.expected {
        Expected::Any => {}
        Expected::Known => {
            let has = |id: &ChildId| known.contains_key(id) || listed.contains_key(id);
            if let Some(id) = ids.iter().find(|id| !has(id)) {
                return Err(not_found(id));
            }
        }
        Expected::New => {
            if let Some(id) = ids.iter().find(|id| known.contains_key(*id)) {
                return Err(taken(id));
            }
        }
    }
    let mut violations = Violations::default();
    let products = command.products.iter().enumerate();
    let products: Vec<_> = products
        .map(|(at, product)| {
            let changes = product.changes.clone();
            let known = known.get(&changes.id);
            let limits = &settings.limits;
            Product::changed(known, changes, tx.now, at, limits, &mut violations)
        })
        .collect();
    violations.finish()?;
    match command.expected {
        Expected::New => store::insert(tx, &products).await?,
        Expected::Any | Expected::Known => store::put(tx, &products).await?,
    }
    relist(tx, locked, moves).await?;
    let mut collections = if command.tell {
        products::collections_of(tx, &ids).await?
    } else {
        BTreeMap::new()
    };
    let upserted = products.into_iter().map(|product| {
        let id = product.id.clone();
        let created = !known.contains_key(&id);
        let collections = collections.remove(&id).unwrap_or_default();
        let detail = ProductDetail {
            tenant: tx.named.clone(),
            id,
            product: Some(product),
            collections: collections.into_iter().collect(),
        };
        Upserted { detail, created }
    });
    Ok(upserted.collect())
}

fn check(command: &UpsertProducts, settings: &Settings) -> Result<()> {
    let mut violations = Violations::default();
    let products = &command.products;
    if products.is_empty() {
        violations.add(FieldPath::Products, "", Constraint::Empty);
    }
    violations.count(FieldPath::Products, products.len(), settings.limits.ids);
    let mut seen = BTreeSet::new();
    for (at, product) in products.iter().enumerate() {
        let id = &product.changes.id;
        if !seen.insert(id) {
            let field = FieldPath::Product(at, ProductPart::Id);
            violations.add(field, id.as_str(), Constraint::Repeated);
        }
        let collections = product.collections.named().map_or(0, BTreeSet::len);
        violations.count(FieldPath::CollectionIds, collections, settings.limits.ids);
    }
    violations.finish()
}

/// What changes in which collection, in the order of their ids.
fn moves(
    products: &[ProductUpsert],
    listed: &BTreeMap<ChildId, BTreeSet<CollectionId>>,
) -> BTreeMap<CollectionId, Moves> {
    let mut moves: BTreeMap<CollectionId, Moves> = BTreeMap::new();
    let nowhere = BTreeSet::new();
    for product in products {
        let Some(new) = product.collections.named() else {
            continue;
        };
        let id = &product.changes.id;
        let old = listed.get(id).unwrap_or(&nowhere);
        for collection in new.difference(old) {
            let moves = moves.entry(collection.clone()).or_default();
            moves.joining.push(id.clone());
        }
        if matches!(product.collections, Listing::Also(_)) {
            continue;
        }
        for collection in old.difference(new) {
            let moves = moves.entry(collection.clone()).or_default();
            moves.leaving.push(id.clone());
        }
    }
    moves
}

/// Locks the collections that change; those that something joins must exist and be
/// manual.
async fn lock(tx: &Tx, moves: &BTreeMap<CollectionId, Moves>) -> Result<Vec<Collection>> {
    let all: Vec<_> = moves.keys().cloned().collect();
    let locked = collections::lock_many(tx, &all).await?;
    let joined = moves.iter().filter(|(_, moves)| !moves.joining.is_empty());
    products::check_lists(joined.map(|(id, _)| id), &locked)?;
    Ok(locked)
}

async fn relist(
    tx: &Tx,
    locked: Vec<Collection>,
    mut moves: BTreeMap<CollectionId, Moves>,
) -> Result<()> {
    for collection in locked {
        let Moves { joining, leaving } = moves.remove(&collection.id).unwrap_or_default();
        let mutations = [Mutation::remove(leaving), Mutation::append(joining)];
        links::relist(tx, collection, ChildType::Product, &mutations).await?;
    }
    Ok(())
}
