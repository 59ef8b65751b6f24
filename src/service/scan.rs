//! Filters and sort orders that the database cannot evaluate, because JSON is never queried there
//! and because it does not know which text a caller sees. Candidates are read in batches, each with
//! a connection of its own, and are evaluated in this process.

use std::{collections::VecDeque, fmt, sync::Arc};

use crate::domain::{Constraint, FieldPath, Result, Violation, filter::Keys};

/// A filter and a sort order that are evaluated item by item.
#[derive(Clone)]
pub struct Scan<T> {
    /// The sort keys of an item; `None` if it does not satisfy the filter. Items with equal keys
    /// keep the order of the candidates.
    pub evaluate: Evaluate<T>,
    /// Whether it needs the child collections of each collection.
    pub children: bool,
}

/// Evaluates an item.
pub type Evaluate<T> = Arc<dyn Fn(&T) -> Option<Keys> + Send + Sync>;

impl<T> fmt::Debug for Scan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").finish_non_exhaustive()
    }
}

/// The conditions that items of a page must still satisfy when they are read: they were found by an
/// earlier scan, and may have changed since.
#[derive(Clone, Debug)]
pub struct Still<F, T> {
    pub(super) filter: F,
    pub(super) scan: Scan<T>,
}

impl<T> Scan<T> {
    /// Removes the items that do not satisfy the filter.
    pub(super) fn keep(&self, items: &mut Vec<T>) {
        items.retain(|item| (self.evaluate)(item).is_some());
    }

    /// The ids of the items that satisfy the filter, in order. `next` reads items from the front of
    /// a list of ids, and returns them with the remaining ids.
    pub(super) async fn run<I: Clone, F>(
        &self,
        ids: Vec<I>,
        id_of: impl Fn(&T) -> I,
        next: impl Fn(VecDeque<I>) -> F,
    ) -> Result<Vec<I>>
    where
        F: Future<Output = Result<(Vec<T>, VecDeque<I>)>>,
    {
        let mut rest = VecDeque::from(ids);
        let mut found: Vec<(Keys, I)> = Vec::new();
        while !rest.is_empty() {
            let (items, left) = next(rest).await?;
            rest = left;
            let evaluated = items.iter().filter_map(|item| {
                let keys = (self.evaluate)(item)?;
                Some((keys, id_of(item)))
            });
            found.extend(evaluated);
        }
        found.sort_by(|(a, _), (b, _)| a.compare(b));
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }
}

/// Checks that there are not too many candidates to scan.
pub(super) fn check(count: u64, max: usize) -> Result<()> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count <= max {
        return Ok(());
    }
    Err(Violation::new(FieldPath::Scanned, "", Constraint::TooMany { count, max }).into())
}

/// Up to `size` items of a list, from `offset` on.
pub(super) fn page<T: Clone>(list: &[T], offset: u64, size: usize) -> Vec<T> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    list.iter().skip(offset).take(size).cloned().collect()
}
