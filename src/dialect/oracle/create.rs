//! createCollection.

use axum::{
    extract::{Request, State},
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
    view::View,
};
use crate::{
    dialect::{Context, handler},
    domain::{Changes, CollectionId, Draft, Kind, Locale},
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
    responses((status = 200, description = "Success", body = openapi::CollectionBody), openapi::Failures),
)]
pub async fn handle(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let service = &context.service;
    let locale = headers::required_language(request.headers(), service.settings())?;
    let view = View::parse(request.uri(), locale)?;
    let (parts, body) = handler::open(&context, request).await?;

    let retryable = headers::retryable("oracle.create", &parts, Some(&body), Some(&view.locale))?;
    let include = view.include();
    let written = service.settings().locales().written_anew(&view.locale);
    let command = command(&body, &written, include)?;
    let failed = Failure::of(Operation::Create);
    let caller = handler::caller(&parts.extensions).map_err(&failed)?;
    let render = {
        let service = service.clone();
        move |detail: &Detail| response::reply(detail, Shape::Created, &view, service.settings())
    };
    let run = |retry| service.execute(&caller, CreateCollection { retry, ..command });
    let present = async |id: String| {
        let id = CollectionId::trusted(id);
        Ok(service.reread(&caller, &id, include).await?.detail)
    };
    let about = |detail: &Detail| detail.collection.id.to_string();
    let response = handler::write_about(retryable, render, about, run, present).await;
    response.map_err(failed)
}

fn command(body: &Object, locale: &Locale, include: Include) -> Result<CreateCollection, Failure> {
    let mut problems = Problems::default();
    children::check_new(body, &mut problems);
    properties::check_new(body, &mut problems);
    let changes = properties::read(body, locale, &mut problems);
    let images = images::read(body, locale, &Stored::default(), &mut problems).of_new();
    let command = CreateCollection {
        draft: Draft {
            id: properties::id(body, &mut problems),
            kind: Kind::Manual,
            changes: Changes {
                images,
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
