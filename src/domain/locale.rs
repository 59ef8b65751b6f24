//! Locales: BCP 47 language tags in their canonical form.

use std::{fmt, sync::Arc};

use icu_locale_core::LanguageIdentifier;

use super::constraint::Constraint;

/// A locale such as `en` or `pt-BR`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locale(Arc<str>);

impl Locale {
    /// The longest tag, in bytes: what RFC 5646 advises to have room for.
    pub const MAX: usize = 35;

    /// Parses a locale; `pt_BR`, `pt-br` and `pt-BR` are one.
    ///
    /// # Errors
    /// Where it is not a well-formed language tag, or over [`Self::MAX`].
    pub fn parse(value: &str) -> Result<Self, Constraint> {
        if value.len() > Self::MAX {
            let (length, max) = (value.len(), Self::MAX);
            return Err(Constraint::TooLong { length, max });
        }
        value
            .replace('_', "-")
            .parse::<LanguageIdentifier>()
            .ok()
            .filter(|id| !id.language.is_unknown())
            .map(|id| Self(id.to_string().into()))
            .ok_or(Constraint::Malformed("a BCP 47 locale such as en or pt-BR"))
    }

    /// A locale that this service stored, so known to be one.
    pub fn trusted(value: &str) -> Self {
        Self(value.into())
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_clients_write_are_one_locale() {
        for form in ["pt_BR", "pt-BR", "pt-br", "PT_br"] {
            assert_eq!(Locale::parse(form).unwrap().as_str(), "pt-BR");
        }
        for odd in [
            "",
            "x",
            "english language",
            "en--US",
            "und",
            "e\u{301}n",
            "12",
            "en-variant1-variant2-variant3-variant4",
        ] {
            assert!(Locale::parse(odd).is_err(), "{odd}");
        }
    }
}
