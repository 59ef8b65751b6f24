//! The ids of a whole list.

use super::ids::ChildId;

/// The ids of a whole list, in order. A list may have a million, so they are kept as they are
/// stored: some hundred in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildIds {
    parts: Vec<Box<str>>,
    len: usize,
    bytes: usize,
}

impl ChildIds {
    /// What stands between ids. None has it.
    pub const SEPARATOR: &str = ",";

    /// Adds ids, with separators between them, at the end.
    pub fn push(&mut self, ids: &str) {
        if !ids.is_empty() {
            self.len += ids.split(Self::SEPARATOR).count();
            self.bytes += ids.len();
            self.parts.push(ids.into());
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Into how many parts they are divided.
    pub fn part_count(&self) -> usize {
        self.parts.len()
    }

    /// Those of the parts `from` to `to`, that one not included.
    pub fn of_parts(&self, from: usize, to: usize) -> impl Iterator<Item = &str> {
        let parts = self.parts.get(from..to).unwrap_or_default();
        parts.iter().flat_map(|part| part.split(Self::SEPARATOR))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.of_parts(0, self.parts.len())
    }
}

impl FromIterator<ChildId> for ChildIds {
    fn from_iter<I: IntoIterator<Item = ChildId>>(ids: I) -> Self {
        let mut all = Self::default();
        let mut text = String::new();
        for id in ids {
            if !text.is_empty() {
                text.push_str(Self::SEPARATOR);
            }
            text.push_str(id.as_str());
        }
        all.push(&text);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_in_order_whatever_their_parts() {
        let mut ids = ChildIds::default();
        assert!(ids.is_empty() && ids.iter().next().is_none());
        for part in ["a,b", "", "c", "d,e,f"] {
            ids.push(part);
        }
        assert_eq!((ids.len(), ids.part_count(), ids.bytes()), (6, 3, 9));
        assert_eq!(ids.iter().collect::<String>(), "abcdef");
        assert_eq!(ids.of_parts(1, 3).collect::<String>(), "cdef");
        assert!(ids.of_parts(3, 4).next().is_none());
        let same = ["x", "y"]
            .map(ChildId::trusted)
            .into_iter()
            .collect::<ChildIds>();
        assert_eq!(same.iter().collect::<Vec<_>>(), ["x", "y"]);
    }
}
