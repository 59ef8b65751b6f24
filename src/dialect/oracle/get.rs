//! getCollection.

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};

use super::{
    error::{Failure, Operation},
    headers,
    response::{self, Shape},
    view::View,
};
use crate::{
    dialect::{Context, caller},
    service::{GetCollection, Key},
};

/// `GET /collections/{id}`.
pub async fn handle(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let settings = context.service.settings();
    let locale = headers::optional_language(request.headers(), settings)?;
    let view = View::parse(request.uri(), locale)?;
    let command = GetCollection {
        key: Key::Id(headers::path_id(path, Operation::Read)?),
        include: view.include(),
    };
    let caller = caller(request.extensions(), context.default_tenant.clone());
    let detail = context
        .service
        .get_collection(&caller, command)
        .await
        .map_err(|error| Failure::domain(error, Operation::Read))?;
    // Never 304: the answer also depends on its language and on what stands above the
    // collection, of which the etag knows nothing.
    Ok(response::answer(&detail, Shape::Read, &view, settings).into_response())
}
