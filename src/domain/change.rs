//! Changes of optional values: what an update says of a field.

use std::collections::BTreeMap;

/// What an update says of one optional field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Nothing: it stays.
    #[default]
    Keep,
    /// It becomes this.
    Set(T),
    /// It is cleared.
    Clear,
}

impl<T> Change<T> {
    /// Sets where there is a value, else clears.
    pub fn to(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }

    /// The new value where there is one.
    pub fn set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// Applies the change to a field that is never absent: cleared, it is the default.
    pub fn apply_or_default(self, field: &mut T)
    where
        T: Default,
    {
        match self {
            Self::Keep => {}
            Self::Set(value) => *field = value,
            Self::Clear => *field = T::default(),
        }
    }

    /// Applies the change to `field`.
    pub fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Set(value) => *field = Some(value),
            Self::Clear => *field = None,
        }
    }
}

/// What an update says of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapChange<K, V> {
    /// Whether the map is emptied first.
    pub replace: bool,
    /// Then, in order: an entry is set, or removed where there is no value.
    pub entries: Vec<(K, Option<V>)>,
}

impl<K, V> Default for MapChange<K, V> {
    fn default() -> Self {
        Self {
            replace: false,
            entries: Vec::new(),
        }
    }
}

impl<K, V> MapChange<K, V> {
    /// The map becomes exactly these entries.
    pub fn to(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        Self {
            replace: true,
            entries: entries.into_iter().map(|(k, v)| (k, Some(v))).collect(),
        }
    }

    /// Applies the change to `map`.
    pub fn apply(self, map: &mut BTreeMap<K, V>)
    where
        K: Ord,
    {
        if self.replace {
            map.clear();
        }
        for (key, value) in self.entries {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        !self.replace && self.entries.is_empty()
    }
}
