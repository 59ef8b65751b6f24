//! The collection, and the semantics of creating and updating one. Its lists of children are in
//! [`super::children`], and its rules in [`super::rules`]. What depends on other collections, such
//! as unique slugs, is checked by the store.

use super::{
    change::{Change, MapChange},
    constraint::Constraint,
    error::{Error, Reason, Result, Violations},
    etag::{Etag, Precondition, PropertiesEtag},
    field::FieldPath,
    ids::{self, CollectionId},
    image::{self, Image, ImageDraft},
    json::{CustomProperties, Json, check_levels},
    limits::Limits,
    locale::Locale,
    rules::{self, Rules},
    slug::{Handle, Slug},
    sort::Sort,
    text::{TextField, Texts},
    time::Timestamp,
};

/// How the membership of a collection is determined. Only a dedicated request changes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The products are listed explicitly, in order.
    Manual,
    /// The products are those that match rules.
    Smart {
        /// The rules.
        rules: Rules,
    },
}

/// Whether the list of a collection follows its current rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RulesState {
    /// It follows the current rules.
    #[default]
    Current,
    /// It follows the old rules, because the current ones are still being evaluated.
    Evaluating,
}

/// The progress of the evaluation of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of products that have been evaluated.
    pub done: u64,
    /// The number of products when the evaluation began.
    pub total: u64,
}

/// Whether a collection is active, that is, shown to shoppers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Active {
    /// Active.
    Yes,
    /// Inactive.
    No,
    /// Active if any parent is effectively active, or if there is no parent.
    #[default]
    Inherit,
}

/// A named set of products. Its lists of children are read separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Unique in the tenant; never changes.
    pub id: CollectionId,
    /// The name for internal use; not localized.
    pub internal_name: String,
    /// The slug, and whether a client chose it.
    pub handle: Handle,
    /// Manual or smart.
    pub kind: Kind,
    /// The sort order of a smart collection's products; `None` if the order is manual.
    pub sort: Option<Sort>,
    /// The hash of the rules' canonical form.
    pub rules_hash: String,
    /// Starts at 1 and increases by one each time the hash changes.
    pub rules_version: i64,
    /// Whether the list follows the current rules.
    pub rules_state: RulesState,
    /// The localized texts.
    pub texts: Texts,
    /// The images, in order.
    pub images: Vec<Image>,
    /// Whether it is active.
    pub active: Active,
    /// Custom properties that clients define.
    pub custom_properties: CustomProperties,
    /// The id of its catalogue, which is not checked.
    pub catalog_id: Option<String>,
    /// The number of child products.
    pub product_count: u64,
    /// The number of child collections.
    pub collection_count: u64,
    /// When it was created.
    pub create_time: Timestamp,
    /// When its properties or children last changed.
    pub update_time: Timestamp,
    /// The version; see [`Etag`].
    pub version: i64,
}

/// The display names of a new tenant's roots. They are stored, and clients may change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootNames {
    /// The name of the root of navigable collections.
    pub navigable: &'static str,
    /// The name of the other root.
    pub non_navigable: &'static str,
}

impl Default for RootNames {
    fn default() -> Self {
        Self {
            navigable: "Root",
            non_navigable: "Non-navigable root",
        }
    }
}

/// A request's description of a new collection.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The id; `None` to generate one.
    pub id: Option<CollectionId>,
    /// Manual or smart.
    pub kind: Kind,
    /// Everything else, as changes to an empty collection.
    pub changes: Changes,
}

/// The changes of a collection's properties in an update.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The internal name; if cleared, it becomes the id.
    pub internal_name: Change<String>,
    /// The slug; if cleared, it is derived from the display name.
    pub slug: Change<Slug>,
    /// The kind (true for smart), if the request has it. It must be the current one.
    pub smart: Option<bool>,
    /// The rules of a smart collection.
    pub rules: Change<Rules>,
    /// The sort order of a smart collection; if cleared, the order becomes manual.
    pub sort: Change<Sort>,
    /// The localized texts.
    pub texts: MapChange<(Locale, TextField), String>,
    /// The keywords by locale.
    pub keywords: Vec<(Locale, Vec<String>)>,
    /// The list of images that replaces the current one; `None` to keep it.
    pub images: Option<Vec<ImageDraft>>,
    /// The URL of the first image that has one.
    pub cover: Change<String>,
    /// Whether it is active.
    pub active: Option<Active>,
    /// Custom properties that clients define.
    pub custom_properties: MapChange<String, Json>,
    /// The id of its catalogue.
    pub catalog_id: Change<String>,
}

const PROPERTY_NAME_CHARS: usize = 128;

impl Changes {
    /// Checks everything that does not depend on the current collection.
    ///
    /// # Errors
    /// With every violation.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let mut violations = Violations::default();
        if let Some(rules) = self.rules.set() {
            rules.check(limits, &mut violations);
        }
        if let Some(sort) = self.sort.set() {
            sort.check(&mut violations);
        }
        let mut texts = Texts::default();
        for ((locale, field), value) in &self.texts.entries {
            texts.set(locale, *field, value.clone());
        }
        for (locale, keywords) in &self.keywords {
            texts.set_keywords(locale, keywords.clone());
        }
        texts.check_lengths(limits, &mut violations);
        if let Some(name) = self.internal_name.set() {
            violations.length(FieldPath::InternalName, name, limits.name_chars);
        }
        if let Some(images) = &self.images {
            violations.count(FieldPath::Images, images.len(), limits.images);
        }
        violations.finish()
    }
}

impl Collection {
    /// A new collection.
    ///
    /// # Errors
    /// With every violation of the draft.
    pub fn create(
        draft: Draft,
        now: Timestamp,
        default_locale: &Locale,
        limits: &Limits,
    ) -> Result<Self> {
        let id = draft.id.unwrap_or_else(|| CollectionId::generate(now));
        if id.is_root() {
            return Err(root_immutable(&id, "already exists"));
        }
        let mut collection = Self::bare(id, draft.kind, now);
        let changes = Changes {
            smart: None,
            ..draft.changes
        };
        collection.apply(changes, default_locale, limits)?;
        collection.rules_version = 1;
        Ok(collection)
    }

    /// A root, as it is created with its tenant. Its version 0 is below that of any collection that
    /// was ever written.
    pub fn root(
        id: CollectionId,
        names: RootNames,
        now: Timestamp,
        default_locale: &Locale,
    ) -> Self {
        let name = if id.as_str() == ids::ROOT {
            names.navigable
        } else {
            names.non_navigable
        };
        let mut root = Self::bare(id, Kind::Manual, now);
        root.version = 0;
        root.active = Active::Yes;
        root.handle.slug = Slug::of(name, CollectionId::MAX).unwrap_or_else(|| root.slug_of_id());
        root.texts
            .set(default_locale, TextField::DisplayName, Some(name.into()));
        root
    }

    fn bare(id: CollectionId, kind: Kind, now: Timestamp) -> Self {
        Self {
            internal_name: id.to_string(),
            id,
            handle: Handle {
                slug: Slug::trusted(String::new()),
                chosen: false,
            },
            kind,
            sort: None,
            rules_hash: rules::hash_of_none(),
            rules_version: 1,
            rules_state: RulesState::Current,
            texts: Texts::default(),
            images: Vec::new(),
            active: Active::Inherit,
            custom_properties: CustomProperties::new(),
            catalog_id: None,
            product_count: 0,
            collection_count: 0,
            create_time: now,
            update_time: now,
            version: now.micros(),
        }
    }

    /// The current etag of the properties; see [`PropertiesEtag`].
    pub fn properties_etag(&self) -> PropertiesEtag {
        let Self {
            id,
            internal_name,
            handle,
            kind,
            sort,
            // These follow from the other properties.
            rules_hash: _,
            rules_version: _,
            rules_state: _,
            texts,
            images,
            active,
            custom_properties,
            catalog_id,
            product_count: _,
            collection_count: _,
            // Included, because a collection that was deleted and created again is another one.
            create_time,
            update_time: _,
            version: _,
        } = self;
        PropertiesEtag::of(&(
            (id, create_time, internal_name, handle, kind, sort),
            (texts, images, active, custom_properties, catalog_id),
        ))
    }

    /// Checks the precondition of a write.
    ///
    /// # Errors
    /// [`Reason::EtagMismatch`], with the current etag.
    pub fn expect(&self, precondition: Precondition) -> Result<()> {
        let current = match precondition {
            Precondition::Collection(_) => Precondition::Collection(self.etag()),
            Precondition::Properties(_) => Precondition::Properties(self.properties_etag()),
        };
        precondition.check(current, self.id.as_str())
    }

    /// The current etag.
    pub fn etag(&self) -> Etag {
        Etag::of(self.version)
    }

    /// Gives the collection a new version, because something changed.
    pub fn touch(&mut self, now: Timestamp) {
        self.version = version_after(self.version, now);
        self.update_time = now.max(self.update_time);
    }

    /// The display name for readers of `locale`, with fallbacks; see [`Texts::display_name`].
    pub fn display_name(&self, locale: &Locale, default: &Locale) -> &str {
        self.texts.display_name(locale, default)
    }

    /// Whether it has a text, keywords or a text of an image in exactly this locale.
    pub fn has_texts_in(&self, locale: &Locale) -> bool {
        let of_images = self.images.iter().flat_map(|image| image.texts.keys());
        self.texts.of(locale).is_some() || of_images.into_iter().any(|(of, _)| of == locale)
    }

    /// Applies changes. A slug may be taken by another collection afterwards, which only the store
    /// can check.
    ///
    /// # Errors
    /// With every violation; if the kind would change; if a root would become inactive. The
    /// collection may then be partially changed and must be dropped.
    pub fn apply(
        &mut self,
        changes: Changes,
        default_locale: &Locale,
        limits: &Limits,
    ) -> Result<()> {
        if changes
            .smart
            .is_some_and(|smart| smart != self.kind.is_smart())
        {
            return Err(Error::new(
                Reason::KindImmutable,
                format!(
                    "the collection is {}; an update can't change its kind",
                    self.kind.name()
                ),
            )
            .about(self.id.as_str()));
        }
        if self.id.is_root() && changes.active.is_some_and(|active| active != Active::Yes) {
            return Err(root_immutable(&self.id, "is always active"));
        }
        let mut violations = Violations::default();
        self.apply_rules(changes.rules, limits, &mut violations);
        self.apply_sort(changes.sort, &mut violations);
        self.apply_texts(changes.texts, &mut violations);
        for (locale, keywords) in changes.keywords {
            self.texts.set_keywords(&locale, keywords);
        }
        match changes.internal_name {
            Change::Keep => {}
            Change::Set(name) => self.internal_name = name,
            Change::Clear => self.internal_name = self.id.to_string(),
        }
        if let Some(drafts) = changes.images {
            self.images = image::apply(&self.images, drafts, limits, &mut violations);
        }
        image::apply_cover(&mut self.images, changes.cover);
        if let Some(active) = changes.active {
            self.active = active;
        }
        let field = FieldPath::CustomProperties;
        let stored = &self.custom_properties;
        check_levels(&changes.custom_properties, stored, &field, &mut violations);
        changes.custom_properties.apply(&mut self.custom_properties);
        changes.catalog_id.apply(&mut self.catalog_id);
        self.check(limits, &mut violations);
        violations.finish()?;
        self.apply_slug(changes.slug, default_locale, limits);
        Ok(())
    }

    fn apply_rules(&mut self, change: Change<Rules>, limits: &Limits, to: &mut Violations) {
        match (&mut self.kind, change) {
            (Kind::Manual, Change::Set(_)) => {
                to.add(rules_path(), "", Constraint::Forbidden(NO_RULES));
            }
            (Kind::Manual, Change::Keep | Change::Clear) => {}
            (Kind::Smart { .. }, Change::Clear) => to.add(rules_path(), "", Constraint::Required),
            (Kind::Smart { rules }, change) => {
                if let Change::Set(new) = change {
                    *rules = new;
                }
                rules.check(limits, to);
                let hash = rules.hash();
                if hash != self.rules_hash {
                    self.rules_hash = hash;
                    self.rules_version += 1;
                }
            }
        }
    }

    fn apply_sort(&mut self, change: Change<Sort>, to: &mut Violations) {
        if let Some(sort) = change.set() {
            sort.check(to);
            if !self.kind.is_smart() {
                to.add(FieldPath::Sort, "", Constraint::Forbidden(NO_SORT));
            }
        }
        change.apply(&mut self.sort);
    }

    /// Makes the collection smart with the given rules, or manual if there are none. A manual order
    /// is kept.
    ///
    /// # Errors
    /// With every violation of the rules.
    pub fn change_kind(&mut self, to: Option<Rules>, limits: &Limits) -> Result<()> {
        let mut violations = Violations::default();
        let hash = match to {
            None => {
                self.kind = Kind::Manual;
                self.sort = None;
                rules::hash_of_none()
            }
            Some(rules) => {
                rules.check(limits, &mut violations);
                let hash = rules.hash();
                self.kind = Kind::Smart { rules };
                hash
            }
        };
        if hash != self.rules_hash {
            self.rules_hash = hash;
            self.rules_version += 1;
        }
        self.check(limits, &mut violations);
        violations.finish()
    }

    fn apply_texts(
        &mut self,
        change: MapChange<(Locale, TextField), String>,
        violations: &mut Violations,
    ) {
        if change.replace {
            self.texts.clear();
        }
        for ((locale, field), value) in change.entries {
            if let Some(value) = &value
                && field == TextField::SeoUrlSlug
                && value.contains(['/', '?', '#', '\\'])
            {
                let field = FieldPath::Text(locale.clone(), field);
                violations.add(field, value, Constraint::Malformed("without / ? # and \\"));
            }
            self.texts.set(&locale, field, value);
        }
    }

    fn apply_slug(&mut self, change: Change<Slug>, default_locale: &Locale, limits: &Limits) {
        match change {
            Change::Set(slug) => self.handle = Handle { slug, chosen: true },
            Change::Keep if !self.handle.slug.as_str().is_empty() => {}
            Change::Keep | Change::Clear => {
                let name = self.texts.display_name(default_locale, default_locale);
                let slug = Slug::of(name, limits.name_chars);
                self.handle = Handle {
                    slug: slug.unwrap_or_else(|| self.slug_of_id()),
                    chosen: false,
                };
            }
        }
    }

    /// A slug derived from the id: without a suffix if the collection has no slug yet, which
    /// happens if none can be derived from the display name; else with a random suffix, because
    /// the slug that it has is taken.
    pub fn slug_of_id(&self) -> Slug {
        let suffix = format!("{:08x}", rand::random::<u32>());
        let stem = Slug::of(self.id.as_str(), ids::CollectionId::MAX);
        Slug::trusted(match stem {
            Some(stem) if self.handle.slug.as_str().is_empty() => stem.as_str().into(),
            Some(stem) => format!("{}-{suffix}", stem.as_str()),
            None => suffix,
        })
    }

    fn check(&self, limits: &Limits, violations: &mut Violations) {
        self.texts.check(limits, violations);
        let name = &self.internal_name;
        if name.trim().is_empty() {
            violations.add(FieldPath::InternalName, "", Constraint::Empty);
        }
        violations.length(FieldPath::InternalName, name, limits.name_chars);
        image::check(&self.images, limits, violations);
        self.check_properties(limits, violations);
        if let Some(catalog) = &self.catalog_id {
            violations.take(CollectionId::parse(FieldPath::CatalogId, catalog));
        }
        let (bytes, max) = (self.size(), limits.collection_bytes);
        if bytes > max {
            let field = FieldPath::Collection;
            violations.add(field, "", Constraint::TooLarge { bytes, max });
        }
    }

    fn check_properties(&self, limits: &Limits, violations: &mut Violations) {
        let field = || FieldPath::CustomProperties;
        let properties = &self.custom_properties;
        violations.count(field(), properties.len(), limits.custom_properties);
        for name in properties.keys() {
            if name.is_empty() {
                violations.add(field(), "", Constraint::Empty);
            }
            violations.length(field(), name, PROPERTY_NAME_CHARS);
        }
        let (bytes, max) = (self.property_bytes(), limits.custom_property_bytes);
        if bytes > max {
            violations.add(field(), "", Constraint::TooLarge { bytes, max });
        }
    }

    fn property_bytes(&self) -> usize {
        let properties = self.custom_properties.iter();
        properties
            .map(|(name, value)| name.len() + value.0.len())
            .sum()
    }

    /// The approximate size of a response with the collection in bytes: its texts, images, rules
    /// and custom properties.
    pub fn size(&self) -> usize {
        let images: usize = self.images.iter().map(Image::size).sum();
        let rules = match &self.kind {
            Kind::Manual => 0,
            Kind::Smart { rules } => rules.bytes(),
        };
        self.texts.size() + images + rules + self.property_bytes()
    }
}

impl Kind {
    /// Whether the kind is smart.
    pub fn is_smart(&self) -> bool {
        matches!(self, Self::Smart { .. })
    }

    /// The name of the kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Smart { .. } => "smart",
        }
    }
}

fn rules_path() -> FieldPath {
    FieldPath::Rules(Vec::new())
}

/// The message for a sort order of a manual collection.
const NO_SORT: &str = "a manual collection can't have a sort";

/// The message for rules of a manual collection.
pub const NO_RULES: &str = "a manual collection has no rules";

/// The next version: the time in microseconds, or one more than the current version if that is
/// greater, so versions increase even if the clock goes back.
pub fn version_after(version: i64, now: Timestamp) -> i64 {
    now.micros().max(version + 1)
}

/// The error of a change that roots do not allow.
pub fn root_immutable(id: &CollectionId, why: &str) -> Error {
    Error::new(Reason::RootImmutable, format!("the root {id:?} {why}")).about(id.as_str())
}

/// The error of changing the products of a smart collection directly.
pub fn not_for_smart(id: &CollectionId) -> Error {
    Error::new(
        Reason::KindMismatch,
        format!(
            "collection {id:?} is smart: its products follow from its rules, includes, excludes \
             and pins"
        ),
    )
    .about(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nested arrays.
    fn nested(levels: usize) -> Json {
        Json("[".repeat(levels) + "]".repeat(levels).as_str())
    }

    #[test]
    fn custom_property_depth_is_limited_unless_already_stored() {
        let locale = Locale::trusted("en");
        let now = Timestamp::from_micros(0);
        let mut collection =
            Collection::root(CollectionId::root(), RootNames::default(), now, &locale);
        let old = Json::MAX_LEVELS + 9;
        collection
            .custom_properties
            .insert("old".into(), nested(old));
        let mut set = |name: &str, levels| {
            let entry = (name.to_owned(), Some(nested(levels)));
            let changes = Changes {
                custom_properties: MapChange {
                    replace: false,
                    entries: vec![entry],
                },
                ..Changes::default()
            };
            collection.apply(changes, &locale, &Limits::default())
        };
        set("new", Json::MAX_LEVELS).unwrap();
        set("old", old).unwrap();
        set("old", old + 1).unwrap_err();
        let error = set("new", Json::MAX_LEVELS + 1).unwrap_err();
        let violation = &error.violations[0];
        assert_eq!(violation.field, FieldPath::CustomProperties);
        assert_eq!(violation.value, "new");
        assert_eq!(
            violation.constraint,
            Constraint::TooDeep { depth: 31, max: 30 }
        );
    }

    #[test]
    fn a_root_has_its_configured_name_and_a_slug_derived_from_it() {
        let names = RootNames {
            navigable: "All we sell",
            non_navigable: "!!",
        };
        let locale = Locale::trusted("en");
        let root = |id: &str| {
            let id = CollectionId::trusted(id);
            Collection::root(id, names, Timestamp::from_micros(0), &locale)
        };
        let navigable = root(ids::ROOT);
        assert_eq!(navigable.display_name(&locale, &locale), "All we sell");
        assert_eq!(navigable.handle.slug.as_str(), "all-we-sell");
        let other = root(ids::NON_NAVIGABLE_ROOT);
        assert_eq!(other.display_name(&locale, &locale), "!!");
        assert_eq!(other.handle.slug.as_str(), "nonnavigablecategory");
    }
}
