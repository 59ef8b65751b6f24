//! Changes of optional values and maps, as updates describe them: keep, set or clear. Drafts of
//! collections ([`super::collection`]) and products ([`super::product`]) are made of them.

use std::collections::BTreeMap;

/// The change of one optional field in an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The field is not changed.
    #[default]
    Keep,
    /// The field gets this value.
    Set(T),
    /// The field is cleared.
    Clear,
}

impl<T> Change<T> {
    /// Sets the value, or clears the field if there is none.
    pub fn to(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }

    /// The new value, if there is one.
    pub fn set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// Applies the change to a field that always has a value: clearing it sets the default.
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

    /// Applies the change to an optional field.
    pub fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Set(value) => *field = Some(value),
            Self::Clear => *field = None,
        }
    }
}

/// The change of a map in an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapChange<K, V> {
    /// Whether the map is cleared first.
    pub replace: bool,
    /// Then, in order, entries are set, or removed if the value is `None`.
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
    /// The change to exactly these entries.
    pub fn to(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        Self {
            replace: true,
            entries: entries.into_iter().map(|(k, v)| (k, Some(v))).collect(),
        }
    }

    /// Applies the change to a map.
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

    /// Whether the change has no effect on any map.
    pub fn is_empty(&self) -> bool {
        !self.replace && self.entries.is_empty()
    }
}
