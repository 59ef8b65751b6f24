//! Creates and updates products, and sets which manual collections contain them. Smart collections
//! follow in the same transaction, or by a job if too much changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use super::{Command, ProductDetail, Retry, Settings, products};
use crate::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Constraint, FieldPath, Mutation, Product,
        ProductChanges, ProductId, Result, Violations, Writing,
        field::ProductPart,
        product::{not_found, taken},
    },
    store::{
        Tx,
        lock::{LockSet, Locked, RuleLock},
        tenants,
    },
};

/// A request to create or update products.
#[derive(Clone, Debug)]
pub struct UpsertProducts {
    /// The products, without duplicates.
    pub products: Vec<ProductUpsert>,
    /// Whether the products must be new, or must exist.
    pub expected: Expected,
    /// Completes the changes depending on what is stored; `None` if that is not needed.
    pub completion: Option<Completion>,
    /// Whether to return the collections of the products.
    pub return_collections: bool,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<Vec<Upserted>>>,
}

/// The result for one product.
#[derive(Clone, Debug)]
pub struct Upserted {
    /// The product, with its collections if they were requested.
    pub detail: ProductDetail,
    /// Whether the product was not registered before.
    pub created: bool,
}

impl Upserted {
    /// The id of the product.
    pub fn id(&self) -> &str {
        self.detail.id.as_str()
    }
}

/// Whether products must be new. It is an error if they are not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No expectation.
    Any,
    /// The products must be registered, or at least be in a collection.
    Known,
    /// The products must not be registered.
    New,
}

/// Completes the changes of a product, given the registered product. It drops values that the
/// client was shown and sent back although they are not stored (defaults and fallbacks), and adds
/// values that depend on stored ones, such as a list of which the request changes one item.
#[derive(Clone)]
pub struct Completion(Arc<Complete>);

type Complete = dyn Fn(&mut ProductChanges, Option<&Product>) -> Result<()> + Send + Sync;

impl Completion {
    /// Wraps the function. It is called while the product is locked, and again if the transaction
    /// is retried. It fails if the request refers to something that does not exist.
    pub fn new(
        complete: impl Fn(&mut ProductChanges, Option<&Product>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(complete))
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}

/// The creation or update of one product.
#[derive(Clone, Debug)]
pub struct ProductUpsert {
    /// The changes of its properties.
    pub changes: ProductChanges,
    /// The collections that are to contain it.
    pub collections: Listing,
}

/// The collections that are to contain a product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// No change.
    #[default]
    Same,
    /// Only these.
    Only(BTreeSet<CollectionId>),
    /// These in addition to the current ones.
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

/// The products that join and leave a collection.
#[derive(Default)]
struct Moves {
    joining: Vec<ChildId>,
    leaving: Vec<ChildId>,
}

/// Writes products and adds them to the given collections, all or nothing. Returns them in the
/// order of the request.
///
/// # Errors
/// If a product is invalid or occurs twice, or if a collection does not exist or is smart.
impl Command for UpsertProducts {
    const NAME: &str = "UpsertProducts";

    type Response = Vec<Upserted>;

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing()
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        let mut violations = Violations::default();
        let products = &self.products;
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
            let field = FieldPath::CollectionIds;
            violations.count(field, collections, settings.limits.ids);
            product.changes.check(at, &settings.limits, &mut violations);
        }
        violations.finish()
    }

    fn retry(&self) -> Option<&Retry<Vec<Upserted>>> {
        self.retry.as_ref()
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<Vec<Upserted>> {
        tenants::ensure(tx, settings.root_names, &settings.default_locale).await?;
        let ids = self.products.iter();
        let ids: Vec<_> = ids.map(|product| product.changes.id.clone()).collect();
        let plan = || async {
            let listed = self.listed(tx, &ids).await?;
            let moves = moves(&self.products, &listed);
            let set = LockSet {
                collections: moves.keys().cloned().collect(),
                products: ids.iter().cloned().collect(),
                rules: RuleLock::Shared,
                ..LockSet::default()
            };
            Ok((set, (listed, moves)))
        };
        let (mut locked, (listed, moves)) = tx.lock_memberships(plan).await?;
        let joined = moves.iter().filter(|(_, moves)| !moves.joining.is_empty());
        let joined: Vec<_> = joined.map(|(id, _)| id).collect();
        products::check_no_root(joined.iter().copied())?;
        products::check_lists(joined.into_iter(), &locked)?;
        self.check_expected(&ids, &listed, &locked)?;
        let written = self.changed(tx, &locked, settings)?;
        let registered = locked.products();
        let changed = written.iter().flatten();
        let changed = changed.filter(|product| registered.get(&product.id) != Some(product));
        let changed: Vec<_> = changed.cloned().collect();
        locked.put_products(tx, &changed).await?;
        let mutations = moves.into_iter().map(|(collection, moves)| {
            let leaving = if keeps_products(&collection, &locked) {
                Vec::new()
            } else {
                moves.leaving
            };
            let mutations = [Mutation::remove(leaving), Mutation::append(moves.joining)];
            (collection, mutations)
        });
        let mutations: Vec<_> = mutations.collect();
        let edits = mutations
            .iter()
            .map(|(collection, mutations)| (collection.clone(), mutations.iter().collect()));
        let edits = edits.collect();
        let list = ChildType::Product;
        locked.mutate_many(tx, list, &edits).await?;
        let upserted = self.upserted(tx, &locked, written).await?;
        locked.save(tx, &settings.default_locale).await?;
        Ok(upserted)
    }
}

impl UpsertProducts {
    /// The collections that contain the products; empty if that does not matter.
    async fn listed(
        &self,
        tx: &Tx,
        ids: &[ProductId],
    ) -> Result<BTreeMap<ProductId, BTreeSet<CollectionId>>> {
        let matters = self.expected == Expected::Known
            || self
                .products
                .iter()
                .any(|product| product.collections.named().is_some());
        if matters {
            products::collections_of(tx, ids).await
        } else {
            Ok(BTreeMap::new())
        }
    }

    fn check_expected(
        &self,
        ids: &[ProductId],
        listed: &BTreeMap<ProductId, BTreeSet<CollectionId>>,
        locked: &Locked,
    ) -> Result<()> {
        let registered = locked.products();
        match self.expected {
            Expected::Any => Ok(()),
            Expected::Known => {
                let has =
                    |id: &&ProductId| registered.contains_key(*id) || listed.contains_key(*id);
                let missing = ids.iter().find(|id| !has(id));
                missing.map_or(Ok(()), |id| Err(not_found(id)))
            }
            Expected::New => {
                let there = ids.iter().find(|id| registered.contains_key(*id));
                there.map_or(Ok(()), |id| Err(taken(id)))
            }
        }
    }

    /// The products in their new state. `None` for an unregistered product in a collection without
    /// any changes: it is not registered by this.
    fn changed(
        &self,
        tx: &Tx,
        locked: &Locked,
        settings: &Settings,
    ) -> Result<Vec<Option<Product>>> {
        let mut violations = Violations::default();
        let limits = &settings.limits;
        let mut products = Vec::with_capacity(self.products.len());
        for (at, product) in self.products.iter().enumerate() {
            let mut changes = locked.as_stored(product.changes.clone());
            let known = locked.products().get(&changes.id);
            if let Some(Completion(complete)) = &self.completion {
                complete(&mut changes, known)?;
            }
            if known.is_none() && self.expected == Expected::Known && changes.is_empty() {
                products.push(None);
                continue;
            }
            let product = Product::changed(known, changes, tx.now, at, limits, &mut violations);
            products.push(Some(product));
        }
        violations.finish()?;
        Ok(products)
    }

    async fn upserted(
        &self,
        tx: &Tx,
        locked: &Locked,
        written: Vec<Option<Product>>,
    ) -> Result<Vec<Upserted>> {
        let ids = self.products.iter().map(|product| &product.changes.id);
        let mut collections = if self.return_collections {
            let ids: Vec<_> = ids.clone().cloned().collect();
            products::collections_of(tx, &ids).await?
        } else {
            BTreeMap::new()
        };
        let upserted = ids.zip(written).map(|(id, product)| {
            let created = product.is_some() && !locked.products().contains_key(id);
            let collections = collections.remove(id).unwrap_or_default();
            let detail = ProductDetail {
                tenant: tx.named.clone(),
                id: id.clone(),
                product,
                collections: collections.into_iter().collect(),
            };
            Upserted { detail, created }
        });
        Ok(upserted.collect())
    }
}

/// Whether the collection keeps a product although the product's new collections do not include it.
/// Clients cannot add products to smart collections and roots, so they cannot remove them either.
fn keeps_products(id: &CollectionId, locked: &Locked) -> bool {
    id.is_root() || locked.get(id).is_some_and(|it| it.kind.is_smart())
}

/// The products that join and leave each collection.
fn moves(
    products: &[ProductUpsert],
    listed: &BTreeMap<ProductId, BTreeSet<CollectionId>>,
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
            moves.joining.push(id.clone().into());
        }
        if matches!(product.collections, Listing::Also(_)) {
            continue;
        }
        for collection in old.difference(new) {
            let moves = moves.entry(collection.clone()).or_default();
            moves.leaving.push(id.clone().into());
        }
    }
    moves
}
