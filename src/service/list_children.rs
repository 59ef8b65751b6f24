//! Reading a list of children page by page.

use super::{
    Service,
    child_token::{Direction, Place},
    get_collection::find,
};
use crate::{
    domain::{Caller, ChildId, ChildType, CollectionId, Etag, Result},
    store::children::{Children, Known, Page},
    telemetry::trace,
};

/// Asks for a page of children.
#[derive(Clone, Debug)]
pub struct ListChildren {
    /// Whose.
    pub collection: CollectionId,
    /// Which list.
    pub list: ChildType,
    /// Where the page starts.
    pub start: ChildStart,
    /// How much it holds at most.
    pub size: usize,
}

/// Where a page of children starts.
#[derive(Clone, Debug)]
pub enum ChildStart {
    /// At this index.
    Index(u64),
    /// Beside a page that was read before, by one of its tokens.
    Token(String),
}

/// A page of children.
#[derive(Debug)]
pub struct ChildPage {
    /// The children, in order, each with its index.
    pub children: Vec<(ChildId, u64)>,
    /// For the next page; none after the last.
    pub next: Option<String>,
    /// For the page before; none before the first.
    pub previous: Option<String>,
    /// How many the list has.
    pub total: u64,
    /// The collection's version that the page shows.
    pub etag: Etag,
}

impl Service {
    /// Reads a page of a list of children, from an index, or on from a page that was
    /// read before: from where its last children are by now (see [`Place`]).
    ///
    /// # Errors
    /// Where the tenant has no such collection; where the start is beyond the end;
    /// where the store fails.
    pub async fn list_children(&self, caller: &Caller, command: ListChildren) -> Result<ChildPage> {
        trace::use_case("ListChildren", async move {
            let ListChildren {
                collection,
                list,
                start,
                size,
            } = command;
            let reading = caller.reading()?;
            let scope = format!("children {} {collection} {list}", caller.tenant);
            let (index, seen) = match start {
                ChildStart::Index(index) => (index, None),
                ChildStart::Token(token) => {
                    let place = self.page_tokens.read(&scope, &token).await?;
                    (0, Some(Place::parse(&place)?))
                }
            };
            let tx = self.store.look_up(&reading)?;
            let known = Known::of(Children::uncached(&tx, &collection, list));
            let read = match known {
                Some(known) => read_known(&known, seen.as_ref(), index, size).await?,
                None => None,
            };
            let (place, page, total) = if let Some(read) = read {
                read
            } else {
                let tx = self.store.read_on(&reading).await?;
                let found = find(&tx, &collection, &self.settings).await?;
                let etag = found.etag();
                let children = Children::of(&tx, &found, list);
                let place = seen.unwrap_or_else(|| Place::at(etag, index));
                let place = place.now(children, etag).await?;
                let (start, most) = span(&place, size);
                let page = children.page(start, most).await?;
                let (children, total) = shown(page, &place, size);
                (place, children, total)
            };
            let etag = place.etag;
            let has_more = page.last().is_some_and(|(_, last)| last + 1 < total);
            let has_less = page.first().is_some_and(|(_, first)| *first > 0);
            let beside = |direction| place.beside(&page, direction).encode();
            let next = has_more.then(|| beside(Direction::Forward));
            let previous = has_less.then(|| beside(Direction::Backward));
            Ok(ChildPage {
                next: self.page_tokens.issue(&scope, next).await?,
                previous: self.page_tokens.issue(&scope, previous).await?,
                children: page,
                total,
                etag,
            })
        })
        .await
    }
}

/// A place, the children beside it, and how many the list has.
type Read = (Place, Vec<(ChildId, u64)>, u64);

/// Reads a page of a list that is as it is known; none where it is not.
async fn read_known(
    known: &Known<'_>,
    seen: Option<&Place>,
    index: u64,
    size: usize,
) -> Result<Option<Read>> {
    let etag = known.etag();
    let place = match seen {
        None => Place::at(etag, index),
        Some(place) if place.etag == etag => place.clone(),
        Some(_) => return Ok(None),
    };
    let (start, most) = span(&place, size);
    let page = known.page(start, most).await?;
    Ok(page.map(|page| {
        let (children, total) = shown(page, &place, size);
        (place, children, total)
    }))
}

/// Where to read for a page beside the place, and how many: those that are skipped are read, too.
fn span(place: &Place, size: usize) -> (u64, usize) {
    let most = size + place.skip.len();
    match place.direction {
        Direction::Forward => (place.index, most),
        Direction::Backward => {
            let start = place.index.saturating_sub(most as u64);
            (start, (place.index - start) as usize)
        }
    }
}

/// The children beside the place that are not to be skipped, at most `size`, each with
/// its index; and how many the list has.
fn shown(page: Page, place: &Place, size: usize) -> (Vec<(ChildId, u64)>, u64) {
    let indexed = page.children.into_iter().zip(page.start..);
    let mut wanted: Vec<_> = indexed.filter(|(id, _)| !place.skip.contains(id)).collect();
    match place.direction {
        Direction::Forward => wanted.truncate(size),
        Direction::Backward => {
            wanted.drain(..wanted.len().saturating_sub(size));
        }
    }
    (wanted, page.len)
}
