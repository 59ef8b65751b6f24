//! Identifiers: parsed once, at the edge, and trusted after.
//!
//! One alphabet for all of them: ASCII letters, digits and `- _ . ~ : @ + /`. It
//! holds every id of both vendors' documents and leaves out what separates ids in
//! lists (`,`), in paths (`>`) and in stored segments.

use std::{fmt, sync::Arc};

use super::{constraint::Constraint, error::Violation, field::FieldPath};

/// What an id may be made of, as error messages say it.
pub const ALPHABET: &str = "made of ASCII letters, digits and - _ . ~ : @ + /";

/// The root under which navigable collections stand; every tenant has it.
pub const ROOT: &str = "rootCategory";
/// The root of collections that navigation leaves out; every tenant has it.
pub const NON_NAVIGABLE_ROOT: &str = "nonNavigableCategory";

fn check(value: &str, max: usize) -> Result<(), Constraint> {
    let constraint = if value.is_empty() {
        Constraint::Empty
    } else if value.len() > max {
        Constraint::TooLong {
            length: value.chars().count(),
            max,
        }
    } else if value == "." || value == ".." || !value.bytes().all(allowed) {
        Constraint::Malformed(ALPHABET)
    } else {
        return Ok(());
    };
    Err(constraint)
}

fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~:@+/".contains(&byte)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest id, in characters.
            pub const MAX: usize = $max;

            /// Parses the value of `field`.
            ///
            /// # Errors
            /// Where it is empty, over [`Self::MAX`] or has other characters.
            pub fn parse(field: impl Into<FieldPath>, value: &str) -> Result<Self, Violation> {
                match check(value, Self::MAX) {
                    Ok(()) => Ok(Self(value.into())),
                    Err(constraint) => Err(Violation::new(field, value, constraint)),
                }
            }

            /// An id that this service made or stored, so known to be one.
            pub fn trusted(value: impl Into<Arc<str>>) -> Self {
                Self(value.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().into()
            }
        }
    };
}

id!(
    /// The owner of a separate catalogue.
    TenantId,
    64
);
id!(
    /// A collection, unique in its tenant.
    CollectionId,
    128
);
id!(
    /// A product, unique in its tenant.
    ProductId,
    128
);
id!(
    /// A child of a collection where it may be either: a product, or a collection.
    ChildId,
    128
);
id!(
    /// The client's name for one request, under which a retry is recognised.
    RequestId,
    128
);

impl CollectionId {
    /// The root under which collections go where no parent is given.
    pub fn root() -> Self {
        Self::trusted(ROOT)
    }

    /// Whether this is one of the tenant's two roots.
    pub fn is_root(&self) -> bool {
        matches!(self.as_str(), ROOT | NON_NAVIGABLE_ROOT)
    }

    /// A new id: 24 hexadecimal digits, the first eight the time in seconds, so
    /// that ids made later sort later (the form of a MongoDB ObjectId, which
    /// HighLevel's clients expect).
    pub fn generate(now: super::Timestamp) -> Self {
        let seconds = u32::try_from(now.micros() / 1_000_000).unwrap_or(u32::MAX);
        let tail: [u8; 8] = rand::random();
        Self::trusted(format!("{seconds:08x}{:016x}", u64::from_be_bytes(tail)))
    }
}

impl From<CollectionId> for ChildId {
    fn from(id: CollectionId) -> Self {
        Self(id.0)
    }
}

impl From<ProductId> for ChildId {
    fn from(id: ProductId) -> Self {
        Self(id.0)
    }
}

impl From<ChildId> for ProductId {
    fn from(id: ChildId) -> Self {
        Self(id.0)
    }
}

impl From<CollectionId> for ProductId {
    fn from(id: CollectionId) -> Self {
        Self(id.0)
    }
}

impl From<ChildId> for CollectionId {
    fn from(id: ChildId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_vendors_are_ids() {
        for id in [
            "65d71377c326ea78e1c47df5",
            "rootCategory",
            "COMBO_000",
            "WZbi01",
            "a/b",
        ] {
            assert!(CollectionId::parse("id", id).is_ok(), "{id}");
        }
    }

    #[test]
    fn odd_ids_are_refused_with_the_rule_they_break() {
        let rule = |id: &str| CollectionId::parse("id", id).unwrap_err().constraint;
        assert_eq!(rule(""), Constraint::Empty);
        assert_eq!(
            rule(&"x".repeat(129)),
            Constraint::TooLong {
                length: 129,
                max: 128
            }
        );
        for id in ["a b", "a,b", "a>b", "é", "a\0", "..", "a\nb", "\"", "a%2Fb"] {
            assert_eq!(rule(id), Constraint::Malformed(ALPHABET), "{id:?}");
        }
    }

    #[test]
    fn generated_ids_are_24_hexadecimal_digits_and_differ() {
        let now = crate::domain::Timestamp::now();
        let (one, two) = (CollectionId::generate(now), CollectionId::generate(now));
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 24);
        assert!(one.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
