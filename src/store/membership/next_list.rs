//! The next list of a smart collection, which a job builds beside the current one while it evaluates
//! new rules. Nobody reads it until [`Locked::catch_up`] makes it the current list.
//!
//! What is in the next list is also known in memory, so that finding the place of a product takes
//! no statement. If the process ends, the next one starts over.
//!
//! Products that change in the meantime are recorded ([`jobs::recheck`]) and evaluated again, and
//! those that move in the current list or join it, or whose rule entries change
//! ([`jobs::recheck_places`]), are also placed again. If too many move, the job starts over. If that
//! happens again and again, the job rewrites the current list instead.
//!
//! If rules of other collections reference the list, their lists change in the same transaction if
//! few products joined and left. Otherwise jobs evaluate these rules in turn.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::Instant,
};

use super::{
    evaluate::Base,
    follow::{Step, Steps, insert, membership_changes_between, mutations},
};
use crate::{
    domain::{
        ChildId, ChildType, Collection, CollectionId, Mutation, ProductId, Result, RulesState,
        Timestamp,
    },
    store::{
        children::{self, Children, Lists, MAX_MOVED, Target, directory::Directory},
        collections,
        error::needs_more_locks,
        jobs::{self, Job},
        ledger::Left,
        lock::{LockSet, Locked},
        lock_entry::{EvaluationScope, Mutated},
        rules::{
            due,
            entries::{self, Named},
            evaluations::{self, Evaluation},
            keys::{self, Member},
        },
        tx::Tx,
    },
};

/// How many products may join or leave the list of a collection that other rules reference so that
/// the lists of these rules change in the same transaction.
const FOLLOWED: usize = 250;
/// How many due times are found before they must be written.
const DUE: usize = 4_000;

/// The products that are only in the next list (true) or only in the current one (false).
type Differences = BTreeMap<ProductId, bool>;

/// Products in order, each with the product after which it goes; `None` if it goes first.
type Anchors = Vec<(ChildId, Option<ChildId>)>;

/// The products whose places in the current list may have changed.
struct Places<'a> {
    all: &'a [ProductId],
    /// Those of them that are placed now.
    now: &'a [ProductId],
}

/// The products that match the new rules of a smart collection, as far as they are found.
#[derive(Debug)]
pub struct Matches {
    base: Base,
    /// The last product, in order of ids, that was evaluated.
    last: Option<ProductId>,
    done: u64,
}

/// The next list of a smart collection.
#[derive(Debug)]
pub struct NextList {
    base: Base,
    list: Lists,
    /// The children that are not written yet, in order.
    unwritten: VecDeque<ChildId>,
    /// The children, each with its sort key if it has one.
    keys: HashMap<ChildId, Option<String>>,
    /// The children with sort keys, in order.
    sorted: BTreeSet<(String, ChildId)>,
    directory: Directory,
    /// `None` if there are more than [`FOLLOWED`], or if no other rules referenced the collection.
    differences: Option<Differences>,
    /// How many products were left to check again after the last step, and by how much to increase
    /// the number in the next step, so that writers of products don't stay ahead forever.
    left: u64,
    factor: usize,
}

/// What a step wrote of a next list.
#[derive(Debug)]
pub struct Written {
    children: usize,
    directory: Directory,
}

/// What became of a next list in a step that updated it for products that changed.
#[derive(Debug)]
pub enum CaughtUp {
    /// Some of the products are done.
    Partly(Update),
    /// It can't become the current list, and must be built again.
    Outdated,
    /// It is the current list, or the current list is rewritten.
    Wholly,
}

/// How a next list was updated for products that changed.
#[derive(Debug)]
pub struct Update {
    steps: Steps,
    directory: Directory,
    differences: Option<Differences>,
    checked: usize,
    left: u64,
}

impl Matches {
    /// None yet.
    pub fn none(collection: &Collection) -> Self {
        let Collection { id, kind, sort, .. } = collection;
        Self {
            base: Base::new(id, kind, sort.clone(), Named::default()),
            last: None,
            done: 0,
        }
    }

    /// Evaluates the rules over more products until it is `end`. Returns whether there may be more.
    /// This only reads, so it makes no writer wait: a product that changes afterwards is checked
    /// again in the end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn find(&mut self, tx: &Tx, end: Instant) -> Result<bool> {
        let last = self.last.take();
        let (done, last) = self.base.add_after(tx, last, (end, DUE)).await?;
        self.done += done as u64;
        self.last = last;
        Ok(self.last.is_some())
    }

    /// How many products are done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Takes the products for which time will change a condition, and when, to be written.
    pub fn take_due(&mut self) -> Vec<(ProductId, Timestamp)> {
        self.base.take_due()
    }
}

impl NextList {
    /// The next list of a collection for which the job has found the products that match its rules.
    /// `None` if the job is not needed any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn begin(tx: &Tx, matches: Matches) -> Result<Option<Self>> {
        let mut base = matches.base;
        let id = base.id().clone();
        let collection = collections::get(tx, &id).await?;
        let collection = collection.filter(|it| it.rules_state == RulesState::Evaluating);
        let Some(collection) = collection else {
            return Ok(None);
        };
        let old = Children::of(tx, &collection, ChildType::Product);
        let old = old.all().await?;
        let unnamed = collections::unnamed(tx, std::slice::from_ref(&id)).await?;
        let named = entries::of_collection(tx, &id).await?;
        base.add_entries(tx, named).await?;
        let bytes = base.bytes();
        let (expected, sorted, keys, differences) = tx.work(bytes, || {
            // The due times of all products are written already.
            let expected = base.in_order(&old);
            let sorted = expected.keys.iter();
            let sorted: BTreeSet<_> = sorted.map(|(id, key)| (key.clone(), id.clone())).collect();
            let keyed = expected.list.iter();
            let keyed = keyed.map(|id| (id.clone(), expected.keys.get(id).cloned()));
            let keyed: HashMap<_, _> = keyed.collect();
            let differences = unnamed
                .is_empty()
                .then(|| differences(&old, &expected.list, &keyed));
            (expected, sorted, keyed, differences)
        });
        Ok(Some(Self {
            base,
            list: children::other(tx, &id).await?,
            unwritten: expected.list.into(),
            keys,
            sorted,
            directory: Directory::default(),
            differences: differences.flatten(),
            left: u64::MAX,
            factor: 1,
        }))
    }

    /// The collection.
    pub fn collection(&self) -> &CollectionId {
        self.base.id()
    }

    /// Writes up to `count` more children. `None` if the job is not needed any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn write(&self, tx: &Tx, job: &Job, count: usize) -> Result<Option<Written>> {
        let id = self.collection();
        tx.lock(LockSet::linked(id)).await?;
        if evaluation_of(tx, job, id).await?.is_none() {
            return Ok(None);
        }
        let some: Vec<_> = self.unwritten.iter().take(count).cloned().collect();
        let written = some.len();
        let keyed = some.iter().filter_map(|child| {
            let key = self.keys.get(child)?.clone()?;
            Some(((id.clone(), child.clone()), key))
        });
        let keyed: Vec<(Member, _)> = keyed.collect();
        let append = Mutation::append(some);
        let directory = self.mutate(tx, &[&append], &[]).await?;
        let keyed = keyed.iter().map(|(member, key)| (member, Some(&**key)));
        keys::put(tx, self.list, keyed).await?;
        jobs::renew(tx, job).await?;
        Ok(Some(Written {
            children: written,
            directory,
        }))
    }

    /// Takes in what was written. Returns whether everything is.
    pub fn wrote(&mut self, written: &Written) -> bool {
        self.unwritten.drain(..written.children);
        self.directory = Directory::clone(&written.directory);
        self.unwritten.is_empty()
    }

    /// The factor by which to increase the number of products in the next step.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Takes in how the list was updated.
    pub fn update(&mut self, update: Update) {
        // More than half as many products changed meanwhile as were checked.
        if self.left.saturating_sub(update.left) < update.checked as u64 / 2 {
            self.factor = self.factor.saturating_mul(2);
        }
        self.left = update.left;
        self.directory = update.directory;
        self.differences = update.differences;
        for ((_, child), step) in update.steps {
            if let Some(Some(key)) = self.keys.remove(&child) {
                self.sorted.remove(&(key, child.clone()));
            }
            let key = match step {
                Step::Leave => continue,
                Step::Join(key) => key,
                Step::Move(key) => Some(key),
                Step::Pin => None,
            };
            if let Some(key) = &key {
                self.sorted.insert((key.clone(), child.clone()));
            }
            self.keys.insert(child, key);
        }
    }

    /// What happens to products that changed.
    async fn steps(&self, tx: &Tx, changed: &[ProductId]) -> Result<Steps> {
        // The entries for deleted products, and for products that are registered again, may differ
        // from those that the list was built with.
        let named = entries::of_some(tx, self.collection(), changed).await?;
        let mut base = self.base.with_entries(named);
        let changed: BTreeSet<_> = changed.iter().cloned().collect();
        base.add_of(tx, changed.clone()).await?;
        due::put_earlier(tx, &base.take_due()).await?;
        Ok(base.steps(changed, &self.keys))
    }

    /// For a list that is not sorted: the products that join the next list, or stay in it but may
    /// have to move, and are in the current one, in its order, each with the product after which it
    /// goes, as the next list keeps that order.
    async fn anchors(
        &self,
        tx: &Tx,
        steps: &Steps,
        places: &Places<'_>,
        pins: &[(ChildId, u64)],
    ) -> Result<Anchors> {
        if self.base.is_sorted() {
            return Ok(Anchors::new());
        }
        let joining = steps.iter().filter_map(|((_, child), step)| match step {
            Step::Join(_) => Some(child.clone()),
            Step::Leave | Step::Move(_) | Step::Pin => None,
        });
        let member = |child: &ChildId| (self.collection().clone(), child.clone());
        let staying = places.now.iter().map(|id| ChildId::from(id.clone()));
        let staying = staying
            .filter(|child| self.keys.contains_key(child) && !steps.contains_key(&member(child)));
        let placed: Vec<_> = joining.chain(staying).collect();
        if placed.is_empty() {
            return Ok(Anchors::new());
        }
        let pinned: HashSet<_> = pins.iter().map(|(child, _)| child).collect();
        let moved: HashSet<_> = places.all.iter().map(ProductId::as_str).collect();
        let is_anchor = |child: &ChildId| {
            self.keys.contains_key(child)
                && !moved.contains(child.as_str())
                && !steps.contains_key(&member(child))
                && !pinned.contains(child)
        };
        let current = Children::uncached(tx, self.collection(), ChildType::Product);
        current.anchors(&placed, is_anchor).await
    }

    /// Applies steps to the list, and gives products their places. Returns the list's new
    /// directory. Only the last steps, after which all products are checked, move pinned products to
    /// their indexes: one that is not checked yet may be an anchor for others.
    async fn take(
        &self,
        tx: &Tx,
        steps: &Steps,
        places: &Places<'_>,
        is_last: bool,
    ) -> Result<Directory> {
        let id = self.collection();
        let pins = entries::pins(tx, &[id]).await?;
        let pins = pins.get(id).map_or(&[][..], Vec::as_slice);
        let anchors = self.anchors(tx, steps, places, pins).await?;
        if steps.is_empty() && anchors.is_empty() && !is_last {
            return Ok(Directory::clone(&self.directory));
        }
        let mut mutations = mutations(steps, &self.before(steps));
        let mut mutations = mutations.remove(id).unwrap_or_default();
        let placed: HashSet<_> = anchors.iter().map(|(child, _)| child).collect();
        for mutation in &mut mutations {
            if let Mutation::Append { ids, .. } = mutation {
                ids.retain(|child| !placed.contains(child));
            }
        }
        let staying = placed.into_iter().filter(|it| self.keys.contains_key(*it));
        let staying: Vec<_> = staying.cloned().collect();
        if !staying.is_empty() {
            mutations.push(Mutation::remove(staying));
        }
        let groups = anchors.chunk_by(|(_, one), (_, other)| one == other);
        mutations.extend(groups.filter_map(|group| {
            let (_, anchor) = group.first()?;
            let children = group.iter().map(|(child, _)| child.clone());
            Some(insert(anchor.as_ref(), children.collect()))
        }));
        let mutations: Vec<_> = mutations.iter().collect();
        let pins = if is_last { pins } else { &[] };
        let directory = self.mutate(tx, &mutations, pins).await?;
        let keyed = steps.iter().filter_map(|(member, step)| match step {
            Step::Join(Some(key)) | Step::Move(key) => Some((member, Some(&**key))),
            Step::Pin => Some((member, None)),
            Step::Join(None) | Step::Leave => None,
        });
        keys::put(tx, self.list, keyed).await?;
        Ok(directory)
    }

    /// The products that are in only one of the two lists after the steps for `changed`.
    async fn differences(
        &self,
        tx: &Tx,
        changed: &[ProductId],
        steps: &Steps,
    ) -> Result<Option<Differences>> {
        let Some(mut differences) = self.differences.clone() else {
            return Ok(None);
        };
        let id = self.collection();
        let changed = changed.iter().cloned().map(ChildId::from);
        let changed: Vec<_> = changed.collect();
        let current = Children::uncached(tx, id, ChildType::Product);
        let current = current.contained(&changed).await?;
        for child in changed {
            let was_in = current.contains(&child);
            let member = (id.clone(), child);
            let is_in = match steps.get(&member) {
                Some(Step::Leave) => false,
                Some(Step::Join(_) | Step::Move(_) | Step::Pin) => true,
                None => self.keys.contains_key(&member.1),
            };
            let product = ProductId::from(member.1);
            if was_in == is_in {
                differences.remove(&product);
            } else {
                differences.insert(product, is_in);
            }
        }
        Ok(few(differences))
    }

    /// For products with new sort keys, the children that they go directly after.
    fn before(&self, steps: &Steps) -> HashMap<Member, ChildId> {
        let stays = |child: &ChildId| {
            let member = (self.collection().clone(), child.clone());
            !steps.contains_key(&member)
        };
        let placed = steps.iter().filter_map(|(member, step)| match step {
            Step::Join(Some(key)) | Step::Move(key) => {
                let place = (key.clone(), member.1.clone());
                let before = self.sorted.range(..place).rev();
                let before = before.map(|(_, child)| child).find(|child| stays(child));
                before.map(|before| (member.clone(), before.clone()))
            }
            Step::Join(None) | Step::Leave | Step::Pin => None,
        });
        placed.collect()
    }

    async fn mutate(
        &self,
        tx: &Tx,
        mutations: &[&Mutation],
        pins: &[(ChildId, u64)],
    ) -> Result<Directory> {
        let target = Target {
            collection: self.collection(),
            directory: Some(Directory::clone(&self.directory)),
            mutations,
            pins,
        };
        let edited = children::mutate(tx, self.list, &[target]).await?;
        let edited = edited.into_iter().next();
        Ok(edited.map_or_else(Directory::default, |it| it.directory))
    }
}

impl Locked {
    /// Updates the next list for up to `count` of the products that changed since the job began. If
    /// these were the last ones, makes it the current list. If it can't become the current list,
    /// that is rewritten when this is saved; unless the next list may be built again, and then be
    /// right.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn catch_up(
        &mut self,
        tx: &Tx,
        (job, evaluation): (&Job, &Evaluation),
        next: &NextList,
        (count, may_restart): (usize, bool),
    ) -> Result<CaughtUp> {
        let id = next.collection();
        let moved = jobs::changed_places(tx, job, id, MAX_MOVED + 1).await?;
        if evaluation.outdated || moved.len() > MAX_MOVED {
            if may_restart {
                return Ok(CaughtUp::Outdated);
            }
            let found = next.keys.keys().cloned().map(ProductId::from);
            let left = jobs::changed_count(tx, job).await? as usize;
            let changed = jobs::changed(tx, job, left).await?;
            let moved = jobs::changed_places(tx, job, id, left).await?;
            let all = found.chain(changed).chain(moved).collect();
            self.finish_evaluation(id, all);
            return Ok(CaughtUp::Wholly);
        }
        let now = &moved[..Ord::min(count, moved.len())];
        let places = Places { all: &moved, now };
        let changed = jobs::changed(tx, job, count - now.len()).await?;
        let checked: Vec<_> = changed.iter().chain(now).cloned().collect();
        let steps = next.steps(tx, &checked).await?;
        let differences = if self.is_named(id) {
            next.differences(tx, &checked, &steps).await?
        } else {
            None
        };
        let is_last = checked.len() < count;
        let directory = next.take(tx, &steps, &places, is_last).await?;
        if is_last {
            self.switch(tx, id, directory).await?;
            let total = evaluation.progress.total;
            self.follow_switch(tx, id, differences, total).await?;
            return Ok(CaughtUp::Wholly);
        }
        if let Some(last) = changed.last() {
            jobs::checked(tx, job, last).await?;
        }
        if let Some(last) = now.last() {
            jobs::checked_places(tx, job, id, Some(last)).await?;
        }
        Ok(CaughtUp::Partly(Update {
            steps,
            directory,
            differences,
            checked: checked.len(),
            left: jobs::changed_count(tx, job).await?,
        }))
    }

    /// Makes the other list of products, which has this directory, the current one.
    async fn switch(&mut self, tx: &Tx, id: &CollectionId, directory: Directory) -> Result<()> {
        children::switch(tx, id).await?;
        let list = ChildType::Product;
        let entry = self.entry(id)?;
        entry.before.get_or_insert_with(|| entry.now.clone());
        entry.now.product_count = directory.iter().map(|it| it.len as u64).sum();
        entry.lists.now.retain(|(other, _)| *other != list);
        entry.lists.now.push((list, directory));
        entry.lists.mutated.push(Mutated {
            list,
            mutations: Vec::new(),
            joined: Vec::new(),
            left: Left::All,
        });
        tx.with_ledger(|ledger| ledger.lists_followed(1));
        Ok(())
    }

    /// Has the lists that follow from the one that became the current list updated when this is
    /// saved: for the products that joined and left it, if they are few; otherwise jobs evaluate
    /// the rules that reference it, over `total` products.
    async fn follow_switch(
        &mut self,
        tx: &Tx,
        id: &CollectionId,
        differences: Option<Differences>,
        total: u64,
    ) -> Result<()> {
        let max = tx.session().rule_limits.products;
        let followed = differences.filter(|it| it.len() <= max);
        if followed.is_none() {
            for naming in self.locked_naming(tx, id).await? {
                self.entry(&naming)?.follow = Some(EvaluationScope::Later(total));
            }
        }
        self.entry(id)?.follow = Some(EvaluationScope::Built(followed.unwrap_or_default()));
        Ok(())
    }

    /// The collections whose rules reference this one, locked.
    async fn locked_naming(&self, tx: &Tx, id: &CollectionId) -> Result<Vec<CollectionId>> {
        let naming = self.naming(tx, id).await?;
        if naming.iter().any(|id| self.get(id).is_none()) {
            return Err(needs_more_locks(LockSet {
                collections: naming.into_iter().collect(),
                ..LockSet::of_rules(id)
            }));
        }
        Ok(naming)
    }
}

/// The products that are only in `next` (true) or only in `current` (false). `keys` has what is in
/// `next`.
fn differences(
    current: &[ChildId],
    next: &[ChildId],
    keys: &HashMap<ChildId, Option<String>>,
) -> Option<Differences> {
    let stay = current.iter().filter(|it| keys.contains_key(*it)).count();
    let count = current.len() + next.len() - 2 * stay;
    (count <= FOLLOWED).then(|| membership_changes_between(current, next))
}

/// Records that a job begins to build the next list of a collection from what is stored now. The
/// collection must be locked.
///
/// # Errors
/// If the database fails.
pub async fn begin_next(tx: &Tx, job: &Job, id: &CollectionId) -> Result<()> {
    jobs::checked_places(tx, job, id, None).await?;
    evaluations::set_outdated(tx, id, false).await
}

/// The differences, unless there are too many.
fn few(differences: Differences) -> Option<Differences> {
    (differences.len() <= FOLLOWED).then_some(differences)
}

/// The evaluation of the collection's rules, if this job still has to do it. The collection must be
/// locked.
///
/// # Errors
/// If the database fails.
pub async fn evaluation_of(tx: &Tx, job: &Job, id: &CollectionId) -> Result<Option<Evaluation>> {
    if !jobs::is_ours(tx, job).await? {
        return Ok(None);
    }
    let evaluation = evaluations::get(tx, id).await?;
    let Some(evaluation) = evaluation.filter(|it| it.job == job.id) else {
        return Ok(None);
    };
    let collection = collections::get(tx, id).await?;
    let is_evaluating = collection.is_some_and(|it| it.rules_state == RulesState::Evaluating);
    Ok(is_evaluating.then_some(evaluation))
}

/// Deletes some of the list of products that is not the current one. Returns whether there may be
/// more. The collection must be locked.
///
/// # Errors
/// If the database fails.
pub async fn clear_other(tx: &Tx, id: &CollectionId, count: usize) -> Result<bool> {
    let other = children::other(tx, id).await?;
    children::clear_some(tx, id, other, count).await
}
