//! `categoryImages` of a request: a list of images, or one image.

use serde_json::Value;

use super::{
    codes,
    fields::{self, Object, Problems},
    problem::Problem,
};
use crate::domain::{Change, ImageDraft, ImageSource, ImageText, Locale, MapChange};

const NAME: &str = "categoryImages";

/// The images that replace the collection's; none where the request says nothing of
/// them. Null takes them all away.
pub fn read(body: &Object, locale: &Locale, problems: &mut Problems) -> Option<Vec<ImageDraft>> {
    let images = match body.get(NAME)? {
        Value::Null => &[],
        Value::Array(images) => images.as_slice(),
        one @ (Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            std::slice::from_ref(one)
        }
    };
    let mut drafts = Vec::with_capacity(images.len());
    for (index, image) in images.iter().enumerate() {
        let at = format!("{NAME}.{index}");
        match image.as_object() {
            Some(image) => drafts.push(draft(image, &at, locale, problems)),
            None => problems.add(Problem::at(codes::IMAGE_TYPE, at, "must be an object")),
        }
    }
    Some(drafts)
}

fn draft(image: &Object, at: &str, locale: &Locale, problems: &mut Problems) -> ImageDraft {
    let id = fields::text(image, at, "repositoryId", problems)
        .set()
        .cloned();
    let name = fields::text(image, at, "name", problems);
    if name.set().is_some_and(|name| name.trim().is_empty()) {
        let path = fields::path(at, "name");
        problems.add(Problem::at(codes::IMAGE_NAME_EMPTY, path, "is empty"));
    }
    let source = match fields::text(image, at, "path", problems) {
        Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
        Change::Set(path) => {
            check_path(&path, &fields::path(at, "path"), problems);
            Change::Set(ImageSource::Path(path))
        }
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

/// The texts of the request's language. A `metadata` of null clears both.
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

    fn images(value: Value) -> (Vec<ImageDraft>, Vec<&'static str>) {
        let body = json!({"categoryImages": value});
        let mut problems = Problems::default();
        let en = Locale::trusted("en");
        let drafts = read(body.as_object().unwrap(), &en, &mut problems).unwrap();
        (drafts, problems.numbers())
    }

    #[test]
    fn one_image_is_a_list_of_one() {
        let image = json!({"metadata": {"altText": "A", "titleText": "T"}});
        assert_eq!(images(image.clone()), images(json!([image.clone()])));
        let (drafts, _) = images(image);
        let key = (Locale::trusted("en"), ImageText::AltText);
        assert_eq!(drafts[0].texts.entries[0], (key, Some("A".into())));
        assert!(!drafts[0].must_exist);
        assert_eq!(images(json!(null)).0, []);
    }

    #[test]
    fn each_rule_has_its_code() {
        let cases = [
            (json!({"name": ""}), "26106"),
            (json!({"path": ""}), "26107"),
            (json!({"path": "collections/x.jpg"}), "26108"),
            (json!({"path": "/collections/x.bmp"}), "26109"),
            (json!({"path": "/collections\\x.jpg"}), "26110"),
            (json!("x.jpg"), "26116"),
            (json!({"path": 5}), "25014"),
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
