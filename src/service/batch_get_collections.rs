//! Reading several collections by id.

use std::collections::HashSet;

use super::{Above, Detail, Service, in_order};
use crate::{
    domain::{
        Caller, CollectionId, Constraint, Error, FieldPath, Reason, Result, Violations,
        page::{PageBytes, fitting, made_of},
    },
    store::collections,
    telemetry::trace,
};

/// What was found of the ids asked for.
#[derive(Debug)]
pub struct Batch {
    /// The collections, in the order asked, each once.
    pub found: Vec<Detail>,
    /// The ids that name none, in the order asked, each once.
    pub missing: Vec<CollectionId>,
}

impl Service {
    /// Reads the collections with those ids, as of one moment.
    ///
    /// # Errors
    /// Where the caller may not; where there are no ids or too many, or their collections
    /// take too many `bytes`; where the store fails.
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
            let made_of = made_of(stored);
            if self.settings.memory.try_reserve(made_of).is_err() {
                // Who waits keeps no connection from others.
                drop(tx);
                self.settings.memory.reserve(made_of).await?;
                tx = self.store.read_on(&reading).await?;
            }
            let found = in_order(&tx, &there, Above::Shown).await?;
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
