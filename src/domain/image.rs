//! The images of a collection.

use super::{
    change::Change,
    error::{Rule, Violations},
    limits::Limits,
};

/// Where a picture is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// A path in the media library.
    Path(String),
    /// An absolute http or https URL.
    Url(String),
}

/// A picture of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Unique in the collection.
    pub id: String,
    /// Where it is; an image without a source carries its texts.
    pub source: Option<ImageSource>,
    /// The file name.
    pub name: Option<String>,
    /// What stands in for the picture.
    pub alt_text: Option<String>,
    /// Its title.
    pub title_text: Option<String>,
}

/// What a request says of one image in the list that replaces the old one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDraft {
    /// The id; none for a new image. What a draft does not say of an image that
    /// exists stays.
    pub id: Option<String>,
    /// Whether the id must be that of an image that exists.
    pub must_exist: bool,
    /// Where it is.
    pub source: Change<ImageSource>,
    /// The file name.
    pub name: Change<String>,
    /// What stands in for the picture.
    pub alt_text: Change<String>,
    /// Its title.
    pub title_text: Change<String>,
}

const LOCATION_CHARS: usize = 2_048;
const TEXT_CHARS: usize = 1_024;

/// The rule for paths, as messages say it.
pub const PATH_FORM: &str = "a path that starts with / and has no backslash";
/// The rule for URLs, as messages say it.
pub const URL_FORM: &str = "an absolute http or https URL";

/// The images that the drafts make of the old ones.
pub fn apply(old: &[Image], drafts: Vec<ImageDraft>, violations: &mut Violations) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let at = format!("images.{index}.id");
        let known = draft
            .id
            .as_ref()
            .and_then(|id| old.iter().find(|image| image.id == *id));
        let mut image = match (&draft.id, known) {
            (_, Some(image)) => image.clone(),
            (Some(id), None) if draft.must_exist => {
                let known = "the ids of the collection's images";
                violations.add(at, id, Rule::Unknown(known));
                continue;
            }
            (id, None) => Image {
                id: id.clone().unwrap_or_else(new_id),
                ..Image::default()
            },
        };
        if images.iter().any(|other| other.id == image.id) {
            violations.add(at, &image.id, Rule::Repeated);
            continue;
        }
        draft.source.apply(&mut image.source);
        draft.name.apply(&mut image.name);
        draft.alt_text.apply(&mut image.alt_text);
        draft.title_text.apply(&mut image.title_text);
        images.push(image);
    }
    images
}

/// Makes `url` the URL of the first image that has one, or of a new first image;
/// or takes that image away.
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

/// Checks the number of images, and each.
pub fn check(images: &[Image], limits: &Limits, violations: &mut Violations) {
    violations.count("images", images.len(), limits.images);
    for (index, image) in images.iter().enumerate() {
        let at = |field: &str| format!("images.{index}.{field}");
        let fields = [
            ("name", &image.name, limits.name_chars),
            ("alt_text", &image.alt_text, TEXT_CHARS),
            ("title_text", &image.title_text, TEXT_CHARS),
        ];
        for (field, value, max) in fields {
            violations.length(at(field), value.as_deref().unwrap_or_default(), max);
        }
        let (field, value, form, well_formed) = match &image.source {
            None => continue,
            Some(ImageSource::Path(path)) => {
                let well_formed = path.starts_with('/') && !path.contains('\\');
                ("path", path, PATH_FORM, well_formed)
            }
            Some(ImageSource::Url(url)) => ("url", url, URL_FORM, is_url(url)),
        };
        if well_formed {
            violations.length(at(field), value, LOCATION_CHARS);
        } else {
            violations.add(at(field), value, Rule::Malformed(form));
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
    fn a_draft_changes_only_what_it_says() {
        let old = vec![Image {
            id: "m1".into(),
            source: Some(ImageSource::Path("/a.jpg".into())),
            name: Some("a.jpg".into()),
            ..Image::default()
        }];
        let draft = ImageDraft {
            id: Some("m1".into()),
            must_exist: true,
            alt_text: Change::Set("A".into()),
            ..ImageDraft::default()
        };
        let mut violations = Violations::default();
        let new = apply(&old, vec![draft.clone(), draft], &mut violations);
        assert_eq!(new.len(), 1);
        assert_eq!(new[0].source, old[0].source);
        assert_eq!(new[0].alt_text.as_deref(), Some("A"));
        assert_eq!(
            violations.finish().unwrap_err().violations[0].rule,
            Rule::Repeated
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
