//! Locales: BCP 47 language tags in their canonical form.

use std::{fmt, sync::Arc};

use icu_locale_core::LanguageIdentifier;

use super::error::{Rule, Violation};

/// A locale such as `en` or `pt-BR`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locale(Arc<str>);

impl Locale {
    /// Parses a locale; `pt_BR`, `pt-br` and `pt-BR` are one.
    ///
    /// # Errors
    /// Where it is not a well-formed language tag.
    pub fn parse(field: &str, value: &str) -> Result<Self, Violation> {
        value
            .replace('_', "-")
            .parse::<LanguageIdentifier>()
            .ok()
            .filter(|id| !id.language.is_unknown())
            .map(|id| Self(id.to_string().into()))
            .ok_or_else(|| {
                Violation::new(
                    field,
                    value,
                    Rule::Malformed("a BCP 47 locale such as en or pt-BR"),
                )
            })
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
            assert_eq!(Locale::parse("locale", form).unwrap().as_str(), "pt-BR");
        }
        for odd in [
            "",
            "x",
            "english language",
            "en--US",
            "und",
            "e\u{301}n",
            "12",
        ] {
            assert!(Locale::parse("locale", odd).is_err(), "{odd}");
        }
    }
}
