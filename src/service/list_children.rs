//! Reading a list of children page by page.

use bytes::Bytes;

use super::{
    ProductDetail, Service, Settings,
    child_token::{Direction, Place},
    get_collection::find,
    products,
    read_cache::{Encoded, Filled},
};
use crate::{
    domain::{
        Caller, ChildId, ChildReason, ChildType, CollectionId, Consistency, Etag, ProductId,
        Reading, Result,
        page::{self, PageBytes},
    },
    store::{
        Tx, Versions,
        children::{Children, Known, Page},
        rules::entries,
    },
    telemetry::trace,
};

/// Asks for a page of children.
#[derive(Clone, Debug)]
pub struct ListChildren {
    /// Whose.
    pub collection: CollectionId,
    /// Which list.
    pub list: ChildType,
    /// What is read of the children, which must be products; none for their ids alone.
    pub products: Option<ChildProducts>,
    /// Where the page starts.
    pub start: ChildStart,
    /// How much it holds at most.
    pub size: usize,
}

/// What is read of the products of a page.
#[derive(Clone, Debug)]
pub struct ChildProducts {
    /// Whether their attributes and details, too.
    pub whole: bool,
    /// How many bytes the page may take.
    pub bytes: PageBytes<ProductDetail>,
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
    /// Why each child is there; empty if the collection is not smart, or the children are
    /// collections.
    pub reasons: Vec<ChildReason>,
    /// The product of each child, without its collections; empty where none were asked for.
    pub products: Vec<ProductDetail>,
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
    /// read before: from where its last children are by now (see [`Place`]). With products it
    /// ends where they take too many bytes.
    ///
    /// # Errors
    /// Where the tenant has no such collection; where the start is beyond the end;
    /// where the store fails.
    pub async fn list_children(&self, caller: &Caller, command: ListChildren) -> Result<ChildPage> {
        trace::use_case("ListChildren", async move {
            let reading = caller.reading()?;
            let tx = self.store.look_up(&reading)?;
            self.child_page(caller, &reading, &tx, &command).await
        })
        .await
    }

    /// The same as `encode` writes it: now, or before where that is fresh enough. `form` names
    /// what `encode` does.
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
    ) -> Result<Encoded> {
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
                // A root that nobody has written to has no version that is stored.
                let is_stored = etag.version() > 0;
                let mark = self.store.mark(before, versions).filter(|_| is_stored);
                let body = encode(page);
                Ok(Filled {
                    encoded: Encoded {
                        body,
                        etag,
                        read_etag: None,
                    },
                    holds: mark.map(|mark| (id.clone(), mark)).into_iter().collect(),
                })
            };
            // Products change without the collection.
            if command.products.is_some() {
                return Ok(fill(None).await?.encoded);
            }
            let start = match &command.start {
                ChildStart::Index(index) => format!("index {index}"),
                ChildStart::Token(token) => format!("token {token}"),
            };
            let ListChildren {
                collection,
                list,
                size,
                ..
            } = command;
            let (tenant, named) = (&tx.tenant, &tx.named);
            let name = format!("{tenant} {named} {list} of {collection} {size} {start} {form}");
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
        let (part, products) = match known_part(tx, command, &start).await? {
            Some(part) => (part, Vec::new()),
            // Of the replica, where pages have no products.
            None if tx.is_snapshot() => {
                let mut part = Part::read(tx, command, &start, &self.settings).await?;
                part.read_reasons(tx, command).await?;
                (part, Vec::new())
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

    /// Reads a part of a list with its products, as of one moment.
    async fn part(
        &self,
        reading: &Reading,
        command: &ListChildren,
        start: &Start,
    ) -> Result<(Part, Vec<ProductDetail>)> {
        let mut tx = self.store.read_on(reading).await?;
        let mut part = Part::read(&tx, command, start, &self.settings).await?;
        let bytes = page::made_of(part.stored);
        if self.settings.memory.try_reserve(bytes).is_err() {
            // Who waits keeps no connection from others.
            drop(tx);
            self.settings.memory.reserve(bytes).await?;
            tx = self.store.read_on(reading).await?;
            part = Part::read(&tx, command, start, &self.settings).await?;
        }
        let products = match &command.products {
            Some(wanted) => part.products(&tx, wanted).await?,
            None => Vec::new(),
        };
        part.read_reasons(&tx, command).await?;
        Ok((part, products))
    }
}

/// Reads ids by one statement, and why a smart collection has them by another, where the list is as
/// it is known.
async fn known_part(tx: &Tx, command: &ListChildren, start: &Start) -> Result<Option<Part>> {
    let list = Children::uncached(tx, &command.collection, command.list);
    let known = Known::of(list).filter(|_| command.products.is_none());
    let Some(known) = known else {
        return Ok(None);
    };
    let Some(mut part) = Part::of_known(&known, start, command.size).await? else {
        return Ok(None);
    };
    // In between it may have changed.
    let is_current = part.read_reasons(tx, command).await?;
    Ok(is_current.then_some(part))
}

/// Where a part of a list starts.
enum Start {
    Index(u64),
    /// Where this place is by now.
    Place(Place),
}

/// A part of a list, beside a place.
struct Part {
    place: Place,
    /// In order, each with its index.
    children: Vec<(ChildId, u64)>,
    /// Why each of them is there, where the collection is smart.
    reasons: Vec<ChildReason>,
    /// Whether it is.
    is_smart: bool,
    /// How many the list has.
    total: u64,
    /// The version at which it was read.
    etag: Etag,
    /// How many bytes the attributes and details of its products take, where they are to be read.
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

    /// The ids of a list that is as it is known; none where it is not.
    async fn of_known(known: &Known<'_>, start: &Start, size: usize) -> Result<Option<Self>> {
        let etag = known.etag();
        let place = match start {
            Start::Index(index) => Place::at(etag, *index),
            Start::Place(place) if place.etag == etag => place.clone(),
            Start::Place(_) => return Ok(None),
        };
        let (from, most) = span(&place, size);
        let Some((page, is_smart)) = known.page(from, most).await? else {
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

    /// Reads why a smart collection has the children. Whether it still has the version at which
    /// they were read.
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

    /// Leaves out what would be too much to read at once.
    async fn end_by_size(&mut self, tx: &Tx, settings: &Settings) -> Result<()> {
        let mut sizes = products::sizes(tx, &self.ids(), false).await?;
        let direction = self.place.direction;
        let fit = direction.fitting(sizes.iter().copied(), settings.limits.page_bytes);
        direction.keep_nearest(&mut self.children, fit);
        direction.keep_nearest(&mut sizes, fit);
        self.stored = sizes.iter().sum();
        Ok(())
    }

    /// The products of the children; those that would be too much to send are left out, and
    /// their children, too.
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

    /// Where the page after it and the page before it start, if there are any, for their tokens.
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
    place.direction.keep_nearest(&mut wanted, size);
    (wanted, page.len)
}

impl Direction {
    /// Keeps the items that are nearest to where the page is read from, at most so many.
    fn keep_nearest<T>(self, items: &mut Vec<T>, most: usize) {
        match self {
            Self::Forward => items.truncate(most),
            Self::Backward => {
                items.drain(..items.len().saturating_sub(most));
            }
        }
    }

    /// How many of the items fit that are nearest to there.
    fn fitting(self, sizes: impl DoubleEndedIterator<Item = usize>, max: usize) -> usize {
        match self {
            Self::Forward => page::fitting(sizes, max),
            Self::Backward => page::fitting(sizes.rev(), max),
        }
    }
}
