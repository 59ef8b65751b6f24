//! updateCollection: one request is one command, all or nothing.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};

use super::{
    children,
    error::{Failure, Operation},
    fields::{self, Object, Problems},
    headers, images, parents, properties,
    response::{self, Shape},
    view::View,
};
use crate::{
    dialect::{
        Context,
        body::json_object,
        caller,
        idempotency::{self, Render},
        precondition,
    },
    domain::{Changes, CollectionId, Locale},
    service::{UpdateCollection, Updated},
};

/// `PUT /collections/{id}`.
pub async fn handle(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let settings = context.service.settings();
    let locale = headers::required_language(&parts.headers, settings)?;
    let view = View::parse(&parts.uri, locale)?;
    let body = json_object(&parts.headers, body, context.max_body).await?;

    let operation = operation(&body)?;
    let etag = precondition::if_match(&parts.headers)
        .map_err(|error| Failure::domain(error, operation))?;
    let id = headers::path_id(path, operation)?;
    let retry = headers::retryable("oracle.update", &parts, &body, &view.locale)?;
    let mut command = UpdateCollection {
        etag,
        include: view.include(),
        ..command(id, &body, operation, &view.locale)?
    };
    let service = context.service.clone();
    let render: Render<Updated> = Arc::new(move |updated| {
        response::answer(&updated.detail, Shape::Updated, &view, service.settings())
    });
    command.retry = idempotency::retry(retry, &render);
    let caller = caller(&parts.extensions).map_err(|error| Failure::domain(error, operation))?;
    let answer = context
        .service
        .update_collection(&caller, command)
        .await
        .and_then(|answer| idempotency::reply(answer, &render))
        .map_err(|error| Failure::domain(error, operation))?;
    Ok(answer.into_response())
}

/// What the body asks for, as far as it says which code a failure has.
fn operation(body: &Object) -> Result<Operation, Failure> {
    let properties = body.get("properties").and_then(|p| p.as_object());
    Ok(Operation::Update {
        products: children::operation(body)?,
        active: properties.is_some_and(|p| p.contains_key("active")),
    })
}

fn command(
    id: CollectionId,
    body: &Object,
    operation: Operation,
    locale: &Locale,
) -> Result<UpdateCollection, Failure> {
    let mut problems = Problems::default();
    let changes = properties::read(body, locale, &mut problems);
    let changes = Changes {
        images: images::read(body, &mut problems),
        catalog_id: fields::text(body, "", "catalogId", &mut problems),
        ..changes
    };
    let parents = parents::of_old(body, &mut problems);
    let mutations = operation
        .products()
        .map(|op| children::mutations(body, op, &mut problems))
        .unwrap_or_default();
    problems.finish()?;
    Ok(UpdateCollection {
        changes,
        parents,
        mutations,
        refuse_idle_append: true,
        ..UpdateCollection::of(id)
    })
}
