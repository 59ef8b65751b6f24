//! Reads lists: pages, indexes of children, whole lists.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    directory::{Directory, Entry, SegmentId, Versioned},
    handle::Children,
    raw, rows,
};
use crate::domain::{ChildId, ChildIds, Etag, FieldPath, Result, children::out_of_range};

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// The children, in order.
    pub children: Vec<ChildId>,
    /// The index of the first child.
    pub start: u64,
    /// The length of the whole list.
    pub len: u64,
}

/// A list as it was when its directory was cached, which may be outdated.
#[derive(Debug)]
pub struct CachedList<'a> {
    children: Children<'a>,
    versioned: Versioned,
}

impl<'a> CachedList<'a> {
    /// The list's cached directory, if there is one.
    pub fn of(children: Children<'a>) -> Option<Self> {
        let versioned = children.tx.session().directories.last(&children.name())?;
        Some(Self {
            children,
            versioned,
        })
    }

    /// The ETag of the collection version that was cached.
    pub fn etag(&self) -> Etag {
        Etag::of(self.versioned.version)
    }

    /// Up to `limit` children from index `start` on, and whether the collection is smart, with one
    /// statement. Returns `None` if the collection has another version now, or if `start` is beyond
    /// the end of the list.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn page(&self, start: u64, limit: usize) -> Result<Option<(Page, bool)>> {
        let span = Span::of(&self.versioned.directory, start, limit);
        if start > span.len {
            return Ok(None);
        }
        let contents = raw::contents_at(self.children, self.versioned.version, &span.segments);
        let contents = contents.await?;
        Ok(contents.map(|(contents, is_smart)| (span.page(contents), is_smart)))
    }
}

/// The location of a page in the segments.
struct Span {
    /// The segments that contain the page.
    segments: Vec<SegmentId>,
    /// The number of children to skip in the first segment.
    skip: usize,
    /// The index of the page's first child.
    start: u64,
    /// The number of children in the page.
    size: usize,
    /// The length of the list.
    len: u64,
}

impl Span {
    fn of(directory: &Directory, start: u64, limit: usize) -> Self {
        let len = directory.iter().map(|segment| segment.len as u64).sum();
        let end = start.saturating_add(limit as u64).min(len);
        let (mut segments, mut skip, mut first) = (Vec::new(), 0, 0);
        for segment in directory.iter() {
            let next = first + segment.len as u64;
            if next > start && first < end {
                if segments.is_empty() {
                    skip = (start - first) as usize;
                }
                segments.push(segment.id);
            }
            first = next;
        }
        Self {
            segments,
            skip,
            start,
            size: end.saturating_sub(start) as usize,
            len,
        }
    }

    fn page(self, mut contents: BTreeMap<SegmentId, Vec<ChildId>>) -> Page {
        let ids = self.segments.iter().filter_map(|id| contents.remove(id));
        Page {
            children: ids.flatten().skip(self.skip).take(self.size).collect(),
            start: self.start,
            len: self.len,
        }
    }
}

impl Children<'_> {
    /// Up to `limit` children from index `start` on.
    ///
    /// # Errors
    /// If `start` is beyond the end of the list; if the database fails.
    pub async fn page(self, start: u64, limit: usize) -> Result<Page> {
        let directory = self.directory().await?;
        let span = Span::of(&directory, start, limit);
        let len = span.len;
        if start > len {
            return Err(out_of_range(FieldPath::StartIndex, start, len, len));
        }
        let contents = self.contents(&span.segments).await?;
        Ok(span.page(contents))
    }

    /// The whole list.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn all(self) -> Result<Vec<ChildId>> {
        let contents = self.all_contents().await?;
        let directory = self.directory().await?;
        let segments = directory
            .iter()
            .filter_map(|segment| contents.get(&segment.id));
        Ok(segments.flat_map(|ids| rows::split(ids)).collect())
    }

    /// The whole list, as [`ChildIds`], which takes less memory.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ids(self) -> Result<ChildIds> {
        let contents = self.all_contents().await?;
        let directory = self.directory().await?;
        let mut ids = ChildIds::default();
        let segments = directory.iter();
        for text in segments.filter_map(|segment| contents.get(&segment.id)) {
            ids.push(text);
        }
        Ok(ids)
    }

    /// The index of a child; `None` if it is not in the list.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn index_of(self, child: &ChildId) -> Result<Option<u64>> {
        let mut found = self.indexes_of(std::slice::from_ref(child)).await?;
        Ok(found.remove(child))
    }

    /// The indexes of children. Those that are not in the list are left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn indexes_of(self, children: &[ChildId]) -> Result<HashMap<ChildId, u64>> {
        let homes = self.homes(children).await?;
        let wanted: HashSet<_> = homes.values().copied().collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let contents = self.contents(&wanted).await?;
        let mut found = HashMap::with_capacity(homes.len());
        let mut first = 0;
        for segment in self.directory().await?.iter() {
            let ids = contents.get(&segment.id).map_or(&[][..], Vec::as_slice);
            let indexed = ids.iter().zip(first..);
            found.extend(
                indexed
                    .filter(|(id, _)| homes.contains_key(*id))
                    .map(|(id, index)| (id.clone(), index)),
            );
            first += segment.len as u64;
        }
        Ok(found)
    }

    /// Those of the children that are in the list.
    ///
    /// # Errors
    /// If the database fails.
    pub(in crate::store) async fn contained(
        self,
        children: &[ChildId],
    ) -> Result<HashSet<ChildId>> {
        Ok(self.homes(children).await?.into_keys().collect())
    }

    /// Those of the children that are in the list, in order, each with the nearest child before it
    /// that `is_anchor` accepts; `None` if there is none.
    ///
    /// # Errors
    /// If the database fails.
    pub(in crate::store) async fn anchors(
        self,
        children: &[ChildId],
        is_anchor: impl Fn(&ChildId) -> bool,
    ) -> Result<Vec<(ChildId, Option<ChildId>)>> {
        let homes = self.homes(children).await?;
        if homes.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: HashSet<_> = homes.values().copied().collect();
        let wanted: Vec<_> = wanted.into_iter().collect();
        let contents = self.contents(&wanted).await?;
        let directory = self.directory().await?;
        let mut anchors = Vec::with_capacity(homes.len());
        // The last anchor so far, and how many segments it is the last one of.
        let (mut anchor, mut searched) = (None, 0);
        for (at, segment) in directory.iter().enumerate() {
            for id in contents.get(&segment.id).into_iter().flatten() {
                if homes.contains_key(id) {
                    if searched < at {
                        let between = &directory[searched..at];
                        anchor = self.last_of(between, &is_anchor).await?.or(anchor);
                    }
                    searched = at + 1;
                    anchors.push((id.clone(), anchor.clone()));
                } else if is_anchor(id) {
                    anchor = Some(id.clone());
                    searched = at + 1;
                }
            }
        }
        Ok(anchors)
    }

    /// The last child in the segments that `is_anchor` accepts. Usually it is close to the end.
    async fn last_of(
        self,
        segments: &[Entry],
        is_anchor: impl Fn(&ChildId) -> bool,
    ) -> Result<Option<ChildId>> {
        let (mut end, mut size) = (segments.len(), 1);
        while end > 0 {
            let start = end.saturating_sub(size);
            let ids: Vec<_> = segments[start..end].iter().map(|it| it.id).collect();
            let contents = self.contents(&ids).await?;
            let children = ids.iter().rev().filter_map(|id| contents.get(id));
            let mut children = children.flat_map(|children| children.iter().rev());
            if let Some(found) = children.find(|child| is_anchor(child)) {
                return Ok(Some(found.clone()));
            }
            (end, size) = (start, size * 2);
        }
        Ok(None)
    }

    /// The directory, from the cache or else from the database.
    pub(super) async fn directory(self) -> Result<Directory> {
        if let Some(directory) = self.cached_directory() {
            return Ok(directory);
        }
        let directory = self.stored_directory().await?;
        // A writing transaction may not be committed: its directories are cached by
        // `cache_after_commit`.
        if let Some(version) = self.version
            && self.tx.session().is_snapshot
        {
            let directory = Directory::clone(&directory);
            let versioned = Versioned { version, directory };
            self.tx.session().directories.keep(self.name(), versioned);
        }
        Ok(directory)
    }

    /// The directory, if it is cached.
    pub(in crate::store) fn cached_directory(self) -> Option<Directory> {
        self.tx.session().directory(&self.name(), self.version?)
    }

    /// The directory, from the database.
    pub(super) async fn stored_directory(self) -> Result<Directory> {
        let mut found = rows::directories(self.tx, self.list.into(), &[self.collection]).await?;
        Ok(found.remove(self.collection).unwrap_or_default())
    }

    /// The segments of the children. Those that are not in the list are left out.
    async fn homes(self, children: &[ChildId]) -> Result<HashMap<ChildId, SegmentId>> {
        let wanted = BTreeMap::from([(self.collection.as_str(), children)]);
        let mut found = raw::homes(self.tx, self.list.into(), &wanted).await?;
        Ok(found.remove(self.collection.as_str()).unwrap_or_default())
    }

    /// The children in the given segments.
    async fn contents(self, wanted: &[SegmentId]) -> Result<BTreeMap<SegmentId, Vec<ChildId>>> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted = BTreeMap::from([(self.collection.as_str(), wanted)]);
        let mut found = raw::contents(self.tx, self.list.into(), &wanted).await?;
        Ok(found.remove(self.collection.as_str()).unwrap_or_default())
    }
}
