//! Reading a list of children page by page.

use super::{Service, get_collection::find, token};
use crate::{
    domain::{Caller, ChildId, ChildList, CollectionId, Etag, Result, page},
    store::children::Children,
};

/// Asks for a page of children.
#[derive(Clone, Debug)]
pub struct ListChildren {
    /// Whose.
    pub collection: CollectionId,
    /// Which list.
    pub list: ChildList,
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
    /// After the last child of the page before, by its token.
    Token(String),
}

/// A page of children.
#[derive(Debug)]
pub struct ChildPage {
    /// The children, in order.
    pub children: Vec<ChildId>,
    /// The index of the first.
    pub start: u64,
    /// For the next page; none after the last.
    pub next: Option<String>,
    /// How many the list has.
    pub total: u64,
    /// The collection's version that the page shows.
    pub etag: Etag,
}

/// What a token says: the version that the page before showed, where it ended, and
/// its last child.
struct Place {
    etag: Etag,
    next: u64,
    last: ChildId,
}

impl Service {
    /// Reads a page of a list of children. A token goes on after the last child of
    /// the page before, wherever that is by now; where it was taken out meanwhile,
    /// at the index where the page before ended.
    ///
    /// # Errors
    /// Where the tenant has no such collection; where the start is beyond the end;
    /// where the store fails.
    pub async fn list_children(&self, caller: &Caller, command: ListChildren) -> Result<ChildPage> {
        let ListChildren {
            collection,
            list,
            start,
            size,
        } = command;
        let scope = format!("{} {collection} {list}", caller.tenant);
        let tx = self.store.read(caller).await?;
        let found = find(&tx, &collection, &self.settings.default_locale).await?;
        let start = match &start {
            ChildStart::Index(index) => *index,
            ChildStart::Token(token) => {
                let place = Place::parse(&scope, token)?;
                place
                    .start(Children::of(&tx, &found, list), found.etag())
                    .await?
            }
        };
        let page = Children::of(&tx, &found, list).page(start, size).await?;
        let next = page.start + page.children.len() as u64;
        let token = page
            .children
            .last()
            .filter(|_| next < page.len)
            .map(|last| token::encode(&scope, &format!("{}.{next}.{last}", found.etag())));
        Ok(ChildPage {
            children: page.children,
            start: page.start,
            next: token,
            total: page.len,
            etag: found.etag(),
        })
    }
}

impl Place {
    fn parse(scope: &str, token: &str) -> Result<Self> {
        let place = token::decode(scope, token)?;
        let mut parts = place.splitn(3, '.');
        let (Some(etag), Some(next), Some(last)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(page::bad_token());
        };
        Ok(Self {
            etag: Etag::parse("page_token", etag).map_err(|_| page::bad_token())?,
            next: next.parse().map_err(|_| page::bad_token())?,
            last: ChildId::trusted(last),
        })
    }

    /// Where to go on in the list as it is now.
    async fn start(&self, children: Children<'_>, current: Etag) -> Result<u64> {
        if self.etag == current {
            return Ok(self.next);
        }
        if let Some(index) = children.index_of(&self.last).await? {
            return Ok(index + 1);
        }
        let len = children.page(0, 0).await?.len;
        Ok(self.next.min(len))
    }
}
