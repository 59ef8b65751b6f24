//! Reads a list of children page by page. Tokens ([`super::child_token`]) find the position again
//! if the list changes between pages.

use bytes::Bytes;

use super::{
    ProductDetail, Service, Settings,
    child_token::{Direction, Place},
    get_collection::find,
    products,
    read_cache::{self, EncodedResponse, Filled},
};
use crate::{
    domain::{
        Caller, ChildId, ChildReason, ChildType, CollectionId, Consistency, Etag, ProductId,
        Reading, Result,
        page::{self, PageBytes},
    },
    memory,
    store::{
        Tx, Versions,
        children::{CachedList, Children, Page},
        rules::entries,
    },
    telemetry::trace,
};

/// A request for a page of children.
#[derive(Clone, Debug)]
pub struct ListChildren {
    /// The collection.
    pub collection: CollectionId,
    /// The kind of list.
    pub list: ChildType,
    /// What to read of the children, which must be products; `None` for only their ids.
    pub products: Option<ChildProducts>,
    /// The start of the page.
    pub start: ChildStart,
    /// The maximum number of children on the page.
    pub size: usize,
}

/// What to read of the products on a page.
#[derive(Clone, Debug)]
pub struct ChildProducts {
    /// Whether to read their attributes and details, too.
    pub whole: bool,
    /// The maximum size of the page.
    pub bytes: PageBytes<ProductDetail>,
}

/// The start of a page of children.
#[derive(Clone, Debug)]
pub enum ChildStart {
    /// At this index.
    Index(u64),
    /// Next to a page that was read before, given by one of its tokens.
    Token(String),
}

/// A page of children.
#[derive(Debug)]
pub struct ChildPage {
    /// The children, in order, with their indexes.
    pub children: Vec<(ChildId, u64)>,
    /// Why each child is in the collection; empty if the collection is not smart or the children
    /// are collections.
    pub reasons: Vec<ChildReason>,
    /// The product of each child, without its collections; empty if products were not requested.
    pub products: Vec<ProductDetail>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
    /// The token of the previous page; `None` on the first page.
    pub previous: Option<String>,
    /// The length of the list.
    pub total: u64,
    /// The version of the collection that the page shows.
    pub etag: Etag,
}

impl Service {
    /// Reads a page of a list of children, from an index or next to a page that was read before. In
    /// the latter case, the position is found again if the list has changed (see [`Place`]). A page
    /// with products ends early if they take too many bytes.
    ///
    /// # Errors
    /// If the caller is not authorized; if the tenant has no such collection; if the start is
    /// beyond the end; if the store fails.
    pub async fn list_children(&self, caller: &Caller, command: ListChildren) -> Result<ChildPage> {
        trace::use_case("ListChildren", async move {
            let reading = caller.reading()?;
            let tx = self.store.look_up(&reading)?;
            self.child_page(caller, &reading, &tx, &command).await
        })
        .await
    }

    /// The same, encoded by `encode`, or a cached response that is fresh enough. `form` identifies
    /// the encoding in the cache.
    ///
    /// # Errors
    /// As for [`Self::list_children`].
    pub async fn list_children_encoded(
        &self,
        caller: &Caller,
        command: ListChildren,
        consistency: Consistency,
        form: &str,
        encode: impl Fn(ChildPage) -> Bytes + Send + Sync,
    ) -> Result<EncodedResponse> {
        trace::use_case("ListChildren", async move {
            let reading = &caller.reading()?;
            let tx = &self.store.look_up(reading)?;
            let (command, encode) = (&command, &encode);
            let fill = |of_replica: Option<Tx>| async move {
                let tx = of_replica.as_ref().unwrap_or(tx);
                let id = &command.collection;
                let before = self.store.before(tx, id);
                let page = self.child_page(caller, reading, tx, command).await?;
                let etag = page.etag;
                let versions = Versions {
                    collection: etag.version(),
                    graph: None,
                };
                // A root of a tenant without data is not stored, so it has no version to validate.
                let is_stored = etag.version() > 0;
                let mark = self.store.mark(before, versions).filter(|_| is_stored);
                let body = encode(page);
                Ok(Filled {
                    encoded: EncodedResponse {
                        body,
                        etag,
                        read_etag: None,
                        is_cached: false,
                    },
                    holds: mark.map(|mark| (id.clone(), mark)).into_iter().collect(),
                })
            };
            // Products change without a new version of the collection, so such pages are not
            // cached.
            if command.products.is_some() {
                let made = read_cache::made(&self.store, tx, consistency, fill);
                return Ok(Box::pin(made).await?.0.encoded);
            }
            let (from, start) = match &command.start {
                ChildStart::Index(index) => ("index", &*index.to_string()),
                ChildStart::Token(token) => ("token", token.as_str()),
            };
            let ListChildren {
                collection,
                list,
                size,
                ..
            } = command;
            let (tenant, named) = (tx.tenant.as_str(), tx.named.as_str());
            let (list, of, size) = (list.to_string(), collection.as_str(), size.to_string());
            let name = [tenant, named, &list, "of", of, &size, from, start, form].join(" ");
            self.cache
                .get(&self.store, tx, name, consistency, fill)
                .await
        })
        .await
    }

    async fn child_page(
        &self,
        caller: &Caller,
        reading: &Reading,
        tx: &Tx,
        command: &ListChildren,
    ) -> Result<ChildPage> {
        let ListChildren {
            collection, list, ..
        } = command;
        let scope = format!("children {} {collection} {list}", caller.tenant);
        let start = match &command.start {
            ChildStart::Index(index) => Start::Index(*index),
            ChildStart::Token(token) => {
                let place = self.page_tokens.read(&scope, token).await?;
                Start::Place(Place::parse(&place)?)
            }
        };
        let (part, products) = match cached_part(tx, command, &start).await? {
            Some(part) => (part, Vec::new()),
            // A snapshot of the replica. Without enough memory the read fails there, and is repeated
            // on the database, where it may wait.
            None if tx.is_snapshot() => {
                let part = Part::read(tx, command, &start, &self.settings).await?;
                let bytes = memory::made_of(part.stored);
                self.settings.memory.try_reserve(bytes)?;
                part.complete(tx, command).await?
            }
            None => self.part(reading, command, &start).await?,
        };
        let (next, previous) = part.places_beside();
        Ok(ChildPage {
            next: self.page_tokens.issue(&scope, next).await?,
            previous: self.page_tokens.issue(&scope, previous).await?,
            children: part.children,
            reasons: part.reasons,
            products,
            total: part.total,
            etag: part.etag,
        })
    }

    /// Reads a part of a list with its products, from one snapshot.
    async fn part(
        &self,
        reading: &Reading,
        command: &ListChildren,
        start: &Start,
    ) -> Result<(Part, Vec<ProductDetail>)> {
        let mut tx = self.store.read_on(reading).await?;
        let mut part = Part::read(&tx, command, start, &self.settings).await?;
        let bytes = memory::made_of(part.stored);
        if self.settings.memory.try_reserve(bytes).is_err() {
            // Release the connection while waiting for memory, so that others can use it.
            drop(tx);
            self.settings.memory.reserve(bytes).await?;
            tx = self.store.read_on(reading).await?;
            part = Part::read(&tx, command, start, &self.settings).await?;
        }
        part.complete(&tx, command).await
    }
}

/// Reads the ids with one statement, and why a smart collection contains them with another. Returns
/// `None` if the list is not as the cached directory says.
async fn cached_part(tx: &Tx, command: &ListChildren, start: &Start) -> Result<Option<Part>> {
    let list = Children::uncached(tx, &command.collection, command.list);
    let cached = CachedList::of(list).filter(|_| command.products.is_none());
    let Some(cached) = cached else {
        return Ok(None);
    };
    let Some(mut part) = Part::of_cached(&cached, start, command.size).await? else {
        return Ok(None);
    };
    // The collection may have changed between the two statements.
    let is_current = part.read_reasons(tx, command).await?;
    Ok(is_current.then_some(part))
}

/// The start of a part of a list.
enum Start {
    Index(u64),
    /// The current location of this position.
    Place(Place),
}

/// A part of a list next to a position.
struct Part {
    place: Place,
    /// The children, in order, with their indexes.
    children: Vec<(ChildId, u64)>,
    /// Why each child is in the collection, if the collection is smart.
    reasons: Vec<ChildReason>,
    /// Whether the collection is smart.
    is_smart: bool,
    /// The length of the list.
    total: u64,
    /// The version of the collection when it was read.
    etag: Etag,
    /// The size in bytes of the products' attributes and details, if they are to be read.
    stored: usize,
}

impl Part {
    async fn read(
        tx: &Tx,
        command: &ListChildren,
        start: &Start,
        settings: &Settings,
    ) -> Result<Self> {
        let found = find(tx, &command.collection, settings).await?;
        let etag = found.etag();
        let list = Children::of(tx, &found, command.list);
        let place = match start {
            Start::Index(index) => Place::at(etag, *index),
            Start::Place(place) => place.clone().now(list, etag).await?,
        };
        let (from, most) = span(&place, command.size);
        let (children, total) = shown(list.page(from, most).await?, &place, command.size);
        let mut part = Self {
            place,
            children,
            reasons: Vec::new(),
            is_smart: found.kind.is_smart(),
            total,
            etag,
            stored: 0,
        };
        if command.products.as_ref().is_some_and(|it| it.whole) {
            part.end_by_size(tx, settings).await?;
        }
        Ok(part)
    }

    /// Reads the ids by the cached directory; `None` if the list has changed since.
    async fn of_cached(
        cached: &CachedList<'_>,
        start: &Start,
        size: usize,
    ) -> Result<Option<Self>> {
        let etag = cached.etag();
        let place = match start {
            Start::Index(index) => Place::at(etag, *index),
            Start::Place(place) if place.etag == etag => place.clone(),
            Start::Place(_) => return Ok(None),
        };
        let (from, most) = span(&place, size);
        let Some((page, is_smart)) = cached.page(from, most).await? else {
            return Ok(None);
        };
        let (children, total) = shown(page, &place, size);
        Ok(Some(Self {
            place,
            children,
            reasons: Vec::new(),
            is_smart,
            total,
            etag,
            stored: 0,
        }))
    }

    /// Reads why a smart collection contains the children. Returns whether the collection still has
    /// the version at which they were read.
    async fn read_reasons(&mut self, tx: &Tx, command: &ListChildren) -> Result<bool> {
        if !self.is_smart || command.list != ChildType::Product || self.children.is_empty() {
            return Ok(true);
        }
        let ids: Vec<_> = self.children.iter().map(|(id, _)| id).collect();
        let version = self.etag.version();
        let reasons = entries::reasons(tx, &command.collection, version, &ids).await?;
        let is_current = reasons.is_some();
        self.reasons = reasons.unwrap_or_default();
        Ok(is_current)
    }

    fn ids(&self) -> Vec<ProductId> {
        let ids = self.children.iter().map(|(id, _)| id.clone());
        ids.map(ProductId::from).collect()
    }

    /// Drops the children whose products would be too large to read at once.
    async fn end_by_size(&mut self, tx: &Tx, settings: &Settings) -> Result<()> {
        let mut sizes = products::sizes(tx, &self.ids(), false).await?;
        let direction = self.place.direction;
        let fit = direction.fitting(sizes.iter().copied(), settings.limits.page_bytes);
        direction.keep_nearest(&mut self.children, fit);
        direction.keep_nearest(&mut sizes, fit);
        self.stored = sizes.iter().sum();
        Ok(())
    }

    /// Reads the products of the children, if they are requested, and why the children are in the
    /// list.
    async fn complete(
        mut self,
        tx: &Tx,
        command: &ListChildren,
    ) -> Result<(Self, Vec<ProductDetail>)> {
        let products = match &command.products {
            Some(wanted) => self.products(tx, wanted).await?,
            None => Vec::new(),
        };
        self.read_reasons(tx, command).await?;
        Ok((self, products))
    }

    /// The products of the children. If they are too large to send, drops some of both.
    async fn products(&mut self, tx: &Tx, wanted: &ChildProducts) -> Result<Vec<ProductDetail>> {
        let mut products = if wanted.whole {
            products::known(tx, self.ids()).await?
        } else {
            products::outlines(tx, self.ids()).await?
        };
        let PageBytes { max, of } = &wanted.bytes;
        if wanted.bytes.may_exceed(products.len(), self.stored) {
            let direction = self.place.direction;
            let fit = direction.fitting(products.iter().map(|one| of(one)), *max);
            direction.keep_nearest(&mut self.children, fit);
            direction.keep_nearest(&mut products, fit);
        }
        Ok(products)
    }

    /// The positions of the next and the previous page, encoded for tokens, if there are such
    /// pages.
    fn places_beside(&self) -> (Option<String>, Option<String>) {
        let (first, last) = (self.children.first(), self.children.last());
        let has_more = last.is_some_and(|(_, last)| last + 1 < self.total);
        let has_less = first.is_some_and(|(_, first)| *first > 0);
        let beside = |direction| self.place.beside(&self.children, direction).encode();
        (
            has_more.then(|| beside(Direction::Forward)),
            has_less.then(|| beside(Direction::Backward)),
        )
    }
}

/// The start index and the number of children to read for a page. Skipped children are read, too.
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

/// Up to `size` children next to the position, without the skipped ones, each with its index; and
/// the length of the list.
fn shown(page: Page, place: &Place, size: usize) -> (Vec<(ChildId, u64)>, u64) {
    let indexed = page.children.into_iter().zip(page.start..);
    let mut wanted: Vec<_> = indexed.filter(|(id, _)| !place.skip.contains(id)).collect();
    place.direction.keep_nearest(&mut wanted, size);
    (wanted, page.len)
}

impl Direction {
    /// Keeps up to `most` items, those nearest to the position.
    fn keep_nearest<T>(self, items: &mut Vec<T>, most: usize) {
        match self {
            Self::Forward => items.truncate(most),
            Self::Backward => {
                items.drain(..items.len().saturating_sub(most));
            }
        }
    }

    /// The number of items, from the nearest on, whose sizes fit into `max`.
    fn fitting(self, sizes: impl DoubleEndedIterator<Item = usize>, max: usize) -> usize {
        match self {
            Self::Forward => page::fitting(sizes, max),
            Self::Backward => page::fitting(sizes.rev(), max),
        }
    }
}
