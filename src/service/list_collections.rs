//! Listing collections.

use super::{Above, Below, Depth, Detail, Service, Settings, below::below, details};
use crate::{
    domain::{
        Caller, Collection, CollectionFilter, CollectionId, Constraint, FieldPath, Limits, Result,
        Violations,
        filter::{Expression, Order},
        ids::{NON_NAVIGABLE_ROOT, ROOT},
        page,
    },
    store::{Tx, collections, listing},
};

/// Asks for a page of collections.
#[derive(Clone, Debug)]
pub struct ListCollections {
    /// Which collections.
    pub filter: CollectionFilter,
    /// Whether it is an error where an id that the filter names is none of a collection.
    pub all_there: bool,
    /// In which order; the newest first where nothing is said.
    pub order: Vec<Order>,
    /// What to show of the collections below them; none to leave out even which those are.
    pub below: Option<Depth>,
    /// What is read of the collections above.
    pub above: Above,
    /// Where the page starts.
    pub start: PageStart,
    /// How much it holds at most.
    pub size: usize,
}

/// Where a page starts.
#[derive(Clone, Debug)]
pub enum PageStart {
    /// At the beginning.
    First,
    /// Where the page before ended, by its token.
    Token(String),
    /// After so many.
    Offset(u64),
}

/// A page of collections.
#[derive(Debug)]
pub struct CollectionPage {
    /// The collections.
    pub collections: Vec<Detail>,
    /// What stands below them.
    pub below: Below,
    /// For the next page; none after the last, nor in another order than the newest first.
    pub next: Option<String>,
    /// How many satisfy the filter in all.
    pub total: u64,
}

impl Service {
    /// Lists collections.
    ///
    /// # Errors
    /// Where the caller may not; where the filter is over a limit, what stands below is,
    /// or the token is not for it; where the store fails.
    pub async fn list_collections(
        &self,
        caller: &Caller,
        command: ListCollections,
    ) -> Result<CollectionPage> {
        let reading = caller.reading()?;
        let filter = &command.filter;
        check(filter, &self.settings.limits)?;
        let scope = format!("collections {} {filter:?}", caller.tenant);
        let start = match &command.start {
            PageStart::First => page::Start::After(None),
            PageStart::Token(token) => {
                let place = self.page_tokens.read(&scope, token).await?;
                page::Start::After(Some(parse(&place)?))
            }
            PageStart::Offset(offset) => page::Start::Offset(*offset),
        };
        let tx = self.store.read(&reading).await?;
        if let (Some(ids), true) = (&filter.ids, command.all_there) {
            check_all_there(&tx, ids).await?;
        }
        let (mut rows, mut total) =
            listing::list(&tx, filter, &command.order, &start, command.size + 1).await?;
        if total == 0 {
            rows = unmade_roots(filter, &self.settings);
            total = rows.len() as u64;
        }
        let more = rows.len() > command.size;
        rows.truncate(command.size);
        let more = more && command.order.is_empty();
        let last = rows.last().filter(|_| more);
        let next = last.map(|last| format!("{}.{}", last.create_time.micros(), last.id));
        let mut collections = details(&tx, rows, command.above).await?;
        let below = match command.below {
            Some(depth) => {
                let active = filter.active;
                below(&tx, &mut collections, depth, active, &self.settings).await?
            }
            None => Below::default(),
        };
        drop(tx);
        Ok(CollectionPage {
            collections,
            below,
            next: self.page_tokens.issue(&scope, next).await?,
            total,
        })
    }
}

fn check(filter: &CollectionFilter, limits: &Limits) -> Result<()> {
    let mut violations = Violations::default();
    let name = filter.name.as_deref().unwrap_or_default();
    violations.length(FieldPath::FilterDisplayName, name, limits.name_chars);
    let ids = filter.ids.as_ref().map_or(0, Vec::len);
    violations.count(FieldPath::FilterIds, ids, limits.ids);
    let texts = filter.expression.iter().flat_map(Expression::texts);
    let mut texts: Vec<_> = texts.collect();
    violations.count(FieldPath::FilterExpression, texts.len(), limits.conditions);
    // One text may be looked for in several places.
    texts.dedup();
    for text in texts {
        violations.length(FieldPath::FilterExpression, text, limits.name_chars);
    }
    violations.finish()
}

/// The roots that the filter asks for, of a tenant that holds nothing yet and so has no rows
/// for them. Of one that does, where a list would have them, they were found.
fn unmade_roots(filter: &CollectionFilter, settings: &Settings) -> Vec<Collection> {
    let CollectionFilter {
        name: None,
        ids,
        roots,
        parent: None,
        smart: None | Some(false),
        active: _,
        expression: None,
    } = filter
    else {
        return Vec::new();
    };
    let both = [ROOT, NON_NAVIGABLE_ROOT].map(CollectionId::trusted);
    let asked = |id: &CollectionId| ids.as_ref().map_or(*roots, |ids| ids.contains(id));
    let asked = both.into_iter().filter(asked);
    asked.map(|id| settings.unmade_root(id)).collect()
}

/// Checks that each of the ids is that of a collection. The roots are always there.
async fn check_all_there(tx: &Tx, ids: &[CollectionId]) -> Result<()> {
    let found = collections::existing(tx, ids).await?;
    let mut violations = Violations::default();
    for id in ids
        .iter()
        .filter(|id| !id.is_root() && !found.contains(*id))
    {
        let known = "the ids of collections";
        violations.add(
            FieldPath::FilterIds,
            id.as_str(),
            Constraint::Unknown(known),
        );
    }
    violations.finish()
}

fn parse(place: &str) -> Result<(i64, CollectionId)> {
    let (time, id) = place.split_once('.').ok_or_else(page::bad_token)?;
    let time = time.parse().map_err(|_| page::bad_token())?;
    Ok((time, CollectionId::trusted(id)))
}
