//! Converts errors to HighLevel's error body. Violations are worded like those of class-validator,
//! which HighLevel's own services use.

use std::collections::HashSet;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::query;
use crate::{
    dialect::{body::BodyError, idempotency},
    domain::{
        Constraint, Error, ErrorKind, FieldPath, Rate, Reason, TextField, Violation, Violations,
        field::{DetailsField, ProductPart, RulePart},
        ids, image, slug,
    },
    telemetry::{log_failure, request},
};

/// Milliseconds per day.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// An error of a use case, or of the request's fields.
    Domain(Error),
    /// An error of HTTP itself, or of a header of the dialect.
    Http(StatusCode, String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Domain(violation.into())
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge { .. } | BodyError::TooManyItems { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            BodyError::ContentType(_)
            | BodyError::NoContentType
            | BodyError::ContentEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::Malformed(_)
            | BodyError::Encoding
            | BodyError::NotAnObject
            | BodyError::Cut => StatusCode::BAD_REQUEST,
        };
        Self::Http(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Domain(error) => error_response(&error),
            Self::Http(status, message) => respond(status, message.into()),
        }
    }
}

/// The response to a path without a route.
pub fn not_found(method: &Method, path: &str) -> Response {
    let message = format!("Cannot {method} {path}");
    respond(StatusCode::NOT_FOUND, message.into())
}

/// The response to a method that the path does not support.
pub(super) fn method_not_allowed(method: &Method, path: &str) -> Response {
    let message = format!("Cannot {method} {path}");
    respond(StatusCode::METHOD_NOT_ALLOWED, message.into())
}

/// The response to an error. Logs internal errors.
pub fn error_response(error: &Error) -> Response {
    log_failure(error);
    let status = if error.reason == Reason::ScopeMissing {
        // Like HighLevel, which uses 403 only for another location.
        StatusCode::UNAUTHORIZED
    } else {
        status(error.kind())
    };
    let message = match status {
        StatusCode::UNPROCESSABLE_ENTITY => messages(error).into(),
        StatusCode::INTERNAL_SERVER_ERROR => "Internal server error".into(),
        _ => message(error).into(),
    };
    let mut response = respond(status, message);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(RETRY_AFTER, soon);
    }
    if let Some(throttled) = &error.throttled {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, throttled.retry_seconds().into());
        rate_headers(headers, throttled.rate, 0);
    }
    response
}

/// Adds HighLevel's rate limit headers. Endcap has no daily limit, so the daily headers have what
/// the rate amounts to in a day.
pub fn rate_headers(headers: &mut HeaderMap, rate: Rate, remaining: u32) {
    let interval = u64::try_from(rate.interval.as_millis()).unwrap_or(u64::MAX);
    let daily = u64::from(rate.count.get()).saturating_mul(DAY_MS) / interval.max(1);
    for (name, value) in [
        ("x-ratelimit-limit-daily", daily),
        ("x-ratelimit-daily-remaining", daily),
        ("x-ratelimit-interval-milliseconds", interval),
        ("x-ratelimit-max", rate.count.get().into()),
        ("x-ratelimit-remaining", remaining.into()),
    ] {
        headers.insert(HeaderName::from_static(name), value.into());
    }
}

fn respond(status: StatusCode, message: Value) -> Response {
    let mut body = json!({
        "statusCode": status.as_u16(),
        "message": message,
        "error": status.canonical_reason().unwrap_or_default(),
    });
    if let Some(request) = request::current() {
        body["traceId"] = request.trace_id().into();
        body["requestId"] = request.request_id().into();
    }
    (status, Json(body)).into_response()
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid
        | ErrorKind::OutOfRange
        | ErrorKind::AlreadyExists
        | ErrorKind::FailedPrecondition => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Stale => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Deadline => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The messages for all violations, without duplicates.
fn messages(error: &Error) -> Vec<String> {
    let mut seen = HashSet::new();
    let sentences = error.violations.iter().map(sentence);
    let mut messages: Vec<_> = sentences.filter(|text| seen.insert(text.clone())).collect();
    if messages.is_empty() {
        messages.push(message(error));
    }
    messages
}

/// The message in HighLevel's terms, where the domain's message mentions concepts that HighLevel
/// does not have.
fn message(error: &Error) -> String {
    let text = match error.reason {
        Reason::Unauthenticated => "Invalid token: access token is invalid",
        Reason::ScopeMissing => "The token is not authorized for this scope.",
        Reason::TenantDenied => "The token does not have access to this location.",
        Reason::SlugTaken => "slug must be unique",
        Reason::IdTaken => "collectionId must be unique",
        Reason::KindImmutable => "type cannot be changed",
        Reason::KindMismatch => {
            "productIds is not allowed: the products of a smart collection follow from its rules"
        }
        Reason::ParentNotFound => "each value in collectionIds must be a collection",
        Reason::RequestIdReused => "Idempotency-Key was used for another request",
        Reason::InvalidField
        | Reason::IndexOutOfRange
        | Reason::CollectionNotFound
        | Reason::ChildNotFound
        | Reason::ChildNotInList
        | Reason::CycleDetected
        | Reason::TooDeep
        | Reason::TooManyParents
        | Reason::RootImmutable
        | Reason::HasChildren
        | Reason::NamedByRules
        | Reason::ChildAlreadyInList
        | Reason::EtagMismatch
        | Reason::PageTokenInvalid
        | Reason::ProductNotFound
        | Reason::ProductsUnknown
        | Reason::DeadlineExceeded
        | Reason::DatabaseUnavailable
        | Reason::Overloaded
        | Reason::ResponseTooLarge
        | Reason::RateLimited
        | Reason::StorageFull
        | Reason::TooManyCollections
        | Reason::EvaluationTooLarge
        | Reason::TenantRequired
        | Reason::Internal => &error.message,
    };
    text.into()
}

/// A violation in the wording of class-validator.
fn sentence(violation: &Violation) -> String {
    let field = field(&violation.field);
    match &violation.constraint {
        Constraint::Required | Constraint::Empty => format!("{field} should not be empty"),
        Constraint::Forbidden(query::UNKNOWN) => format!("property {field} should not exist"),
        Constraint::Forbidden(why) => format!("{field} is not allowed: {why}"),
        Constraint::TooLong { max, .. } => {
            format!("{field} must be shorter than or equal to {max} characters")
        }
        Constraint::TooLarge { max, .. } => format!("{field} must not be larger than {max} bytes"),
        Constraint::TooMany { max, .. } if violation.field == FieldPath::Scanned => format!(
            "{field} must examine no more than {max} products by their ids (max_scanned): name \
             productIds or collectionIds, too"
        ),
        Constraint::TooMany { max, .. } => {
            format!("{field} must contain no more than {max} elements")
        }
        Constraint::TooDeep { max, .. } => {
            format!("{field} must not be nested deeper than {max} levels")
        }
        Constraint::ChainTooLong { .. } => format!("{field} {}", violation.constraint),
        Constraint::Malformed(ids::ALPHABET | ids::PRINTABLE) => {
            format!("{field} must be a valid id")
        }
        Constraint::Malformed(slug::FORM) => {
            format!("{field} must match {SLUG_FORM} regular expression")
        }
        Constraint::Malformed(image::URL_FORM) => format!("{field} must be a URL address"),
        Constraint::Malformed(form) => format!("{field} must be {form}"),
        Constraint::OutOfRange { min, max } => match violation.value.parse::<f64>() {
            Ok(value) if value < *min as f64 => format!("{field} must not be less than {min}"),
            _ => format!("{field} must not be greater than {max}"),
        },
        Constraint::Unknown(known) => {
            format!("{field} must be one of the following values: {known}")
        }
        Constraint::NotListed(_) => format!("{field} {}", violation.problem()),
        Constraint::Repeated => format!("{field} must be unique"),
    }
}

const SLUG_FORM: &str = "/^[a-z0-9]+(?:-[a-z0-9]+)*$/";

/// HighLevel's name of a field.
pub(super) fn field(field: &FieldPath) -> String {
    let name = match field {
        FieldPath::Own(own) => return own_field(own),
        FieldPath::Tenant => "altId or locationId",
        FieldPath::Id => "collectionId",
        FieldPath::InternalName
        | FieldPath::Text(_, TextField::DisplayName)
        | FieldPath::DisplayName
        | FieldPath::FilterDisplayName => "name",
        FieldPath::Slug | FieldPath::Product(_, ProductPart::Slug) => "slug",
        FieldPath::Text(_, TextField::SeoTitle) => "seo.title",
        FieldPath::Text(_, TextField::SeoDescription) => "seo.description",
        FieldPath::Rules(parts) => return rules(parts),
        FieldPath::Images | FieldPath::Image(..) => "image",
        FieldPath::Mutations | FieldPath::MutationIds | FieldPath::Mutation(..) => "productIds",
        FieldPath::Ids | FieldPath::Products => "productIds",
        FieldPath::CollectionIds | FieldPath::FilterIds | FieldPath::FilterCollections => {
            "collectionIds"
        }
        FieldPath::Product(_, ProductPart::Id) => "productId",
        FieldPath::Product(_, ProductPart::Title) => "name",
        FieldPath::Product(_, ProductPart::Type) => "productType",
        FieldPath::Product(_, ProductPart::Attributes) => "attributes",
        FieldPath::Product(_, ProductPart::Details(field)) => details(*field),
        FieldPath::Product(_, ProductPart::Tag(at)) => return format!("tags.{at}"),
        FieldPath::Product(_, ProductPart::Variant(at, _)) => return format!("variants.{at}"),
        FieldPath::Product(_, ProductPart::Price(at, _)) => return format!("prices.{at}"),
        FieldPath::Product(_, ProductPart::Facts) => "product",
        FieldPath::FilterTitle | FieldPath::Scanned => "search",
        FieldPath::RequestId => idempotency::HEADER,
        // Requests of this dialect have no such fields.
        FieldPath::Collection => "collection",
        FieldPath::Texts | FieldPath::Text(..) | FieldPath::Keywords(..) => "texts",
        FieldPath::CustomProperties => "customProperties",
        FieldPath::Sort => "sort",
        FieldPath::Entries(_) => "entries",
        FieldPath::Entry(at) | FieldPath::EntryIndex(at) => return format!("entries.{at}"),
        FieldPath::CatalogId => "catalogId",
        FieldPath::ParentIds => "parentIds",
        FieldPath::FilterExpression => "filter",
        FieldPath::Depth => "depth",
        FieldPath::Paths => "paths",
        FieldPath::StartIndex => "offset",
        FieldPath::Index => "index",
    };
    name.into()
}

fn details(field: DetailsField) -> &'static str {
    match field {
        DetailsField::Vendor => "vendor",
        DetailsField::Status => "status",
        DetailsField::Available => "availableInStore",
        DetailsField::Tags => "tags",
        DetailsField::Variants => "variants",
        DetailsField::Prices => "prices",
        DetailsField::Inventory => "availableQuantity",
        DetailsField::Created => "createdAt",
        DetailsField::Updated => "updatedAt",
    }
}

/// Adds the violations of a nested object to those of the request; `at` is the path of the object.
pub(super) fn nest(at: &str, own: Violations, to: &mut Violations) {
    if let Err(error) = own.finish() {
        for violation in error.violations {
            let field = format!("{at}.{}", field(&violation.field));
            to.add(field, &violation.value, violation.constraint);
        }
    }
}

/// The name of a field that this dialect parsed itself. Items of lists of ids are named as
/// class-validator names them.
fn own_field(own: &str) -> String {
    match own.split_once('.') {
        Some((list @ ("productIds" | "collectionIds"), _)) => format!("each value in {list}"),
        _ => own.into(),
    }
}

fn rules(parts: &[RulePart]) -> String {
    let mut path = "rules".to_owned();
    for part in parts {
        match part {
            RulePart::Group(_) => path.push_str(".conditions"),
            RulePart::Rule(_, at) => path.push_str(&format!(".conditions.{at}")),
            RulePart::Field => path.push_str(".field"),
            RulePart::Operator => path.push_str(".operator"),
            RulePart::Operand => path.push_str(".value"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::domain::{Combinator, Locale};

    async fn parts(response: Response) -> (u16, Value) {
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn error_reasons_map_to_highlevel_statuses_and_bodies() {
        let cases = [
            (
                Reason::Unauthenticated,
                401,
                json!("Invalid token: access token is invalid"),
            ),
            (
                Reason::ScopeMissing,
                401,
                json!("The token is not authorized for this scope."),
            ),
            (
                Reason::TenantDenied,
                403,
                json!("The token does not have access to this location."),
            ),
            (Reason::SlugTaken, 422, json!(["slug must be unique"])),
            (Reason::IdTaken, 422, json!(["collectionId must be unique"])),
            (
                Reason::KindImmutable,
                422,
                json!(["type cannot be changed"]),
            ),
            (Reason::HasChildren, 422, json!(["m"])),
            (Reason::NamedByRules, 422, json!(["m"])),
            (Reason::IndexOutOfRange, 422, json!(["m"])),
            (Reason::PageTokenInvalid, 422, json!(["m"])),
            (Reason::CollectionNotFound, 404, json!("m")),
            (Reason::EtagMismatch, 412, json!("m")),
            (Reason::DatabaseUnavailable, 503, json!("m")),
            (Reason::Overloaded, 503, json!("m")),
            (Reason::StorageFull, 503, json!("m")),
            (Reason::RateLimited, 429, json!("m")),
            (Reason::TooManyCollections, 422, json!(["m"])),
            (Reason::DeadlineExceeded, 504, json!("m")),
            (Reason::Internal, 500, json!("Internal server error")),
        ];
        for (reason, code, message) in cases {
            let response = error_response(&Error::new(reason, "m"));
            let retry = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(retry, code == 503);
            let (status, body) = parts(response).await;
            assert_eq!((status, &body["statusCode"]), (code, &json!(code)));
            assert_eq!(body["message"], message);
        }
    }

    #[tokio::test]
    async fn an_unknown_route_is_named_in_the_response() {
        let (_, body) = parts(not_found(&Method::GET, "/products/x")).await;
        let expected =
            r#"{"statusCode":404,"message":"Cannot GET /products/x","error":"Not Found"}"#;
        assert_eq!(body.to_string(), expected);
    }

    #[test]
    fn violations_are_reported_in_class_validator_wording() {
        let long = Constraint::TooLong { length: 9, max: 8 };
        let page = Constraint::OutOfRange { min: 1, max: 100 };
        let locale = Locale::trusted;
        let cases: [(FieldPath, _, _); 15] = [
            (
                FieldPath::Text(locale("en"), TextField::DisplayName),
                long.clone(),
                "name must be shorter than or equal to 8 characters",
            ),
            (
                FieldPath::DisplayName,
                Constraint::Required,
                "name should not be empty",
            ),
            (
                FieldPath::Text(locale("pt-BR"), TextField::SeoTitle),
                long,
                "seo.title must be shorter than or equal to 8 characters",
            ),
            (
                FieldPath::Image(0, image::ImagePart::Url),
                Constraint::Malformed(image::URL_FORM),
                "image must be a URL address",
            ),
            (
                "image".into(),
                Constraint::Malformed("a string"),
                "image must be a string",
            ),
            (
                "slug".into(),
                Constraint::Malformed(slug::FORM),
                "slug must match /^[a-z0-9]+(?:-[a-z0-9]+)*$/ regular expression",
            ),
            (
                "slug".into(),
                Constraint::Malformed("a string"),
                "slug must be a string",
            ),
            (
                "altId".into(),
                Constraint::Malformed(ids::ALPHABET),
                "altId must be a valid id",
            ),
            (
                "altType".into(),
                Constraint::Unknown("location"),
                "altType must be one of the following values: location",
            ),
            (
                "productIds.7".into(),
                Constraint::Malformed("a string"),
                "each value in productIds must be a string",
            ),
            (
                "productIds".into(),
                Constraint::Malformed("an array"),
                "productIds must be an array",
            ),
            (
                FieldPath::MutationIds,
                Constraint::TooMany { count: 3, max: 2 },
                "productIds must contain no more than 2 elements",
            ),
            (
                FieldPath::Rules(vec![RulePart::Rule(Combinator::All, 0), RulePart::Operand]),
                Constraint::Empty,
                "rules.conditions.0.value should not be empty",
            ),
            (
                "rules".into(),
                Constraint::Forbidden("why"),
                "rules is not allowed: why",
            ),
            ("limit".into(), page, "limit must not be greater than 100"),
        ];
        for (field, rule, expected) in cases {
            let violation = Violation::new(field, "101", rule);
            assert_eq!(sentence(&violation), expected);
        }
        let few = Violation::new("limit", "0", Constraint::OutOfRange { min: 1, max: 100 });
        assert_eq!(sentence(&few), "limit must not be less than 1");
    }

    #[test]
    fn a_constraint_that_many_values_violate_is_reported_once() {
        let violation = |at: usize| {
            Violation::new(
                format!("productIds.{at}"),
                "",
                Constraint::Malformed("a string"),
            )
        };
        let error = Error::from(vec![violation(0), violation(1)]);
        assert_eq!(
            messages(&error),
            ["each value in productIds must be a string"]
        );
    }
}
