//! What the handlers of this dialect share.

use axum::{
    body::Body,
    extract::{Path, Request, rejection::PathRejection},
    response::Response,
};
use http::{Method, Uri, request::Parts};

use super::{
    error::{self, Failure},
    fields::Object,
    headers,
};
use crate::{
    dialect::{Context, handler},
    domain::{Caller, Constraint, ProductId, Result as Domain, TenantId, Violation, ids},
};

pub(super) type HandlerResult = Result<Response, Failure>;
pub(super) type Id = Result<Path<String>, PathRejection>;

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    error::method_not_allowed(&method, uri.path())
}

/// The response to a path of HighLevel's that this service does not support.
pub(super) async fn not_served(method: Method, uri: Uri) -> Response {
    error::not_found(&method, uri.path())
}

/// The caller of a request, limited to the location that the request names. Like HighLevel, and
/// unlike the other APIs, a location without access is an error of its own.
pub(super) fn caller(parts: &Parts, tenant: TenantId) -> Domain<Caller> {
    let caller = handler::caller(&parts.extensions)?.within(tenant);
    caller.check_tenant()?;
    Ok(caller)
}

/// Takes a request apart, after checking its version.
pub(super) fn open(context: &Context, request: Request) -> Result<(Parts, Body), Failure> {
    check_version(context, &request)?;
    Ok(request.into_parts())
}

/// Like [`open`], with the JSON object in the body.
pub(super) async fn open_with_body(
    context: &Context,
    request: Request,
) -> Result<(Parts, Object), Failure> {
    check_version(context, &request)?;
    Ok(handler::open(context, request).await?)
}

fn check_version(context: &Context, request: &Request) -> Result<(), Failure> {
    let required = *context.settings.highlevel_require_version;
    headers::check_version(request.headers(), required)
}

/// The id of the product in the path.
pub(super) fn product_id(id: Id) -> Domain<ProductId> {
    let Path(id) = id.map_err(|_| {
        let rule = Constraint::Malformed(ids::PRINTABLE);
        Violation::new("productId", "", rule)
    })?;
    Ok(ProductId::parse("productId", &id)?)
}

/// The id at the end of a path, without a trailing slash.
pub(super) fn trimmed<'a>(id: &'a str, uri: &Uri) -> &'a str {
    match id.strip_suffix('/') {
        Some(id) if uri.path().ends_with('/') => id,
        _ => id,
    }
}
