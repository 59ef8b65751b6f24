//! Lists collections, with filters, sort orders and pages. The database evaluates them if it can
//! ([`crate::store::listing`]); otherwise [`super::scan`] does.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    Ancestors, Depth, Descendants, Detail, Scan, Service, Settings, Still,
    descendants::descendants, details, in_order, scan,
};
use crate::{
    domain::{
        Caller, ChildType, Collection, CollectionFilter, CollectionId, Constraint, Error,
        FieldPath, Limits, Lineage, Result, Violation, Violations,
        filter::{Expression, Order},
        ids::{NON_NAVIGABLE_ROOT, ROOT},
        page::{self, PageBytes},
    },
    memory::{self, Reservation},
    store::{
        Tx, children, collections, lineage,
        listing::{self, Listed},
    },
    telemetry::trace,
};

/// How many of the deferred collections are read at a time.
const NEXT: usize = 100;

/// A request for a page of collections.
#[derive(Clone, Debug)]
pub struct ListCollections {
    /// The filter.
    pub filter: CollectionFilter,
    /// Whether ids in the filter without a collection are an error.
    pub all_there: bool,
    /// The sort order; the newest first if it is empty.
    pub order: Vec<Order>,
    /// A filter and a sort order that the database cannot evaluate.
    pub scan: Option<Scan<Detail>>,
    /// How many levels of descendants to show; `None` to leave out even the ids of child
    /// collections.
    pub descendants: Option<Depth>,
    /// What to read of the ancestors.
    pub ancestors: Ancestors,
    /// The start of the page.
    pub start: PageStart,
    /// The maximum number of items on the page.
    pub size: usize,
    /// The maximum size of the page; `None` if it must contain all items in any case.
    pub bytes: Option<PageBytes<Detail>>,
    /// The maximum number of paths from the roots to all collections that are shown; `None` if no
    /// paths are shown.
    pub paths: Option<usize>,
    /// Whether to leave out the total.
    pub omit_total: bool,
}

/// The start of a page.
#[derive(Clone, Debug)]
pub enum PageStart {
    /// At the beginning.
    First,
    /// After the page that returned this token.
    Token(String),
    /// After this many items.
    Offset(u64),
}

/// A page of collections.
#[derive(Debug)]
pub struct CollectionPage {
    /// The collections, or the first of them.
    pub collections: Vec<Detail>,
    /// The page's remaining collections, which are to be read later, because all at once would take
    /// too much memory.
    pub rest: Vec<CollectionId>,
    /// The conditions that the remaining collections must still satisfy then.
    pub still: Option<StillCollections>,
    /// The descendants of the collections.
    pub descendants: Descendants,
    /// The reserved memory for the descendants, until the rest is read.
    pub reservation: Reservation,
    /// The token of the next page; `None` on the last page, and in any order other than the newest
    /// first.
    pub next: Option<String>,
    /// The number of collections that satisfy the filter; 0 if the total is left out.
    pub total: u64,
}

/// The conditions that the collections of a page must still satisfy when they are read.
pub type StillCollections = Still<CollectionFilter, Detail>;

impl Service {
    /// Lists collections.
    ///
    /// # Errors
    /// If the caller is not authorized; if the filter or the descendants exceed a limit; if the
    /// token is not for this request; if the store fails.
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
            let mut turn = self.search_turn(is_search, &reading).await;
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
                Ok::<_, Error>((listed, total, fit, memory::made_of(bytes)))
            };
            let (mut listed, mut total, mut fit, bytes) = list(&tx).await?;
            if self.settings.memory.try_reserve(bytes).is_err() {
                // Release the connection and the permission to search while waiting for memory.
                drop((tx, turn));
                self.settings.memory.reserve(bytes).await?;
                turn = self.search_turn(is_search, &reading).await;
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
            let mut collections = in_order(&tx, &first, command.ancestors).await?;
            keep(&tx, still.as_ref(), &mut collections).await?;
            // Without a count, there are no collections if the first page is empty.
            let is_empty = match total {
                Some(total) => total == 0,
                None => {
                    found == 0 && matches!(start, page::Start::After(None) | page::Start::Offset(0))
                }
            };
            if is_empty && scanned.is_none() {
                let roots = unmade_roots(filter, &self.settings);
                total = Some(roots.len() as u64);
                collections = details(&tx, roots, command.ancestors).await?;
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
            let descendants = match command.descendants {
                Some(depth) => {
                    let shown = collections
                        .iter()
                        .map(|top| &top.collection.id)
                        .chain(&rest);
                    let shown: Vec<_> = shown.cloned().collect();
                    descendants(&tx, &shown, depth, filter.active, &self.settings).await?
                }
                None => Descendants::default(),
            };
            if let Some(max) = command.paths {
                let rest = lineage::of(&tx, &rest, Ancestors::Shown).await?;
                let lineages = collections
                    .iter()
                    .map(|top| &top.lineage)
                    .chain(rest.values());
                check_paths(lineages, &descendants, max)?;
            }
            drop((tx, turn));
            // The descendants stay in memory until the whole page is sent.
            let reservation = if rest.is_empty() {
                Reservation::none()
            } else {
                self.settings.memory.take(descendants.bytes()).await?
            };
            Ok(CollectionPage {
                collections,
                rest,
                still,
                descendants,
                reservation,
                next: self.page_tokens.issue(&scope, next).await?,
                total: total.filter(|_| !command.omit_total).unwrap_or_default(),
            })
        })
        .await
    }
}

/// Checks that the collections that are shown have no more than `max` paths in total.
fn check_paths<'a>(
    lineages: impl Iterator<Item = &'a Lineage>,
    descendants: &Descendants,
    max: usize,
) -> Result<()> {
    // One path each is always allowed, so that a page of a tree never exceeds the limit.
    let mut known = HashMap::new();
    let mut beside = |lineage: &Lineage| lineage.count_paths(&mut known).saturating_sub(1);
    let of_page = lineages
        .map(&mut beside)
        .fold(0_usize, usize::saturating_add);
    let count = descendants.shown().fold(of_page, |sum, (detail, times)| {
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
    // The same text may be searched in several fields.
    texts.dedup();
    for text in texts {
        violations.length(FieldPath::FilterExpression, text, limits.name_chars);
    }
    violations.finish()
}

/// The roots that match the filter, for a tenant without data, whose roots are not stored. In other
/// tenants they are found like any other collection.
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

/// Checks that each id belongs to a collection. Roots always exist.
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
    /// All collections that satisfy a scan, in its order. `tx` reads the candidates and is then
    /// dropped.
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
            let (mut items, rest) = self.next_details(&tx, rest, command.ancestors).await?;
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

    /// Reads more of a page's remaining collections in their current state, and returns them with
    /// the ids that still remain. Collections that were deleted or no longer satisfy `still` are
    /// left out.
    ///
    /// # Errors
    /// If the caller is not authorized; if the store fails.
    pub async fn next_collections(
        &self,
        caller: &Caller,
        rest: VecDeque<CollectionId>,
        ancestors: Ancestors,
        still: Option<&StillCollections>,
    ) -> Result<(Vec<Detail>, VecDeque<CollectionId>)> {
        trace::use_case("ListCollections", async move {
            let tx = self.store.read_on(&caller.reading()?).await?;
            let (mut items, rest) = self.next_details(&tx, rest, ancestors).await?;
            keep(&tx, still, &mut items).await?;
            Ok((items, rest))
        })
        .await
    }

    /// Reads as many collections as may be in memory at once.
    async fn next_details(
        &self,
        tx: &Tx,
        mut rest: VecDeque<CollectionId>,
        ancestors: Ancestors,
    ) -> Result<(Vec<Detail>, VecDeque<CollectionId>)> {
        let next: Vec<_> = rest.iter().take(NEXT).cloned().collect();
        let sizes = collections::sizes(tx, &next).await?;
        let sizes = next
            .iter()
            .map(|id| sizes.get(id).copied().unwrap_or_default());
        let fit = page::fitting(sizes, self.settings.limits.page_bytes / 4);
        rest.drain(..fit);
        Ok((in_order(tx, &next[..fit], ancestors).await?, rest))
    }
}

/// Removes collections that no longer satisfy the filter and the scan.
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

/// Adds their child collections to the details.
async fn read_children(tx: &Tx, parents: &mut [Detail]) -> Result<()> {
    let mut lists = children::lists(tx, ChildType::Collection, &ids(parents)).await?;
    for detail in parents {
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
