//! The localised part of a collection.

use std::collections::BTreeMap;

use super::{
    error::{Rule, Violations},
    limits::Limits,
    locale::Locale,
};

/// One of the texts that a locale has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextField {
    /// What people read.
    DisplayName,
    /// The description.
    Description,
    /// The long description.
    LongDescription,
    /// The page title for search engines.
    SeoTitle,
    /// The page description for search engines.
    SeoDescription,
    /// The page keywords for search engines.
    SeoKeywords,
    /// The slug in page addresses; not unique.
    SeoUrlSlug,
}

impl TextField {
    /// All of them, in the order of the proto.
    pub const ALL: [Self; 7] = [
        Self::DisplayName,
        Self::Description,
        Self::LongDescription,
        Self::SeoTitle,
        Self::SeoDescription,
        Self::SeoKeywords,
        Self::SeoUrlSlug,
    ];

    /// The name in `endcap.v1.Text` and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Description => "description",
            Self::LongDescription => "long_description",
            Self::SeoTitle => "seo_title",
            Self::SeoDescription => "seo_description",
            Self::SeoKeywords => "seo_keywords",
            Self::SeoUrlSlug => "seo_url_slug",
        }
    }

    /// The field of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    fn max_chars(self, limits: &Limits) -> usize {
        match self {
            Self::DisplayName | Self::SeoUrlSlug => limits.name_chars,
            Self::Description
            | Self::LongDescription
            | Self::SeoTitle
            | Self::SeoDescription
            | Self::SeoKeywords => limits.text_chars,
        }
    }
}

/// The texts of one locale; none is empty.
pub type Text = BTreeMap<TextField, String>;

/// The texts of a collection, by locale; no locale is without a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(BTreeMap<Locale, Text>);

impl Texts {
    /// Sets a text; none, or an empty one, clears it.
    pub fn set(&mut self, locale: &Locale, field: TextField, value: Option<String>) {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => {
                self.0
                    .entry(locale.clone())
                    .or_default()
                    .insert(field, value);
            }
            None => {
                if let Some(text) = self.0.get_mut(locale) {
                    text.remove(&field);
                    if text.is_empty() {
                        self.0.remove(locale);
                    }
                }
            }
        }
    }

    /// Takes all texts out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The text in exactly this locale.
    pub fn in_locale(&self, locale: &Locale, field: TextField) -> Option<&str> {
        Some(self.0.get(locale)?.get(&field)?.as_str())
    }

    /// The text as people of `locale` read it: theirs, else the default locale's.
    pub fn read(&self, locale: &Locale, default: &Locale, field: TextField) -> Option<&str> {
        self.in_locale(locale, field)
            .or_else(|| self.in_locale(default, field))
    }

    /// The display name as people of `locale` read it: theirs, the default
    /// locale's, else that of the first locale that has one.
    pub fn display_name(&self, locale: &Locale, default: &Locale) -> &str {
        self.read(locale, default, TextField::DisplayName)
            .or_else(|| {
                self.0
                    .values()
                    .find_map(|text| Some(text.get(&TextField::DisplayName)?.as_str()))
            })
            .unwrap_or_default()
    }

    /// By locale, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&Locale, &Text)> {
        self.0.iter()
    }

    /// Checks every length, the number of locales, and that there is a display
    /// name.
    pub fn check(&self, limits: &Limits, violations: &mut Violations) {
        violations.count("texts", self.0.len(), limits.locales);
        for (locale, text) in &self.0 {
            for (field, value) in text {
                violations.length(
                    format!("texts.{locale}.{}", field.name()),
                    value,
                    field.max_chars(limits),
                );
            }
        }
        let named = |text: &Text| {
            text.get(&TextField::DisplayName)
                .is_some_and(|name| !name.trim().is_empty())
        };
        if !self.0.values().any(named) {
            violations.add("texts.display_name", "", Rule::Required);
        }
    }
}

impl FromIterator<(Locale, Text)> for Texts {
    fn from_iter<I: IntoIterator<Item = (Locale, Text)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
