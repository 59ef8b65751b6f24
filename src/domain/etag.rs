//! Etags: the version of a collection as a strong validator, and related validators. Clients send
//! them back as preconditions of writes (optimistic concurrency) and to validate cached reads.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use sha2::{Digest as _, Sha256};

use super::{
    constraint::Constraint,
    digest::is_hex,
    error::{Error, Reason, Violation},
    field::FieldPath,
    ids::CollectionId,
};

/// A collection's version. It starts at the time of creation in microseconds and increases by at
/// least one with every change, so the etag of a deleted collection never matches a new one with
/// the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Etag(i64);

impl Etag {
    /// The etag of a stored version.
    pub fn of(version: i64) -> Self {
        Self(version)
    }

    /// The stored version.
    pub fn version(self) -> i64 {
        self.0
    }

    /// Parses an etag that a client sends back, or takes it from a read etag.
    ///
    /// # Errors
    /// If it does not have the form of this service's etags.
    pub fn parse(field: impl Into<FieldPath>, value: &str) -> Result<Self, Violation> {
        let etag = Self::of_hex(value).or_else(|| ReadEtag::version(value));
        etag.ok_or_else(|| malformed(field, value))
    }

    /// Only the form that responses have: lower case, without zeros in front.
    fn of_hex(value: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_valid = value.bytes().all(is_digit) && (value == "0" || !value.starts_with('0'));
        let version = i64::from_str_radix(value, 16).ok();
        version.filter(|_| is_valid).map(Self)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// The validator of a collection's properties: everything that an update can change, but nothing
/// that changes with the children. It is a hash of their values, so equal properties have equal
/// etags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropertiesEtag(u128);

/// The prefix. It is not a hexadecimal digit, so it distinguishes these etags from those of
/// collections.
const PROPERTIES: char = 'p';

impl PropertiesEtag {
    /// The etag of properties.
    pub fn of(properties: &impl Hash) -> Self {
        let mut digest = Digest(Sha256::new());
        properties.hash(&mut digest);
        let bytes: [u8; 32] = digest.0.finalize().into();
        let first = bytes.iter().take(size_of::<u128>());
        Self(first.fold(0, |number, byte| (number << 8) | u128::from(*byte)))
    }
}

impl fmt::Display for PropertiesEtag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PROPERTIES}{:032x}", self.0)
    }
}

/// Adapts SHA-256 to `Hasher`. Unlike the hash of a `HashMap`, the digest is the same in all
/// processes.
struct Digest(Sha256);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Never called: only the digest is used.
        0
    }
}

/// What must be unchanged for a write to succeed (optimistic concurrency).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The whole collection.
    Collection(Etag),
    /// Its properties, whether or not its children changed.
    Properties(PropertiesEtag),
}

impl Precondition {
    /// Parses an etag that a client sends back.
    ///
    /// # Errors
    /// If it does not have the form of this service's etags.
    pub fn parse(field: impl Into<FieldPath>, value: &str) -> Result<Self, Violation> {
        let Some(digest) = value.strip_prefix(PROPERTIES) else {
            return Etag::parse(field, value).map(Self::Collection);
        };
        let number = u128::from_str_radix(digest, 16).ok();
        number
            .filter(|_| is_hex(digest, size_of::<u128>()))
            .map(|number| Self::Properties(PropertiesEtag(number)))
            .ok_or_else(|| malformed(field, value))
    }

    /// Checks the precondition.
    ///
    /// # Errors
    /// [`Reason::EtagMismatch`], with the current etag.
    pub fn check(self, current: Self, id: &str) -> Result<(), Error> {
        if self == current {
            return Ok(());
        }
        Err(Error::new(
            Reason::EtagMismatch,
            format!("etag {self} is not current; the current one is {current}"),
        )
        .about(id)
        .with("current_etag", current))
    }
}

impl fmt::Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collection(etag) => etag.fmt(f),
            Self::Properties(etag) => etag.fmt(f),
        }
    }
}

fn malformed(field: impl Into<FieldPath>, value: &str) -> Violation {
    Violation::new(field, value, Constraint::Malformed("an etag of a response"))
}

/// The validator of a read: the version of the collection, and what the response derives from its
/// ancestors. Only this may validate a client's cached response, because an ancestor can change
/// `effective_active` without changing the collection's version. It includes the id, because a slug
/// may move from one collection to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEtag(String);

impl ReadEtag {
    /// The etag of a read of the collection at `version`.
    pub fn of(id: &CollectionId, version: Etag, effective_active: bool) -> Self {
        Self(format!("{version}-{}-{id}", u8::from(effective_active)))
    }

    /// Parses an etag that a client sends back.
    ///
    /// # Errors
    /// If it does not have the form of this service's read etags. In particular, the etag of a
    /// collection is rejected, because it would never match.
    pub fn parse(field: &str, value: &str) -> Result<Self, Violation> {
        let constraint = Constraint::Malformed("a read_etag of a response");
        Self::version(value)
            .map(|_| Self(value.into()))
            .ok_or_else(|| Violation::new(field, value, constraint))
    }

    /// The version of the collection in a read etag; `None` if it is malformed.
    fn version(value: &str) -> Option<Etag> {
        let mut parts = value.splitn(3, '-');
        let mut part = || parts.next().unwrap_or_default();
        let (version, active, id) = (part(), part(), part());
        let is_valid = matches!(active, "0" | "1") && CollectionId::parse("id", id).is_ok();
        Etag::of_hex(version).filter(|_| is_valid)
    }
}

impl fmt::Display for ReadEtag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_etag_round_trips_and_malformed_ones_are_rejected() {
        let id = CollectionId::trusted("a-b:c");
        let etags = [(1, false), (1, true), (2, true)]
            .map(|(version, active)| ReadEtag::of(&id, Etag::of(version), active));
        for etag in &etags {
            let back = ReadEtag::parse("if_none_match", &etag.to_string()).unwrap();
            assert_eq!(etags.iter().filter(|other| **other == back).count(), 1);
        }
        for odd in [
            "",
            "1",
            "1-2-a",
            "g-1-a",
            "1-1-",
            "1-1",
            "-1-a",
            "1-1-\u{e9}",
        ] {
            assert!(ReadEtag::parse("if_none_match", odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_etag_round_trips_and_malformed_ones_are_rejected() {
        let etag = Etag::of(1_795_300_000_000_123);
        assert_eq!(Etag::parse("etag", &etag.to_string()), Ok(etag));
        for odd in [
            "",
            "-1",
            "+1",
            "g",
            "W/\"1\"",
            "ffffffffffffffffffff",
            "FF",
            "0ff",
            "00",
        ] {
            assert!(Etag::parse("etag", odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_etag_is_taken_from_a_read_etag() {
        let etag = Etag::of(255);
        let read = ReadEtag::of(&CollectionId::trusted("a-b"), etag, true);
        for either in [etag.to_string(), read.to_string()] {
            assert_eq!(Etag::parse("at_least", &either), Ok(etag));
            let precondition = Ok(Precondition::Collection(etag));
            assert_eq!(Precondition::parse("etag", &either), precondition);
        }
        for odd in ["ff-", "ff-2-a", "-1-a", "ff-1-a b", "ff-anything", ""] {
            assert!(Etag::parse("at_least", odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_precondition_round_trips_and_malformed_ones_are_rejected() {
        let all = [
            Precondition::Collection(Etag::of(255)),
            Precondition::Properties(PropertiesEtag::of(&"a")),
            Precondition::Properties(PropertiesEtag::of(&"b")),
            Precondition::Properties(PropertiesEtag(1)),
        ];
        for (at, etag) in all.iter().enumerate() {
            let back = Precondition::parse("etag", &etag.to_string());
            let found = all.iter().position(|other| Ok(*other) == back);
            assert_eq!(found, Some(at));
        }
        for odd in [
            "",
            "p",
            "p1",
            "P00000000000000000000000000000001",
            "p+0000000000000000000000000000001",
        ] {
            assert!(Precondition::parse("etag", odd).is_err(), "{odd}");
        }
    }
}
