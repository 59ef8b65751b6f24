//! Reading lists: pages, indexes, the whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    directory::{Directory, SegmentId, Versioned},
    handle::Children,
    raw, rows,
};
use crate::domain::{ChildId, ChildIds, Etag, FieldPath, Result, children::out_of_range};

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    /// The children, in order.
    pub children: Vec<ChildId>,
    /// The index of the first.
    pub start: u64,
    /// How many the whole list has.
    pub len: u64,
}

/// A list as it was when its segments were kept in memory.
#[derive(Debug)]
pub struct Known<'a> {
    children: Children<'a>,
    kept: Versioned,
}

impl<'a> Known<'a> {
    /// What is known of the list; none where nothing is.
    pub fn of(children: Children<'a>) -> Option<Self> {
        let kept = children.tx.session().directories.last(&children.name())?;
        Some(Self { children, kept })
    }

    /// The version at which it was so.
    pub fn etag(&self) -> Etag {
        Etag::of(self.kept.version)
    }

    /// At most `limit` children from index `start` on, and whether the collection is smart, by one
    /// statement. None where the list is another by now, or ends before `start`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn page(&self, start: u64, limit: usize) -> Result<Option<(Page, bool)>> {
        let span = Span::of(&self.kept.directory, start, limit);
        if start > span.len {
            return Ok(None);
        }
        let contents = raw::contents_at(self.children, self.kept.version, &span.segments);
        let contents = contents.await?;
        Ok(contents.map(|(contents, is_smart)| (span.page(contents), is_smart)))
    }
}

/// Where a part of a list is.
struct Span {
    /// The segments that have it.
    segments: Vec<SegmentId>,
    /// How many children stand before it in the first of them.
    skip: usize,
    /// The index of its first child.
    start: u64,
    /// How many it has.
    size: usize,
    /// How many the list has.
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
    /// At most `limit` children from index `start` on.
    ///
    /// # Errors
    /// Where `start` is beyond the list's end; where the database fails.
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
    /// Where the database fails.
    pub async fn all(self) -> Result<Vec<ChildId>> {
        let contents = self.all_contents().await?;
        let directory = self.directory().await?;
        let segments = directory
            .iter()
            .filter_map(|segment| contents.get(&segment.id));
        Ok(segments.flat_map(|ids| rows::split(ids)).collect())
    }

    /// The same, packed.
    ///
    /// # Errors
    /// Where the database fails.
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

    /// The index of a child; none where it is not in the list.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn index_of(self, child: &ChildId) -> Result<Option<u64>> {
        let mut found = self.indexes_of(std::slice::from_ref(child)).await?;
        Ok(found.remove(child))
    }

    /// The indexes of children; those not in the list are left out.
    ///
    /// # Errors
    /// Where the database fails.
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

    /// The segments in order: from memory, else from the database.
    pub(super) async fn directory(self) -> Result<Directory> {
        if let Some(directory) = self.known_directory() {
            return Ok(directory);
        }
        let directory = self.stored_directory().await?;
        // A write may not be committed: what it leaves is learned from `remember`.
        if let Some(version) = self.version
            && self.tx.session().is_snapshot
        {
            let directory = Directory::clone(&directory);
            let kept = Versioned { version, directory };
            self.tx.session().directories.keep(self.name(), kept);
        }
        Ok(directory)
    }

    /// The segments in order, where they are in memory.
    pub(in crate::store) fn known_directory(self) -> Option<Directory> {
        self.tx.session().directory(&self.name(), self.version?)
    }

    /// The segments in order, from the database.
    pub(super) async fn stored_directory(self) -> Result<Directory> {
        let mut found = rows::directories(self.tx, self.list, &[self.collection]).await?;
        Ok(found.remove(self.collection).unwrap_or_default())
    }

    /// Which segment has each of the children; those not in the list are left out.
    async fn homes(self, children: &[ChildId]) -> Result<HashMap<ChildId, SegmentId>> {
        let wanted = BTreeMap::from([(self.collection.as_str(), children)]);
        let mut found = raw::homes(self.tx, self.list, &wanted).await?;
        Ok(found.remove(self.collection.as_str()).unwrap_or_default())
    }

    /// The ids of the segments named.
    async fn contents(self, wanted: &[SegmentId]) -> Result<BTreeMap<SegmentId, Vec<ChildId>>> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted = BTreeMap::from([(self.collection.as_str(), wanted)]);
        let mut found = raw::contents(self.tx, self.list, &wanted).await?;
        Ok(found.remove(self.collection.as_str()).unwrap_or_default())
    }
}
