//! The localized texts of a collection: fields and keywords by locale, with fallbacks for readers
//! of other locales.

use std::collections::BTreeMap;

use super::{
    constraint::Constraint, error::Violations, field::FieldPath, limits::Limits, locale::Locale,
};

pub use super::field::TextField;

impl TextField {
    /// All fields, in the order of the protobuf message.
    pub const ALL: [Self; 7] = [
        Self::DisplayName,
        Self::Description,
        Self::LongDescription,
        Self::SeoTitle,
        Self::SeoDescription,
        Self::SeoKeywords,
        Self::SeoUrlSlug,
    ];

    /// The name in the API and in the database.
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

    /// The field with this name.
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

/// The texts of a collection in one locale. Empty texts are not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text {
    /// The texts by field.
    pub fields: BTreeMap<TextField, String>,
    /// Search keywords, in order. Duplicates are kept.
    pub keywords: Vec<String>,
}

impl Text {
    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.keywords.is_empty()
    }

    /// The size in bytes.
    fn size(&self) -> usize {
        let texts = self.fields.values().chain(&self.keywords);
        texts.map(String::len).sum()
    }
}

/// The texts of a collection by locale. Locales without any text are not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Texts(BTreeMap<Locale, Text>);

const KEYWORD_CHARS: usize = 255;

impl Texts {
    /// Sets a text; `None` or an empty text clears it.
    pub fn set(&mut self, locale: &Locale, field: TextField, value: Option<String>) {
        self.change(locale, |text| {
            match value.filter(|value| !value.is_empty()) {
                Some(value) => text.fields.insert(field, value),
                None => text.fields.remove(&field),
            };
        });
    }

    /// Sets the keywords of a locale.
    pub fn set_keywords(&mut self, locale: &Locale, keywords: Vec<String>) {
        self.change(locale, |text| text.keywords = keywords);
    }

    fn change(&mut self, locale: &Locale, change: impl FnOnce(&mut Text)) {
        let text = self.0.entry(locale.clone()).or_default();
        change(text);
        if text.is_empty() {
            self.0.remove(locale);
        }
    }

    /// Clears all texts and keywords.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The texts in exactly this locale, without fallbacks.
    pub fn of(&self, locale: &Locale) -> Option<&Text> {
        self.0.get(locale)
    }

    /// The text for readers of `locale`, with fallbacks: to shorter tags of the locale, then to the
    /// default locale and its shorter tags.
    pub fn read(&self, locale: &Locale, default: &Locale, field: TextField) -> Option<&str> {
        let texts = self.for_readers(locale, default);
        let mut texts = texts.filter_map(|text| text.fields.get(&field));
        texts.next().map(String::as_str)
    }

    /// The keywords for readers of `locale`, with the same fallbacks.
    pub fn keywords(&self, locale: &Locale, default: &Locale) -> &[String] {
        let keywords = self.for_readers(locale, default);
        let mut keywords = keywords.map(|text| text.keywords.as_slice());
        let keywords = keywords.find(|keywords| !keywords.is_empty());
        keywords.unwrap_or_default()
    }

    /// The texts that readers of `locale` may see, in the order of the fallbacks.
    fn for_readers<'a, 'l>(
        &'a self,
        locale: &'l Locale,
        default: &'l Locale,
    ) -> impl Iterator<Item = &'a Text> + use<'a, 'l> {
        let tags = locale.lookup().chain(default.lookup());
        tags.filter_map(|tag| self.0.get(tag))
    }

    /// The display name for readers of `locale`, with the same fallbacks, and finally that of the
    /// first locale that has one.
    pub fn display_name(&self, locale: &Locale, default: &Locale) -> &str {
        self.read(locale, default, TextField::DisplayName)
            .or_else(|| {
                let mut locales = self.0.values();
                locales
                    .find_map(|text| text.fields.get(&TextField::DisplayName))
                    .map(String::as_str)
            })
            .unwrap_or_default()
    }

    /// All texts, ordered by locale.
    pub fn iter(&self) -> impl Iterator<Item = (&Locale, &Text)> {
        self.0.iter()
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        let locales = self.0.iter();
        locales
            .map(|(locale, text)| locale.as_str().len() + text.size())
            .sum()
    }

    /// Checks the lengths of texts, the numbers of locales and keywords, and that there is a
    /// display name.
    pub fn check(&self, limits: &Limits, violations: &mut Violations) {
        self.check_lengths(limits, violations);
        let named = |text: &Text| {
            let name = text.fields.get(&TextField::DisplayName);
            name.is_some_and(|name| !name.trim().is_empty())
        };
        if !self.0.values().any(named) {
            violations.add(FieldPath::DisplayName, "", Constraint::Required);
        }
    }

    /// Checks the lengths of texts, and the numbers of locales and keywords.
    pub fn check_lengths(&self, limits: &Limits, violations: &mut Violations) {
        violations.count(FieldPath::Texts, self.0.len(), limits.locales);
        for (locale, text) in &self.0 {
            for (field, value) in &text.fields {
                let path = FieldPath::Text(locale.clone(), *field);
                violations.length(path, value, field.max_chars(limits));
            }
            check_keywords(locale, &text.keywords, limits, violations);
        }
    }
}

fn check_keywords(locale: &Locale, keywords: &[String], limits: &Limits, to: &mut Violations) {
    let path = |index| FieldPath::Keywords(locale.clone(), index);
    to.count(path(None), keywords.len(), limits.keywords);
    if keywords.len() > limits.keywords {
        return;
    }
    for (index, keyword) in keywords.iter().enumerate() {
        if keyword.is_empty() {
            to.add(path(Some(index)), "", Constraint::Empty);
        }
        to.length(path(Some(index)), keyword, KEYWORD_CHARS);
    }
}

impl FromIterator<(Locale, Text)> for Texts {
    fn from_iter<I: IntoIterator<Item = (Locale, Text)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
