//! Renders collections in HighLevel's form.

use axum::{body::Bytes, response::Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::fields::ALT_TYPE;
use crate::{
    dialect::{
        idempotency::Reply,
        json_body::{self, Items, Next},
    },
    domain::{
        Change, Changes, Collection, CollectionId, ImageSource, Kind, Locale, TextField, Timestamp,
    },
    service::{CollectionPage, Detail},
};

/// The message of an update. HighLevel's documentation has exactly this text.
const UPDATED: &str = "Successfully created";
const DELETED: &str = "Successfully deleted";

/// The response to a create request.
pub(super) fn created(detail: &Detail, locale: &Locale) -> Reply {
    let body = json!({ "data": collection(detail, locale) });
    Reply::new(StatusCode::CREATED, Some(detail.collection.etag()), &body)
}

/// The response to a get request.
pub(super) fn found(detail: &Detail, locale: &Locale) -> Bytes {
    let body = json!({ "data": collection(detail, locale), "status": true });
    // Without spare capacity, as the read cache keeps the bytes.
    body.to_string().into_bytes().into_boxed_slice().into()
}

/// The response to a list request.
pub(super) fn page(
    page: CollectionPage,
    locale: Locale,
    next: Next<Detail, CollectionId>,
) -> Response {
    let empty = json!({ "data": [], "total": page.total });
    let items = Items {
        first: page.collections,
        rest: page.rest.into(),
        next,
        write: Box::new(move |items| {
            let items = items.iter().map(|detail| collection(detail, &locale));
            items.map(|item| json_body::written(&item)).collect()
        }),
    };
    json_body::page(&empty, "data", items)
}

/// The response to an update.
pub(super) fn updated(collection: &Collection) -> Reply {
    let body = json!({ "status": true, "message": UPDATED });
    Reply::new(StatusCode::OK, Some(collection.etag()), &body)
}

/// The response to a delete request.
pub(super) fn deleted() -> Reply {
    let body = json!({ "status": true, "message": DELETED });
    Reply::new(StatusCode::OK, None, &body)
}

/// The collection with its texts in the default locale.
fn collection(detail: &Detail, locale: &Locale) -> Value {
    let collection = &detail.collection;
    json!({
        "_id": collection.id.as_str(),
        "altId": detail.tenant.as_str(),
        "name": collection.display_name(locale, locale),
        "slug": collection.handle.slug.as_str(),
        "type": collection.kind.name(),
        "createdAt": time(collection.create_time),
        "image": cover(collection),
        "seo": seo(collection, locale),
        "rules": rules(&collection.kind),
        "ruleVersion": collection.rules_version,
        "ruleHash": collection.rules_hash,
        "stats": { "productCount": collection.product_count },
        "altType": ALT_TYPE,
        "updatedAt": time(collection.update_time),
    })
}

/// Removes from the changes what a get request shows in another form than it is stored, so that a
/// client that sends back what it read changes nothing.
pub(super) fn drop_echoed(changes: &mut Changes, collection: &Collection) {
    if changes.slug.set() == Some(&collection.handle.slug) {
        changes.slug = Change::Keep;
    }
    if let (Change::Set(new), Kind::Smart { rules }) = (&changes.rules, &collection.kind)
        && super::rules::write(new) == super::rules::write(rules)
    {
        changes.rules = Change::Keep;
    }
}

fn seo(collection: &Collection, locale: &Locale) -> Map<String, Value> {
    let fields = [
        ("title", TextField::SeoTitle),
        ("description", TextField::SeoDescription),
    ];
    fields
        .into_iter()
        .filter_map(|(name, field)| {
            let text = collection.texts.read(locale, locale, field)?;
            Some((name.into(), text.into()))
        })
        .collect()
}

/// The URL of the first image that has one.
fn cover(collection: &Collection) -> &str {
    let mut sources = collection.images.iter().map(|image| &image.source);
    sources
        .find_map(|source| match source {
            Some(ImageSource::Url(url)) => Some(url.as_str()),
            Some(ImageSource::Path(_)) | None => None,
        })
        .unwrap_or_default()
}

fn rules(kind: &Kind) -> Value {
    match kind {
        Kind::Manual => json!({}),
        Kind::Smart { rules } => super::rules::write(rules),
    }
}

/// RFC 3339 in UTC with milliseconds, like JavaScript's `toISOString`.
pub(super) fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_a_z() {
        let micros = |micros| time(Timestamp::from_micros(micros));
        assert_eq!(micros(1_708_594_039_728_999), "2024-02-22T09:27:19.728Z");
        assert_eq!(micros(1_708_594_039_000_000), "2024-02-22T09:27:19.000Z");
    }

    #[test]
    fn a_bare_collection_has_every_field_in_the_documented_order() {
        let locale = Locale::trusted("en");
        let id = crate::domain::CollectionId::root();
        let names = crate::domain::RootNames {
            navigable: "Commerce Root",
            non_navigable: "",
        };
        let detail = Detail {
            tenant: crate::domain::TenantId::trusted("t"),
            collection: Collection::root(id, names, Timestamp::from_micros(0), &locale),
            lineage: crate::domain::Lineage::default(),
            products: crate::domain::ChildIds::default(),
            collections: crate::domain::ChildIds::default(),
            named: crate::domain::EntryCounts::default(),
            progress: None,
            named_products: crate::domain::ChildIds::default(),
        };
        let hash = crate::domain::rules::hash_of_none();
        let expected =
            r#"{"_id":"rootCategory","altId":"t","name":"Commerce Root","slug":"commerce-root","#
                .to_owned()
                + r#""type":"manual","createdAt":"1970-01-01T00:00:00.000Z","image":"","seo":{},"#
                + r#""rules":{},"ruleVersion":1,"ruleHash":""#
                + hash.as_str()
                + r#"","stats":{"productCount":0},"altType":"location","#
                + r#""updatedAt":"1970-01-01T00:00:00.000Z"}"#;
        assert_eq!(collection(&detail, &locale).to_string(), expected);
    }
}
