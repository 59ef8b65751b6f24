//! createCollection.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    error::{Failure, Operation},
    fields::{self, Object, Problems},
    headers, images, openapi, parents, properties,
    response::{self, Shape},
    view::View,
};
use crate::{
    dialect::{
        Context,
        body::json_object,
        idempotency::{self, Render},
    },
    domain::{Changes, Draft, Kind, Locale},
    service::{CreateCollection, Detail, Include},
};

/// `POST /collections`.
#[utoipa::path(
    post,
    path = "/ccadmin/v1/collections",
    operation_id = "createCollection",
    tag = "Collections",
    summary = "Create a collection",
    params(openapi::WrittenLanguage, openapi::Shown),
    request_body(content = openapi::NewCollection),
    responses((status = 200, description = "It is done", body = openapi::CollectionBody), openapi::Failures),
)]
pub async fn handle(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let settings = context.service.settings();
    let locale = headers::required_language(&parts.headers, settings)?;
    let view = View::parse(&parts.uri, locale)?;
    let body = json_object(&parts.headers, body, context.max_body).await?;

    let retry = headers::retryable("oracle.create", &parts, Some(&body), Some(&view.locale))?;
    let mut command = command(&body, &view.locale, view.include())?;
    let service = context.service.clone();
    let render: Render<Detail> =
        Arc::new(move |detail| response::answer(detail, Shape::Created, &view, service.settings()));
    command.retry = idempotency::retry(retry, &render);
    let caller = Operation::Create.caller(&parts.extensions)?;
    let answer = context.service.execute(&caller, command).await;
    Operation::Create.answer(answer, &render)
}

fn command(body: &Object, locale: &Locale, include: Include) -> Result<CreateCollection, Failure> {
    let mut problems = Problems::default();
    let changes = properties::read(body, locale, &mut problems);
    let command = CreateCollection {
        draft: Draft {
            id: properties::id(body, &mut problems),
            kind: Kind::Manual,
            changes: Changes {
                images: images::read(body, locale, &mut problems),
                catalog_id: fields::text(body, "", "catalogId", &mut problems),
                ..changes
            },
        },
        parents: parents::of_new(body, &mut problems),
        products: Vec::new(),
        include,
        retry: None,
    };
    problems.finish()?;
    Ok(command)
}
