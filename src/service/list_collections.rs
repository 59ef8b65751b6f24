//! Listing collections.

use super::{Below, Depth, Detail, Service, below::below, details, token};
use crate::{
    domain::{Caller, CollectionId, Result, Violations, filter::Order, page},
    store::listing::{self, Filter},
};

/// Asks for a page of collections.
#[derive(Clone, Debug)]
pub struct ListCollections {
    /// Which collections.
    pub filter: Filter,
    /// In which order; the newest first where nothing is said.
    pub order: Vec<Order>,
    /// What to show of the collections below them; none to leave out even which those are.
    pub below: Option<Depth>,
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
        let limits = &self.settings.limits;
        let mut violations = Violations::default();
        let name = command.filter.name.as_deref().unwrap_or_default();
        violations.length("filter.name", name, limits.name_chars);
        let ids = command.filter.ids.as_ref().map_or(0, Vec::len);
        violations.count("filter.ids", ids, limits.ids);
        violations.finish()?;

        let filter = &command.filter;
        let scope = format!("{} {filter:?}", caller.tenant);
        let start = match &command.start {
            PageStart::First => page::Start::After(None),
            PageStart::Token(token) => page::Start::After(Some(parse(&scope, token)?)),
            PageStart::Offset(offset) => page::Start::Offset(*offset),
        };
        let tx = self.store.read(&reading).await?;
        let (mut rows, total) =
            listing::list(&tx, filter, &command.order, &start, command.size + 1).await?;
        let more = rows.len() > command.size;
        rows.truncate(command.size);
        let more = more && command.order.is_empty();
        let next = rows.last().filter(|_| more).map(|last| {
            let place = format!("{}.{}", last.create_time.micros(), last.id);
            token::encode(&scope, &place)
        });
        let mut collections = details(&tx, rows).await?;
        let below = match command.below {
            Some(depth) => below(&tx, &mut collections, depth, &self.settings).await?,
            None => Below::default(),
        };
        Ok(CollectionPage {
            collections,
            below,
            next,
            total,
        })
    }
}

fn parse(scope: &str, token: &str) -> Result<(i64, CollectionId)> {
    let place = token::decode(scope, token)?;
    let (time, id) = place.split_once('.').ok_or_else(page::bad_token)?;
    let time = time.parse().map_err(|_| page::bad_token())?;
    Ok((time, CollectionId::trusted(id)))
}
