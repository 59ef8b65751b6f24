//! Changes the rule entries of a smart collection: includes, excludes and pins. The rules
//! themselves are changed by [`super::update_collection`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Command, Detail, Include, Retry, Settings, detail, products};
use crate::{
    domain::{
        Caller, CollectionId, Constraint, EntryCounts, EntryKind, Error, FieldPath, Precondition,
        ProductId, Reason, Result, Violations, Writing,
    },
    store::{
        Tx,
        lock::LockSet,
        rules::entries::{self, Named},
    },
};

/// The maximum total length of the ids in a collection's rule entries, in bytes.
const MAX_BYTES: usize = 2 << 20;

/// A request to change rule entries. The list is updated in the same transaction.
#[derive(Clone, Debug)]
pub struct ChangeRuleEntries {
    /// The collection.
    pub collection: CollectionId,
    /// The kind of entries.
    pub kind: EntryKind,
    /// Products to add, with their indexes if they are pins. Existing pins get the new index.
    pub add: Vec<(ProductId, Option<u64>)>,
    /// Products to remove. Those without an entry are ignored.
    pub remove: Vec<ProductId>,
    /// Whether all existing entries of the kind are removed first.
    pub replace: bool,
    /// The precondition on the current version, if any.
    pub etag: Option<Precondition>,
    /// What to include in the response.
    pub include: Include,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<EntriesChanged>>,
}

/// The result of changing rule entries.
#[derive(Clone, Debug)]
pub struct EntriesChanged {
    /// The collection in its new state.
    pub detail: Detail,
    /// The new numbers of entries.
    pub counts: EntryCounts,
}

/// # Errors
/// If the collection does not exist or is manual, if the etag does not match, if a product would be
/// both excluded and included or pinned, if two pins would have the same index, or if a limit is
/// exceeded.
impl Command for ChangeRuleEntries {
    const NAME: &str = "ChangeRuleEntries";

    type Response = EntriesChanged;

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing_to(&self.collection)
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        let mut violations = Violations::default();
        let max = settings.limits.entries(self.kind);
        violations.count(FieldPath::Entries(self.kind), self.add.len(), max);
        violations.count("remove", self.remove.len(), max);
        let mut seen = BTreeSet::new();
        for (at, (product, index)) in self.add.iter().enumerate() {
            if !seen.insert(product) {
                let field = FieldPath::Entry(at);
                violations.add(field, product.as_str(), Constraint::Repeated);
                continue;
            }
            let constraint = match (self.kind, index) {
                (EntryKind::Pin, None) => Constraint::Required,
                (EntryKind::Pin, Some(index)) if i64::try_from(*index).is_err() => {
                    Constraint::OutOfRange {
                        min: 0,
                        max: i64::MAX,
                    }
                }
                (EntryKind::Include | EntryKind::Exclude, Some(_)) => {
                    Constraint::Forbidden("only pins have one")
                }
                (EntryKind::Pin, Some(_)) | (EntryKind::Include | EntryKind::Exclude, None) => {
                    continue;
                }
            };
            let index = index.map(|index| index.to_string()).unwrap_or_default();
            violations.add(FieldPath::EntryIndex(at), &index, constraint);
        }
        violations.finish()
    }

    fn retry(&self) -> Option<&Retry<EntriesChanged>> {
        self.retry.as_ref()
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<EntriesChanged> {
        let id = &self.collection;
        let mut set = LockSet::of_rules(id);
        if self.kind == EntryKind::Include {
            let added = self.add.iter().map(|(product, _)| product.clone());
            set.registered = products::to_check(settings, added);
        }
        let mut locked = tx.lock(set).await?;
        if !locked.expect(id, self.etag)?.kind.is_smart() {
            return Err(not_for_manual(id));
        }
        products::check_registered(&locked)?;
        let before = entries::of_collection(tx, id).await?;
        let after = self.applied(before.clone());
        self.check_after(&after, settings)?;
        if after != before {
            locked.name(tx, id, &before, &after).await?;
        }
        let mut saved = locked.save(tx, &settings.default_locale).await?;
        let collection = super::taken(&mut saved, id)?;
        settings.memory.try_reserve(collection.size())?;
        Ok(EntriesChanged {
            detail: detail(tx, collection, self.include).await?,
            counts: counts(&after),
        })
    }
}

impl ChangeRuleEntries {
    fn applied(&self, mut named: Named) -> Named {
        let add = self.add.iter();
        let ids = add.clone().map(|(product, _)| product.clone());
        match self.kind {
            EntryKind::Include => {
                // A suspended include that is added again is a normal include now.
                let named_now: BTreeSet<_> = ids.clone().collect();
                let stays = |id: &ProductId| {
                    !self.replace && !self.remove.contains(id) && !named_now.contains(id)
                };
                named.absent.retain(stays);
                self.change(&mut named.includes, ids);
            }
            EntryKind::Exclude => self.change(&mut named.excludes, ids),
            EntryKind::Pin => {
                let keeps = |id: &ProductId| !self.replace && !self.remove.contains(id);
                named.pins.retain(|id, _| keeps(id));
                let pins = add.map(|(product, index)| (product.clone(), index.unwrap_or_default()));
                named.pins.extend(pins);
            }
        }
        named
    }

    fn change(&self, named: &mut BTreeSet<ProductId>, add: impl Iterator<Item = ProductId>) {
        if self.replace {
            named.clear();
        }
        for product in &self.remove {
            named.remove(product);
        }
        named.extend(add);
    }

    /// Checks the resulting entries.
    fn check_after(&self, named: &Named, settings: &Settings) -> Result<()> {
        let mut violations = Violations::default();
        let count = match self.kind {
            EntryKind::Include => named.includes.len() + named.absent.len(),
            EntryKind::Exclude => named.excludes.len(),
            EntryKind::Pin => named.pins.len(),
        };
        violations.count(
            FieldPath::Entries(self.kind),
            count,
            settings.limits.entries(self.kind),
        );
        let ids = named.includes.iter().chain(&named.absent);
        let ids = ids.chain(&named.excludes);
        let bytes = ids.chain(named.pins.keys()).map(|id| id.as_str().len());
        let bytes: usize = bytes.sum();
        if bytes > MAX_BYTES {
            let max = MAX_BYTES;
            violations.add(
                FieldPath::Entries(self.kind),
                "",
                Constraint::TooLarge { bytes, max },
            );
        }
        let mut pinned: BTreeMap<u64, u32> = BTreeMap::new();
        for index in named.pins.values() {
            *pinned.entry(*index).or_default() += 1;
        }
        for (at, (product, index)) in self.add.iter().enumerate() {
            if index.is_some_and(|index| pinned.get(&index).is_some_and(|count| *count > 1)) {
                let field = FieldPath::EntryIndex(at);
                let why = Constraint::Forbidden("another product is pinned to that index");
                violations.add(field, &index.unwrap_or_default().to_string(), why);
            } else if named.excludes.contains(product)
                && (named.includes.contains(product)
                    || named.absent.contains(product)
                    || named.pins.contains_key(product))
            {
                let field = FieldPath::Entry(at);
                let why = "a product can't be both excluded and included or pinned";
                violations.add(field, product.as_str(), Constraint::Forbidden(why));
            }
        }
        violations.finish()
    }
}

/// The numbers of entries, including suspended includes.
fn counts(named: &Named) -> EntryCounts {
    EntryCounts {
        includes: (named.includes.len() + named.absent.len()) as u64,
        excludes: named.excludes.len() as u64,
        pins: named.pins.len() as u64,
    }
}

/// The error of a request that only applies to smart collections.
pub(super) fn not_for_manual(id: &CollectionId) -> Error {
    let message = format!("collection {id:?} is manual: it has no rules");
    Error::new(Reason::KindMismatch, message).about(id.as_str())
}
