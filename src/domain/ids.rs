//! Identifiers. They are parsed once, at the edge of the service, and trusted afterwards.
//!
//! Product ids are SKUs as shops define them: any printable characters, preserved byte for byte and
//! without normalization, so two ids that look the same may be different.
//!
//! All other ids are made of ASCII letters, digits and `- _ . ~ : @ + /`. This covers every id in
//! the documentation of both vendors, but excludes the separators of lists (`,`) and of paths
//! (`>`).

use std::{fmt, sync::Arc};

use icu_properties::{CodePointMapData, props::GeneralCategory};

use super::{constraint::Constraint, error::Violation, field::FieldPath};

/// The characters of an id, for error messages.
pub const ALPHABET: &str = "made of ASCII letters, digits and - _ . ~ : @ + /";
/// The characters of a product id, for error messages.
pub const PRINTABLE: &str = "made of printable Unicode characters, without white space at the ends";

/// The root of navigable collections. Every tenant has it.
pub const ROOT: &str = "rootCategory";
/// The root of collections that navigation leaves out. Every tenant has it.
pub const NON_NAVIGABLE_ROOT: &str = "nonNavigableCategory";

/// A check of an id's characters, and its description for error messages.
type Form = (fn(&str) -> bool, &'static str);

const PLAIN_FORM: Form = (is_plain, ALPHABET);
const PRINTABLE_FORM: Form = (is_printable, PRINTABLE);

fn check(value: &str, max: usize, (is_in_form, form): Form) -> Result<(), Constraint> {
    let is_long = value.len() > max && value.chars().nth(max).is_some();
    let constraint = if value.is_empty() {
        Constraint::Empty
    } else if is_long {
        Constraint::TooLong {
            length: value.chars().count(),
            max,
        }
    } else if !is_in_form(value) {
        Constraint::Malformed(form)
    } else {
        return Ok(());
    };
    Err(constraint)
}

fn is_plain(value: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:@+/".contains(&byte);
    value != "." && value != ".." && value.bytes().all(is_allowed)
}

fn is_printable(value: &str) -> bool {
    let trimmed = value.trim_matches(is_space);
    trimmed.len() == value.len() && value.chars().all(prints)
}

/// Whether an id must not start or end with the character. U+FEFF is white space only in
/// JavaScript, as the zero width no-break space; in files, it is the byte order mark.
fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Whether the character is printable. Format characters such as joiners in emoji and in Persian
/// are parts of real texts, so they are allowed. Private use characters look different everywhere.
/// The replacement character stands for bytes that were not valid UTF-8: it could map different ids
/// of a client with a wrong encoding to the same id.
fn prints(c: char) -> bool {
    use GeneralCategory::{
        Control, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    c != char::REPLACEMENT_CHARACTER
        && !matches!(
            category,
            Control | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
        )
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $form:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The maximum length in characters.
            pub const MAX: usize = $max;

            /// Parses an id; `field` is the field that contains it.
            ///
            /// # Errors
            /// If it is empty, longer than [`Self::MAX`], or has invalid characters.
            pub fn parse(field: impl Into<FieldPath>, value: &str) -> Result<Self, Violation> {
                match check(value, Self::MAX, $form) {
                    Ok(()) => Ok(Self(value.into())),
                    Err(constraint) => Err(Violation::new(field, value, constraint)),
                }
            }

            /// An id that this service created or stored. It is not checked again.
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
    /// The id of a tenant, the owner of a separate set of collections and products.
    TenantId,
    64,
    PLAIN_FORM
);
id!(
    /// The id of a collection, unique in its tenant.
    CollectionId,
    128,
    PLAIN_FORM
);
id!(
    /// The id of a product, unique in its tenant.
    ProductId,
    128,
    PRINTABLE_FORM
);
id!(
    /// The id of a child that may be a product or a collection. It accepts what a product id does;
    /// [`super::ChildType::parse_id`] parses it according to the type.
    ChildId,
    128,
    PRINTABLE_FORM
);
id!(
    /// An idempotency key: the client's id of a request, by which a retry is recognised.
    RequestId,
    128,
    PLAIN_FORM
);

impl CollectionId {
    /// The root under which new collections go if no parent is given.
    pub fn root() -> Self {
        Self::trusted(ROOT)
    }

    /// Whether this is one of the tenant's two roots.
    pub fn is_root(&self) -> bool {
        matches!(self.as_str(), ROOT | NON_NAVIGABLE_ROOT)
    }

    /// Generates an id of 24 hexadecimal digits. The first eight are the time in seconds, so that
    /// later ids sort later. HighLevel's clients expect this form, which is that of a MongoDB
    /// ObjectId.
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
    fn ids_of_both_vendors_are_accepted() {
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
    fn invalid_ids_are_rejected_with_the_violated_constraint() {
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
    fn product_ids_may_have_any_printable_characters() {
        let longest = "\u{1f9e6}".repeat(ProductId::MAX);
        for id in [
            "65d71377c326ea78e1c47df5",
            ".",
            "..",
            ",",
            "Größe 42, rot/blau; 50 % #7 =\"a\\b\"",
            "e\u{301}",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{200f}",
            "\u{202e}abc",
            "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "a\u{a0}\u{3000}b",
            "a\u{feff}b",
            &longest,
        ] {
            let parsed = ProductId::parse("id", id).unwrap();
            assert_eq!(parsed.as_str(), id);
            assert_eq!(ChildId::parse("id", id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn empty_long_and_unprintable_product_ids_are_rejected() {
        let rule = |id: &str| ProductId::parse("id", id).unwrap_err().constraint;
        assert_eq!(rule(""), Constraint::Empty);
        let (length, max) = (129, 128);
        let long = "\u{1f9e6}".repeat(length);
        assert_eq!(rule(&long), Constraint::TooLong { length, max });
        let everywhere = ["a", "é", "\u{1f9e6}"].into_iter().flat_map(|around| {
            [
                '\0',
                '\t',
                '\n',
                '\r',
                '\u{1f}',
                '\u{7f}',
                '\u{85}',
                '\u{9f}',
                '\u{2028}',
                '\u{2029}',
                '\u{378}',
                '\u{fdd0}',
                '\u{ffff}',
                '\u{10ffff}',
                '\u{e000}',
                '\u{f0000}',
                '\u{fffd}',
            ]
            .map(|c| format!("{around}{c}{around}"))
        });
        let spaces = [
            ' ', '\u{a0}', '\u{1680}', '\u{2003}', '\u{202f}', '\u{3000}', '\u{feff}',
        ];
        let at_ends = spaces
            .into_iter()
            .flat_map(|c| [format!("{c}a"), format!("é{c}"), format!("{c}")]);
        for id in everywhere.chain(at_ends) {
            assert_eq!(rule(&id), Constraint::Malformed(PRINTABLE), "{id:?}");
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
