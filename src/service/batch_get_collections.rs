//! Reading several collections by id.

use std::collections::{HashMap, HashSet};

use super::{Above, Detail, Service, details};
use crate::{
    domain::{Caller, CollectionId, Constraint, FieldPath, Result, Violations},
    store::collections,
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
    /// Where the caller may not; where there are no ids or too many; where the
    /// store fails.
    pub async fn batch_get_collections(
        &self,
        caller: &Caller,
        ids: Vec<CollectionId>,
    ) -> Result<Batch> {
        let reading = caller.reading()?;
        let mut violations = Violations::default();
        if ids.is_empty() {
            violations.add(FieldPath::Ids, "", Constraint::Empty);
        }
        violations.count(FieldPath::Ids, ids.len(), self.settings.limits.ids);
        violations.finish()?;

        let tx = self.store.read(&reading).await?;
        let rows = collections::get_many(&tx, &ids).await?;
        let mut found: HashMap<_, _> = details(&tx, rows, Above::Shown)
            .await?
            .into_iter()
            .map(|detail| (detail.collection.id.clone(), detail))
            .collect();
        let mut seen = HashSet::new();
        let mut batch = Batch {
            found: Vec::with_capacity(found.len()),
            missing: Vec::new(),
        };
        for id in ids {
            match found.remove(&id) {
                Some(detail) => batch.found.push(detail),
                None if seen.contains(&id) => {}
                None => batch.missing.push(id.clone()),
            }
            seen.insert(id);
        }
        Ok(batch)
    }
}
