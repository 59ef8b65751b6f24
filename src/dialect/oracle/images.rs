//! Parses `categoryImages` of a request: a list of images, or a single image.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    codes,
    fields::{self, Object, Problems},
    problem::Problem,
};
use crate::domain::{Change, Image, ImageDraft, ImageSource, ImageText, Locale, MapChange};

const NAME: &str = "categoryImages";

/// The images in a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ImagesChange {
    /// The list that replaces all images.
    pub all: Option<Vec<ImageDraft>>,
    /// A change of one image; the others stay.
    pub one: Option<ImageDraft>,
}

impl ImagesChange {
    /// The images of a new collection. Those without any field are ignored.
    pub fn of_new(self) -> Option<Vec<ImageDraft>> {
        let drafts = self.one.into_iter().chain(self.all.into_iter().flatten());
        Some(drafts.filter(|draft| !draft.is_silent()).collect())
    }
}

/// The stored paths and names of a collection's images. Other APIs can store some that this one
/// rejects; sending these back is accepted.
#[derive(Debug, Default)]
pub struct Stored(HashSet<String>);

impl Stored {
    /// The paths and names of these images.
    pub fn of(images: &[Image]) -> Self {
        let texts = images.iter().flat_map(|image| {
            let path = match &image.source {
                Some(ImageSource::Path(path)) => Some(path.clone()),
                Some(ImageSource::Url(_)) | None => None,
            };
            [path, image.file_name.clone()].into_iter().flatten()
        });
        Self(texts.collect())
    }
}

/// Whether one of the problems is about a path or a name, and disappears if that is stored.
pub fn may_be_stored(problems: &[Problem]) -> bool {
    let codes = [
        codes::IMAGE_NAME_EMPTY,
        codes::IMAGE_PATH_EMPTY,
        codes::IMAGE_PATH_START,
        codes::IMAGE_PATH_BACKSLASH,
        codes::IMAGE_PATH_END,
    ];
    problems.iter().any(|problem| codes.contains(&problem.code))
}

/// Parses the images in the body. Null removes all of them. A single object replaces all images,
/// unless it has an id or no source: then it changes an existing image.
pub fn read(
    body: &Object,
    locale: &Locale,
    stored: &Stored,
    problems: &mut Problems,
) -> ImagesChange {
    let images = match body.get(NAME) {
        None => return ImagesChange::default(),
        Some(Value::Null) => &[],
        Some(Value::Array(images)) => images.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let mut drafts = Vec::with_capacity(images.len());
    for (index, image) in images.iter().enumerate() {
        let at = format!("{NAME}.{index}");
        match image.as_object() {
            Some(image) => drafts.push(draft(image, &at, locale, stored, problems)),
            None => problems.add(Problem::at(codes::IMAGE_TYPE, at, "must be an object")),
        }
    }
    let is_one = body.get(NAME).is_some_and(Value::is_object);
    match drafts.as_slice() {
        [draft] if is_one && (draft.id.is_some() || draft.source == Change::Keep) => ImagesChange {
            all: None,
            one: drafts.pop(),
        },
        _ => ImagesChange {
            all: Some(drafts),
            one: None,
        },
    }
}

fn draft(
    image: &Object,
    at: &str,
    locale: &Locale,
    stored: &Stored,
    problems: &mut Problems,
) -> ImageDraft {
    let is_new = |text: &String| !stored.0.contains(text);
    let id = change_of(image, at, "repositoryId", problems)
        .set()
        .cloned();
    let name = change_of(image, at, "name", problems);
    if name
        .set()
        .is_some_and(|name| is_new(name) && name.trim().is_empty())
    {
        let path = fields::path(at, "name");
        problems.add(Problem::at(codes::IMAGE_NAME_EMPTY, path, "is empty"));
    }
    let path = change_of(image, at, "path", problems);
    if let Some(path) = path.set().filter(|path| is_new(path)) {
        check_path(path, &fields::path(at, "path"), problems);
    }
    let source = match (path, change_of(image, at, "url", problems)) {
        (Change::Set(_), Change::Set(_)) => {
            let url = fields::path(at, "url");
            problems.invalid(&url, "can't be given together with path");
            Change::Keep
        }
        (Change::Set(path), _) => Change::Set(ImageSource::Path(path)),
        (_, Change::Set(url)) => Change::Set(ImageSource::Url(url)),
        _ => Change::Keep,
    };
    let texts = metadata(image, at, problems).into_iter();
    let entries = texts.filter_map(|(text, change)| {
        let key = (locale.clone(), text);
        match change {
            Change::Keep => None,
            Change::Set(value) => Some((key, Some(value))),
            Change::Clear => Some((key, None)),
        }
    });
    ImageDraft {
        must_exist: id.is_some(),
        id,
        source,
        file_name: name,
        texts: MapChange {
            replace: false,
            entries: entries.collect(),
        },
    }
}

/// An optional text. Null means unchanged, because clients with a fixed image type send null for
/// fields that they did not receive.
fn change_of(image: &Object, at: &str, name: &str, problems: &mut Problems) -> Change<String> {
    match fields::text(image, at, name, problems) {
        Change::Clear | Change::Keep => Change::Keep,
        Change::Set(text) => Change::Set(text),
    }
}

/// The texts in the request's language. A `metadata` of null clears both.
fn metadata(image: &Object, at: &str, problems: &mut Problems) -> [(ImageText, Change<String>); 2] {
    const NAME: &str = "metadata";
    let names = [
        ("altText", ImageText::AltText),
        ("titleText", ImageText::Title),
    ];
    if image.get(NAME).is_some_and(Value::is_null) {
        return names.map(|(_, text)| (text, Change::Clear));
    }
    let Some(metadata) = fields::object(image, at, NAME, problems) else {
        return names.map(|(_, text)| (text, Change::Keep));
    };
    let at = fields::path(at, NAME);
    names.map(|(name, text)| (text, fields::text(metadata, &at, name, problems)))
}

fn check_path(path: &str, at: &str, problems: &mut Problems) {
    if path.trim().is_empty() {
        problems.add(Problem::at(codes::IMAGE_PATH_EMPTY, at, "is empty"));
        return;
    }
    let lower = path.to_ascii_lowercase();
    let rules = [
        (codes::IMAGE_PATH_START, path.starts_with('/')),
        (codes::IMAGE_PATH_BACKSLASH, !path.contains('\\')),
        (
            codes::IMAGE_PATH_END,
            [".gif", ".jpg", ".png"]
                .iter()
                .any(|end| lower.ends_with(end)),
        ),
    ];
    for (code, kept) in rules {
        if !kept {
            problems.add(Problem::at(code, at, format_args!("{path:?}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn images(value: Value) -> (ImagesChange, Vec<&'static str>) {
        let body = json!({"categoryImages": value});
        let mut problems = Problems::default();
        let en = Locale::trusted("en");
        let change = read(
            body.as_object().unwrap(),
            &en,
            &Stored::default(),
            &mut problems,
        );
        (change, problems.numbers())
    }

    #[test]
    fn an_image_object_updates_one_image_or_replaces_all() {
        let metadata = json!({"altText": "A", "titleText": "T"});
        let (about, _) = images(json!({"path": null, "metadata": metadata}));
        let draft = about.one.clone().unwrap();
        let key = (Locale::trusted("en"), ImageText::AltText);
        assert_eq!(draft.texts.entries[0], (key, Some("A".into())));
        assert!(!draft.must_exist && about.all.is_none());
        let (named, _) = images(json!({"repositoryId": "m1", "path": "/x.png"}));
        assert!(named.one.unwrap().must_exist);

        let placed = json!({"path": "/x.png", "metadata": metadata});
        assert_eq!(images(placed.clone()), images(json!([placed])));
        let (listed, _) = images(json!([{"metadata": metadata}]));
        assert_eq!(listed.all.unwrap(), [draft]);
        assert_eq!(images(json!(null)).0.all.unwrap(), []);
    }

    #[test]
    fn empty_images_of_a_new_collection_are_ignored() {
        let empty = json!({"metadata": {"altText": ""}, "name": null});
        for nothing in [
            json!({}),
            json!([{}]),
            json!([empty]),
            json!([]),
            json!(null),
        ] {
            assert_eq!(images(nothing.clone()).0.of_new().unwrap(), [], "{nothing}");
        }
        let two = json!([{}, {"metadata": {"altText": "A"}}]);
        assert_eq!(images(two).0.of_new().unwrap().len(), 1);
    }

    #[test]
    fn each_invalid_image_has_its_error_code() {
        let cases = [
            (json!({"name": ""}), "26106"),
            (json!({"path": ""}), "26107"),
            (json!({"path": "collections/x.jpg"}), "26108"),
            (json!({"path": "/collections/x.bmp"}), "26109"),
            (json!({"path": "/collections\\x.jpg"}), "26110"),
            (json!("x.jpg"), "26116"),
            (json!({"path": 5}), "25014"),
            (json!({"path": "/x.png", "url": "https://x/x.png"}), "25014"),
            (json!({"metadata": []}), "25014"),
        ];
        for (image, code) in cases {
            assert_eq!(images(json!([image])).1, [code], "{image}");
        }
        assert_eq!(
            images(json!([{"path": "/x.JPG", "name": "x.JPG"}])).1,
            [""; 0]
        );
        assert_eq!(
            images(json!([{"path": "a\\b"}])).1,
            ["26108", "26110", "26109"]
        );
    }
}
