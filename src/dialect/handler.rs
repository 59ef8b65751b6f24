//! What the handlers of all dialects do alike: a request is taken apart, its caller is asked
//! for, and the answer to a write is rendered, for now and for a retry.

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
        Above, Answer, Detail, ProductDetail, Retry, Service, StillCollections, StillProducts,
    },
};

/// Reads collections of a page whose turn has come.
pub fn next_collections(
    service: &Service,
    caller: &Caller,
    above: Above,
    still: Option<StillCollections>,
) -> Next<Detail, CollectionId> {
    let (service, caller) = (service.clone(), caller.clone());
    Box::new(move |rest| {
        let (service, caller, still) = (service.clone(), caller.clone(), still.clone());
        let next = async move {
            let still = still.as_ref();
            service.next_collections(&caller, rest, above, still).await
        };
        next.boxed()
    })
}

/// Reads products of a page whose turn has come.
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

/// The request's head, and the JSON object in its body.
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

/// The caller of a request, about the data of the tenant that its credential is for.
///
/// # Errors
/// Where nobody was authenticated: at a path that is open to all.
pub fn caller(extensions: &Extensions) -> Result<Caller> {
    let caller = extensions.get::<Caller>();
    caller.cloned().ok_or_else(Error::unauthenticated)
}

/// Runs a write and renders what it answers, which is little. Where `request` names an
/// idempotency key, the response is kept with the write, and a retry gets it byte for byte.
///
/// # Errors
/// Where the use case fails, or what was kept can't be read.
pub async fn write<T, F>(
    request: Option<Retryable>,
    render: impl Fn(&T) -> Reply + Send + Sync + 'static,
    run: impl FnOnce(Option<Retry<T>>) -> F,
) -> Result<Response>
where
    T: 'static,
    F: Future<Output = Result<Answer<T>>>,
{
    let present = async |_| Err(Error::internal("a small response was not kept whole"));
    write_about(request, render, |_| String::new(), run, present).await
}

/// The same for an answer that may be too large to be kept: `about` is the id of what it is
/// about, and `present` reads that for a retry.
///
/// # Errors
/// Where the use case fails, or what was kept, or is written by now, can't be read.
pub async fn write_about<T, F, G>(
    request: Option<Retryable>,
    render: impl Fn(&T) -> Reply + Send + Sync + 'static,
    about: fn(&T) -> String,
    run: impl FnOnce(Option<Retry<T>>) -> F,
    present: impl FnOnce(String) -> G,
) -> Result<Response>
where
    T: 'static,
    F: Future<Output = Result<Answer<T>>>,
    G: Future<Output = Result<T>>,
{
    let render: Render<T> = Arc::new(render);
    match run(idempotency::retry(request, &render, about)).await? {
        Answer::New(answer) => Ok(render(&answer).into_response()),
        Answer::Kept(kept) => idempotency::replay(kept, &render, present).await,
    }
}
