//! Streams JSON responses: they are made part by part, as the client reads them.

use std::collections::VecDeque;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures::{Stream, TryStreamExt as _, future::BoxFuture, stream};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::domain::Result;

/// A body that consists of these parts. If one can't be made, the body is aborted, so that the
/// client notices the error.
pub fn stream(parts: impl Stream<Item = Result<String>> + Send + 'static) -> Body {
    let logged = parts.inspect_err(|error| {
        let causes = crate::telemetry::causes(error);
        tracing::error!(causes, "streaming a response failed: {error}");
    });
    Body::from_stream(logged)
}

/// The items of a page: those that were read, and those that are still to be read.
pub struct Items<T, I> {
    /// The items that were read.
    pub first: Vec<T>,
    /// The keys of the items that are still to be read.
    pub rest: VecDeque<I>,
    /// Reads some of these items, and removes their keys.
    pub next: Next<T, I>,
    /// Serializes items.
    pub write: Box<dyn Fn(Vec<T>) -> Vec<String> + Send>,
}

/// Reads the first of the remaining items, and returns the keys that still remain.
pub type Next<T, I> =
    Box<dyn Fn(VecDeque<I>) -> BoxFuture<'static, Result<(Vec<T>, VecDeque<I>)>> + Send>;

/// The state of streaming a page.
struct Page<T, I> {
    head: Option<String>,
    items: Items<T, I>,
    is_first: bool,
    tail: Option<String>,
}

/// A page of a list: `page`, whose field `name` is empty, with the items inserted there. Items that
/// were not read yet are read while the page is sent.
pub fn page<T, I>(page: &impl Serialize, name: &str, mut items: Items<T, I>) -> Response
where
    T: Send + 'static,
    I: Send + 'static,
{
    let page = written(page);
    let empty = format!("\"{name}\":[]");
    // The items are inserted where the serialized page has its empty list.
    let (head, tail) = page.split_once(&empty).unwrap_or((&page, ""));
    let first = (items.write)(std::mem::take(&mut items.first));
    let mut head = format!("{head}\"{name}\":[{}", first.join(","));
    let tail = format!("]{tail}");
    let body = if items.rest.is_empty() {
        head.push_str(&tail);
        head.into()
    } else {
        let page = Page {
            head: Some(head),
            items,
            is_first: first.is_empty(),
            tail: Some(tail),
        };
        stream(stream::try_unfold(page, |mut page| async move {
            Ok(page.part().await?.map(|part| (part, page)))
        }))
    };
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

impl<T, I> Page<T, I> {
    async fn part(&mut self) -> Result<Option<String>> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        let items = &mut self.items;
        let mut text = String::new();
        while text.is_empty() && !items.rest.is_empty() {
            let (read, rest) = (items.next)(std::mem::take(&mut items.rest)).await?;
            items.rest = rest;
            for item in (items.write)(read) {
                if !std::mem::take(&mut self.is_first) {
                    text.push(',');
                }
                text.push_str(&item);
            }
        }
        if text.is_empty() {
            return Ok(self.tail.take());
        }
        Ok(Some(text))
    }
}

/// Serializes a response.
pub fn written(value: &impl Serialize) -> String {
    // Cannot fail: every response of a dialect can be serialized.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;

    async fn body(first: &[u64], rest: &[u64]) -> serde_json::Value {
        let empty = json!({ "total": 9, "items": [], "end": true });
        let items = Items {
            first: first.to_vec(),
            rest: rest.to_vec().into(),
            next: Box::new(|mut rest| {
                // Items that have been deleted in the meantime are omitted.
                let next = rest.drain(..rest.len().min(2)).filter(|n| *n < 7);
                let next: Vec<u64> = next.collect();
                async move { Ok((next, rest)) }.boxed()
            }),
            write: Box::new(|items| items.iter().map(u64::to_string).collect()),
        };
        let response = page(&empty, "items", items);
        let body = axum::body::to_bytes(response.into_body(), 1_000).await;
        serde_json::from_slice(&body.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_page_is_the_same_in_one_part_and_in_many() {
        let page = |items: &[u64]| json!({ "total": 9, "items": items, "end": true });
        assert_eq!(body(&[], &[]).await, page(&[]));
        assert_eq!(body(&[1, 2], &[]).await, page(&[1, 2]));
        assert_eq!(body(&[1], &[2, 3, 4]).await, page(&[1, 2, 3, 4]));
        assert_eq!(body(&[], &[1, 8, 9, 7, 5]).await, page(&[1, 5]));
        assert_eq!(body(&[], &[8]).await, page(&[]));
    }
}
