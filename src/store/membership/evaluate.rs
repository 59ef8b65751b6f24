//! Evaluates a collection's rules over all products when its rules, its sort order or its rule
//! entries change. The counterpart for changed products is [`super::follow`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use super::follow::{MembershipChanges, Step, Steps, insert, membership_changes_between};
use crate::{
    domain::{
        ChildId, ChildType, Collection, CollectionId, Error, Kind, Mutation, Needs, Product,
        ProductFilter, ProductId, Reason, Result, RuleSet, RulesState, Sort, Timestamp,
        collection::version_after,
    },
    store::{
        children::Children,
        collections,
        error::needs_more_locks,
        jobs,
        lock::{LockSet, Locked, RuleLock},
        lock_entry::EvaluationScope,
        products::{self, Behind, Page, Pages},
        rules::{
            self, Compiled,
            due::{self, Due},
            entries::{self, Named},
            evaluations,
            keys::{self, Member},
            names::{self, Memberships},
        },
        tx::Tx,
    },
    telemetry::metrics,
};

/// A list is rewritten as a whole if more products than this join and leave, and more than an
/// eighth of its length.
const FEW: usize = 1_000;

/// The content that the list of a smart collection must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its products, in order.
    pub list: Vec<ChildId>,
    /// The sort keys of the products in a sorted list. Pinned products have none.
    pub keys: HashMap<ChildId, String>,
    /// Products, whether in the list or not, for which time will change a condition, and when.
    pub due: Vec<(ProductId, Timestamp)>,
}

impl Locked {
    /// Updates the lists of collections whose rules, order or rule entries changed in this unit.
    pub(in crate::store) async fn follow_rules(&mut self, tx: &Tx) -> Result<()> {
        let limit = tx.session().rule_limits.products;
        let changed = self.collections.iter().filter_map(|(id, entry)| {
            let scope = if entry.has_other_rules() {
                EvaluationScope::All(limit)
            } else {
                entry.follow.clone()?
            };
            Some((id.clone(), scope))
        });
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() {
            return Ok(());
        }
        let (how, version) = self.rules;
        if how != RuleLock::Exclusive {
            return Err(needs_more_locks(LockSet {
                rules: RuleLock::Exclusive,
                ..LockSet::default()
            }));
        }
        let ids: Vec<_> = changed.iter().map(|(id, _)| id.clone()).collect();
        let before = self.check_names(tx, &ids).await?;
        let version = version_after(version.unwrap_or_default(), tx.now);
        rules::stamp(tx, version, &ids).await?;
        let mut all_changes = MembershipChanges::new();
        let mut done = Vec::new();
        for (id, scope) in changed {
            let keeps_rules = matches!(scope, EvaluationScope::Named(_));
            let list = self.follow_rules_of(tx, &id, scope).await?;
            if !keeps_rules && self.entry(&id)?.now.rules_state == RulesState::Current {
                done.push(id.clone());
            }
            if self.is_named(&id) && !list.is_empty() {
                all_changes.insert(id, list);
            }
        }
        let Some(before) = before.filter(|_| !all_changes.is_empty()) else {
            return Ok(());
        };
        // The lists of these follow their new rules and sort orders already. `before` has the old
        // ones.
        let mut before = before.without(&done);
        // Whoever finds these rules in memory reads all others again.
        before.version = 0;
        self.follow(tx, &Arc::new(before), Vec::new(), all_changes)
            .await
    }

    /// Checks the references to other collections in rules that changed, and marks the referenced
    /// collections. Returns the rules as they were before, if other lists may depend on the lists
    /// of these collections.
    async fn check_names(
        &mut self,
        tx: &Tx,
        ids: &[CollectionId],
    ) -> Result<Option<Arc<Compiled>>> {
        let mut others = Vec::new();
        for id in ids {
            if let Some(entry) = self.collections.get(id)
                && let Kind::Smart { rules } = &entry.now.kind
                && entry.has_other_kind()
                && !rules.named().is_empty()
            {
                others.push((id.clone(), rules.clone()));
            }
        }
        if others.is_empty() && !ids.iter().any(|id| self.is_named(id)) {
            return Ok(None);
        }
        let before = match self.rules.1 {
            Some(version) => rules::at(tx, version).await?,
            None => Arc::default(),
        };
        let mut linked = BTreeSet::new();
        for (id, rules) in &others {
            names::check_there(tx, rules).await?;
            let max = tx.session().rule_limits.chain;
            names::check_chain(tx, &before, (id, rules), max).await?;
            linked.extend(rules.named_ids());
        }
        self.mark_named(tx, linked).await?;
        Ok(Some(before))
    }

    /// Locks and marks existing collections that rules reference, so that nobody changes their lists
    /// without updating the lists that depend on them.
    pub(super) async fn mark_named(&self, tx: &Tx, named: BTreeSet<CollectionId>) -> Result<()> {
        if named.iter().any(|id| !self.exists(id)) {
            return Err(needs_more_locks(LockSet {
                rules: RuleLock::Exclusive,
                linked: named,
                ..LockSet::default()
            }));
        }
        collections::set_named(tx, &named.into_iter().collect::<Vec<_>>()).await
    }

    /// Updates one collection's list. Returns the products that joined it (true) or left it
    /// (false).
    async fn follow_rules_of(
        &mut self,
        tx: &Tx,
        id: &CollectionId,
        scope: EvaluationScope,
    ) -> Result<BTreeMap<ProductId, bool>> {
        let collection = self.expect(id, None)?.clone();
        if !collection.kind.is_smart() {
            self.end_evaluation(tx, id).await?;
            // The sort keys stay, as there may be a million of them: nothing reads them before the
            // collection is smart again, and then they are all compared with the expected ones.
            entries::clear(tx, id).await?;
            return Ok(BTreeMap::new());
        }
        let found = match scope {
            EvaluationScope::Built(changes) => {
                metrics::rules_evaluated();
                self.end_evaluation(tx, id).await?;
                return Ok(changes);
            }
            EvaluationScope::Later(total) => {
                self.evaluate_later(tx, id, total).await?;
                return Ok(BTreeMap::new());
            }
            EvaluationScope::All(max) if products::are_more_than(tx, max).await? => {
                if tx.is_dry_run {
                    return Err(too_many_products(max));
                }
                let total = products::count(tx, &ProductFilter::registered()).await?;
                self.evaluate_later(tx, id, total).await?;
                return Ok(BTreeMap::new());
            }
            EvaluationScope::Named(ids) => return self.follow_entries(tx, collection, ids).await,
            EvaluationScope::All(_) => None,
            EvaluationScope::Found(ids) => Some(ids),
        };
        let list = ChildType::Product;
        let old = Children::uncached(tx, id, list).all().await?;
        let stored = keys::of_collection(tx, id).await?;
        let named = entries::of_collection(tx, id).await?;
        let mut base = Base::new(id, &collection.kind, collection.sort, named.clone());
        match found {
            None => base.add_all(tx).await?,
            // The current members may not match the new rules.
            Some(mut ids) => {
                ids.extend(old.iter().cloned().map(ProductId::from));
                base.add_of(tx, ids).await?;
            }
        }
        let expected = base.in_order(&old);
        let mutations = mutations(&old, &expected, &named);
        let mutations: Vec<_> = mutations.iter().collect();
        if !mutations.is_empty() {
            let applied = self.mutate(tx, id, list, &mutations).await?;
            let changed = usize::from(applied.rows_written > 0);
            tx.with_ledger(|ledger| ledger.lists_followed(changed));
        }
        put_keys(tx, id, &stored, &expected.keys, &expected.list).await?;
        due::put_earlier(tx, &expected.due).await?;
        metrics::rules_evaluated();
        self.end_evaluation(tx, id).await?;
        Ok(membership_changes_between(&old, &expected.list))
    }

    /// Updates one collection's list for products whose rule entries changed. They are evaluated
    /// under the rules that the list follows now, which are the old ones during an evaluation.
    /// Returns the products that joined it (true) or left it (false).
    async fn follow_entries(
        &mut self,
        tx: &Tx,
        collection: Collection,
        ids: BTreeSet<ProductId>,
    ) -> Result<BTreeMap<ProductId, bool>> {
        let id = &collection.id;
        let children = ids.iter().cloned().map(ChildId::from).collect();
        jobs::recheck_places(tx, &BTreeMap::from([(id, children)]), u64::MAX).await?;
        let (kind, sort) = evaluations::followed(tx, &collection).await?;
        let products: Vec<_> = ids.iter().cloned().collect();
        let named = entries::of_some(tx, id, &products).await?;
        let mut base = Base::new(id, &kind, sort, named);
        base.add_of(tx, ids.clone()).await?;
        due::put_earlier(tx, &base.take_due()).await?;
        let stored = keys::of_products(tx, id, &products).await?;
        let mut steps = base.steps(ids, &stored);
        // A product stays where it is without its pin, but then others may have to return to theirs.
        for child in stored.into_keys().filter(|_| !base.is_sorted()) {
            steps.entry((id.clone(), child)).or_insert(Step::Pin);
        }
        self.take_steps(tx, &steps, |_| base.is_sorted()).await?;
        let changes = steps
            .into_iter()
            .filter_map(|((_, child), step)| match step {
                Step::Join(_) => Some((child.into(), true)),
                Step::Leave => Some((child.into(), false)),
                Step::Move(_) | Step::Pin => None,
            });
        Ok(changes.collect())
    }

    /// Leaves the evaluation of a collection's rules, over `total` products, to a job. Until it
    /// finishes, the list stays as it is.
    async fn evaluate_later(&mut self, tx: &Tx, id: &CollectionId, total: u64) -> Result<()> {
        let entry = self.entry(id)?;
        let now = entry.now.clone();
        let before = match (&entry.before, entry.version) {
            (Some(before), _) => before.clone(),
            // Only an evaluation was requested: the rules are the same as before.
            (None, Some(_)) => now.clone(),
            // The collection is new, so its list has followed no rules yet.
            (None, None) => Collection {
                kind: Kind::Manual,
                sort: None,
                ..now.clone()
            },
        };
        // With `before` set, saving sees the new state as a changed property and writes it.
        entry.before.get_or_insert(now);
        entry.now.rules_state = RulesState::Evaluating;
        evaluations::begin(tx, &before, total).await
    }

    /// Ends a running evaluation of a collection's rules, if there is one.
    async fn end_evaluation(&mut self, tx: &Tx, id: &CollectionId) -> Result<()> {
        let entry = self.entry(id)?;
        if entry.now.rules_state == RulesState::Current {
            return Ok(());
        }
        entry.before.get_or_insert_with(|| entry.now.clone());
        entry.now.rules_state = RulesState::Current;
        evaluations::end(tx, id).await
    }
}

/// The content that the list of a collection must have, given its current list `old`. A list that
/// is not sorted keeps the order of `old`. For a manual collection, no product matches.
///
/// # Errors
/// If the database fails.
pub async fn expected(tx: &Tx, collection: &Collection, old: &[ChildId]) -> Result<Expected> {
    let named = entries::of_collection(tx, &collection.id).await?;
    let (kind, sort) = evaluations::followed(tx, collection).await?;
    let mut base = Base::new(&collection.id, &kind, sort, named);
    base.add_all(tx).await?;
    Ok(base.in_order(old))
}

/// Collects the products of a collection: those that match its rules and its includes, without its
/// excludes.
#[derive(Debug)]
pub(super) struct Base {
    by: Arc<Evaluator>,
    /// The products, each with its sort key if the list is sorted.
    products: BTreeMap<ChildId, Option<String>>,
    /// Products for which time will change a condition, and when.
    due: Vec<(ProductId, Timestamp)>,
}

/// Finds out which products belong to a collection.
#[derive(Clone, Debug)]
struct Evaluator {
    id: CollectionId,
    /// The collection's own rules only; empty if it is manual.
    rules: RuleSet,
    /// What the rules and the sort order look at in products.
    needs: Needs,
    sort: Option<Sort>,
    named: Named,
}

/// What was found out about some products.
#[derive(Debug, Default)]
struct Found {
    /// As in [`Base::products`].
    products: Vec<(ChildId, Option<String>)>,
    /// As in [`Base::due`].
    due: Vec<(ProductId, Timestamp)>,
}

impl Base {
    pub(super) fn new(id: &CollectionId, kind: &Kind, sort: Option<Sort>, named: Named) -> Self {
        let rules = match kind {
            Kind::Manual => None,
            Kind::Smart { rules } => Some((id.clone(), rules.clone())),
        };
        let rules = RuleSet::new(rules);
        let mut needs = rules.needs();
        if let Some(sort) = &sort {
            sort.add_needs(&mut needs);
        }
        Self::of(Evaluator {
            id: id.clone(),
            rules,
            needs,
            sort,
            named,
        })
    }

    fn of(by: Evaluator) -> Self {
        Self {
            by: Arc::new(by),
            products: BTreeMap::new(),
            due: Vec::new(),
        }
    }

    /// The same rules and sort order with other rule entries, and without products.
    pub(super) fn with_entries(&self, named: Named) -> Self {
        Self::of(Evaluator {
            named,
            ..Evaluator::clone(&self.by)
        })
    }

    pub(super) fn id(&self) -> &CollectionId {
        &self.by.id
    }

    /// The size of the products' ids and sort keys.
    pub(super) fn bytes(&self) -> usize {
        let products = self.products.iter();
        let sizes =
            products.map(|(id, key)| id.as_str().len() + key.as_ref().map_or(0, String::len));
        sizes.sum()
    }

    pub(super) fn is_sorted(&self) -> bool {
        self.by.sort.is_some()
    }

    /// Takes the products that were evaluated for which time will change a condition, and when.
    pub(super) fn take_due(&mut self) -> Vec<(ProductId, Timestamp)> {
        std::mem::take(&mut self.due)
    }

    /// The sort key of a product, which pinned products do not have; `None` if it does not belong
    /// to the collection.
    pub(super) fn key(&self, child: &ChildId) -> Option<Option<String>> {
        let key = self.products.get(child)?.clone();
        Some(key.filter(|_| !self.is_pinned(child)))
    }

    /// What happens to these products, which were evaluated, in a list that has the products in
    /// `stored`, each with its sort key if it has one.
    pub(super) fn steps(
        &self,
        products: BTreeSet<ProductId>,
        stored: &HashMap<ChildId, Option<String>>,
    ) -> Steps {
        let step = |product: ProductId| {
            let child = ChildId::from(product);
            let step = match (stored.get(&child), self.key(&child)) {
                (Some(_), None) => Step::Leave,
                (None, Some(key)) => Step::Join(key),
                (Some(old), Some(Some(new))) if old.as_ref() != Some(&new) => Step::Move(new),
                (Some(_), Some(None)) if self.is_pinned(&child) => Step::Pin,
                (Some(_), Some(_)) | (None, None) => return None,
            };
            Some(((self.id().clone(), child), step))
        };
        products.into_iter().filter_map(step).collect()
    }

    fn is_pinned(&self, child: &ChildId) -> bool {
        self.by.named.pins.contains_key(&child.clone().into())
    }

    /// Adds all products of the tenant that belong to the collection.
    async fn add_all(&mut self, tx: &Tx) -> Result<()> {
        let memberships = Arc::new(Memberships::of_all(tx, &self.by.rules).await?);
        let mut pages = Pages::after(tx, None, &self.by.needs);
        let mut evaluating = Behind::default();
        while let Some(page) = pages.next().await? {
            let memberships = Arc::clone(&memberships);
            self.add_page(tx, &mut evaluating, page, memberships)
                .await?;
        }
        self.add(evaluating.end().await?.unwrap_or_default());
        self.add_unregistered();
        Ok(())
    }

    /// Adds those of the next products after `last` that belong to the collection, until all are
    /// done, it is `end`, or more than `max_due` due times are known. Returns how many are done and
    /// the last one of them; `None` if there are no more.
    pub(super) async fn add_after(
        &mut self,
        tx: &Tx,
        last: Option<ProductId>,
        (end, max_due): (Instant, usize),
    ) -> Result<(usize, Option<ProductId>)> {
        let mut pages = Pages::after(tx, last, &self.by.needs);
        let mut evaluating = Behind::default();
        let (mut done, mut last) = (0, None);
        while self.due.len() <= max_due && (last.is_none() || Instant::now() < end) {
            let page = pages.next().await?;
            last = page.as_ref().and_then(Page::last).cloned();
            let Some(page) = page else { break };
            done += page.products.len();
            let memberships = Memberships::of(tx, &self.by.rules, &page.ids()).await?;
            let memberships = Arc::new(memberships);
            self.add_page(tx, &mut evaluating, page, memberships)
                .await?;
        }
        self.add(evaluating.end().await?.unwrap_or_default());
        Ok((done, last))
    }

    /// Begins to evaluate a page of products, and adds what was found in the one before.
    async fn add_page(
        &mut self,
        tx: &Tx,
        evaluating: &mut Behind<Found>,
        page: Page,
        memberships: Arc<Memberships>,
    ) -> Result<()> {
        let due = Due::of_rules(tx, &self.by.rules, &page.ids()).await?;
        let by = Arc::clone(&self.by);
        let evaluate = move |page: Page| {
            let mut found = Found::default();
            for product in &page.products {
                by.evaluate(product, &due, &memberships, &mut found);
            }
            found
        };
        let before = evaluating.begin(tx, page, evaluate).await?;
        self.add(before.unwrap_or_default());
        Ok(())
    }

    fn add(&mut self, found: Found) {
        self.products.extend(found.products);
        self.due.extend(found.due);
    }

    /// Applies rule entries to products that match the rules.
    pub(super) async fn add_entries(&mut self, tx: &Tx, named: Named) -> Result<()> {
        self.products
            .retain(|child, _| !named.excludes.contains(&child.clone().into()));
        let includes = named.includes.iter();
        let includes = includes.filter(|it| !self.products.contains_key(&(*it).clone().into()));
        let includes = includes.cloned().collect();
        Arc::make_mut(&mut self.by).named = named;
        self.add_of(tx, includes).await
    }

    /// Adds those of the given products that belong to the collection.
    pub(super) async fn add_of(&mut self, tx: &Tx, ids: BTreeSet<ProductId>) -> Result<()> {
        self.add_registered(tx, ids).await?;
        self.add_unregistered();
        Ok(())
    }

    /// Adds those of the given products that are registered and belong to the collection.
    async fn add_registered(&mut self, tx: &Tx, ids: BTreeSet<ProductId>) -> Result<()> {
        let known: Vec<_> = ids.iter().cloned().collect();
        let due = Due::of_rules(tx, &self.by.rules, &known).await?;
        let memberships = Memberships::of(tx, &self.by.rules, &known).await?;
        let mut found = Found::default();
        products::each_of(tx, ids, &self.by.needs, |product| {
            self.by.evaluate(product, &due, &memberships, &mut found);
        })
        .await?;
        self.add(found);
        Ok(())
    }

    /// Adds the includes whose products are not registered. They have no facts to evaluate or to
    /// sort by.
    fn add_unregistered(&mut self) {
        let Evaluator { named, sort, .. } = &*self.by;
        for product in named.includes.difference(&named.excludes) {
            let key = || sort.as_ref().map(|sort| sort.key(None));
            let entry = self.products.entry(product.clone().into());
            entry.or_insert_with(key);
        }
    }

    /// The list in its final order, given the current list `old`.
    pub(super) fn in_order(&mut self, old: &[ChildId]) -> Expected {
        let mut products = std::mem::take(&mut self.products);
        let mut pins: Vec<_> = self
            .by
            .named
            .pins
            .iter()
            .map(|(id, index)| (index, id))
            .collect();
        pins.sort_unstable();
        let pins = pins.into_iter().filter_map(|(index, id)| {
            let id = ChildId::from(id.clone());
            products.remove(&id).map(|_| (*index, id))
        });
        let pins: Vec<_> = pins.collect();
        let mut list = Vec::with_capacity(products.len() + pins.len());
        let mut keys = HashMap::new();
        if self.is_sorted() {
            let sorted = products.into_iter();
            let sorted = sorted.map(|(id, key)| (key.unwrap_or_default(), id));
            let mut sorted: Vec<_> = sorted.collect();
            sorted.sort_unstable();
            for (key, id) in sorted {
                list.push(id.clone());
                keys.insert(id, key);
            }
        // Without a sort order, members keep their positions and new products go to the end.
        } else {
            list.extend(
                old.iter()
                    .filter(|id| products.remove(*id).is_some())
                    .cloned(),
            );
            list.extend(products.into_keys());
        }
        let rest = list.len();
        let pins = pins.into_iter().zip(rest..);
        let mut rest = list.into_iter();
        let mut list = Vec::new();
        // Pins ascend, so everything before a pin is already in place and its index is final.
        for ((index, id), end) in pins {
            let index = usize::try_from(index).unwrap_or(usize::MAX).min(end);
            list.extend(rest.by_ref().take(index - list.len()));
            list.push(id);
        }
        list.extend(rest);
        Expected {
            list,
            keys,
            due: std::mem::take(&mut self.due),
        }
    }
}

impl Evaluator {
    /// Evaluates the rules for one product.
    fn evaluate(&self, product: &Product, due: &Due, memberships: &Memberships, found: &mut Found) {
        let moment = due.moment(&product.id);
        let facts = memberships.needed(product, moment, &self.needs);
        let matches = self.rules.matches(&self.id, &facts);
        let next = self.rules.next_change(&facts, moment);
        let next = next.map(|next| (product.id.clone(), next));
        found.due.extend(next);
        if self.named.product(&product.id).verdict(matches) {
            let key = self.sort.as_ref().map(|sort| sort.key(Some(product)));
            found.products.push((product.id.clone().into(), key));
        }
    }
}

/// The mutations that turn `old` into the expected list. Pinned products are left out if they only
/// move: every mutation returns them to their indexes.
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
    // Members that stay may also have to change their order, which only a rewrite does.
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
    // Appended even if it is empty: a mutation returns pins to their indexes, which may have
    // changed for products that are in the list already.
    mutations.push(Mutation::append(pinned.cloned().collect()));
    mutations
}

/// Writes the sort keys that differ from the stored ones, given the new list.
async fn put_keys(
    tx: &Tx,
    collection: &CollectionId,
    stored: &HashMap<ChildId, String>,
    expected: &HashMap<ChildId, String>,
    list: &[ChildId],
) -> Result<()> {
    let list: HashSet<_> = list.iter().collect();
    let gone = stored.keys().filter(|id| !expected.contains_key(*id));
    // Members that left the list have no rows any more, so there is nothing to clear.
    let gone = gone.filter(|id| list.contains(id));
    let changed = expected
        .iter()
        .filter(|(id, key)| stored.get(*id) != Some(key));
    let changed = changed.map(|(id, key)| (id, Some(key.as_str())));
    let changed = changed.chain(gone.map(|id| (id, None)));
    let changed: Vec<(Member, _)> = changed
        .map(|(id, key)| ((collection.clone(), id.clone()), key))
        .collect();
    keys::put(
        tx,
        keys::PRODUCTS,
        changed.iter().map(|(member, key)| (member, *key)),
    )
    .await
}

/// The error if rules would be evaluated over more than `max` products in one request.
pub fn too_many_products(max: usize) -> Error {
    let message = format!(
        "the tenant has more than {max} products, over which the rules would be evaluated \
         synchronously: raise max_synchronous_products"
    );
    Error::new(Reason::EvaluationTooLarge, message).limited_by("max_synchronous_products")
}
