//! The images of a collection: their location and localized texts, how an update changes them, and
//! their checks.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    change::{Change, MapChange},
    constraint::Constraint,
    error::Violations,
    field::FieldPath,
    limits::Limits,
    locale::Locale,
};

pub use super::field::{ImagePart, ImageText};

/// The location of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageSource {
    /// A path in the media library.
    Path(String),
    /// An absolute http or https URL.
    Url(String),
}

/// The texts of an image by locale. Empty texts are not stored.
pub type ImageTexts = BTreeMap<(Locale, ImageText), String>;

/// An image of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// Unique in the collection.
    pub id: String,
    /// The location. An image without one only has texts.
    pub source: Option<ImageSource>,
    /// The file name.
    pub file_name: Option<String>,
    /// The localized texts.
    pub texts: ImageTexts,
}

/// The changes of one image, as an item of the list that replaces the current one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDraft {
    /// The id; `None` for a new image. Of an existing image, everything that is not changed is
    /// kept.
    pub id: Option<String>,
    /// Whether there must be an image with the id.
    pub must_exist: bool,
    /// The location.
    pub source: Change<ImageSource>,
    /// The file name.
    pub file_name: Change<String>,
    /// The localized texts.
    pub texts: MapChange<(Locale, ImageText), String>,
}

/// The valid ids of a draft, for error messages.
pub(super) const KNOWN_IDS: &str = "the ids of the collection's images";

impl ImageDraft {
    /// The draft of an image that does not change.
    pub(super) fn unchanged(image: &Image) -> Self {
        Self {
            id: Some(image.id.clone()),
            ..Self::default()
        }
    }

    /// Whether the draft has no content from which an image could be created.
    pub fn is_silent(&self) -> bool {
        let texts = self
            .texts
            .entries
            .iter()
            .filter_map(|(_, text)| text.as_ref());
        let has_text = texts.into_iter().any(|text| !text.is_empty());
        self.source.set().is_none() && self.file_name.set().is_none() && !has_text
    }
}

const LOCATION_CHARS: usize = 2_048;
const TEXT_CHARS: usize = 1_024;

/// The form of paths, for error messages.
pub const PATH_FORM: &str = "a path that starts with / and has no backslash";
/// The form of URLs, for error messages.
pub const URL_FORM: &str = "an absolute http or https URL";

impl Image {
    /// The text for readers of `locale`, with fallbacks: to shorter tags of the locale, then to the
    /// default locale and its shorter tags.
    pub fn text(&self, locale: &Locale, default: &Locale, text: ImageText) -> Option<&str> {
        let mut tags = locale.lookup().chain(default.lookup());
        let text = tags.find_map(|tag| self.texts.get(&(Locale::trusted(tag), text)));
        text.map(String::as_str)
    }

    /// The size of the image in bytes.
    pub fn size(&self) -> usize {
        let source = match &self.source {
            None => 0,
            Some(ImageSource::Path(place) | ImageSource::Url(place)) => place.len(),
        };
        let texts = self.texts.iter();
        let texts: usize = texts
            .map(|((locale, _), text)| locale.as_str().len() + text.len())
            .sum();
        self.id.len() + self.file_name.as_ref().map_or(0, String::len) + source + texts
    }
}

/// The images after applying drafts to the old ones. If there are too many drafts, none is
/// examined.
pub fn apply(
    old: &[Image],
    drafts: Vec<ImageDraft>,
    limits: &Limits,
    violations: &mut Violations,
) -> Vec<Image> {
    if drafts.len() > limits.images {
        violations.count(FieldPath::Images, drafts.len(), limits.images);
        return old.to_vec();
    }
    let old: HashMap<&str, &Image> = old.iter().map(|image| (&*image.id, image)).collect();
    let mut ids = HashSet::with_capacity(drafts.len());
    let mut images: Vec<Image> = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let path = || FieldPath::Image(index, ImagePart::Id);
        let known = draft.id.as_deref().and_then(|id| old.get(id));
        let mut image = match (&draft.id, known) {
            (_, Some(image)) => (*image).clone(),
            (Some(id), None) if draft.must_exist => {
                violations.add(path(), id, Constraint::Unknown(KNOWN_IDS));
                continue;
            }
            (id, None) => Image {
                id: id.clone().unwrap_or_else(new_id),
                ..Image::default()
            },
        };
        if !ids.insert(image.id.clone()) {
            violations.add(path(), &image.id, Constraint::Repeated);
            continue;
        }
        draft.source.apply(&mut image.source);
        draft.file_name.apply(&mut image.file_name);
        draft.texts.apply(&mut image.texts);
        image.texts.retain(|_, text| !text.is_empty());
        images.push(image);
    }
    images
}

/// Sets the URL of the first image that has a URL, or of a new first image. Clearing it removes
/// that image.
pub fn apply_cover(images: &mut Vec<Image>, url: Change<String>) {
    let has_url = |image: &Image| matches!(image.source, Some(ImageSource::Url(_)));
    let place = images.iter().position(has_url);
    match (url, place) {
        (Change::Keep, _) | (Change::Clear, None) => {}
        (Change::Clear, Some(place)) => {
            images.remove(place);
        }
        (Change::Set(url), Some(place)) => images[place].source = Some(ImageSource::Url(url)),
        (Change::Set(url), None) => images.insert(
            0,
            Image {
                id: new_id(),
                source: Some(ImageSource::Url(url)),
                ..Image::default()
            },
        ),
    }
}

/// Checks all images.
pub fn check(images: &[Image], limits: &Limits, violations: &mut Violations) {
    for (index, image) in images.iter().enumerate() {
        let at = |part| FieldPath::Image(index, part);
        let name = image.file_name.as_deref().unwrap_or_default();
        violations.length(at(ImagePart::FileName), name, limits.name_chars);
        let locales: HashSet<_> = image.texts.keys().map(|(locale, _)| locale).collect();
        violations.count(at(ImagePart::Texts), locales.len(), limits.locales);
        for ((locale, text), value) in &image.texts {
            let part = ImagePart::Text(locale.clone(), *text);
            violations.length(at(part), value, TEXT_CHARS);
        }
        let (part, value, form, well_formed) = match &image.source {
            None => continue,
            Some(ImageSource::Path(path)) => {
                let well_formed = path.starts_with('/') && !path.contains('\\');
                (ImagePart::Path, path, PATH_FORM, well_formed)
            }
            Some(ImageSource::Url(url)) => (ImagePart::Url, url, URL_FORM, is_url(url)),
        };
        if well_formed {
            violations.length(at(part), value, LOCATION_CHARS);
        } else {
            violations.add(at(part), value, Constraint::Malformed(form));
        }
    }
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
    })
}

fn new_id() -> String {
    format!("m{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_changes_only_the_fields_it_sets() {
        let alt = (Locale::trusted("en"), ImageText::AltText);
        let old = vec![Image {
            id: "m1".into(),
            source: Some(ImageSource::Path("/a.jpg".into())),
            file_name: Some("a.jpg".into()),
            ..Image::default()
        }];
        let draft = ImageDraft {
            id: Some("m1".into()),
            must_exist: true,
            texts: MapChange {
                replace: false,
                entries: vec![(alt.clone(), Some("A".into()))],
            },
            ..ImageDraft::default()
        };
        let mut violations = Violations::default();
        let limits = Limits::default();
        let new = apply(&old, vec![draft.clone(), draft], &limits, &mut violations);
        assert_eq!(new.len(), 1);
        assert_eq!(new[0].source, old[0].source);
        assert_eq!(new[0].texts[&alt], "A");
        assert_eq!(
            violations.finish().unwrap_err().violations[0].constraint,
            Constraint::Repeated
        );
    }

    #[test]
    fn the_cover_is_the_first_image_with_a_url() {
        let mut images = vec![Image {
            id: "m1".into(),
            ..Image::default()
        }];
        apply_cover(&mut images, Change::Set("http://a/1.png".into()));
        apply_cover(&mut images, Change::Set("http://a/2.png".into()));
        assert_eq!(images.len(), 2);
        assert_eq!(
            images[0].source,
            Some(ImageSource::Url("http://a/2.png".into()))
        );
        apply_cover(&mut images, Change::Clear);
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].id, "m1");
    }
}
