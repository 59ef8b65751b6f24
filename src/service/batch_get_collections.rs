//! Reads several collections by id, all or nothing: if they do not fit into a response, the request
//! fails and says how many do.

use std::collections::HashSet;

use super::{Ancestors, Detail, Service, in_order};
use crate::{
    domain::{
        Caller, CollectionId, Constraint, Error, FieldPath, Reason, Result, Violations,
        page::{PageBytes, fitting},
    },
    memory,
    store::collections,
    telemetry::trace,
};

/// The result of a batch read.
#[derive(Debug)]
pub struct Batch {
    /// The collections, in the order of the request, without duplicates.
    pub found: Vec<Detail>,
    /// The ids without a collection, in the order of the request, without duplicates.
    pub missing: Vec<CollectionId>,
}

impl Service {
    /// Reads the collections with these ids, from one snapshot.
    ///
    /// # Errors
    /// If the caller is not authorized; if there are no ids or too many; if the collections take
    /// more than `bytes`; if the store fails.
    pub async fn batch_get_collections(
        &self,
        caller: &Caller,
        ids: Vec<CollectionId>,
        bytes: &PageBytes<Detail>,
    ) -> Result<Batch> {
        trace::use_case("BatchGetCollections", async move {
            let reading = caller.reading()?;
            let mut violations = Violations::default();
            if ids.is_empty() {
                violations.add(FieldPath::Ids, "", Constraint::Empty);
            }
            violations.count(FieldPath::Ids, ids.len(), self.settings.limits.ids);
            violations.finish()?;

            let mut tx = self.store.read(&reading).await?;
            let mut seen = HashSet::new();
            let asked: Vec<_> = ids
                .into_iter()
                .filter(|id| seen.insert(id.clone()))
                .collect();
            let sizes = collections::sizes(&tx, &asked).await?;
            let (there, missing): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|id| sizes.contains_key(id));
            let sizes = there.iter().filter_map(|id| sizes.get(id)).copied();
            let stored = sizes.clone().sum();
            let fit = fitting(sizes, bytes.max);
            check(fit, there.len(), bytes.max)?;
            let made_of = memory::made_of(stored);
            if self.settings.memory.try_reserve(made_of).is_err() {
                // Release the connection while waiting for memory, so that others can use it.
                drop(tx);
                self.settings.memory.reserve(made_of).await?;
                tx = self.store.read_on(&reading).await?;
            }
            let found = in_order(&tx, &there, Ancestors::Shown).await?;
            if bytes.may_exceed(fit, stored) {
                check(bytes.fitting(&found), there.len(), bytes.max)?;
            }
            Ok(Batch { found, missing })
        })
        .await
    }
}

fn check(fit: usize, count: usize, max: usize) -> Result<()> {
    if fit == count {
        return Ok(());
    }
    let message = format!(
        "only the first {fit} of {count} collections fit into a response of {max} bytes \
         (max_page_bytes): ask for the others in another request"
    );
    Err(Error::new(Reason::ResponseTooLarge, message)
        .with("fitting", fit)
        .limited_by("max_page_bytes"))
}
