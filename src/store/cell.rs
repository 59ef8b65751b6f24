//! Decodes column values, and reports corrupt ones: the error names table, key and column, and
//! appears only in the log.

use std::fmt::{self, Display};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::domain::{Error, Result};

/// The origin of a value, for error messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub(super) table: &'static str,
    pub(super) tenant: &'a str,
    /// The part of the row's primary key after the tenant.
    pub(super) key: &'a str,
    pub(super) column: &'static str,
}

#[derive(Debug, thiserror::Error)]
#[error("{table}.{column} of {key:?} in tenant {tenant:?}: {what}")]
struct Corrupt {
    table: &'static str,
    tenant: String,
    key: String,
    column: &'static str,
    what: String,
}

impl Cell<'_> {
    /// The error for a corrupt value.
    pub(super) fn corrupt(self, what: impl Display) -> Error {
        Error::internal(Corrupt {
            table: self.table,
            tenant: self.tenant.into(),
            key: self.key.into(),
            column: self.column,
            what: what.to_string(),
        })
    }

    /// Decodes JSON.
    pub(super) fn json<'t, T: Deserialize<'t>>(self, text: &'t str) -> Result<T> {
        serde_json::from_str(text).map_err(|error| self.corrupt(error))
    }

    /// Decodes a count.
    pub(super) fn count(self, number: i64) -> Result<u64> {
        u64::try_from(number).map_err(|_| self.corrupt(format!("{number} is not a valid count")))
    }

    /// Checks JSON that is passed on without being decoded, because whoever decodes it later must
    /// be able to. Skipping a value is not enough: it accepts numbers out of range and lone
    /// surrogates.
    pub(super) fn check_json(self, text: &str) -> Result<()> {
        let read: Result<Readable, _> = serde_json::from_str(text);
        read.map(drop).map_err(|error| self.corrupt(error))
    }
}

/// Any valid JSON; it is read completely and discarded.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_stored_values_are_reported_with_their_location() {
        let cell = Cell {
            table: "products",
            tenant: "t",
            key: "p1",
            column: "attributes",
        };
        for good in ["null", "1.5", "\"a\\n\"", "[1, {\"a\": [true, -2]}]"] {
            cell.check_json(good).unwrap();
        }
        for bad in ["", "nul", "1e999", "\"\\ud800\"", "[1", "{\"a\" 1}"] {
            let error = cell.check_json(bad).unwrap_err();
            assert_eq!(error.message, "internal error");
            let told = error.source.unwrap().to_string();
            assert!(
                told.starts_with("products.attributes of \"p1\" in tenant \"t\": "),
                "{told}"
            );
        }
        assert_eq!(cell.count(5).unwrap(), 5);
        assert!(cell.count(-1).is_err());
    }
}
