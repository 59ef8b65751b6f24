//! Interprets the updates of clients that read and write in one language at a time: the locale to
//! which their texts are written, and the values that they only send back because they were shown
//! them as fallbacks.

use std::collections::HashSet;

use super::{
    change::{Change, MapChange},
    collection::{Active, Changes, Collection},
    constraint::Constraint,
    error::{Result, Violations},
    field::{FieldPath, ImagePart},
    image::{self, Image, ImageDraft, ImageSource},
    locale::Locale,
    text::TextField,
};

/// A client that reads and writes in one language. The texts in its changes are in `locale`.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The language of the client.
    pub locale: Locale,
    /// The changes of a single image, if the others are to be kept: of the image with the draft's
    /// id, else of the first image.
    pub image: Option<ImageDraft>,
    /// Removes further values from the changes that the client was shown in another form than the
    /// stored one.
    pub drop_echoed: Option<fn(&mut Changes, &Collection)>,
}

/// The locales for which the service is configured.
#[derive(Clone, Copy, Debug)]
pub struct Locales<'a> {
    /// The default locale, whose texts are the fallback for texts missing in another locale.
    pub default: &'a Locale,
    /// The enabled locales, including their regions and variants; empty for all.
    pub listed: &'a [Locale],
}

impl Locales<'_> {
    /// Whether the locale may be used: it, or a prefix of it, is the default or enabled.
    pub fn allow(&self, locale: &Locale) -> bool {
        let is_listed = |tag: &str| {
            tag == self.default.as_str() || self.listed.iter().any(|l| l.as_str() == tag)
        };
        self.listed.is_empty() || locale.lookup().any(is_listed)
    }

    /// The locale to which a client with this language writes the texts of a new collection.
    pub fn written_anew(&self, locale: &Locale) -> Locale {
        self.written(locale, |_| false)
    }

    /// The same for a collection that has texts already.
    fn written(&self, locale: &Locale, has_texts: impl Fn(&Locale) -> bool) -> Locale {
        locale.written(|locale| {
            locale == self.default || self.listed.contains(locale) || has_texts(locale)
        })
    }
}

impl Reader {
    /// The changes to apply to a stored collection. Texts are in the locale to which they are
    /// written. Values that the client was only shown, by a fallback or by inheritance, are
    /// removed, because clients send back everything that they have read. `is_shown` is whether the
    /// collection is effectively active.
    ///
    /// # Errors
    /// If the display name in the default locale would become empty, or if the single image does
    /// not exist.
    pub fn literal(
        &self,
        changes: Changes,
        of: &Collection,
        is_shown: bool,
        locales: Locales<'_>,
    ) -> Result<Changes> {
        let mut violations = Violations::default();
        let has_texts = |locale: &Locale| of.has_texts_in(locale);
        let target = locales.written(&self.locale, has_texts);
        let writing = InLanguage {
            of,
            locale: &self.locale,
            target: &target,
            default: locales.default,
        };
        let images = match &self.image {
            Some(draft) => writing.one_image(draft, &mut violations),
            None => changes.images.map(|drafts| writing.images(drafts)),
        };
        let mut changes = Changes {
            texts: writing.texts(changes.texts, &mut violations),
            keywords: writing.keywords(changes.keywords),
            images: images.map(|drafts| writing.image_texts(drafts)),
            active: changes
                .active
                .filter(|active| !is_inherited(*active, of.active, is_shown)),
            ..changes
        };
        violations.finish()?;
        if let Some(drop_echoed) = self.drop_echoed {
            drop_echoed(&mut changes, of);
        }
        Ok(changes)
    }
}

/// Whether a client sends back the value of `active` that it was shown for a collection that
/// inherits it.
fn is_inherited(said: Active, stored: Active, is_shown: bool) -> bool {
    let shown = if is_shown { Active::Yes } else { Active::No };
    stored == Active::Inherit && said == shown
}

/// A collection that is updated in one language.
struct InLanguage<'a> {
    of: &'a Collection,
    /// The language of the client.
    locale: &'a Locale,
    target: &'a Locale,
    default: &'a Locale,
}

impl InLanguage<'_> {
    fn texts(
        &self,
        change: MapChange<(Locale, TextField), String>,
        violations: &mut Violations,
    ) -> MapChange<(Locale, TextField), String> {
        let stored = self.of.texts.of(self.target);
        let mut entries = Vec::with_capacity(change.entries.len());
        for ((_, field), value) in change.entries {
            let is_name = field == TextField::DisplayName;
            let is_blank = value.as_ref().is_none_or(|value| value.trim().is_empty());
            if is_name && is_blank && self.target == self.default {
                let field = FieldPath::Text(self.target.clone(), field);
                violations.add(field, "", Constraint::Empty);
                continue;
            }
            let shown = if is_name {
                Some(self.of.display_name(self.locale, self.default))
            } else {
                self.of.texts.read(self.locale, self.default, field)
            };
            let is_stored = stored.is_some_and(|text| text.fields.contains_key(&field));
            if is_stored || value.as_deref() != shown {
                entries.push(((self.target.clone(), field), value));
            }
        }
        MapChange { entries, ..change }
    }

    fn keywords(&self, change: Vec<(Locale, Vec<String>)>) -> Vec<(Locale, Vec<String>)> {
        let stored = self.of.texts.of(self.target);
        let is_stored = stored.is_some_and(|text| !text.keywords.is_empty());
        let shown = self.of.texts.keywords(self.locale, self.default);
        let written = change.into_iter().map(|(_, keywords)| keywords);
        let written = written.filter(|keywords| is_stored || keywords != shown);
        written
            .map(|keywords| (self.target.clone(), keywords))
            .collect()
    }

    /// The drafts of a list of images. A draft without an id refers to the image with the same
    /// location, or, if it has no location, to the image at the same index. In a locale other than
    /// the default, images with URLs are never removed, because clients that send such lists may
    /// not know about them.
    fn images(&self, drafts: Vec<ImageDraft>) -> Vec<ImageDraft> {
        let old = &self.of.images;
        let mut named: HashSet<_> = drafts.iter().filter_map(|draft| draft.id.clone()).collect();
        let mut images = Vec::with_capacity(drafts.len());
        for (at, mut draft) in drafts.into_iter().enumerate() {
            if draft.id.is_none() {
                let meant = match &draft.source {
                    Change::Set(source) => old.iter().find(|image| {
                        image.source.as_ref() == Some(source) && !named.contains(&image.id)
                    }),
                    Change::Keep | Change::Clear => {
                        old.get(at).filter(|image| !named.contains(&image.id))
                    }
                };
                draft.id = meant.map(|image| image.id.clone());
                named.extend(draft.id.clone());
            }
            if draft.id.is_some() || !draft.is_silent() {
                images.push(draft);
            }
        }
        if self.target != self.default {
            let is_kept = |image: &Image| {
                matches!(image.source, Some(ImageSource::Url(_))) && !named.contains(&image.id)
            };
            for (at, image) in old.iter().enumerate().filter(|(_, image)| is_kept(image)) {
                images.insert(at.min(images.len()), ImageDraft::unchanged(image));
            }
        }
        images
    }

    /// The drafts if a single image changes and the others are kept; `None` if nothing changes.
    fn one_image(&self, said: &ImageDraft, violations: &mut Violations) -> Option<Vec<ImageDraft>> {
        let old = &self.of.images;
        let mut drafts: Vec<_> = old.iter().map(ImageDraft::unchanged).collect();
        let place = match &said.id {
            Some(id) => old.iter().position(|image| image.id == *id),
            None => (!old.is_empty()).then_some(0),
        };
        match (place, &said.id) {
            (Some(at), _) => {
                let id = drafts[at].id.take();
                drafts[at] = ImageDraft { id, ..said.clone() };
            }
            (None, Some(id)) => {
                let field = FieldPath::Image(0, ImagePart::Id);
                violations.add(field, id, Constraint::Unknown(image::KNOWN_IDS));
            }
            (None, None) if said.is_silent() => return None,
            (None, None) => drafts.push(said.clone()),
        }
        Some(drafts)
    }

    fn image_texts(&self, mut drafts: Vec<ImageDraft>) -> Vec<ImageDraft> {
        for draft in &mut drafts {
            let old = self.of.images.iter();
            let old = old
                .clone()
                .find(|image| Some(&image.id) == draft.id.as_ref());
            let entries = std::mem::take(&mut draft.texts.entries);
            let written = entries.into_iter().filter_map(|((_, text), value)| {
                let key = (self.target.clone(), text);
                let shown = old.and_then(|image| image.text(self.locale, self.default, text));
                let is_stored = old.is_some_and(|image| image.texts.contains_key(&key));
                (is_stored || value.as_deref() != shown).then_some((key, value))
            });
            draft.texts.entries = written.collect();
        }
        drafts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CollectionId, Draft, ImageText, Kind, Limits, Timestamp};

    fn locale(tag: &str) -> Locale {
        Locale::trusted(tag)
    }

    fn lists<'a>(default: &'a Locale, listed: &'a [Locale]) -> Locales<'a> {
        Locales { default, listed }
    }

    fn source(path: &str) -> Change<ImageSource> {
        Change::Set(ImageSource::Path(path.into()))
    }

    fn alt(tag: &str, text: &str) -> MapChange<(Locale, ImageText), String> {
        MapChange {
            replace: false,
            entries: vec![((locale(tag), ImageText::AltText), Some(text.into()))],
        }
    }

    /// With an English name and description, a French name, and two images: `m0`, a URL, and
    /// `m1`, a path with an English text.
    fn lamp() -> Collection {
        let texts = [
            (("en", TextField::DisplayName), "Lamp"),
            (("en", TextField::Description), "Light"),
            (("fr", TextField::DisplayName), "Lampe"),
        ];
        let texts = texts.map(|((tag, field), text)| ((locale(tag), field), text.to_owned()));
        let image = |id: &str, source| ImageDraft {
            id: Some(id.into()),
            source,
            ..ImageDraft::default()
        };
        let url = Change::Set(ImageSource::Url("https://x/a.png".into()));
        let images = vec![
            image("m0", url),
            ImageDraft {
                texts: alt("en", "A lamp"),
                ..image("m1", source("/a.png"))
            },
        ];
        let draft = Draft {
            id: Some(CollectionId::trusted("lamp")),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange::to(texts),
                keywords: vec![(locale("en"), vec!["light".into()])],
                images: Some(images),
                ..Changes::default()
            },
        };
        let now = Timestamp::from_micros(1);
        Collection::create(draft, now, &locale("en"), &Limits::default()).unwrap()
    }

    /// The collection after a client of that language has written its changes.
    fn written(tag: &str, changes: Changes, image: Option<ImageDraft>) -> Result<Collection> {
        let (default, mut lamp) = (locale("en"), lamp());
        let reader = Reader {
            locale: locale(tag),
            image,
            drop_echoed: None,
        };
        let changes = reader.literal(changes, &lamp, true, lists(&default, &[]))?;
        lamp.apply(changes, &default, &Limits::default())?;
        Ok(lamp)
    }

    fn texts(tag: &str, entries: &[(TextField, Option<&str>)]) -> Changes {
        let entries = entries.iter();
        let entries = entries.map(|(field, text)| ((locale(tag), *field), text.map(Into::into)));
        Changes {
            texts: MapChange {
                replace: false,
                entries: entries.collect(),
            },
            ..Changes::default()
        }
    }

    #[test]
    fn values_that_a_client_echoes_are_not_written() {
        for tag in ["en", "en-US", "fr", "fr-CA", "de"] {
            let (lamp, default) = (lamp(), locale("en"));
            let tag = locale(tag);
            let fields = TextField::ALL.map(|field| {
                let shown = lamp.texts.read(&tag, &default, field);
                (field, shown)
            });
            let mut changes = texts(tag.as_str(), &fields);
            let keywords = lamp.texts.keywords(&tag, &default).to_vec();
            changes.keywords = vec![(tag.clone(), keywords)];
            changes.active = Some(Active::Yes);
            let images = lamp.images.iter().map(|image| {
                let shown = image.text(&tag, &default, ImageText::AltText);
                ImageDraft {
                    texts: shown.map_or_else(MapChange::default, |text| alt(tag.as_str(), text)),
                    ..ImageDraft::unchanged(image)
                }
            });
            changes.images = Some(images.collect());
            assert_eq!(written(tag.as_str(), changes, None).unwrap(), lamp, "{tag}");
        }
    }

    #[test]
    fn a_stored_text_is_overwritten_even_with_its_fallback() {
        let same = texts("fr", &[(TextField::DisplayName, Some("Lampe"))]);
        assert_eq!(written("fr", same, None).unwrap(), lamp());
        let english = texts("fr", &[(TextField::DisplayName, Some("Lamp"))]);
        let lamp = written("fr", english, None).unwrap();
        assert_eq!(lamp.display_name(&locale("fr"), &locale("en")), "Lamp");
    }

    #[test]
    fn the_display_name_of_the_default_locale_cannot_be_cleared() {
        for tag in ["en", "en-US"] {
            for name in [None, Some(""), Some(" ")] {
                let changes = texts(tag, &[(TextField::DisplayName, name)]);
                let error = written(tag, changes, None).unwrap_err();
                assert_eq!(error.violations.len(), 1, "{tag} {name:?}");
            }
        }
        let cleared = texts("fr", &[(TextField::DisplayName, None)]);
        let lamp = written("fr", cleared, None).unwrap();
        assert_eq!(lamp.display_name(&locale("fr"), &locale("en")), "Lamp");
    }

    #[test]
    fn an_echoed_effective_value_stays_inherited() {
        use Active::{Inherit, No, Yes};
        for (said, stored, is_shown, expected) in [
            (Yes, Inherit, true, true),
            (No, Inherit, false, true),
            (Yes, Inherit, false, false),
            (Inherit, Yes, true, false),
            (No, Yes, true, false),
        ] {
            assert_eq!(
                is_inherited(said, stored, is_shown),
                expected,
                "{said:?} {stored:?}"
            );
        }
    }

    /// Ids, or `new`, of the images, with their English alternative text.
    fn images(of: &Collection) -> String {
        let image = |image: &Image| {
            let id = if image.id.len() > 2 { "new" } else { &image.id };
            let text = image.text(&locale("en"), &locale("en"), ImageText::AltText);
            format!("{id}:{}", text.unwrap_or_default())
        };
        of.images.iter().map(image).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_image_changes_and_the_others_are_unchanged() {
        let said = |id: Option<&str>, text| ImageDraft {
            must_exist: id.is_some(),
            id: id.map(Into::into),
            texts: alt("en", text),
            ..ImageDraft::default()
        };
        let none = Changes::default;
        let first = written("en", none(), Some(said(None, "B"))).unwrap();
        assert_eq!(images(&first), "m0:B m1:A lamp");
        let named = written("en", none(), Some(said(Some("m1"), "B"))).unwrap();
        assert_eq!(images(&named), "m0: m1:B");
        assert!(written("en", none(), Some(said(Some("m9"), "B"))).is_err());
        let silent = written("en", none(), Some(ImageDraft::default())).unwrap();
        assert_eq!(silent, lamp());
    }

    #[test]
    fn listed_images_are_matched_by_source_or_index() {
        let list = |tag: &str, drafts: Vec<ImageDraft>| {
            let changes = Changes {
                images: Some(drafts),
                ..Changes::default()
            };
            images(&written(tag, changes, None).unwrap())
        };
        let bare = |text: &str| ImageDraft {
            texts: alt("en", text),
            ..ImageDraft::default()
        };
        let at = |path: &str| ImageDraft {
            source: source(path),
            ..ImageDraft::default()
        };
        assert_eq!(list("en", vec![bare("B"), bare("C")]), "m0:B m1:C");
        assert_eq!(list("en", vec![at("/a.png")]), "m1:A lamp");
        assert_eq!(
            list("en", vec![at("/b.png"), at("/a.png")]),
            "new: m1:A lamp"
        );
        assert_eq!(list("en", vec![ImageDraft::default(); 3]), "m0: m1:A lamp");
        assert_eq!(list("en", vec![]), "");
        // Clients of another language keep images with a URL.
        assert_eq!(list("fr", vec![at("/b.png")]), "m0: new:");
        assert_eq!(list("fr", vec![]), "m0:");
    }

    #[test]
    fn listed_locales_and_their_regions_are_allowed() {
        let (default, fr) = (locale("en"), locale("fr"));
        let listed = std::slice::from_ref(&fr);
        let locales = lists(&default, listed);
        for (tag, allowed) in [
            ("fr", true),
            ("fr-CA", true),
            ("en-US", true),
            ("de", false),
        ] {
            assert_eq!(locales.allow(&locale(tag)), allowed, "{tag}");
            assert!(lists(&default, &[]).allow(&locale(tag)));
        }
        let anew = |tag| locales.written_anew(&locale(tag)).to_string();
        assert_eq!(["fr-CA", "en-US", "de-CH"].map(anew), ["fr", "en", "de-CH"]);
    }

    #[test]
    fn a_tag_resolves_to_a_used_listed_or_default_locale() {
        // The tag, the locales with texts, the listed ones, the default one, the one that is written.
        for (tag, used, listed, default, expected) in [
            // The tag itself, although its language has texts.
            ("fr-CA", "fr fr-CA", "", "en", "fr-CA"),
            ("fr-CA", "fr", "fr-CA", "en", "fr-CA"),
            ("fr-CA", "fr", "", "fr-CA", "fr-CA"),
            ("fr-CA", "fr", "fr", "fr-CA", "fr-CA"),
            // Its language.
            ("fr-CA", "fr", "", "en", "fr"),
            ("fr-CA", "", "fr", "en", "fr"),
            ("fr-CA", "", "", "fr", "fr"),
            // Another region than that of the default locale.
            ("fr-BE", "fr", "", "fr-CA", "fr"),
            ("fr-BE", "", "", "fr-CA", "fr-BE"),
            // Below the default locale.
            ("de-CH-1996", "de", "", "de-CH", "de-CH"),
            ("fr", "fr-CA", "fr-CA", "fr-CA", "fr"),
        ] {
            let default = locale(default);
            let listed: Vec<_> = listed.split_whitespace().map(locale).collect();
            let has_texts = |tag: &Locale| used.split(' ').any(|one| one == tag.as_str());
            let written = lists(&default, &listed).written(&locale(tag), has_texts);
            let case = format!("{tag}: {used}; {listed:?}; {default}");
            assert_eq!(written.as_str(), expected, "{case}");
        }
    }

    #[test]
    fn the_default_locale_gets_its_own_text() {
        let (default, mut lamp) = (locale("fr-CA"), lamp());
        let reader = Reader {
            locale: default.clone(),
            image: None,
            drop_echoed: None,
        };
        let changes = texts("fr-CA", &[(TextField::DisplayName, Some("Luminaire"))]);
        let changes = reader.literal(changes, &lamp, true, lists(&default, &[]));
        lamp.apply(changes.unwrap(), &default, &Limits::default())
            .unwrap();
        assert_eq!(lamp.display_name(&default, &default), "Luminaire");
        assert_eq!(lamp.display_name(&locale("fr"), &default), "Lampe");
    }
}
