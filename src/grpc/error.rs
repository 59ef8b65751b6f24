//! The conversion of the domain's errors to gRPC statuses with `google.rpc` error details. The REST
//! dialects have conversions of their own.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::{path, pb::ErrorReason};
use crate::{
    domain::{Error, ErrorKind, FieldPath, Reason, Violation, error::Resource},
    telemetry::{log_failure, metrics, request},
};

/// The `domain` of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "endcap";

/// The most bytes that a status has for its message, and again for its violations. A status is sent
/// in headers, with the message twice and the details in base64, and clients accept about 8 KiB of
/// headers.
const BYTES: usize = 1_500;

/// The retry delay that is suggested while the service is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Converts an error to its status. Internal errors are logged here.
pub fn status(error: &Error) -> Status {
    status_with(error, path::of)
}

/// Converts an error of `RuleService`, whose requests have field paths of their own.
pub(super) fn status_of_rules(error: &Error) -> Status {
    status_with(error, path::of_rule_request)
}

/// Converts an error, with `path` for the paths of fields.
fn status_with(error: &Error, path: fn(&FieldPath) -> String) -> Status {
    log_failure(error);
    let reason = reason(error.reason).as_str_name();
    let reason = reason.strip_prefix("ERROR_REASON_").unwrap_or(reason);
    let mut details = ErrorDetails::new();
    let metadata = error.metadata.iter();
    let metadata = metadata.map(|(key, value)| ((*key).to_owned(), value.clone()));
    details.set_error_info(reason, DOMAIN, metadata.collect::<HashMap<_, _>>());
    if let Some(request) = request::current() {
        details.set_request_info(request.request_id(), "");
    }
    if !error.violations.is_empty() {
        let mut left = BYTES;
        let violations = error.violations.iter().map_while(|one| {
            let (field, problem) = (path(&one.field), one.problem());
            left = left.checked_sub(field.len() + problem.len())?;
            Some(FieldViolation::new(field, problem))
        });
        details.set_bad_request(violations.collect::<Vec<_>>());
    }
    if let Some(resource) = &error.resource {
        let kind = match &**resource {
            Resource::Collection(_) => "endcap.v1.Collection",
            Resource::Product(_) => "endcap.v1.Product",
        };
        details.set_resource_info(kind, resource.id(), "", &error.message);
    }
    if let Some(throttled) = &error.throttled {
        details.set_retry_info(Some(throttled.retry_after));
    } else if error.kind() == ErrorKind::Unavailable {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code(error.kind()), message(error, path), details)
}

/// The message of a status. For an invalid request it lists the violations, as many as fit.
fn message(error: &Error, path: fn(&FieldPath) -> String) -> String {
    let [first, more @ ..] = error.violations.as_slice() else {
        return error.message.clone();
    };
    if error.reason == Reason::IndexOutOfRange {
        return format!("{}: {}", path(&first.field), error.message);
    }
    let text = |one: &Violation| format!("{}: {}", path(&one.field), one.problem());
    let mut message = text(first);
    for (at, one) in more.iter().enumerate() {
        let next = text(one);
        if sent(&message) + sent(&next) > BYTES {
            message.push_str(&format!("; and {} more", more.len() - at));
            break;
        }
        message.push_str("; ");
        message.push_str(&next);
    }
    message
}

/// The length of a text in the header `grpc-message`, which is percent-encoded.
fn sent(text: &str) -> usize {
    let bytes = text.bytes();
    bytes
        .map(|byte| if (b' '..=b'~').contains(&byte) { 1 } else { 3 })
        .sum()
}

/// Corrects a response that tonic produced itself, before a message reached a handler: tonic
/// reports a malformed request as `INTERNAL`, a server fault. The service's own statuses have
/// details, and tonic's have none. Returns `None` if there is nothing to correct.
pub fn refused_by_tonic(headers: &http::HeaderMap) -> Option<Error> {
    // The header is looked up first, as parsing the status of every response would cost much more.
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    if status.code() == Code::OutOfRange {
        metrics::refused("max_body_size");
    }
    (status.code() == Code::Internal).then(|| {
        // Protobuf's decoder names each of the levels in its message.
        let why = if status.message().contains("recursion limit") {
            "a value has too many levels"
        } else {
            status.message()
        };
        let message = format!("malformed request message: {why}");
        Error::new(Reason::InvalidField, message)
    })
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Stale => Code::Aborted,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Exhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Deadline => Code::DeadlineExceeded,
        ErrorKind::Internal => Code::Internal,
    }
}

fn reason(reason: Reason) -> ErrorReason {
    match reason {
        Reason::Unauthenticated => ErrorReason::Unauthenticated,
        Reason::ScopeMissing => ErrorReason::ScopeMissing,
        Reason::TenantDenied => ErrorReason::TenantDenied,
        Reason::TenantRequired => ErrorReason::TenantRequired,
        Reason::InvalidField => ErrorReason::InvalidField,
        Reason::IndexOutOfRange => ErrorReason::IndexOutOfRange,
        Reason::CollectionNotFound => ErrorReason::CollectionNotFound,
        Reason::ParentNotFound => ErrorReason::ParentNotFound,
        Reason::ChildNotFound => ErrorReason::ChildNotFound,
        Reason::ChildNotInList => ErrorReason::ChildNotInList,
        Reason::IdTaken => ErrorReason::IdTaken,
        Reason::SlugTaken => ErrorReason::SlugTaken,
        Reason::CycleDetected => ErrorReason::CycleDetected,
        Reason::TooDeep => ErrorReason::TooDeep,
        Reason::TooManyParents => ErrorReason::TooManyParents,
        Reason::RootImmutable => ErrorReason::RootImmutable,
        Reason::HasChildren => ErrorReason::HasChildren,
        Reason::NamedByRules => ErrorReason::NamedByRules,
        Reason::KindImmutable => ErrorReason::KindImmutable,
        Reason::KindMismatch => ErrorReason::KindMismatch,
        Reason::ChildAlreadyInList => ErrorReason::ChildAlreadyInList,
        Reason::EtagMismatch => ErrorReason::EtagMismatch,
        Reason::RequestIdReused => ErrorReason::RequestIdReused,
        Reason::PageTokenInvalid => ErrorReason::PageTokenInvalid,
        Reason::ProductNotFound => ErrorReason::ProductNotFound,
        Reason::ProductsUnknown => ErrorReason::ProductsUnknown,
        Reason::DeadlineExceeded => ErrorReason::DeadlineExceeded,
        Reason::DatabaseUnavailable => ErrorReason::DatabaseUnavailable,
        Reason::Overloaded => ErrorReason::Overloaded,
        Reason::ResponseTooLarge => ErrorReason::ResponseTooLarge,
        Reason::RateLimited => ErrorReason::RateLimited,
        Reason::StorageFull => ErrorReason::StorageFull,
        Reason::TooManyCollections => ErrorReason::TooManyCollections,
        Reason::EvaluationTooLarge => ErrorReason::EvaluationTooLarge,
        Reason::Internal => ErrorReason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Constraint, Violation};

    #[test]
    fn a_status_has_the_reason_and_every_violation() {
        let violations = vec![
            Violation::new("slug", "A b", Constraint::Malformed("a slug")),
            Violation::new("name", "", Constraint::Empty),
        ];
        let status = status(&Error::from(violations));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("INVALID_FIELD", "endcap")
        );
        let fields = &details.bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "slug");
        assert_eq!(fields[0].description, "\"A b\" must be a slug");
        assert_eq!(fields[1].description, "must not be empty");
    }

    #[test]
    fn a_status_fits_the_header_limit_of_clients() {
        let long = Violation::new("f".repeat(200), &"é".repeat(200), Constraint::Empty);
        let status = status(&Error::from(vec![long; 1_000]));
        let message = status.message().to_owned();
        let sent: usize = status
            .into_http::<String>()
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(sent < 8 * 1_024, "{sent} bytes");
        assert!(message.contains("more"), "{message}");
    }

    #[test]
    fn the_cause_of_an_internal_error_is_not_sent() {
        let status = status(&Error::internal("password=hunter2"));
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("hunter2"));
    }
}
