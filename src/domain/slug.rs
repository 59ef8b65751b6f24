//! Slugs: the handles of collections in URLs, unique in their tenant. Clients choose them, or they
//! are derived from the display name.

use super::{constraint::Constraint, error::Violation, field::FieldPath};

/// The form of slugs, for error messages.
pub const FORM: &str = "lower-case letters and digits in groups joined by single hyphens";

/// A slug: `[a-z0-9]+(-[a-z0-9]+)*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slug(String);

impl Slug {
    /// Parses a slug, converting it to lower case.
    ///
    /// # Errors
    /// If it is empty, longer than `max` characters, or malformed.
    pub fn parse(field: impl Into<FieldPath>, value: &str, max: usize) -> Result<Self, Violation> {
        let lower = value.to_ascii_lowercase();
        let group = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let rule = if value.is_empty() {
            Constraint::Empty
        } else if !lower.split('-').all(group) {
            Constraint::Malformed(FORM)
        } else if lower.len() > max {
            Constraint::TooLong {
                length: lower.len(),
                max,
            }
        } else {
            return Ok(Self(lower));
        };
        Err(Violation::new(field, value, rule))
    }

    /// A slug that this service stored. It is not checked again.
    pub fn trusted(value: String) -> Self {
        Self(value)
    }

    /// Derives a slug of up to `max` characters from a text; `None` if the text has no usable
    /// characters.
    pub fn of(text: &str, max: usize) -> Option<Self> {
        let mut slug = slug::slugify(text);
        slug.truncate(max);
        let slug = slug.trim_end_matches('-');
        (!slug.is_empty()).then(|| Self(slug.into()))
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A collection's slug, and whether a client chose it. A slug that was derived from the display
/// name is kept when the name changes, so that URLs do not break. Oracle's derived fields only show
/// chosen slugs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The slug.
    pub slug: Slug,
    /// Whether a client chose it.
    pub chosen: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_lower_cased_and_checked() {
        let parse = |value| Slug::parse("slug", value, 20).map(|slug| slug.0);
        assert_eq!(parse("Best-Sellers").unwrap(), "best-sellers");
        for odd in ["-a", "a-", "a--b", "a b", "ä", "a_b", "a/b"] {
            assert_eq!(
                parse(odd).unwrap_err().constraint,
                Constraint::Malformed(FORM),
                "{odd}"
            );
        }
        assert_eq!(parse("").unwrap_err().constraint, Constraint::Empty);
        assert_eq!(
            parse(&"a".repeat(21)).unwrap_err().constraint,
            Constraint::TooLong {
                length: 21,
                max: 20
            }
        );
    }

    #[test]
    fn a_slug_is_derived_from_a_name() {
        let of = |text| Slug::of(text, 12).map(|slug| slug.0);
        assert_eq!(of("Gift Shop-New").unwrap(), "gift-shop-ne");
        assert_eq!(of("Gift  Shop  New").unwrap(), "gift-shop-ne");
        assert_eq!(of("Lâmpada").unwrap(), "lampada");
        assert_eq!(of("!!"), None);
    }
}
