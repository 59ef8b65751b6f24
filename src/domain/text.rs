//! The localized content of a collection.

use std::collections::BTreeMap;

use super::{
    constraint::Constraint, error::Violations, field::FieldPath, limits::Limits, locale::Locale,
};

pub use super::field::TextField;

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

    /// The name in the API and in the store.
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

/// The content of a collection in one locale; no text is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text {
    /// The texts.
    pub fields: BTreeMap<TextField, String>,
    /// Search keywords, in order, duplicates kept.
    pub keywords: Vec<String>,
}

impl Text {
    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.keywords.is_empty()
    }

    /// Its bytes together.
    fn size(&self) -> usize {
        let texts = self.fields.values().chain(&self.keywords);
        texts.map(String::len).sum()
    }
}

/// The content of a collection, by locale; no locale is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Texts(BTreeMap<Locale, Text>);

const KEYWORD_CHARS: usize = 255;

impl Texts {
    /// Sets a text; none, or an empty one, clears it.
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

    /// Clears everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What there is in exactly this locale.
    pub fn of(&self, locale: &Locale) -> Option<&Text> {
        self.0.get(locale)
    }

    /// The text as readers of `locale` see it: looked up along its tag, then along that of the
    /// default locale.
    pub fn read(&self, locale: &Locale, default: &Locale, field: TextField) -> Option<&str> {
        let texts = self.for_readers(locale, default);
        let mut texts = texts.filter_map(|text| text.fields.get(&field));
        texts.next().map(String::as_str)
    }

    /// The keywords as readers of `locale` see them, likewise.
    pub fn keywords(&self, locale: &Locale, default: &Locale) -> &[String] {
        let keywords = self.for_readers(locale, default);
        let mut keywords = keywords.map(|text| text.keywords.as_slice());
        let keywords = keywords.find(|keywords| !keywords.is_empty());
        keywords.unwrap_or_default()
    }

    /// The content that readers of `locale` see, the first that has something.
    fn for_readers<'a, 'l>(
        &'a self,
        locale: &'l Locale,
        default: &'l Locale,
    ) -> impl Iterator<Item = &'a Text> + use<'a, 'l> {
        let tags = locale.lookup().chain(default.lookup());
        tags.filter_map(|tag| self.0.get(tag))
    }

    /// The display name as readers of `locale` see it, likewise; else that of the first locale
    /// that has one.
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

    /// By locale, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&Locale, &Text)> {
        self.0.iter()
    }

    /// Its bytes together.
    pub fn size(&self) -> usize {
        let locales = self.0.iter();
        locales
            .map(|(locale, text)| locale.as_str().len() + text.size())
            .sum()
    }

    /// Checks every length, the numbers of locales and of keywords, and that there is a
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

    /// Checks every length, and the numbers of locales and of keywords.
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
