//! The ids of a whole list, in the compact text form in which the store keeps them. Responses with
//! whole lists hold them in this form, too, because a list may have a million ids.

use std::str::Split;

use super::ids::ChildId;

/// Precedes each id in a text of ids. It is a line feed, which no id contains.
const BEFORE: char = '\n';
/// The separator in texts that older versions wrote. Ids could not contain commas then, and no such
/// text starts with [`BEFORE`].
const OLD_BETWEEN: char = ',';

/// Joins ids into one text, as segments of lists are stored. The text is empty if there are no ids.
pub fn join<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for id in ids {
        text.push(BEFORE);
        text.push_str(id);
    }
    text
}

/// Splits a text of ids, which must not be empty. It may be from [`join`] or from an older version.
pub fn split(text: &str) -> Split<'_, char> {
    match text.strip_prefix(BEFORE) {
        Some(ids) => ids.split(BEFORE),
        None => text.split(OLD_BETWEEN),
    }
}

/// The ids of a whole list, in order. A list may have a million ids, so they are kept in the stored
/// form: texts with a few hundred ids each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildIds {
    parts: Vec<Box<str>>,
    len: usize,
    bytes: usize,
}

impl ChildIds {
    /// Appends the ids of a text that [`join`] made.
    pub fn push(&mut self, ids: &str) {
        if !ids.is_empty() {
            self.len += split(ids).count();
            self.bytes += ids.len();
            self.parts.push(ids.into());
        }
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The total length of the ids in bytes, with separators.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of parts (texts) in which the ids are kept.
    pub fn part_count(&self) -> usize {
        self.parts.len()
    }

    /// The ids in the parts from `from` up to but not including `to`.
    pub fn of_parts(&self, from: usize, to: usize) -> impl Iterator<Item = &str> {
        let parts = self.parts.get(from..to).unwrap_or_default();
        parts.iter().flat_map(|part| split(part))
    }

    /// All ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.of_parts(0, self.parts.len())
    }
}

impl FromIterator<ChildId> for ChildIds {
    fn from_iter<I: IntoIterator<Item = ChildId>>(ids: I) -> Self {
        let mut all = Self::default();
        let ids: Vec<_> = ids.into_iter().collect();
        all.push(&join(ids.iter().map(ChildId::as_str)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_iterated_in_order_across_parts() {
        let mut ids = ChildIds::default();
        assert!(ids.is_empty() && ids.iter().next().is_none());
        // Parts in the old format, and in the new one.
        for part in ["a,b", "", "\nc", "\nd,e\n,\nf"] {
            ids.push(part);
        }
        assert_eq!((ids.len(), ids.part_count(), ids.bytes()), (6, 3, 13));
        assert_eq!(
            ids.iter().collect::<Vec<_>>(),
            ["a", "b", "c", "d,e", ",", "f"]
        );
        assert_eq!(ids.of_parts(1, 3).collect::<String>(), "cd,e,f");
        assert!(ids.of_parts(3, 4).next().is_none());
        let same = ["x", "y,z"]
            .map(ChildId::trusted)
            .into_iter()
            .collect::<ChildIds>();
        assert_eq!(same.iter().collect::<Vec<_>>(), ["x", "y,z"]);
        assert!(ChildIds::from_iter([]).is_empty());
    }
}
