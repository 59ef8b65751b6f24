//! Errors: `google.rpc.Status` as JSON, with the HTTP status that corresponds to its code.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, IF_MATCH, RETRY_AFTER},
};
use prost_reflect::{DynamicMessage, Kind};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{names, routes::POOL};
use crate::{
    dialect::body::BodyError,
    domain::{
        Error, Reason,
        error::{Quoted, shorten},
    },
    grpc,
};

/// The number of characters that an error shows of a path, or of a problem that quotes a value.
const SHOWN: usize = 500;

/// The reason of a failed precondition on an etag.
const ETAG_MISMATCH: &str = "ETAG_MISMATCH";

/// A failed request: the gRPC status, and the HTTP status to send it with.
#[derive(Debug)]
pub(super) struct Refused {
    status: Status,
    http: StatusCode,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self {
            http: http_status(status.code()),
            status,
        }
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        let http = match error {
            BodyError::TooLarge { .. } | BodyError::TooManyItems { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            BodyError::ContentType(_)
            | BodyError::NoContentType
            | BodyError::ContentEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::Encoding
            | BodyError::Malformed(_)
            | BodyError::NotAnObject
            | BodyError::Cut => StatusCode::BAD_REQUEST,
        };
        let status = grpc::status(&Error::new(Reason::InvalidField, error.to_string()));
        Self { status, http }
    }
}

/// An invalid field, parameter or header, as a violation like those over gRPC.
pub(super) fn invalid(field: &str, problem: &str) -> Refused {
    let field = &shorten(field, SHOWN);
    let message = if field.is_empty() {
        problem.to_owned()
    } else {
        format!("{field}: {problem}")
    };
    let status = grpc::status(&Error::new(Reason::InvalidField, message));
    let mut details = status.get_error_details();
    details.add_bad_request_violation(field, problem);
    Status::with_error_details(status.code(), status.message(), details).into()
}

/// A header with an etag that this service did not issue, so that it can't be current.
pub(super) fn not_current(header: &str, tag: &str) -> Refused {
    let message = format!("{header}: {} must be an etag of a response", Quoted(tag));
    Refused {
        status: grpc::status(&Error::new(Reason::EtagMismatch, message)),
        http: StatusCode::PRECONDITION_FAILED,
    }
}

/// What the library says of texts with a form of their own, and that form.
const FORMS: [(&str, &str); 2] = [
    (
        "invalid field mask",
        "invalid field mask (names in lowerCamelCase, with commas between them)",
    ),
    (
        "failed to parse duration",
        "must be a duration in seconds with an s, for example \"1.5s\"",
    ),
];

/// The message of a JSON error. The library does not mention what is expected, so that is added: the
/// form of a text, an integer, and the names in an enum or a message, which is the `kind` of the
/// invalid value.
pub(super) fn problem(error: &serde_json::Error, kind: Option<&Kind>) -> String {
    let text = shorten(&error.to_string(), SHOWN);
    let form = FORMS.iter().find(|(said, _)| text.starts_with(said));
    let text = match form {
        Some((said, form)) => text.replacen(said, form, 1),
        None => text,
    };
    match kind {
        Some(Kind::Enum(kind))
            if text.starts_with("unrecognized enum value") || text.starts_with("invalid type") =>
        {
            let values = kind.values().filter(|value| value.number() != 0);
            let names: Vec<_> = values.map(|value| value.name().to_owned()).collect();
            format!("{text}; the values are {}", names.join(", "))
        }
        Some(Kind::Message(kind)) if text.starts_with("unrecognized field name") => {
            format!("{text}; the fields are {}", names::all(kind))
        }
        Some(Kind::Int32 | Kind::Int64) if text.contains("digit") => "must be an integer".into(),
        _ => text,
    }
}

/// An internal error.
pub(super) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Status {
    grpc::status(&Error::internal(cause))
}

/// The error of a failed call. A failed `If-Match` becomes 412 instead of 409.
pub(super) fn of_call(status: Status, headers: &HeaderMap) -> Refused {
    let mut refused = Refused::from(status);
    if headers.contains_key(IF_MATCH) {
        let details = refused.status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        if reason == Some(ETAG_MISMATCH) {
            refused.http = StatusCode::PRECONDITION_FAILED;
        }
    }
    refused
}

/// No route has this path.
pub(super) fn no_route(message: String) -> Refused {
    Refused {
        status: Status::unimplemented(message),
        http: StatusCode::NOT_FOUND,
    }
}

/// Routes have this path, but not with this HTTP method.
pub(super) fn wrong_method(message: String) -> Refused {
    Refused {
        status: Status::unimplemented(message),
        http: StatusCode::METHOD_NOT_ALLOWED,
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let json = [(CONTENT_TYPE, "application/json")];
        let mut response = (self.http, json, body(&self.status)).into_response();
        let details = self.status.get_error_details();
        let delay = details.retry_info().and_then(|info| info.retry_delay);
        if let Some(delay) = delay {
            // Rounded up, so that clients don't retry early.
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn body(status: &Status) -> String {
    let message = POOL.get_message_by_name("google.rpc.Status");
    let detailed = message.filter(|_| !status.details().is_empty());
    let detailed = detailed.and_then(|it| DynamicMessage::decode(it, status.details()).ok());
    let detailed = detailed.and_then(|it| serde_json::to_string(&it).ok());
    // Some errors have no details, such as that of an unknown route.
    detailed.unwrap_or_else(|| {
        json!({ "code": status.code() as i32, "message": status.message() }).to_string()
    })
}

/// The HTTP status of a gRPC code, from the table in `google/rpc/code.proto`.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // The table has 499, which is not a registered status. The client is gone and will not see
        // it.
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
