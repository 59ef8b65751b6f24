//! What the handlers of all dialects share: taking requests apart, finding the caller, and
//! rendering the response to a write, both for now and for a retry.

use std::sync::Arc;

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use http::{Extensions, request::Parts};
use serde_json::{Map, Value};

use super::{
    Context,
    body::{self, BodyError},
    idempotency::{self, Render, Reply},
    json_body::Next,
};
use crate::{
    domain::{Caller, CollectionId, Error, ProductId, Result, Retryable},
    service::{
        Ancestors, Detail, Executed, ProductDetail, Retry, Service, StillCollections, StillProducts,
    },
};

/// Reads the next collections of a page while it is being sent.
pub fn next_collections(
    service: &Service,
    caller: &Caller,
    ancestors: Ancestors,
    still: Option<StillCollections>,
) -> Next<Detail, CollectionId> {
    let (service, caller) = (service.clone(), caller.clone());
    Box::new(move |rest| {
        let (service, caller, still) = (service.clone(), caller.clone(), still.clone());
        let next = async move {
            let still = still.as_ref();
            service
                .next_collections(&caller, rest, ancestors, still)
                .await
        };
        next.boxed()
    })
}

/// Reads the next products of a page while it is being sent.
pub fn next_products(
    service: &Service,
    caller: &Caller,
    still: Option<StillProducts>,
) -> Next<ProductDetail, ProductId> {
    let (service, caller) = (service.clone(), caller.clone());
    Box::new(move |rest| {
        let (service, caller, still) = (service.clone(), caller.clone(), still.clone());
        async move { service.next_listed(&caller, rest, still.as_ref()).await }.boxed()
    })
}

/// Takes a request apart, and reads the JSON object in its body.
///
/// # Errors
/// See [`body::json_object`].
pub async fn open(
    context: &Context,
    request: Request,
) -> Result<(Parts, Map<String, Value>), BodyError> {
    let (parts, body) = request.into_parts();
    let (max, max_items) = (context.max_body, context.max_items);
    let body = body::json_object(&parts.headers, body, max, max_items).await?;
    Ok((parts, body))
}

/// The caller of a request, limited to the tenant of its credential.
///
/// # Errors
/// If the path is open and nobody was authenticated.
pub fn caller(extensions: &Extensions) -> Result<Caller> {
    let caller = extensions.get::<Caller>();
    caller.cloned().ok_or_else(Error::unauthenticated)
}

/// Runs a write, and renders its small response. If `request` has an idempotency key, the response
/// is stored with the write, and a retry gets the same bytes.
///
/// # Errors
/// If the use case fails, or a stored response can't be read.
pub async fn write<T, F>(
    request: Option<Retryable>,
    render: impl Fn(&T) -> Reply + Send + Sync + 'static,
    run: impl FnOnce(Option<Retry<T>>) -> F,
) -> Result<Response>
where
    T: 'static,
    F: Future<Output = Result<Executed<T>>>,
{
    let present = async |_| Err(Error::internal("a small response was not kept whole"));
    write_about(request, render, |_| String::new(), run, present).await
}

/// Like [`write()`], for a response that may be too large to store. Then only the id that `about`
/// returns is stored, and `present` reads the current state for a retry.
///
/// # Errors
/// If the use case fails, or the stored response or the current state can't be read.
pub async fn write_about<T, F, G>(
    request: Option<Retryable>,
    render: impl Fn(&T) -> Reply + Send + Sync + 'static,
    about: fn(&T) -> String,
    run: impl FnOnce(Option<Retry<T>>) -> F,
    present: impl FnOnce(String) -> G,
) -> Result<Response>
where
    T: 'static,
    F: Future<Output = Result<Executed<T>>>,
    G: Future<Output = Result<T>>,
{
    let render: Render<T> = Arc::new(render);
    match run(idempotency::retry(request, &render, about)).await? {
        Executed::New(response) => Ok(render(&response).into_response()),
        Executed::Replayed(stored) => idempotency::replay(stored, &render, present).await,
    }
}
