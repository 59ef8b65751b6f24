//! The next list of a smart collection, which a job builds beside the current one while it evaluates
//! new rules. Nobody reads it until [`Locked::catch_up`] makes it the current list.
//!
//! What is in the next list is also known in memory, so that finding the place of a product takes
//! no statement. If the process ends, the next one builds the list again.
//!
//! Products that change in the meantime are recorded ([`jobs::recheck`]) and evaluated again. If the
//! order of the current list or the rule entries change, or if other rules reference the
//! collection, the job rewrites the current list instead.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Instant,
};

use super::{
    evaluate::{Base, Expected},
    follow::{Step, Steps, mutations},
};
use crate::{
    domain::{
        ChildId, ChildType, CollectionId, Mutation, ProductId, Result, RulesState, Timestamp,
    },
    store::{
        children::{self, Children, Lists, Target, directory::Directory},
        collections,
        jobs::{self, Job},
        ledger::Left,
        lock::{LockSet, Locked},
        lock_entry::{EvaluationScope, Mutated},
        rules::{
            due, entries,
            evaluations::{self, Evaluation},
            keys::{self, Member},
        },
        tx::Tx,
    },
};

/// How many products are read at a time.
const AT_ONCE: usize = 1_000;

/// The next list of a smart collection.
#[derive(Debug)]
pub struct NextList {
    base: Base,
    list: Lists,
    /// The current list when the job began to build the next one.
    old: Vec<ChildId>,
    /// The products that are not evaluated again yet.
    unread: VecDeque<ProductId>,
    /// The children that are not written yet, in order.
    unwritten: VecDeque<ChildId>,
    /// The due times that are not written yet.
    due: Vec<(ProductId, Timestamp)>,
    /// The children, each with its sort key if it has one, once they are read.
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
    due: usize,
    directory: Directory,
}

/// How a next list was updated for products that changed.
#[derive(Debug)]
pub struct CaughtUp {
    steps: Steps,
    directory: Directory,
    checked: usize,
    left: u64,
}

impl NextList {
    /// The next list of a collection for which the job has found the candidates. `None` if the job
    /// is not needed any more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn begin(tx: &Tx, job: &Job, id: &CollectionId) -> Result<Option<Self>> {
        let collection = collections::get(tx, id).await?;
        let collection = collection.filter(|it| it.rules_state == RulesState::Evaluating);
        let Some(collection) = collection else {
            return Ok(None);
        };
        let old = Children::of(tx, &collection, ChildType::Product);
        let old = old.all().await?;
        // Current members may not match the new rules, so they are evaluated, too.
        let mut unread = jobs::products(tx, &job.id).await?;
        unread.extend(old.iter().cloned().map(ProductId::from));
        let named = entries::of_collection(tx, id).await?;
        Ok(Some(Self {
            base: Base::new(id, &collection.kind, collection.sort, named),
            list: children::other(tx, id).await?,
            old,
            unread: unread.into_iter().collect(),
            unwritten: VecDeque::new(),
            due: Vec::new(),
            keys: HashMap::new(),
            sorted: BTreeSet::new(),
            directory: Directory::default(),
            left: u64::MAX,
            factor: 1,
        }))
    }

    /// The collection.
    pub fn collection(&self) -> &CollectionId {
        self.base.id()
    }

    /// Evaluates candidates again, for their sort keys, until all are done or it is `end`. Returns
    /// whether all are done.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn read(&mut self, tx: &Tx, end: Instant) -> Result<bool> {
        while !self.unread.is_empty() && Instant::now() < end {
            let some = self.unread.drain(..AT_ONCE.min(self.unread.len()));
            self.base.add_registered(tx, some.collect()).await?;
        }
        if !self.unread.is_empty() {
            return Ok(false);
        }
        let old = std::mem::take(&mut self.old);
        self.base.add_unregistered();
        tx.work(self.base.bytes(), || {
            let Expected { list, keys, due } = self.base.in_order(&old);
            let sorted = keys.iter().map(|(id, key)| (key.clone(), id.clone()));
            self.sorted = sorted.collect();
            let keyed = list.iter().map(|id| (id.clone(), keys.get(id).cloned()));
            self.keys = keyed.collect();
            self.unwritten = list.into();
            self.due = due;
        });
        Ok(true)
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
        let due = &self.due[..Ord::min(count, self.due.len())];
        due::put_earlier(tx, due).await?;
        jobs::renew(tx, job).await?;
        Ok(Some(Written {
            children: written,
            due: due.len(),
            directory,
        }))
    }

    /// Takes in what was written. Returns whether everything is.
    pub fn wrote(&mut self, written: &Written) -> bool {
        self.unwritten.drain(..written.children);
        self.due.drain(..written.due);
        self.directory = Directory::clone(&written.directory);
        self.unwritten.is_empty() && self.due.is_empty()
    }

    /// The factor by which to increase the number of products in the next step.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Takes in how the list was updated.
    pub fn caught_up(&mut self, caught_up: CaughtUp) {
        // More than half as many products changed meanwhile as were checked.
        if self.left.saturating_sub(caught_up.left) < caught_up.checked as u64 / 2 {
            self.factor = self.factor.saturating_mul(2);
        }
        self.left = caught_up.left;
        self.directory = caught_up.directory;
        for ((_, child), step) in caught_up.steps {
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
        due::put_earlier(tx, base.due()).await?;
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
        let rest = current.page(*first, AT_ONCE).await?;
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
    /// these were the last ones, makes it the current list and returns `None`. If it can't become
    /// the current list, that is rewritten when this is saved.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn catch_up(
        &mut self,
        tx: &Tx,
        (job, evaluation): (&Job, &Evaluation),
        next: &NextList,
        count: usize,
    ) -> Result<Option<CaughtUp>> {
        let id = next.collection();
        if evaluation.outdated || self.is_named(id) {
            self.finish_evaluation(id);
            return Ok(None);
        }
        let changed = jobs::changed(tx, job, count).await?;
        let steps = next.steps(tx, &changed).await?;
        let Some(places) = next.places(tx, &steps).await? else {
            self.finish_evaluation(id);
            return Ok(None);
        };
        let directory = next.take(tx, &steps, &places).await?;
        if changed.len() < count {
            self.switch(tx, id, directory).await?;
            return Ok(None);
        }
        jobs::evaluated(tx, job, id, &changed).await?;
        Ok(Some(CaughtUp {
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
