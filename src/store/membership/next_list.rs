//! The next list of a smart collection, which a job builds beside the current one while it evaluates
//! new rules. Nobody reads it until [`Locked::catch_up`] makes it the current list.
//!
//! What is in the next list is also known in memory, so that finding the place of a product takes
//! no statement. If the process ends, the next one starts over.
//!
//! Products that change in the meantime are recorded ([`jobs::recheck`]) and evaluated again. If the
//! order of the current list or its rule entries change, the job starts over. If that happens again
//! and again, or if other rules reference the collection, the job rewrites the current list instead.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Instant,
};

use super::{
    evaluate::Base,
    follow::{Step, Steps, mutations},
};
use crate::{
    domain::{
        ChildId, ChildType, Collection, CollectionId, Mutation, ProductId, Result, RulesState,
        Timestamp,
    },
    store::{
        children::{self, Children, Lists, Target, directory::Directory},
        collections,
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

/// How many of the products that follow a place are looked at.
const FOLLOWING: usize = 1_000;
/// How many due times are found before they must be written.
const DUE: usize = 4_000;

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
        let named = entries::of_collection(tx, &id).await?;
        base.add_entries(tx, named).await?;
        let bytes = base.bytes();
        let (expected, sorted, keys) = tx.work(bytes, || {
            // The due times of all products are written already.
            let expected = base.in_order(&old);
            let sorted = expected.keys.iter();
            let sorted: BTreeSet<_> = sorted.map(|(id, key)| (key.clone(), id.clone())).collect();
            let keyed = expected.list.iter();
            let keyed = keyed.map(|id| (id.clone(), expected.keys.get(id).cloned()));
            let keyed: HashMap<_, _> = keyed.collect();
            (expected, sorted, keyed)
        });
        Ok(Some(Self {
            base,
            list: children::other(tx, &id).await?,
            unwritten: expected.list.into(),
            keys,
            sorted,
            directory: Directory::default(),
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
        for ((_, child), step) in update.steps {
            if let Some(Some(key)) = self.keys.remove(&child) {
                self.sorted.remove(&(key, child.clone()));
            }
            let key = match step {
                Step::Leave => continue,
                Step::Join(key) => key,
                Step::Move(key) => Some(key),
            };
            if let Some(key) = &key {
                self.sorted.insert((key.clone(), child.clone()));
            }
            self.keys.insert(child, key);
        }
    }

    /// What happens to products that changed.
    async fn steps(&self, tx: &Tx, changed: &[ProductId]) -> Result<Steps> {
        let id = self.collection();
        // The entries for deleted products, and for products that are registered again, may differ
        // from those that the list was built with.
        let named = entries::of_products(tx, changed).await?.into_iter();
        let named = named.filter(|((of, _), _)| of == id);
        let named = named
            .map(|((_, product), named)| (product, named))
            .collect();
        let mut base = self.base.with_entries(named);
        let changed: BTreeSet<_> = changed.iter().cloned().collect();
        base.add_of(tx, changed.clone()).await?;
        due::put_earlier(tx, &base.take_due()).await?;
        let step = |product: ProductId| {
            let child = ChildId::from(product);
            let step = match (self.keys.get(&child), base.key(&child)) {
                (Some(_), None) => Step::Leave,
                (None, Some(key)) => Step::Join(key),
                (Some(old), Some(Some(new))) if old.as_ref() != Some(&new) => Step::Move(new),
                (Some(_), Some(_)) | (None, None) => return None,
            };
            Some(((id.clone(), child), step))
        };
        Ok(changed.into_iter().filter_map(step).collect())
    }

    /// For a list that is not sorted: the indexes in the current list of the products that join the
    /// next one. `None` if they can't be appended, because products that follow them are in the
    /// next list already.
    async fn places(&self, tx: &Tx, steps: &Steps) -> Result<Option<HashMap<ChildId, u64>>> {
        let joining = steps.iter().filter_map(|((_, child), step)| match step {
            Step::Join(_) => Some(child.clone()),
            Step::Leave | Step::Move(_) => None,
        });
        let joining: Vec<_> = joining.collect();
        let current = Children::uncached(tx, self.collection(), ChildType::Product);
        let places = if self.base.is_sorted() || joining.is_empty() {
            HashMap::new()
        } else {
            current.indexes_of(&joining).await?
        };
        let Some(first) = places.values().min() else {
            return Ok(Some(places));
        };
        let rest = current.page(*first, FOLLOWING).await?;
        let is_last = first + rest.children.len() as u64 == rest.len;
        let follows = |child: &ChildId| {
            let member = (self.collection().clone(), child.clone());
            self.keys.contains_key(child)
                && !steps.contains_key(&member)
                && !self.base.is_pinned(child)
        };
        let is_end = is_last && !rest.children.iter().any(follows);
        Ok(is_end.then_some(places))
    }

    /// Applies steps to the list; `places` as [`Self::places`] returns them. Returns the list's new
    /// directory.
    async fn take(
        &self,
        tx: &Tx,
        steps: &Steps,
        places: &HashMap<ChildId, u64>,
    ) -> Result<Directory> {
        if steps.is_empty() {
            return Ok(Directory::clone(&self.directory));
        }
        let id = self.collection();
        let mut mutations = mutations(steps, &self.before(steps));
        let mut mutations = mutations.remove(id).unwrap_or_default();
        for mutation in &mut mutations {
            if let Mutation::Append { ids, .. } = mutation {
                // New products come after those of the current list, which keep their order.
                ids.sort_by_key(|child| places.get(child).copied().unwrap_or(u64::MAX));
            }
        }
        let mutations: Vec<_> = mutations.iter().collect();
        let pins = entries::pins(tx, &[id]).await?;
        let pins = pins.get(id).map_or(&[][..], Vec::as_slice);
        let directory = self.mutate(tx, &mutations, pins).await?;
        let keyed = steps.iter().filter_map(|(member, step)| match step {
            Step::Join(Some(key)) | Step::Move(key) => Some((member, Some(&**key))),
            Step::Join(None) | Step::Leave => None,
        });
        keys::put(tx, self.list, keyed).await?;
        Ok(directory)
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
            Step::Join(None) | Step::Leave => None,
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
        let changed = jobs::changed(tx, job, count).await?;
        let is_named = self.is_named(id);
        let current = if is_named || evaluation.outdated {
            None
        } else {
            let steps = next.steps(tx, &changed).await?;
            let places = next.places(tx, &steps).await?;
            places.map(|places| (steps, places))
        };
        let Some((steps, places)) = current else {
            if may_restart && !is_named {
                return Ok(CaughtUp::Outdated);
            }
            let found = next.keys.keys().cloned().map(ProductId::from);
            let left = jobs::changed_count(tx, job).await?;
            let changed = jobs::changed(tx, job, left as usize).await?;
            self.finish_evaluation(id, found.chain(changed).collect());
            return Ok(CaughtUp::Wholly);
        };
        let directory = next.take(tx, &steps, &places).await?;
        let Some(last) = changed.last().filter(|_| changed.len() == count) else {
            self.switch(tx, id, directory).await?;
            return Ok(CaughtUp::Wholly);
        };
        jobs::checked(tx, job, last).await?;
        Ok(CaughtUp::Partly(Update {
            steps,
            directory,
            checked: changed.len(),
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
        entry.follow = Some(EvaluationScope::Built);
        tx.with_ledger(|ledger| ledger.lists_followed(1));
        Ok(())
    }
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
