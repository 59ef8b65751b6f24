//! Makes a manual collection smart, or a smart one manual. This is a request of its own, because
//! updates ([`super::update_collection`]) must not change the kind.

use super::{Command, Detail, Include, Retry, Settings, detail};
use crate::{
    domain::{
        Caller, ChildType, CollectionId, Constraint, EntryKind, Error, FieldPath, Mutation,
        Precondition, ProductId, Reason, Result, Rules, Violations, Writing,
        collection::root_immutable,
    },
    store::{
        Tx,
        children::Children,
        lock::{LockSet, Locked},
        rules::entries::Named,
    },
};

/// A request to change the kind of a collection.
#[derive(Clone, Debug)]
pub struct ChangeKind {
    /// The collection.
    pub collection: CollectionId,
    /// The rules of the new smart collection; `None` to make it manual.
    pub to_smart: Option<Rules>,
    /// Whether the products are kept: as includes of a smart collection, or as the list of a manual
    /// one.
    pub keep_members: bool,
    /// The precondition on the current version, if any.
    pub etag: Option<Precondition>,
    /// What to include in the response.
    pub include: Include,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<Detail>>,
}

/// # Errors
/// If the collection does not exist or is a root, if it is of that kind already, if the etag does
/// not match, if the rules are invalid, or if there would be too many includes.
impl Command for ChangeKind {
    const NAME: &str = "ChangeKind";

    type Response = Detail;

    fn authorize(&self, caller: &Caller) -> Result<Writing> {
        caller.writing_to(&self.collection)
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        if self.collection.is_root() {
            return Err(root_immutable(&self.collection, "has no products"));
        }
        let mut violations = Violations::default();
        if let Some(rules) = &self.to_smart {
            rules.check(&settings.limits, &mut violations);
        }
        violations.finish()
    }

    fn retry(&self) -> Option<&Retry<Detail>> {
        self.retry.as_ref()
    }

    fn awaits_rules<'a>(&self, response: &'a mut Detail) -> Option<(&'a mut Detail, Include)> {
        Some((response, self.include))
    }

    async fn run(&self, tx: &Tx, settings: &Settings) -> Result<Detail> {
        let id = &self.collection;
        let mut locked = tx.lock(LockSet::of_rules(id)).await?;
        let kind = &locked.expect(id, self.etag)?.kind;
        if kind.is_smart() == self.to_smart.is_some() {
            let message = format!("collection {id:?} is already {}", kind.name());
            return Err(Error::new(Reason::KindMismatch, message).about(id.as_str()));
        }
        match &self.to_smart {
            Some(_) if self.keep_members => self.include_all(tx, &mut locked, settings).await?,
            None if !self.keep_members => {
                let nothing = Mutation::Replace { ids: Vec::new() };
                let list = ChildType::Product;
                locked.mutate(tx, id, list, &[&nothing]).await?;
            }
            Some(_) | None => {}
        }
        locked.change_kind(id, self.to_smart.clone(), &settings.limits)?;
        let mut saved = locked.save(tx, &settings.default_locale).await?;
        let collection = super::taken(&mut saved, id)?;
        settings.memory.try_reserve(collection.size())?;
        detail(tx, collection, self.include).await
    }
}

impl ChangeKind {
    /// Turns all products of the collection into includes.
    async fn include_all(&self, tx: &Tx, locked: &mut Locked, settings: &Settings) -> Result<()> {
        let id = &self.collection;
        let collection = locked.expect(id, None)?;
        let count = usize::try_from(collection.product_count).unwrap_or(usize::MAX);
        let max = settings.limits.includes;
        if count > max {
            let mut violations = Violations::default();
            let constraint = Constraint::TooMany { count, max };
            violations.add(FieldPath::Entries(EntryKind::Include), "", constraint);
            return violations.finish();
        }
        let members = Children::of(tx, collection, ChildType::Product).all();
        let members = members.await?.into_iter().map(ProductId::from);
        let named = Named {
            includes: members.collect(),
            ..Named::default()
        };
        locked.name(tx, id, &Named::default(), &named).await
    }
}
