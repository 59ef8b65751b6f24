//! The fields of a response that are derived from a collection and its ancestors, in one language.

use std::sync::Arc;

use crate::{
    domain::{
        Collection, CollectionId, Image, ImageText, Lineage, Locale, Slug, TextField,
        lineage::Ancestor,
    },
    service::{Detail, Settings},
};

/// A collection with its ancestors, read in one language.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    detail: &'a Detail,
    locale: &'a Locale,
    settings: &'a Settings,
}

impl<'a> Reading<'a> {
    /// Reads the collection in `locale`.
    pub fn new(detail: &'a Detail, locale: &'a Locale, settings: &'a Settings) -> Self {
        Self {
            detail,
            locale,
            settings,
        }
    }

    fn collection(&self) -> &'a Collection {
        &self.detail.collection
    }

    /// A text in the language, or else in the default locale.
    pub fn text(&self, field: TextField) -> Option<&'a str> {
        let texts = &self.collection().texts;
        texts.read(self.locale, &self.settings.default_locale, field)
    }

    /// The keywords in the language, or else in the default locale.
    pub fn keywords(&self) -> &'a [String] {
        let texts = &self.collection().texts;
        texts.keywords(self.locale, &self.settings.default_locale)
    }

    /// A text of an image in the language, or else in the default locale.
    pub fn image_text<'i>(&self, image: &'i Image, text: ImageText) -> Option<&'i str> {
        image.text(self.locale, &self.settings.default_locale, text)
    }

    /// The display name.
    pub fn display_name(&self) -> &'a str {
        self.collection()
            .display_name(self.locale, &self.settings.default_locale)
    }

    /// `seoDescriptionDerived`: the display name, followed by a description if there is one.
    pub fn seo_description(&self) -> String {
        let description = self
            .text(TextField::Description)
            .or_else(|| self.text(TextField::LongDescription));
        match description {
            Some(description) => format!("{}, {description}", self.display_name()),
            None => self.display_name().into(),
        }
    }

    /// `seoKeywordsDerived`: the display names of the collection and its ancestors, from the
    /// nearest, without the roots.
    pub fn seo_keywords(&self) -> String {
        let ancestors = self.detail.lineage.ancestors();
        let ancestors = ancestors.iter().filter(|id| !id.is_root());
        let mut names = vec![self.display_name()];
        names.extend(ancestors.map(|id| self.name_of(id)));
        names.join(",")
    }

    /// `seoUrlSlugDerived`: the slug in the language, or else the collection's if a client chose
    /// it, or else one made from the display name.
    pub fn seo_url_slug(&self) -> String {
        let handle = &self.collection().handle;
        if let Some(slug) = self.text(TextField::SeoUrlSlug) {
            return slug.into();
        }
        let made = if handle.chosen {
            None
        } else {
            Slug::of(self.display_name(), self.settings.limits.name_chars)
        };
        made.as_ref().unwrap_or(&handle.slug).as_str().into()
    }

    /// `route`.
    pub fn route(&self) -> String {
        format!("/{}/category/{}", self.seo_url_slug(), self.collection().id)
    }

    /// The paths from the roots to the collection, which ends each of them, as ids.
    pub fn paths(&self) -> Vec<Vec<&'a CollectionId>> {
        self.paths_up_to(usize::MAX)
    }

    /// Like [`Self::paths`], at most `max` paths.
    pub fn paths_up_to(&self, max: usize) -> Vec<Vec<&'a CollectionId>> {
        let max = max.min(self.settings.limits.paths);
        paths_to(&self.detail.lineage, &self.collection().id, max)
    }

    /// `categoryPaths`, such as `/Commerce Root/Electronics`.
    pub fn name_paths(&self, paths: &[Vec<&CollectionId>]) -> Vec<String> {
        let path = |path: &Vec<&CollectionId>| {
            let names = path.iter().map(|id| format!("/{}", self.name_of(id)));
            names.collect()
        };
        paths.iter().map(path).collect()
    }

    /// The paths of an ancestor.
    pub fn name_paths_of(&self, id: &CollectionId, node: &Ancestor) -> Vec<String> {
        let lineage = self.lineage_of(node);
        self.name_paths(&paths_to(&lineage, id, self.settings.limits.paths))
    }

    /// Whether an ancestor is active, itself and through its parents.
    pub fn is_active(&self, node: &Ancestor) -> bool {
        self.lineage_of(node).effective_active(node.active)
    }

    /// A text of an ancestor.
    pub fn text_of(&self, node: &'a Ancestor, field: TextField) -> Option<&'a str> {
        let default = &self.settings.default_locale;
        node.texts.read(self.locale, default, field)
    }

    /// The display name of the collection, or of an ancestor.
    pub fn name_of(&self, id: &CollectionId) -> &'a str {
        if *id == self.collection().id {
            return self.display_name();
        }
        let texts = self.detail.lineage.texts(id);
        texts.map_or("", |texts| {
            texts.display_name(self.locale, &self.settings.default_locale)
        })
    }

    fn lineage_of(&self, node: &Ancestor) -> Lineage {
        Lineage {
            parents: node.parents.clone(),
            nodes: Arc::clone(&self.detail.lineage.nodes),
        }
    }
}

/// The paths to a collection. The only path of a root is the root itself; a collection without
/// parents has none.
fn paths_to<'a>(
    lineage: &'a Lineage,
    id: &'a CollectionId,
    max: usize,
) -> Vec<Vec<&'a CollectionId>> {
    if id.is_root() {
        return vec![vec![id]];
    }
    let mut paths = lineage.paths(max);
    for path in &mut paths {
        path.push(id);
    }
    paths
}

#[cfg(test)]
pub mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::domain::{
        Active, Changes, ChildIds, Draft, EntryCounts, Kind, MapChange, TenantId, Texts, Timestamp,
    };

    pub fn settings() -> Settings {
        Settings {
            limits: crate::domain::Limits::default(),
            default_locale: Locale::trusted("en"),
            locales: Vec::new(),
            check_products: false,
            default_currency: None,
            facts_of_stored: Vec::new(),
            root_names: crate::domain::RootNames::default(),
            memory: crate::memory::Memory::new(crate::memory::MemoryLimits::default()),
            read_cache_size: 0,
        }
    }

    /// `cat50056` with these texts. Its parent is `mid` ("Home"), a child of the root.
    pub fn detail(texts: &[(&str, TextField, &str)]) -> Detail {
        let settings = settings();
        let entries = texts
            .iter()
            .map(|(locale, field, text)| ((Locale::trusted(locale), *field), (*text).to_owned()));
        let draft = Draft {
            id: Some(CollectionId::trusted("cat50056")),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange::to(entries),
                ..Changes::default()
            },
        };
        let now = Timestamp::from_micros(1_500_000_000_000_000);
        let collection =
            Collection::create(draft, now, &settings.default_locale, &settings.limits).unwrap();
        Detail {
            tenant: TenantId::trusted("acme"),
            collection,
            lineage: under_home(),
            products: ChildIds::default(),
            collections: ChildIds::default(),
            named: EntryCounts::default(),
            progress: None,
            named_products: ChildIds::default(),
        }
    }

    fn under_home() -> Lineage {
        let node = |name: &str, parents: &[CollectionId]| {
            let mut texts = Texts::default();
            texts.set(
                &Locale::trusted("en"),
                TextField::DisplayName,
                Some(name.into()),
            );
            Ancestor {
                parents: parents.to_vec(),
                active: Active::Inherit,
                texts,
                version: None,
            }
        };
        let (root, mid) = (CollectionId::root(), CollectionId::trusted("mid"));
        Lineage {
            parents: vec![mid.clone()],
            nodes: Arc::new(HashMap::from([
                (mid, node("Home", std::slice::from_ref(&root))),
                (root, node("Commerce Root", &[])),
            ])),
        }
    }

    #[test]
    fn derived_fields_follow_from_names_and_descriptions() {
        let detail = detail(&[
            ("en", TextField::DisplayName, "Gift Shop-New"),
            ("en", TextField::LongDescription, "Looking for a gift?"),
            ("fr", TextField::DisplayName, "Cadeaux d'été"),
            ("fr", TextField::Description, "Un cadeau ?"),
        ]);
        let settings = settings();
        let (en, fr) = (Locale::trusted("en"), Locale::trusted("fr"));
        let read = Reading::new(&detail, &en, &settings);
        assert_eq!(read.seo_description(), "Gift Shop-New, Looking for a gift?");
        assert_eq!(read.seo_keywords(), "Gift Shop-New,Home");
        assert_eq!(read.route(), "/gift-shop-new/category/cat50056");
        let paths = read.paths();
        assert_eq!(
            read.name_paths(&paths),
            ["/Commerce Root/Home/Gift Shop-New"]
        );

        let read = Reading::new(&detail, &fr, &settings);
        assert_eq!(read.seo_description(), "Cadeaux d'été, Un cadeau ?");
        assert_eq!(read.seo_keywords(), "Cadeaux d'été,Home");
        assert_eq!(read.seo_url_slug(), "cadeaux-d-ete");
    }

    #[test]
    fn the_slug_is_localized_else_chosen_else_derived_from_the_name() {
        let settings = settings();
        let en = Locale::trusted("en");
        let mut named = detail(&[("en", TextField::DisplayName, "Lamps")]);
        let slug = |detail: &Detail| Reading::new(detail, &en, &settings).seo_url_slug();
        assert_eq!(slug(&named), "lamps");
        named.collection.handle.slug = Slug::trusted("chosen".into());
        assert_eq!(slug(&named), "lamps");
        named.collection.handle.chosen = true;
        assert_eq!(slug(&named), "chosen");
        let texts = &mut named.collection.texts;
        texts.set(&en, TextField::SeoUrlSlug, Some("seo-lamps".into()));
        assert_eq!(slug(&named), "seo-lamps");
        assert_eq!(
            slug(&detail(&[("en", TextField::DisplayName, "!!")])),
            "cat50056"
        );
    }
}
