//! What this dialect's handlers do alike.

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

pub(super) type Answer = Result<Response, Failure>;
pub(super) type Id = Result<Path<String>, PathRejection>;

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    error::method_not_allowed(&method, uri.path())
}

/// The answer at a path of HighLevel's that this service does not serve.
pub(super) async fn not_served(method: Method, uri: Uri) -> Response {
    error::not_found(&method, uri.path())
}

/// The caller, about the data of the location that the request names. Unlike elsewhere
/// one is told where that is not theirs, as at HighLevel.
pub(super) fn caller(parts: &Parts, tenant: TenantId) -> Domain<Caller> {
    let caller = handler::caller(&parts.extensions)?.within(tenant);
    caller.check_tenant()?;
    Ok(caller)
}

/// The request, once its version is known to be served.
pub(super) fn open(context: &Context, request: Request) -> Result<(Parts, Body), Failure> {
    check_version(context, &request)?;
    Ok(request.into_parts())
}

/// The same with the JSON object in its body.
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

/// The product that the path names.
pub(super) fn product_id(id: Id) -> Domain<ProductId> {
    let Path(id) = id.map_err(|_| {
        let rule = Constraint::Malformed(ids::PRINTABLE);
        Violation::new("productId", "", rule)
    })?;
    Ok(ProductId::parse("productId", &id)?)
}

/// The id that ends a path, without the slash that may stand after it.
pub(super) fn trimmed<'a>(id: &'a str, uri: &Uri) -> &'a str {
    match id.strip_suffix('/') {
        Some(id) if uri.path().ends_with('/') => id,
        _ => id,
    }
}
