//! Converts errors to this dialect's codes, which depend on the operation.

use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header::RETRY_AFTER};

use super::{
    codes,
    operation::Operation,
    paths,
    problem::{Problem, TOLD, response},
};
use crate::{
    auth::challenge,
    dialect::body::BodyError,
    domain::{
        Constraint, Error, FieldPath, Reason, Violation, children::Operation as MutationKind,
        field::ProductPart, image::ImagePart,
    },
    telemetry,
};

/// Why a request failed.
#[derive(Debug)]
pub enum Failure {
    /// The request is invalid; with at least one problem.
    Problems(Vec<Problem>),
    /// A use case failed.
    Domain(Box<Error>, Operation),
}

/// The response to an error outside of any operation. Logs internal errors.
pub fn error_response(error: &Error) -> Response {
    domain_response(error, Operation::None)
}

/// The response to a path without a route.
pub fn not_found(_: &Method, path: &str) -> Response {
    response(&[Problem::new(codes::NOT_FOUND, format!("{path} not found"))])
}

impl Failure {
    /// The failure of a use case in an operation.
    pub fn of(operation: Operation) -> impl Fn(Error) -> Self {
        move |error| Self::Domain(Box::new(error), operation)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::TooLarge { .. } | BodyError::TooManyItems { .. } => codes::TOO_LARGE,
            BodyError::ContentType(_)
            | BodyError::NoContentType
            | BodyError::ContentEncoding(_) => codes::UNSUPPORTED_MEDIA_TYPE,
            BodyError::Malformed(_)
            | BodyError::Encoding
            | BodyError::NotAnObject
            | BodyError::Cut => codes::BAD_REQUEST,
        };
        Problem::new(code, error.to_string()).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Problems(problems) => response(&problems),
            Self::Domain(error, operation) => domain_response(&error, operation),
        }
    }
}

fn domain_response(error: &Error, operation: Operation) -> Response {
    telemetry::log_failure(error);
    let mut response = response(&problems(error, operation));
    if response.status() == StatusCode::UNAUTHORIZED {
        challenge(response.headers_mut());
    }
    if let Some(throttled) = &error.throttled {
        let seconds = throttled.retry_seconds().into();
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

/// The problems, with their codes, of a domain error.
fn problems(error: &Error, operation: Operation) -> Vec<Problem> {
    let about = error
        .resource
        .as_ref()
        .map(|it| it.id())
        .unwrap_or_default();
    let told = |code| Problem::new(code, error.message.clone());
    let problem = match error.reason {
        Reason::InvalidField if !error.violations.is_empty() => {
            let problem = |v| violation(v, operation);
            return error.violations.iter().take(TOLD).map(problem).collect();
        }
        Reason::Unauthenticated => told(codes::UNAUTHORIZED),
        Reason::ScopeMissing | Reason::TenantDenied => told(codes::FORBIDDEN),
        Reason::InvalidField
        | Reason::IdTaken
        | Reason::SlugTaken
        | Reason::TooDeep
        | Reason::TooManyParents
        | Reason::TooManyCollections
        | Reason::EvaluationTooLarge
        | Reason::KindImmutable => told(codes::INVALID_INPUT),
        Reason::IndexOutOfRange => out_of_range(error, operation),
        Reason::CollectionNotFound => Problem::new(operation.id_invalid(), about),
        Reason::ParentNotFound => match operation {
            Operation::Move => Problem::at(codes::MOVE_ID_INVALID, "parent", about),
            Operation::Assign | Operation::AddToCollections => {
                Problem::at(codes::PRODUCTS_ID_INVALID, "collections", about)
            }
            Operation::Product => Problem::at(codes::PRODUCTS_ID_INVALID, "categoryId", about),
            Operation::None
            | Operation::Read
            | Operation::Create
            | Operation::Update { .. }
            | Operation::Delete => {
                let detail = format!("{about} does not exist");
                Problem::at(codes::NO_PARENT, "parentCategoryId", detail)
            }
        },
        Reason::ChildNotFound if operation == Operation::Move => {
            Problem::at(codes::CHILD_INVALID, "child", about)
        }
        Reason::ChildNotInList if operation == Operation::Move => {
            Problem::at(codes::NO_PARENT, "fromParent", &error.message)
        }
        Reason::ChildNotFound | Reason::ChildNotInList | Reason::ProductsUnknown => {
            told(codes::NO_SUCH_PRODUCT)
        }
        Reason::ProductNotFound => Problem::new(codes::PRODUCT_INVALID, about),
        Reason::CycleDetected => told(codes::CIRCULAR),
        Reason::RootImmutable => told(operation.root_refusal()),
        Reason::HasChildren | Reason::NamedByRules => told(codes::DELETE_CHILDREN),
        Reason::KindMismatch => told(codes::INVALID_OPERATION),
        Reason::ChildAlreadyInList if operation == Operation::Move => told(codes::MOVED_NOWHERE),
        Reason::ChildAlreadyInList => Problem::new(codes::ALL_THERE, about),
        Reason::EtagMismatch => told(codes::PRECONDITION_FAILED),
        Reason::RequestIdReused | Reason::PageTokenInvalid | Reason::TenantRequired => {
            told(codes::BAD_REQUEST)
        }
        Reason::ResponseTooLarge => told(codes::BAD_REQUEST),
        Reason::DeadlineExceeded => told(codes::TIMEOUT),
        Reason::DatabaseUnavailable | Reason::Overloaded | Reason::StorageFull => {
            told(codes::UNAVAILABLE)
        }
        Reason::RateLimited => told(codes::TOO_MANY_REQUESTS),
        Reason::Internal => Problem::new(operation.internal(), ""),
    };
    vec![problem]
}

/// The problem of a violation, with the request's name of the field.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "but for these few a field at fault has one code"
)]
fn violation(violation: &Violation, operation: Operation) -> Problem {
    let code = match &violation.field {
        FieldPath::Image(_, ImagePart::Id) => codes::IMAGE_UNKNOWN,
        // Invalid parameters of a list, except for unknown ids.
        FieldPath::FilterIds if matches!(violation.constraint, Constraint::Unknown(_)) => {
            match operation {
                Operation::Product => codes::PRODUCT_INVALID,
                _ => operation.id_invalid(),
            }
        }
        FieldPath::Scanned
        | FieldPath::FilterDisplayName
        | FieldPath::FilterTitle
        | FieldPath::FilterIds
        | FieldPath::FilterCollections
        | FieldPath::FilterExpression
        | FieldPath::Paths => codes::BAD_REQUEST,
        FieldPath::Mutation(_, part)
            if matches!(
                part.operation,
                MutationKind::MoveRange | MutationKind::Reorder
            ) =>
        {
            operation.bad_index()
        }
        _ => codes::INVALID_INPUT,
    };
    let advice = match &violation.field {
        FieldPath::Paths => "; set showCategoryPaths=false, or request fewer collections",
        FieldPath::Scanned => "; name ids or a collection, or raise max_scanned",
        _ => "",
    };
    let detail = format!("{}{advice}", violation.problem());
    Problem::at(code, path(violation, operation), detail)
}

/// The path of the field in the request.
fn path(violation: &Violation, operation: Operation) -> String {
    let name = paths::of(&violation.field);
    let of_product = operation == Operation::Product;
    match (&violation.field, &violation.constraint) {
        (FieldPath::FilterIds, _) if of_product => "productIds".into(),
        (FieldPath::Depth, _) if of_product => "includeChildren".into(),
        // The path includes the name of the property.
        (
            FieldPath::CustomProperties | FieldPath::Product(_, ProductPart::Attributes),
            Constraint::TooDeep { .. },
        ) => format!("{name}.{}", violation.value),
        _ => name,
    }
}

/// The problem of an index beyond the end of a list.
fn out_of_range(error: &Error, operation: Operation) -> Problem {
    let field = error.violations.first().map(|violation| &violation.field);
    let path = field.map(paths::of).unwrap_or_default();
    Problem::at(operation.bad_index(), path, &error.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::oracle::operation::ProductOp;
    use crate::domain::{
        Locale, TextField,
        children::{MutationField, MutationPart},
    };
    use serde_json::Value;

    const UPDATE: Operation = Operation::Update {
        products: None,
        active: false,
    };

    fn on(op: ProductOp) -> Operation {
        Operation::Update {
            products: Some(op),
            active: false,
        }
    }

    #[test]
    fn error_reasons_map_to_oracle_codes_and_statuses() {
        let sets_active = Operation::Update {
            products: None,
            active: true,
        };
        let cases = [
            (Reason::CollectionNotFound, UPDATE, "20140", 400),
            (Reason::CollectionNotFound, Operation::Read, "20140", 400),
            (
                Reason::CollectionNotFound,
                on(ProductOp::Append),
                "20091",
                400,
            ),
            (
                Reason::ChildAlreadyInList,
                on(ProductOp::Append),
                "20093",
                400,
            ),
            (Reason::ChildNotFound, on(ProductOp::Reorder), "20094", 400),
            (Reason::IndexOutOfRange, on(ProductOp::Move), "37202", 400),
            (
                Reason::IndexOutOfRange,
                on(ProductOp::Reorder),
                "20084",
                400,
            ),
            (Reason::KindMismatch, on(ProductOp::Append), "20202", 400),
            (Reason::RootImmutable, sets_active, "20202", 400),
            (Reason::RootImmutable, UPDATE, "20079", 400),
            (Reason::RootImmutable, Operation::Create, "25014", 400),
            (Reason::CycleDetected, UPDATE, "20083", 400),
            (Reason::ParentNotFound, Operation::Create, "20085", 400),
            (Reason::IdTaken, Operation::Create, "25014", 400),
            (Reason::TooDeep, UPDATE, "25014", 400),
            (Reason::InvalidField, UPDATE, "25014", 400),
            (Reason::Unauthenticated, Operation::None, "401", 401),
            (Reason::ScopeMissing, UPDATE, "403", 403),
            (Reason::TenantDenied, Operation::Create, "403", 403),
            (Reason::EtagMismatch, UPDATE, "412", 412),
            (Reason::RequestIdReused, UPDATE, "400", 400),
            (Reason::DatabaseUnavailable, UPDATE, "503", 503),
            (Reason::Overloaded, Operation::None, "503", 503),
            (Reason::StorageFull, UPDATE, "503", 503),
            (Reason::RateLimited, Operation::None, "429", 429),
            (Reason::TooManyCollections, Operation::Create, "25014", 400),
            (Reason::DeadlineExceeded, UPDATE, "504", 504),
            (Reason::Internal, Operation::None, "20999", 500),
            (Reason::Internal, Operation::Create, "20130", 500),
            (Reason::Internal, UPDATE, "20130", 500),
            (Reason::Internal, on(ProductOp::Move), "37203", 500),
            (Reason::Internal, on(ProductOp::Remove), "20089", 500),
        ];
        for (reason, operation, code, status) in cases {
            let error = Error::new(reason, "why").about("cat1");
            let found = problems(&error, operation);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].code.number, code, "{reason:?} {operation:?}");
            assert_eq!(found[0].code.status.as_u16(), status, "{reason:?}");
        }
    }

    #[test]
    fn the_cause_of_an_internal_error_is_not_sent() {
        let error = Error::internal("a secret");
        let body = Value::from(problems(&error, UPDATE)[0].body()).to_string();
        let expected =
            r#"{"message":"category Internal Error","status":"500","errorCode":"20130"}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn violations_are_reported_with_the_request_s_field_names() {
        let title = FieldPath::Text(Locale::trusted("en"), TextField::SeoTitle);
        let image = FieldPath::Image(0, ImagePart::Id);
        let placements = MutationPart {
            operation: MutationKind::Reorder,
            field: MutationField::Placements,
        };
        let placements = FieldPath::Mutation(0, placements);
        let error = Error::from(vec![
            Violation::new(title, "", Constraint::TooLong { length: 9, max: 5 }),
            Violation::new(image, "", Constraint::Unknown("its images")),
            Violation::new(placements, "", Constraint::Repeated),
        ]);
        let told: Vec<_> = problems(&error, on(ProductOp::Reorder))
            .iter()
            .map(|p| format!("{} {}", p.code.number, p.detail))
            .collect();
        let expected = [
            "25014 properties.seoMetaInfo.seoTitle: is 9 characters long; the limit is 5",
            "26113 categoryImages.0.repositoryId: must be one of its images",
            "20084 productMap: is given twice",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_503_response_has_a_retry_after_header() {
        let busy = Error::new(Reason::DatabaseUnavailable, "the database is busy");
        let response = error_response(&busy);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
