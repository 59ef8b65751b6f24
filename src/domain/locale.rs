//! Locales: BCP 47 language tags in their canonical form, with the lookup order for fallbacks.
//! [`super::text`] has the texts in these locales.

use std::{borrow::Borrow, fmt, iter, sync::Arc};

use icu_locale_core::LanguageIdentifier;

use super::constraint::Constraint;

/// A locale such as `en` or `pt-BR`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locale(Arc<str>);

impl Locale {
    /// The maximum length of a tag in bytes, as RFC 5646 recommends.
    pub const MAX: usize = 35;

    /// Parses a locale. `pt_BR`, `pt-br` and `pt-BR` are equal.
    ///
    /// # Errors
    /// If it is not a well-formed language tag, or longer than [`Self::MAX`].
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

    /// A locale that this service stored. It is not checked again.
    pub fn trusted(value: &str) -> Self {
        Self(value.into())
    }

    /// The canonical form of the tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag, then the tag with more and more subtags removed from its end: the order in which
    /// texts are looked up (RFC 4647, section 3.4).
    pub fn lookup(&self) -> impl Iterator<Item = &str> {
        iter::successors(Some(self.as_str()), |tag| {
            tag.rsplit_once('-').map(|(shorter, _)| shorter)
        })
    }

    /// The locale to which a client with this locale writes: the longest tag in [`Self::lookup`]
    /// that is used, else the locale itself. The script is never dropped, because text in another
    /// script is useless to these readers.
    pub fn written(&self, is_used: impl Fn(&Self) -> bool) -> Self {
        let tags = self.lookup();
        let tags = tags.take_while(|tag| script(tag) == script(self.as_str()));
        let found = tags.map(Self::trusted).find(is_used);
        found.unwrap_or_else(|| self.clone())
    }
}

/// The script subtag of a canonical tag: the second subtag, if it has four letters.
fn script(tag: &str) -> Option<&str> {
    let second = tag.split('-').nth(1)?;
    let is_script = second.len() == 4 && second.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_script.then_some(second)
}

/// Allows maps with locales as keys to be searched by tag.
impl Borrow<str> for Locale {
    fn borrow(&self) -> &str {
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
    fn locale_tags_are_normalized_and_invalid_ones_rejected() {
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

    #[test]
    fn a_tag_is_looked_up_along_its_prefixes() {
        let of = |tag| Locale::trusted(tag).lookup().collect::<Vec<_>>().join(" ");
        assert_eq!(of("fr"), "fr");
        assert_eq!(of("zh-Hant-TW"), "zh-Hant-TW zh-Hant zh");
        assert_eq!(of("en-GB-oxendict"), "en-GB-oxendict en-GB en");
    }

    #[test]
    fn a_write_uses_the_tag_or_a_prefix_of_the_same_script() {
        let cases = [
            ("en-US", "en-US en", "en-US"),
            // The longest prefix in use.
            ("en-US", "en", "en"),
            ("de-CH-1996", "de de-CH", "de-CH"),
            // A regional tag is kept if its language is not in use.
            ("fr-CA", "en", "fr-CA"),
            ("zh-Hant-TW", "zh-Hant zh", "zh-Hant"),
            ("zh-Hant-TW", "zh", "zh-Hant-TW"),
            ("zh-Hant", "zh", "zh-Hant"),
        ];
        for (tag, used, written) in cases {
            let is_used = |tag: &Locale| used.split(' ').any(|one| one == tag.as_str());
            let found = Locale::trusted(tag).written(is_used);
            assert_eq!(found.as_str(), written, "{tag}: {used}");
        }
    }
}
