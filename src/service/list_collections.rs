//! Listing collections.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    Above, Below, Depth, Detail, Scan, Service, Settings, Still, below::below, details, in_order,
    scan,
};
use crate::{
    domain::{
        Caller, ChildType, Collection, CollectionFilter, CollectionId, Constraint, Error,
        FieldPath, Limits, Lineage, Result, Violation, Violations,
        filter::{Expression, Order},
        ids::{NON_NAVIGABLE_ROOT, ROOT},
        page::{self, PageBytes},
    },
    memory::Share,
    store::{
        Tx, children, collections, lineage,
        listing::{self, Listed},
    },
    telemetry::trace,
};

/// Collections that are read at once of those that were left for later.
const NEXT: usize = 100;

/// Asks for a page of collections.
#[derive(Clone, Debug)]
pub struct ListCollections {
    /// Which collections.
    pub filter: CollectionFilter,
    /// Whether it is an error where an id that the filter names is none of a collection.
    pub all_there: bool,
    /// In which order; the newest first where nothing is said.
    pub order: Vec<Order>,
    /// A filter and an order that the database can't evaluate.
    pub scan: Option<Scan<Detail>>,
    /// What to show of the collections below them; none to leave out even which those are.
    pub below: Option<Depth>,
    /// What is read of the collections above.
    pub above: Above,
    /// Where the page starts.
    pub start: PageStart,
    /// How many it holds at most.
    pub size: usize,
    /// How many bytes it may take; none for a page that has all of them in any case.
    pub bytes: Option<PageBytes<Detail>>,
    /// How many paths from the roots all that is shown may have together; none where no paths
    /// are shown.
    pub paths: Option<usize>,
    /// Whether to leave out how many there are in all.
    pub omit_total: bool,
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
    /// The collections, or the first of them.
    pub collections: Vec<Detail>,
    /// Those that the page has after them, to be read later: all at once would be too much.
    pub rest: Vec<CollectionId>,
    /// What these must still satisfy then.
    pub still: Option<StillCollections>,
    /// What stands below them.
    pub below: Below,
    /// The memory that this takes until the rest is read, too.
    pub share: Share,
    /// For the next page; none after the last, nor in another order than the newest first.
    pub next: Option<String>,
    /// How many satisfy the filter in all; 0 where that is left out.
    pub total: u64,
}

/// What the collections of a page must still satisfy when they are read.
pub type StillCollections = Still<CollectionFilter, Detail>;

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
        trace::use_case("ListCollections", async move {
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
            let is_search =
                command.scan.is_some() || listing::is_search(filter, &command.order, &start);
            let mut turn = self.search_turn(is_search).await;
            let mut tx = self.store.read(&reading).await?;
            if let (Some(ids), true) = (&filter.ids, command.all_there) {
                check_all_there(&tx, ids).await?;
            }
            let scanned = match &command.scan {
                None => None,
                Some(scan) => {
                    let scanned = self.scan_collections(caller, tx, &command, scan).await?;
                    tx = self.store.read_on(&reading).await?;
                    Some(scanned)
                }
            };
            let most = command.size + 1;
            let list = async |tx: &Tx| {
                let (listed, total) = match &scanned {
                    Some(all) => {
                        let page = scan::page(all, start.offset(), most);
                        (page, Some(all.len() as u64))
                    }
                    None => {
                        let count = !command.omit_total;
                        listing::list(tx, filter, &command.order, &start, most, count).await?
                    }
                };
                let sizes = listed.iter().map(|listed| listed.bytes).take(command.size);
                let fit = page::fitting(sizes, self.settings.limits.page_bytes);
                let bytes: usize = listed[..fit].iter().map(|listed| listed.bytes).sum();
                Ok::<_, Error>((listed, total, fit, page::made_of(bytes)))
            };
            let (mut listed, mut total, mut fit, bytes) = list(&tx).await?;
            if self.settings.memory.try_reserve(bytes).is_err() {
                // Who waits keeps no connection and no turn from others.
                drop((tx, turn));
                self.settings.memory.reserve(bytes).await?;
                turn = self.search_turn(is_search).await;
                tx = self.store.read_on(&reading).await?;
                (listed, total, fit, _) = list(&tx).await?;
            }
            let found = listed.len();
            listed.truncate(command.size);
            let first: Vec<_> = listed[..fit].iter().map(|one| one.id.clone()).collect();
            let still = command.scan.as_ref().map(|scan| Still {
                filter: filter.clone(),
                scan: scan.clone(),
            });
            let mut collections = in_order(&tx, &first, command.above).await?;
            keep(&tx, still.as_ref(), &mut collections).await?;
            // Without a count, the first page has none if there are none.
            let is_empty = match total {
                Some(total) => total == 0,
                None => {
                    found == 0 && matches!(start, page::Start::After(None) | page::Start::Offset(0))
                }
            };
            if is_empty && scanned.is_none() {
                let roots = unmade_roots(filter, &self.settings);
                total = Some(roots.len() as u64);
                collections = details(&tx, roots, command.above).await?;
            }
            let mut rest = Vec::new();
            if let Some(bytes) = &command.bytes {
                let read = listed[..fit].iter().map(|one| one.bytes).sum::<usize>();
                if bytes.may_exceed(fit, read) {
                    collections.truncate(bytes.fitting(&collections));
                }
            } else {
                rest.extend(listed[fit..].iter().map(|one| one.id.clone()));
            }
            let shown = collections.len() + rest.len();
            let last = shown.checked_sub(1).and_then(|last| listed.get(last));
            let last = last.filter(|_| shown < found && command.order.is_empty());
            let next = last.map(|last| format!("{}.{}", last.create_time, last.id));
            let below = match command.below {
                Some(depth) => {
                    let shown = collections
                        .iter()
                        .map(|top| &top.collection.id)
                        .chain(&rest);
                    let shown: Vec<_> = shown.cloned().collect();
                    below(&tx, &shown, depth, filter.active, &self.settings).await?
                }
                None => Below::default(),
            };
            if let Some(max) = command.paths {
                let rest = lineage::of(&tx, &rest, Above::Shown).await?;
                let lineages = collections
                    .iter()
                    .map(|top| &top.lineage)
                    .chain(rest.values());
                check_paths(lineages, &below, max)?;
            }
            drop((tx, turn));
            // What stands below is kept until the last of the page is sent.
            let share = if rest.is_empty() {
                Share::none()
            } else {
                self.settings.memory.take(below.bytes()).await?
            };
            Ok(CollectionPage {
                collections,
                rest,
                still,
                below,
                share,
                next: self.page_tokens.issue(&scope, next).await?,
                total: total.filter(|_| !command.omit_total).unwrap_or_default(),
            })
        })
        .await
    }
}

/// Checks that all that is shown has no more paths than that.
fn check_paths<'a>(
    lineages: impl Iterator<Item = &'a Lineage>,
    below: &Below,
    max: usize,
) -> Result<()> {
    // Each is shown with one in any case, so that pages of a tree are never too large.
    let mut known = HashMap::new();
    let mut beside = |lineage: &Lineage| lineage.count_paths(&mut known).saturating_sub(1);
    let of_page = lineages
        .map(&mut beside)
        .fold(0_usize, usize::saturating_add);
    let count = below.shown().fold(of_page, |sum, (detail, times)| {
        sum.saturating_add(beside(&detail.lineage).saturating_mul(times))
    });
    if count <= max {
        return Ok(());
    }
    Err(Violation::new(FieldPath::Paths, "", Constraint::TooMany { count, max }).into())
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
        parents: None,
        orphaned: false,
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

impl Service {
    /// All collections that satisfy a scan, in its order. `tx` reads the candidates and ends.
    async fn scan_collections(
        &self,
        caller: &Caller,
        tx: Tx,
        command: &ListCollections,
        scan: &Scan<Detail>,
    ) -> Result<Vec<Listed>> {
        let (filter, max) = (&command.filter, self.settings.limits.scanned);
        let start = page::Start::Offset(0);
        let (listed, count) = listing::list(&tx, filter, &command.order, &start, max, true).await?;
        drop(tx);
        scan::check(count.unwrap_or_default(), max)?;
        let ids = listed.iter().map(|one| one.id.clone()).collect();
        let next = async |rest| {
            let tx = self.store.read_on(&caller.reading()?).await?;
            let (mut items, rest) = self.next_details(&tx, rest, command.above).await?;
            if scan.children {
                read_children(&tx, &mut items).await?;
            }
            Ok((items, rest))
        };
        let id_of = |detail: &Detail| detail.collection.id.clone();
        let found = scan.run(ids, id_of, next).await?;
        let listed = listed.into_iter().map(|one| (one.id.clone(), one));
        let mut listed: HashMap<_, _> = listed.collect();
        Ok(found.iter().filter_map(|id| listed.remove(id)).collect())
    }

    /// The first of a page's collections that were left for later, as they are by now; those
    /// that are gone, or do not satisfy `still`, are left out; and what is left then.
    ///
    /// # Errors
    /// Where the caller may not; where the store fails.
    pub async fn next_collections(
        &self,
        caller: &Caller,
        rest: VecDeque<CollectionId>,
        above: Above,
        still: Option<&StillCollections>,
    ) -> Result<(Vec<Detail>, VecDeque<CollectionId>)> {
        trace::use_case("ListCollections", async move {
            let tx = self.store.read_on(&caller.reading()?).await?;
            let (mut items, rest) = self.next_details(&tx, rest, above).await?;
            keep(&tx, still, &mut items).await?;
            Ok((items, rest))
        })
        .await
    }

    /// As many as may be read at once.
    async fn next_details(
        &self,
        tx: &Tx,
        mut rest: VecDeque<CollectionId>,
        above: Above,
    ) -> Result<(Vec<Detail>, VecDeque<CollectionId>)> {
        let next: Vec<_> = rest.iter().take(NEXT).cloned().collect();
        let sizes = collections::sizes(tx, &next).await?;
        let sizes = next
            .iter()
            .map(|id| sizes.get(id).copied().unwrap_or_default());
        let fit = page::fitting(sizes, self.settings.limits.page_bytes / 4);
        rest.drain(..fit);
        Ok((in_order(tx, &next[..fit], above).await?, rest))
    }
}

/// Leaves out the collections that were found before and do not satisfy the filter by now.
async fn keep(tx: &Tx, still: Option<&StillCollections>, items: &mut Vec<Detail>) -> Result<()> {
    let Some(Still { filter, scan }) = still else {
        return Ok(());
    };
    let filter = CollectionFilter {
        ids: Some(ids(items)),
        ..filter.clone()
    };
    let start = page::Start::Offset(0);
    let (found, _) = listing::list(tx, &filter, &[], &start, items.len(), false).await?;
    let found: HashSet<_> = found.into_iter().map(|one| one.id).collect();
    items.retain(|item| found.contains(&item.collection.id));
    if scan.children {
        read_children(tx, items).await?;
    }
    scan.keep(items);
    Ok(())
}

/// Reads the child collections of collections.
async fn read_children(tx: &Tx, above: &mut [Detail]) -> Result<()> {
    let mut lists = children::lists(tx, ChildType::Collection, &ids(above)).await?;
    for detail in above {
        let children = lists.remove(&detail.collection.id);
        detail.collections = children.into_iter().flatten().collect();
    }
    Ok(())
}

fn ids(of: &[Detail]) -> Vec<CollectionId> {
    of.iter().map(|one| one.collection.id.clone()).collect()
}

fn parse(place: &str) -> Result<(i64, CollectionId)> {
    let (time, id) = place.split_once('.').ok_or_else(page::bad_token)?;
    let time = time.parse().map_err(|_| page::bad_token())?;
    Ok((time, CollectionId::trusted(id)))
}
