//! Updates the lists of smart collections when products change. The affected collections are found
//! in memory, with the compiled rules, and all their lists change together, in about as many
//! statements as one list takes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    domain::{
        ChildId, ChildType, CollectionId, Error, Facts, Mutation, OnDuplicate, Position, Product,
        ProductId, Reason, Result,
    },
    store::{
        children::Children,
        collections,
        engine::Engine,
        error::needs_more_locks,
        jobs,
        ledger::{Change, Left},
        lock::{Edits, LockSet, Locked, RuleLock},
        lock_entry::{Linked, Lists},
        products,
        rules::{
            self, Compiled,
            due::{self, Due},
            entries::{self, NamedFor},
            keys::{self, Member},
            names::{self, Memberships},
        },
        tx::Tx,
    },
    telemetry::metrics,
};

/// A product of which a fact (including its age and its memberships) or details changed.
struct Changed {
    /// Its facts as the lists reflect them; `None` for a new product.
    before: Option<Facts>,
    after: Facts,
    product: Product,
}

/// A product before the change (`None` if it is new) and after it.
type Written = (Option<Product>, Product);

/// By collection: the products that joined its list (true) or left it (false).
pub(super) type MembershipChanges = BTreeMap<CollectionId, BTreeMap<ProductId, bool>>;

/// Rule entries by collection and product.
type Naming = HashMap<(CollectionId, ProductId), NamedFor>;

/// What happens to a product in a list.
#[derive(Debug)]
pub(super) enum Step {
    /// The product leaves the list.
    Leave,
    /// The product joins the list, with its sort key if the list is sorted and the product is not
    /// pinned.
    Join(Option<String>),
    /// The product gets another sort key and thus another position.
    Move(String),
    /// The product, which stays, is pinned and thus has no sort key.
    Pin,
}

/// What happens to each member or future member.
pub(super) type Steps = BTreeMap<Member, Step>;

impl Locked {
    /// Updates the lists of smart collections for the products that changed in this unit.
    pub(in crate::store) async fn follow_products(&mut self, tx: &Tx) -> Result<()> {
        let written = self.written(tx);
        let membership_changes = self.membership_changes(tx).await?;
        if written.is_empty() && self.due.is_empty() && membership_changes.is_empty() {
            return Ok(());
        }
        let Some(version) = self.rules_version()? else {
            return Ok(());
        };
        let compiled = rules::at(tx, version).await?;
        self.follow(tx, &compiled, written, membership_changes)
            .await
    }

    /// Updates the lists of smart collections for products that were written, and for products that
    /// joined or left the lists of referenced collections.
    pub(super) async fn follow(
        &mut self,
        tx: &Tx,
        compiled: &Arc<Compiled>,
        mut written: Vec<Written>,
        mut membership_changes: MembershipChanges,
    ) -> Result<()> {
        if written.is_empty() && membership_changes.is_empty() && self.due.is_empty() {
            return Ok(());
        }
        // The new rules that a job is evaluating may reference these lists, so the job must look
        // again at the products that joined or left them.
        if !compiled.evaluating.is_empty() && !membership_changes.is_empty() {
            let ids: BTreeSet<_> = membership_changes
                .values()
                .flat_map(BTreeMap::keys)
                .cloned()
                .collect();
            jobs::recheck(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
        }
        let is_still_smart = |id: &CollectionId| self.is_still_smart(id);
        let compiled = &match names::without_deleted(tx, compiled, is_still_smart).await? {
            Some(rest) => {
                tx.cache_rules_after_commit(Arc::clone(&rest));
                rest
            }
            None => Arc::clone(compiled),
        };
        // Only lists that rules reference can affect other lists.
        let names = compiled.set.named();
        membership_changes.retain(|id, _| names.contains(id));
        if !membership_changes.is_empty() {
            self.add_changed_members(tx, &mut written, &mut membership_changes)
                .await?;
        }
        let due = if compiled.set.has_ages() || !self.due.is_empty() {
            let ids: Vec<_> = written.iter().map(|(_, it)| it.id.clone()).collect();
            Due::of_products(tx, &ids).await?
        } else {
            Due::never(tx)
        };
        let mut changed = changed(tx, compiled, written, &membership_changes, &due).await?;
        let ids: Vec<_> = changed.iter().map(|it| it.product.id.clone()).collect();
        // A job may have evaluated its new rules over these products before they changed.
        if !compiled.evaluating.is_empty() && !changed.is_empty() {
            jobs::recheck(tx, &ids).await?;
        }
        self.put_due(tx, compiled, &changed, &due).await?;
        let new = changed.iter().filter(|it| it.before.is_none());
        let new: Vec<_> = new.map(|it| it.product.id.clone()).collect();
        // Without smart collections there are no suspended includes.
        let reactivated = if compiled.set.is_empty() && compiled.evaluating.is_empty() {
            Vec::new()
        } else {
            entries::reactivate(tx, &new).await?
        };
        if compiled.set.is_empty() || changed.is_empty() {
            return Ok(());
        }
        let steps = match steps(tx, compiled, &mut changed, &reactivated).await {
            Ok(mut steps) => {
                let locked = self.lock_lists(tx, &mut steps, compiled).await;
                locked.map(|()| steps)
            }
            Err(error) => Err(error),
        };
        match steps {
            Ok(steps) => {
                let is_sorted = |id: &CollectionId| compiled.sorts.contains_key(id);
                self.take_steps(tx, &steps, is_sorted).await
            }
            // The limits are checked before any list is changed, so a job can do it instead.
            Err(error) if error.reason == Reason::EvaluationTooLarge && !tx.is_dry_run => {
                jobs::follow(tx, &ids).await
            }
            Err(error) => Err(error),
        }
    }

    /// The products that joined or left the lists of referenced collections in this unit.
    async fn membership_changes(&mut self, tx: &Tx) -> Result<MembershipChanges> {
        let mut changes = MembershipChanges::new();
        let entries = self.collections.iter().map(|(id, it)| (id, &it.lists));
        let linked = self.linked.iter().map(|(id, it)| (id, &it.lists));
        for (id, lists) in entries.chain(linked).filter(|(id, _)| self.is_named(id)) {
            if self.replaced.contains_key(id) {
                continue;
            }
            let list = lists.mutated.iter();
            for mutated in list.filter(|it| it.list == ChildType::Product) {
                let products = changes.entry(id.clone()).or_default();
                // Lists that were replaced are compared as a whole below.
                let Left::These(left) = &mutated.left else {
                    continue;
                };
                let left = left.iter().map(|id| (id, false));
                for (child, joined) in left.chain(mutated.joined.iter().map(|id| (id, true))) {
                    products.insert(child.clone().into(), joined);
                }
            }
        }
        for (id, old) in std::mem::take(&mut self.replaced) {
            let new = Children::uncached(tx, &id, ChildType::Product)
                .all()
                .await?;
            changes.insert(id, membership_changes_between(&old, &new));
        }
        changes.retain(|_, products| !products.is_empty());
        Ok(changes)
    }

    /// Adds the registered products that joined or left lists to `written`, locked against other
    /// writers. If there are too many, a job follows those that were not written in this unit.
    async fn add_changed_members(
        &mut self,
        tx: &Tx,
        written: &mut Vec<Written>,
        membership_changes: &mut MembershipChanges,
    ) -> Result<()> {
        let known: BTreeSet<_> = written.iter().map(|(_, it)| it.id.clone()).collect();
        let others = membership_changes.values().flat_map(BTreeMap::keys);
        let others: BTreeSet<_> = others.filter(|id| !known.contains(*id)).cloned().collect();
        let others: Vec<_> = others.into_iter().collect();
        let max = tx.session().rule_limits.products;
        if others.len() > max {
            if tx.is_dry_run {
                return Err(too_many_memberships(max));
            }
            // This unit only deals with the products that it wrote itself.
            for products in membership_changes.values_mut() {
                products.retain(|id, _| known.contains(id));
            }
            return jobs::follow(tx, &others).await;
        }
        let found = products::lock_facts(tx, &others).await?;
        let joins = |id: &ProductId| {
            membership_changes
                .values()
                .any(|list| list.get(id) == Some(&true))
        };
        let unregistered = |id: &ProductId| !found.contains_key(id) && joins(id);
        if others.iter().any(unregistered)
            && self.rules.0 != RuleLock::Exclusive
            && tx.session().engine == Engine::Postgres
        {
            // Another transaction could register the product now without seeing that the list has
            // it. An exclusive lock on the rules keeps out everyone who writes products.
            return Err(needs_more_locks(LockSet {
                rules: RuleLock::Exclusive,
                ..LockSet::default()
            }));
        }
        written.extend(found.into_values().map(|it| (Some(it.clone()), it)));
        Ok(())
    }

    /// The products that this unit wrote, without those that it deleted, and the products that are
    /// due.
    fn written(&self, tx: &Tx) -> Vec<Written> {
        let mut written: BTreeMap<ProductId, Written> = BTreeMap::new();
        tx.with_ledger(|ledger| {
            for change in &ledger.changes {
                if let Change::ProductUpserted { before, after } = change {
                    let before = before.as_deref().cloned();
                    let entry = written.entry(after.id.clone());
                    let entry = entry.or_insert_with(|| (before, Product::clone(after)));
                    entry.1 = Product::clone(after);
                }
            }
        });
        let due = self.due.iter().filter_map(|id| self.products.get(id));
        for product in due {
            let entry = written.entry(product.id.clone());
            entry.or_insert_with(|| (Some(product.clone()), product.clone()));
        }
        written.into_values().collect()
    }

    /// Whether this unit changes rules, sort orders or rule entries.
    fn has_other_rules(&self) -> bool {
        let mut entries = self.collections.values();
        entries.any(|entry| entry.has_other_rules() || entry.follow.is_some())
    }

    /// Writes the next due times of the changed products.
    async fn put_due(
        &self,
        tx: &Tx,
        rules: &Compiled,
        changed: &[Changed],
        due: &Due,
    ) -> Result<()> {
        let next = changed.iter().map(|it| {
            let next = rules.set.next_change(&it.after, due.now);
            (&it.product.id, next)
        });
        let next = next.filter(|(id, next)| due.of(id) != *next);
        if self.has_other_rules() {
            // `rules` does not have the rules that this unit writes, so due times may only become
            // earlier: a later one might skip a condition of the new rules.
            let next = next.filter_map(|(id, next)| Some((id.clone(), next?)));
            return due::put_earlier(tx, &next.collect::<Vec<_>>()).await;
        }
        // Deleted products are not due any more.
        let gone = self
            .due
            .iter()
            .filter(|id| !self.products.contains_key(*id));
        let next: Vec<_> = next.chain(gone.map(|id| (id, None))).collect();
        due::put(tx, &next).await
    }

    /// Updates lists for products as they are now. The collections and the products must be locked.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn follow_in(
        &mut self,
        tx: &Tx,
        lists: &BTreeMap<CollectionId, Vec<ChildId>>,
    ) -> Result<()> {
        let Some(version) = self.rules.1 else {
            return Ok(());
        };
        let compiled = rules::at(tx, version).await?;
        let ids: BTreeSet<_> = lists.values().flatten().cloned().collect();
        let ids: Vec<_> = ids.into_iter().map(ProductId::from).collect();
        let members = keys::memberships(tx, &ids).await?;
        let named = entries::of_products(tx, &ids).await?;
        let due = Due::of_rules(tx, &compiled.set, &ids).await?;
        let memberships = Memberships::of(tx, &compiled.set, &ids).await?;
        let mut steps = Steps::new();
        for (collection, children) in lists {
            // The collection may have become manual since, or may be deleted.
            if !compiled.set.contains(collection) || self.is_still_smart(collection) != Some(true) {
                continue;
            }
            for child in children {
                let Some(product) = self.products().get(&child.clone().into()) else {
                    continue;
                };
                let member = (collection.clone(), child.clone());
                let key = (collection.clone(), product.id.clone());
                let named = named.get(&key).copied().unwrap_or_default();
                let facts = memberships.facts(product, due.moment(&product.id));
                let matches = compiled.set.matches(collection, &facts);
                let old = members.get(&member);
                let step = step(&compiled, collection, old, named, matches, product);
                steps.extend(step.map(|step| (member, step)));
            }
        }
        self.take_steps(tx, &steps, |id| compiled.sorts.contains_key(id))
            .await
    }

    /// Locks the collections whose lists change. Steps of collections that are not smart any more are
    /// dropped.
    async fn lock_lists(&mut self, tx: &Tx, steps: &mut Steps, rules: &Compiled) -> Result<()> {
        let mut wanted: Vec<_> = steps.keys().map(|(id, _)| id.clone()).collect();
        wanted.dedup();
        let max = tx.session().rule_limits.changes;
        if wanted.len() > max {
            return Err(too_many_changes(wanted.len(), max));
        }
        let unlocked = |locked: &Self| -> Vec<CollectionId> {
            let unlocked = wanted.iter().filter(|id| !locked.exists(id));
            unlocked.cloned().collect()
        };
        let start_over = || {
            needs_more_locks(LockSet {
                rules: RuleLock::Shared,
                linked: wanted.iter().cloned().collect(),
                ..LockSet::default()
            })
        };
        let missing = unlocked(self);
        if !missing.is_empty() {
            let heads = match tx.session().engine {
                // There is no other writer, so nothing can deadlock.
                Engine::Sqlite => collections::lock_heads(tx, &missing).await?,
                // Other transactions may wait for locks that this one holds, so waiting here could
                // deadlock. Rows that are locked are skipped; if there are any, the transaction
                // starts over and locks everything in order.
                Engine::Postgres => collections::lock_free_heads(tx, &missing).await?,
            };
            for head in heads {
                let lists = Lists::default();
                let linked = Linked { head, lists };
                self.linked.insert(linked.head.id.clone(), linked);
            }
            if !collections::existing(tx, &unlocked(self)).await?.is_empty() {
                return Err(start_over());
            }
        }
        // The others were deleted, and may exist again. They are removed from the cached rules, so
        // that they are not found again.
        let gone: Vec<_> = wanted
            .iter()
            .filter(|id| self.is_still_smart(id) != Some(true))
            .cloned()
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let names = rules.set.named();
        if gone.iter().any(|id| names.contains(id)) {
            // Deleted a moment ago: steps of collections that reference it may depend on it.
            return Err(start_over());
        }
        tx.cache_rules_after_commit(rules.without(&gone).into());
        steps.retain(|(id, _), _| !gone.contains(id));
        Ok(())
    }

    /// Applies the steps to the lists and writes the sort keys of the products that they place.
    pub(super) async fn take_steps(
        &mut self,
        tx: &Tx,
        steps: &Steps,
        is_sorted: impl Fn(&CollectionId) -> bool,
    ) -> Result<()> {
        if steps.is_empty() {
            tx.with_ledger(|ledger| ledger.lists_followed(0));
            return Ok(());
        }
        let keyed = || {
            steps.iter().filter_map(|(member, step)| match step {
                Step::Join(Some(key)) | Step::Move(key) => Some((member, Some(key.as_str()))),
                Step::Join(None) | Step::Leave | Step::Pin => None,
            })
        };
        // Products that leave or move lose their keys first: nothing may be placed after them.
        let moving = steps
            .iter()
            .filter(|((id, _), step)| is_sorted(id) && !matches!(step, Step::Join(_)));
        let is_pinned = |step| matches!(step, &Step::Pin);
        let before = if keyed().next().is_some() || steps.values().any(is_pinned) {
            keys::put(tx, keys::PRODUCTS, moving.map(|(member, _)| (member, None))).await?;
            keys::before(tx, keyed()).await?
        } else {
            HashMap::new()
        };
        let mutations = mutations(steps, &before);
        let edits: Edits<'_> = mutations
            .iter()
            .map(|(id, mutations)| (id.clone(), mutations.iter().collect()))
            .collect();
        let applied = self.mutate_many(tx, ChildType::Product, &edits).await?;
        let changed = applied.values().filter(|it| it.rows_written > 0).count();
        tx.with_ledger(|ledger| ledger.lists_followed(changed));
        // After the mutations, because the rows of new members must exist.
        keys::put(tx, keys::PRODUCTS, keyed()).await
    }
}

/// The products of which a fact, the age or any detail changed. Details count even if no fact
/// changed, because a list may be sorted by something that is not a fact: the stock of a variant
/// without a price.
async fn changed(
    tx: &Tx,
    rules: &Compiled,
    written: Vec<Written>,
    membership_changes: &MembershipChanges,
    due: &Due,
) -> Result<Vec<Changed>> {
    let ids: Vec<_> = written.iter().map(|(_, it)| it.id.clone()).collect();
    let after = Memberships::of(tx, &rules.set, &ids).await?;
    // Memberships are stored as they are now; undoing the moves gives those from before.
    let mut before = after.clone();
    for (id, products) in membership_changes {
        for (product, joined) in products {
            before.set(product, id, !joined);
        }
    }
    let changed = written.into_iter().filter_map(|(old, new)| {
        let same_details = old.as_ref().is_some_and(|it| it.details == new.details);
        let moment = due.moment(&new.id);
        let old = old.as_ref().map(|it| before.facts(it, moment));
        let facts = after.facts(&new, due.now);
        (!same_details || old.as_ref() != Some(&facts)).then_some(Changed {
            before: old,
            after: facts,
            product: new,
        })
    });
    Ok(changed.collect())
}

/// What happens to the changed products in all lists. `reactivated` has the includes that became
/// active again because their products were registered again.
async fn steps(
    tx: &Tx,
    rules: &Compiled,
    changed: &mut [Changed],
    reactivated: &[(CollectionId, ProductId)],
) -> Result<Steps> {
    let max = tx.session().rule_limits.products;
    // The most that may have to be evaluated: each product may concern all rules.
    let size = changed.len() * rules.set.len();
    let ids: Vec<ProductId> = changed.iter().map(|it| it.product.id.clone()).collect();
    let names = rules.set.named();
    let mut named = Naming::new();
    // If rules reference collections, their entries decide what other rules see. Otherwise the
    // entries are read later, and only if they are needed.
    if !names.is_empty() {
        named = entries::of_products(tx, &ids).await?;
    }
    // A list whose first rules a job evaluates gets its includes when the job is done.
    let is_followed = |it: &CollectionId| names.contains(it) && rules.set.contains(it);
    for (collection, id) in reactivated.iter().filter(|(it, _)| is_followed(it)) {
        let products = changed.iter_mut().filter(|it| it.product.id == *id);
        products.for_each(|it| it.after.set_member(collection, true));
    }
    let changed_verdicts = tx.work(size, || {
        changed_verdicts(rules, changed, &names, &named, max)
    })?;
    // Lists that are sorted may change although no verdict changed.
    if changed_verdicts.iter().all(Vec::is_empty)
        && rules.sorts.is_empty()
        && reactivated.is_empty()
    {
        return Ok(Steps::new());
    }
    let members = keys::memberships(tx, &ids).await?;
    if names.is_empty() {
        named = entries::of_products(tx, &ids).await?;
    }
    let mut steps = Steps::new();
    for (it, changed_verdicts) in changed.iter().zip(changed_verdicts) {
        for (collection, matches) in changed_verdicts {
            let key = (collection, it.product.id.clone());
            let named = named.get(&key).copied().unwrap_or_default();
            let member = (key.0, ChildId::from(key.1));
            let old = members.get(&member);
            let step = step(rules, &member.0, old, named, matches, &it.product);
            steps.extend(step.map(|step| (member, step)));
        }
    }
    let products: HashMap<_, _> = changed
        .iter()
        .map(|it| (it.product.id.as_str(), &it.product))
        .collect();
    for included in reactivated {
        let (collection, id) = included;
        let member = (collection.clone(), ChildId::from(id.clone()));
        let product = products.get(id.as_str());
        let product = product.filter(|_| rules.set.contains(collection));
        if let (Some(product), None) = (product, members.get(&member)) {
            let named = named.get(included).copied().unwrap_or_default();
            let key = key_of(rules, collection, named, product);
            steps.entry(member).or_insert(Step::Join(key));
        }
    }
    for (member, old) in members {
        // A member without a key is pinned, or its list is not sorted.
        let (Some(old), Some(product)) = (old, products.get(member.1.as_str())) else {
            continue;
        };
        let new = key_of(rules, &member.0, NamedFor::default(), product);
        if let Some(new) = new.filter(|new| *new != old) {
            steps.entry(member).or_insert(Step::Move(new));
        }
    }
    Ok(steps)
}

/// What happens to a product in one list, if anything. `old` is the stored sort key if the product
/// is a member; `matches` is whether it matches the rules now.
fn step(
    rules: &Compiled,
    collection: &CollectionId,
    old: Option<&Option<String>>,
    named: NamedFor,
    matches: bool,
    product: &Product,
) -> Option<Step> {
    let new = || key_of(rules, collection, named, product);
    match (old, named.verdict(matches)) {
        (Some(_), false) => Some(Step::Leave),
        (None, true) => Some(Step::Join(new())),
        (Some(old), true) => {
            let new = new().filter(|new| old.as_ref() != Some(new));
            new.map(Step::Move)
        }
        (None, false) => None,
    }
}

/// The lists that may change because of the given products, as pairs of collection and product. The
/// products are evaluated as they are now.
///
/// # Errors
/// If the database fails.
pub async fn to_follow(
    tx: &Tx,
    rules: &Compiled,
    ids: &[ProductId],
) -> Result<Vec<(CollectionId, ChildId)>> {
    let products = products::get_many(tx, ids).await?;
    let members = keys::memberships(tx, ids).await?;
    let members = members.into_keys();
    // Also lists that keep the product: its position may change.
    let mut lists: Vec<_> = members
        .filter(|(collection, _)| rules.set.contains(collection))
        .collect();
    let due = Due::of_rules(tx, &rules.set, ids).await?;
    let memberships = Memberships::of(tx, &rules.set, ids).await?;
    for product in products.values() {
        let facts = memberships.facts(product, due.moment(&product.id));
        let matching = rules.matching(&facts).into_iter();
        lists.extend(matching.map(|collection| (collection, product.id.clone().into())));
    }
    // A suspended include may have become active again.
    let named = entries::of_products(tx, ids).await?.into_iter();
    let included =
        named.filter(|((collection, _), named)| named.include && rules.set.contains(collection));
    lists.extend(included.map(|((collection, product), _)| (collection, product.into())));
    Ok(lists)
}

/// For each product, the collections whose rules it starts (true) or stops (false) matching. Only
/// changes are kept, because many products may concern the rules of many collections.
fn changed_verdicts(
    rules: &Compiled,
    changed: &mut [Changed],
    names: &BTreeSet<CollectionId>,
    named: &Naming,
    max: usize,
) -> Result<Vec<Vec<(CollectionId, bool)>>> {
    let mut count = 0;
    let of_each = changed.iter_mut().map(|it| {
        let touched = touched(rules, it, names, named);
        metrics::candidates(touched.len());
        let changed_verdicts = touched.into_iter().filter_map(|id| {
            let before = it.before.as_ref();
            let matched = before.is_some_and(|before| rules.set.matches(&id, before));
            let matches = rules.set.matches(&id, &it.after);
            (matches != matched).then_some((id, matches))
        });
        let changed_verdicts: Vec<_> = changed_verdicts.collect();
        count += changed_verdicts.len();
        if count > max {
            return Err(too_many_memberships(max));
        }
        Ok(changed_verdicts)
    });
    of_each.collect()
}

/// The collections whose verdict on a product may change. Verdicts of referenced collections are
/// written back into the product's facts, so that the collections that reference them are found,
/// too, through the whole chain of references.
fn touched(
    rules: &Compiled,
    it: &mut Changed,
    names: &BTreeSet<CollectionId>,
    named: &Naming,
) -> BTreeSet<CollectionId> {
    let mut next = rules.set.touched(it.before.as_ref(), Some(&it.after));
    let mut touched: BTreeSet<_> = next.iter().cloned().collect();
    // References form no cycle, so each pass settles at least one collection.
    for _ in 0..=names.len() {
        let mut facts = it.after.clone();
        for id in next.into_iter().filter(|id| names.contains(id)) {
            let matches = rules.set.matches(&id, &it.after);
            let key = (id, it.product.id.clone());
            let named = named.get(&key).copied().unwrap_or_default();
            facts.set_member(&key.0, named.verdict(matches));
        }
        if facts == it.after {
            break;
        }
        next = rules.set.touched(Some(&it.after), Some(&facts));
        touched.extend(next.iter().cloned());
        it.after = facts;
    }
    touched
}

/// The products that are only in `new` (true) or only in `old` (false).
pub(super) fn membership_changes_between(
    old: &[ChildId],
    new: &[ChildId],
) -> BTreeMap<ProductId, bool> {
    let (in_old, in_new): (HashSet<_>, HashSet<_>) = (old.iter().collect(), new.iter().collect());
    let joined = in_new.difference(&in_old).map(|id| (id, true));
    let left = in_old.difference(&in_new).map(|id| (id, false));
    let changes = joined.chain(left);
    changes
        .map(|(id, joined)| (ProductId::from((**id).clone()), joined))
        .collect()
}

/// The sort key of a product in a collection's list; `None` if the list is not sorted or the
/// product is pinned.
fn key_of(
    rules: &Compiled,
    collection: &CollectionId,
    named: NamedFor,
    product: &Product,
) -> Option<String> {
    let sort = rules.sorts.get(collection)?;
    named.pin.is_none().then(|| sort.key(Some(product)))
}

/// The mutations that carry out the steps. `before` has the predecessors of products with sort
/// keys; a product that is not in it goes first.
pub(super) fn mutations(
    steps: &Steps,
    before: &HashMap<Member, ChildId>,
) -> BTreeMap<CollectionId, Vec<Mutation>> {
    /// Products with the same predecessor, in the order of their keys.
    type Group<'a> = BTreeSet<(&'a str, &'a ChildId)>;
    let mut leaving: BTreeMap<&CollectionId, Vec<ChildId>> = BTreeMap::new();
    let mut placed: BTreeMap<&CollectionId, BTreeMap<Option<&ChildId>, Group<'_>>> =
        BTreeMap::new();
    let mut appended: BTreeMap<&CollectionId, Vec<ChildId>> = BTreeMap::new();
    for (member, step) in steps {
        let (collection, child) = member;
        if matches!(step, Step::Leave | Step::Move(_)) {
            leaving.entry(collection).or_default().push(child.clone());
        }
        match step {
            Step::Join(Some(key)) | Step::Move(key) => {
                let groups = placed.entry(collection).or_default();
                let group = groups.entry(before.get(member)).or_default();
                group.insert((key, child));
            }
            Step::Join(None) => appended.entry(collection).or_default().push(child.clone()),
            // Every mutation returns pinned products to their indexes.
            Step::Pin => drop(appended.entry(collection).or_default()),
            Step::Leave => {}
        }
    }
    let mut mutations: BTreeMap<CollectionId, Vec<Mutation>> = BTreeMap::new();
    let mut add = |id: &CollectionId, mutation| {
        mutations.entry(id.clone()).or_default().push(mutation);
    };
    for (id, leaving) in leaving {
        add(id, Mutation::remove(leaving));
    }
    for (id, groups) in placed {
        for (anchor, group) in groups {
            let ids = group.into_iter().map(|(_, child)| child.clone());
            add(id, insert(anchor, ids.collect()));
        }
    }
    for (id, appended) in appended {
        add(id, Mutation::append(appended));
    }
    mutations
}

/// Inserts children directly after `anchor`, or first if there is none.
pub(super) fn insert(anchor: Option<&ChildId>, ids: Vec<ChildId>) -> Mutation {
    let position = match anchor {
        Some(anchor) => Position::After(anchor.clone()),
        None => Position::Index(0),
    };
    Mutation::Insert {
        ids,
        position,
        on_duplicate: OnDuplicate::Ignore,
    }
}

fn too_many_memberships(max: usize) -> Error {
    let message = format!(
        "the write would change more than {max} memberships of smart collections: write fewer \
         products at once, or raise max_synchronous_products"
    );
    Error::new(Reason::EvaluationTooLarge, message).limited_by("max_synchronous_products")
}

fn too_many_changes(count: usize, max: usize) -> Error {
    let message = format!(
        "the write would change the lists of {count} smart collections; the limit is {max}: \
         write fewer products at once, or raise max_synchronous_changes"
    );
    Error::new(Reason::EvaluationTooLarge, message).limited_by("max_synchronous_changes")
}
