//! Errors: `google.rpc.Status` as JSON, with the status of HTTP that belongs to its code.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, IF_MATCH, RETRY_AFTER},
};
use prost_reflect::DynamicMessage;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::routes::POOL;
use crate::{
    dialect::body::BodyError,
    domain::{Error, Reason},
    grpc,
};

/// The reason of an etag that is not current.
const ETAG_MISMATCH: &str = "ETAG_MISMATCH";

/// A request that fails.
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
            BodyError::ContentType(_) | BodyError::ContentEncoding(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            BodyError::Encoding
            | BodyError::Malformed(_)
            | BodyError::NotAnObject
            | BodyError::Cut => StatusCode::BAD_REQUEST,
        };
        let status = grpc::status(&Error::new(Reason::InvalidField, error.to_string()));
        Self { status, http }
    }
}

/// A field, a parameter or a header that is wrong, in the form that violations have over gRPC.
pub(super) fn invalid(field: &str, problem: &str) -> Refused {
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

/// What is wrong with a value; of a mask the library does not say how it is written.
pub(super) fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let how = "invalid field mask (names in lowerCamelCase, with commas between them)";
    text.replace("invalid field mask", how)
}

/// A failure that is ours.
pub(super) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Status {
    grpc::status(&Error::internal(cause))
}

/// The failure of a call. Of a precondition in a header HTTP has a status of its own.
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

/// Where no route is.
pub(super) fn no_route(message: String) -> Refused {
    Refused {
        status: Status::unimplemented(message),
        http: StatusCode::NOT_FOUND,
    }
}

/// Where a route is, and takes other methods of HTTP.
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
            // No earlier than it says.
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
    detailed.unwrap_or_else(|| {
        json!({ "code": status.code() as i32, "message": status.message() }).to_string()
    })
}

/// The table of google.rpc.Code.
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
        // 499 there, which is no status of HTTP's: whoever would read it has gone.
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
