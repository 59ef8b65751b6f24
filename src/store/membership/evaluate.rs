//! Lists follow rules: where the rules of a collection are others, or what it names beside them,
//! or its order, they are evaluated over all products.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::follow::insert;
use crate::{
    domain::{
        ChildId, ChildType, Collection, CollectionId, Error, Facts, Kind, Mutation, Product,
        ProductId, Reason, Result, RuleSet, Timestamp, collection::version_after,
    },
    store::{
        children::Children,
        error::grew,
        lock::{LockSet, Locked, RuleLock},
        products,
        rules::{
            self,
            due::{self, Due},
            entries::{self, Named},
            keys::{self, Member},
        },
        tx::Tx,
    },
};

/// From so many changes on a list is written whole, if it is not much longer.
const FEW: usize = 1_000;

/// What the list of a smart collection must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its products, in order.
    pub list: Vec<ChildId>,
    /// The key of each of them in a sorted list, but for those that are pinned.
    pub keys: HashMap<ChildId, String>,
    /// Products, of the list or not, on which time will turn a condition, and when.
    pub due: Vec<(ProductId, Timestamp)>,
}

/// The products of a collection, by its rules and by name.
#[derive(Default)]
struct Base {
    /// Each with its key if they are sorted.
    products: BTreeMap<ChildId, Option<String>>,
    /// Those on which time will turn a condition, and when.
    due: Vec<(ProductId, Timestamp)>,
}

impl Locked {
    /// Lets the lists of collections follow their rules, where these changed in this unit.
    pub(in crate::store) async fn follow_rules(&mut self, tx: &Tx) -> Result<()> {
        let limit = tx.session().rule_limits.products;
        let changed = self.collections.iter();
        let changed = changed
            .filter(|(_, entry)| entry.evaluate.is_some() || entry.has_other_rules())
            .map(|(id, entry)| (id.clone(), entry.evaluate.unwrap_or(limit)));
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() {
            return Ok(());
        }
        let (how, version) = self.rules;
        if how != RuleLock::Exclusive {
            return Err(grew(LockSet {
                rules: RuleLock::Exclusive,
                ..LockSet::default()
            }));
        }
        let ids: Vec<_> = changed.iter().map(|(id, _)| id.clone()).collect();
        let version = version_after(version.unwrap_or_default(), tx.now);
        rules::stamp(tx, version, &ids).await?;
        for (id, max) in changed {
            self.follow_rules_of(tx, &id, max).await?;
        }
        Ok(())
    }

    async fn follow_rules_of(&mut self, tx: &Tx, id: &CollectionId, max: usize) -> Result<()> {
        let collection = self.expect(id, None)?.clone();
        let stored = keys::of_collection(tx, id).await?;
        if !collection.kind.is_smart() {
            entries::clear(tx, id).await?;
            return put_keys(tx, id, &stored, &HashMap::new(), None).await;
        }
        let old = Children::uncached(tx, id, ChildType::Product).all().await?;
        let named = entries::of_collection(tx, id).await?;
        let base = base(tx, &collection, &named, max).await?;
        let expected = in_order(&collection, &old, base, &named);
        let mutations = mutations(&old, &expected, &named);
        let mutations: Vec<_> = mutations.iter().collect();
        if !mutations.is_empty() {
            let list = ChildType::Product;
            self.mutate(tx, id, list, &mutations).await?;
        }
        put_keys(tx, id, &stored, &expected.keys, Some(&expected.list)).await?;
        let due: Vec<_> = expected.due.iter().map(|(id, due)| (id, *due)).collect();
        due::put_earlier(tx, &due).await
    }
}

/// What the list of a smart collection must be, where it is `old`: the order of a list that is
/// not sorted is what it is. A manual collection has no product by rules.
///
/// # Errors
/// Where the database fails.
pub async fn expected(tx: &Tx, collection: &Collection, old: &[ChildId]) -> Result<Expected> {
    let named = entries::of_collection(tx, &collection.id).await?;
    let base = base(tx, collection, &named, usize::MAX).await?;
    Ok(in_order(collection, old, base, &named))
}

/// The products that the collection has, by id: those that match its rules and those that it
/// includes, without those that it excludes.
async fn base(tx: &Tx, collection: &Collection, named: &Named, max: usize) -> Result<Base> {
    let mut base = Base::default();
    let Kind::Smart { rules } = &collection.kind else {
        return Ok(base);
    };
    let sort = collection.sort.as_ref();
    let rules = RuleSet::new([(collection.id.clone(), rules.clone())]);
    let due = if rules.has_ages() {
        Due::overdue(tx).await?
    } else {
        Due::never(tx)
    };
    let mut count = 0;
    let look = |product: &Product| {
        count += 1;
        if count > max {
            return Err(too_many_products(max));
        }
        let moment = due.moment(&product.id);
        let facts = Facts::of(product, moment);
        let matches = rules.matches(&collection.id, &facts);
        if let Some(next) = rules.next_turn(&facts, moment) {
            base.due.push((product.id.clone(), next));
        }
        if named.product(&product.id).verdict(matches) {
            let key = sort.map(|sort| sort.key(Some(product)));
            base.products.insert(product.id.clone().into(), key);
        }
        Ok(())
    };
    products::each(tx, look).await?;
    // Those that are not registered have no facts.
    for product in named.includes.difference(&named.excludes) {
        let key = || sort.map(|sort| sort.key(None));
        let entry = base.products.entry(product.clone().into());
        entry.or_insert_with(key);
    }
    Ok(base)
}

fn in_order(collection: &Collection, old: &[ChildId], base: Base, named: &Named) -> Expected {
    let Base {
        products: mut base,
        due,
    } = base;
    let mut pins: Vec<_> = named.pins.iter().map(|(id, index)| (index, id)).collect();
    pins.sort_unstable();
    let pins = pins.into_iter().filter_map(|(index, id)| {
        let id = ChildId::from(id.clone());
        base.remove(&id).map(|_| (*index, id))
    });
    let pins: Vec<_> = pins.collect();
    let mut list = Vec::with_capacity(base.len() + pins.len());
    let mut keys = HashMap::new();
    if collection.sort.is_some() {
        let sorted = base.into_iter();
        let sorted = sorted.map(|(id, key)| (key.unwrap_or_default(), id));
        let mut sorted: Vec<_> = sorted.collect();
        sorted.sort_unstable();
        for (key, id) in sorted {
            list.push(id.clone());
            keys.insert(id, key);
        }
    } else {
        list.extend(old.iter().filter(|id| base.remove(*id).is_some()).cloned());
        list.extend(base.into_keys());
    }
    let rest = list.len();
    let pins = pins.into_iter().zip(rest..);
    let mut rest = list.into_iter();
    let mut list = Vec::new();
    // Each index is final when its pin comes: all before it is there.
    for ((index, id), end) in pins {
        let index = usize::try_from(index).unwrap_or(usize::MAX).min(end);
        list.extend(rest.by_ref().take(index - list.len()));
        list.push(id);
    }
    list.extend(rest);
    Expected { list, keys, due }
}

/// The mutations that make the list as it must be, but for pins, which return by themselves.
fn mutations(old: &[ChildId], expected: &Expected, named: &Named) -> Vec<Mutation> {
    let new = &expected.list;
    if old == new {
        return Vec::new();
    }
    let is_pinned = |id: &&ChildId| named.pins.contains_key(&ProductId::from((*id).clone()));
    let (in_old, in_new): (HashSet<_>, HashSet<_>) = (old.iter().collect(), new.iter().collect());
    let leaving: Vec<_> = old.iter().filter(|id| !in_new.contains(id)).collect();
    let joining = new.iter().filter(|id| !in_old.contains(id)).count();
    let stays = |id: &&ChildId| in_old.contains(id) && in_new.contains(id) && !is_pinned(id);
    let is_in_order = old.iter().filter(stays).eq(new.iter().filter(stays));
    if !is_in_order || leaving.len() + joining > Ord::max(FEW, old.len() / 8) {
        return vec![Mutation::Replace { ids: new.clone() }];
    }
    let mut mutations = Vec::new();
    if !leaving.is_empty() {
        mutations.push(Mutation::remove(leaving.into_iter().cloned().collect()));
    }
    let mut last: Option<&ChildId> = None;
    let mut group: Vec<ChildId> = Vec::new();
    let mut add = |last: Option<&ChildId>, group: &mut Vec<ChildId>| {
        if !group.is_empty() {
            mutations.push(insert(last, std::mem::take(group)));
        }
    };
    for id in new.iter().filter(|id| !is_pinned(id)) {
        if in_old.contains(id) {
            add(last, &mut group);
            last = Some(id);
        } else {
            group.push(id.clone());
        }
    }
    add(last, &mut group);
    let pinned = new
        .iter()
        .filter(|id| is_pinned(id) && !in_old.contains(id));
    // Without one, too: pins of others may have changed.
    mutations.push(Mutation::append(pinned.cloned().collect()));
    mutations
}

/// Writes the keys that are others than those stored. `list` has what the list has become; none
/// if it is as it was.
async fn put_keys(
    tx: &Tx,
    collection: &CollectionId,
    stored: &HashMap<ChildId, String>,
    expected: &HashMap<ChildId, String>,
    list: Option<&[ChildId]>,
) -> Result<()> {
    let in_list = list.map(|list| list.iter().collect::<HashSet<_>>());
    let gone = stored.keys().filter(|id| !expected.contains_key(*id));
    // Those that left have no rows any more.
    let is_there = |id: &&ChildId| in_list.as_ref().is_none_or(|list| list.contains(*id));
    let gone = gone.filter(is_there);
    let changed = expected
        .iter()
        .filter(|(id, key)| stored.get(*id) != Some(key));
    let changed = changed.map(|(id, key)| (id, Some(key.as_str())));
    let changed = changed.chain(gone.map(|id| (id, None)));
    let changed: Vec<(Member, _)> = changed
        .map(|(id, key)| ((collection.clone(), id.clone()), key))
        .collect();
    keys::put(tx, changed.iter().map(|(member, key)| (member, *key))).await
}

fn too_many_products(max: usize) -> Error {
    let message = format!(
        "the tenant has more than {max} products, over which the rules would be evaluated at \
         once: set max_synchronous_products"
    );
    Error::new(Reason::EvaluationTooLarge, message).limited_by("max_synchronous_products")
}
