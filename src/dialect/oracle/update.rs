//! updateCollection: each request is one command, and atomic.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};

use super::{
    children,
    error::Failure,
    fields::{self, Object, Problems},
    headers,
    images::{self, Stored},
    openapi,
    operation::Operation,
    parents, properties,
    response::{self, Shape},
    stream,
    view::View,
};
use crate::{
    dialect::{
        Context, handler,
        idempotency::{self, Render},
        precondition,
    },
    domain::{Changes, CollectionId, Error, Locale, Reader},
    service::{Executed, Include, StoredResponse, UpdateCollection, Updated, Whole},
};

/// `PUT /collections/{id}`.
#[utoipa::path(
    put,
    path = "/ccadmin/v1/collections/{id}",
    operation_id = "updateCollection",
    tag = "Collections",
    summary = "Update a collection",
    params(openapi::CollectionPath, openapi::WrittenLanguage, openapi::Shown),
    request_body(content = openapi::CollectionChanges),
    responses((status = 200, description = "Success", body = openapi::CollectionBody), openapi::Failures),
)]
pub async fn handle(
    State(context): State<Context>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let settings = context.service.settings();
    let locale = headers::required_language(request.headers(), settings)?;
    let view = View::parse(request.uri(), locale)?.flat();
    let (parts, body) = handler::open(&context, request).await?;

    let operation = operation(&body)?;
    let failed = Failure::of(operation);
    let etag = precondition::if_match(&parts.headers).map_err(&failed)?;
    let id = headers::path_id(path, operation)?;
    let retry = headers::retryable("oracle.update", &parts, Some(&body), Some(&view.locale))?;
    let service = &context.service;
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let command = match command(
        id.clone(),
        &body,
        operation,
        &view.locale,
        &Stored::default(),
    ) {
        Err(Failure::Problems(problems)) if images::may_be_stored(&problems) => {
            let whole = service.reread(&caller, &id, Include::default()).await;
            let stored = Stored::of(&whole.map_err(&failed)?.detail.collection.images);
            command(id.clone(), &body, operation, &view.locale, &stored)?
        }
        command => command?,
    };
    let mut command = UpdateCollection {
        etag,
        include: view.include(),
        ..command
    };
    let service = context.service.clone();
    let render: Render<Updated> = {
        let view = view.clone();
        Arc::new(move |updated| {
            response::reply(&updated.detail, Shape::Updated, &view, service.settings())
        })
    };
    let about = |updated: &Updated| updated.detail.collection.id.to_string();
    command.retry = idempotency::retry(retry, &render, about);
    if let Some(retry) = &mut command.retry {
        let encode = Arc::clone(&retry.encode);
        // A long response exceeds the size that is stored for retries, so it is not encoded at all.
        retry.encode = Arc::new(move |updated| {
            let is_long = stream::is_long(&updated.detail);
            (!is_long).then(|| encode(updated)).flatten()
        });
    }
    let service = &context.service;
    let executed = service.execute(&caller, command).await;
    match executed.map_err(&failed)? {
        Executed::New(updated) => {
            let whole = Whole {
                detail: updated.detail,
                descendants: None,
                reservation: updated.reservation,
            };
            Ok(stream::respond(
                whole,
                Shape::Updated,
                &view,
                service,
                &caller,
            ))
        }
        Executed::Replayed(StoredResponse::Summary(_)) => {
            let whole = service.reread(&caller, &id, view.include()).await;
            let whole = whole.map_err(failed)?;
            let response = stream::respond(whole, Shape::Updated, &view, service, &caller);
            Ok(idempotency::replayed(response, "current"))
        }
        Executed::Replayed(stored) => {
            let present = async |_| Err(Error::internal("it was kept whole"));
            let response = idempotency::replay(stored, &render, present).await;
            response.map_err(failed)
        }
    }
}

/// The operation in the body, as far as error codes depend on it.
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
    stored: &Stored,
) -> Result<UpdateCollection, Failure> {
    let mut problems = Problems::default();
    let changes = properties::read(body, locale, &mut problems);
    let images = images::read(body, locale, stored, &mut problems);
    let changes = Changes {
        images: images.all,
        catalog_id: fields::text(body, "", "catalogId", &mut problems),
        ..changes
    };
    let parents = parents::of_old(body, &mut problems);
    let mutations = operation
        .products()
        .map(|op| children::mutations(body, op, &mut problems))
        .unwrap_or_default();
    problems.finish()?;
    let reader = Reader {
        locale: locale.clone(),
        image: images.one,
        drop_echoed: Some(properties::drop_echoed),
    };
    Ok(UpdateCollection {
        changes,
        reader: Some(reader),
        parents,
        mutations,
        ..UpdateCollection::of(id)
    })
}
