//! Streams a collection with long lists of children. The ids are a consistent snapshot in memory,
//! and are serialized in parts, as the client reads the response.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use axum::{
    body::Bytes,
    response::{IntoResponse as _, Response},
};
use futures::{Stream, stream};
use http::header::{CONTENT_TYPE, ETAG};

use super::{
    products,
    response::{self, CHILD_CATEGORIES, CHILD_PRODUCTS, Listed, Reference, Shape},
    view::View,
};
use crate::{
    dialect::json_body,
    domain::{Caller, Error, ProductId, Result},
    memory::Reservation,
    service::{Detail, Service, Settings, Whole},
};

/// Responses with at most this many children per list are not streamed.
const WHOLE: usize = 8_192;
/// How many chunks of a list are serialized at a time; each has some hundred ids.
const PARTS: usize = 4;

/// A step in writing a streamed response.
enum Step {
    /// Writes this text.
    Text(String),
    /// Writes references to children.
    Named(Listed, Range<usize>),
    /// Writes expanded children.
    Expanded(Listed, Range<usize>),
}

/// The state of writing a streamed response.
struct Writer {
    steps: VecDeque<Step>,
    /// Products of the current step that are still to be expanded.
    products: VecDeque<ProductId>,
    /// Whether the next child is the first of its list.
    is_first: bool,
    detail: Detail,
    view: View,
    service: Service,
    caller: Caller,
    _reservation: Arc<Reservation>,
}

/// The response, streamed or not.
pub fn respond(
    whole: Whole,
    shape: Shape,
    view: &View,
    service: &Service,
    caller: &Caller,
) -> Response {
    let Whole {
        detail,
        descendants,
        reservation,
    } = whole;
    let settings = service.settings();
    if descendants.is_none() && !view.products && !is_long(&detail) {
        return response::reply(&detail, shape, view, settings).into_response();
    }
    let mut head = response::without_lists(&detail, descendants.as_ref(), shape, view, settings);
    // Removes the closing brace, as the lists follow.
    head.pop();
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, format!("\"{}\"", detail.collection.etag())),
    ];
    let writer = Writer {
        steps: steps(head, &detail, descendants.is_some(), shape, view),
        products: VecDeque::new(),
        is_first: true,
        detail,
        view: view.clone(),
        service: service.clone(),
        caller: caller.clone(),
        _reservation: reservation,
    };
    (headers, json_body::stream(writer.write())).into_response()
}

/// The complete body of a response; `None` if the response is to be streamed.
pub fn whole(detail: &Detail, shape: Shape, view: &View, settings: &Settings) -> Option<Bytes> {
    (!is_long(detail)).then(|| response::written(detail, shape, view, settings))
}

/// Whether a list is so long that the response is streamed.
pub fn is_long(detail: &Detail) -> bool {
    detail.products.len().max(detail.collections.len()) > WHOLE
}

/// The steps of writing a response that begins with `text`.
fn steps(
    mut text: String,
    detail: &Detail,
    has_below: bool,
    shape: Shape,
    view: &View,
) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let fields = response::list_fields(shape, view);
    for field in fields {
        if has_below && field.name == CHILD_CATEGORIES {
            continue;
        }
        if !text.ends_with('{') {
            text.push(',');
        }
        text.push_str(&format!("\"{}\":", field.name));
        let ids = field.list.ids(detail);
        if ids.is_empty() {
            text.push_str(if field.null { "null" } else { "[]" });
            continue;
        }
        text.push('[');
        steps.push_back(Step::Text(std::mem::take(&mut text)));
        let step = if view.products && field.name == CHILD_PRODUCTS {
            Step::Expanded
        } else {
            Step::Named
        };
        let parts = (0..ids.part_count()).step_by(PARTS);
        let end = |part: usize| (part + PARTS).min(ids.part_count());
        steps.extend(parts.map(|part| step(field.list, part..end(part))));
        text.push(']');
    }
    text.push('}');
    steps.push_back(Step::Text(text));
    steps
}

impl Writer {
    /// The parts of the response. Products are expanded in their state at that time.
    fn write(self) -> impl Stream<Item = Result<String>> + Send + 'static {
        stream::try_unfold(self, |mut writer| async move {
            Ok(writer.part().await?.map(|part| (part, writer)))
        })
    }

    async fn part(&mut self) -> Result<Option<String>> {
        if self.products.is_empty() {
            match self.steps.pop_front() {
                None => return Ok(None),
                Some(Step::Text(text)) => {
                    self.is_first = true;
                    return Ok(Some(text));
                }
                Some(Step::Named(list, parts)) => return self.named(list, parts).map(Some),
                Some(Step::Expanded(list, parts)) => {
                    let ids = list.ids(&self.detail);
                    let ids = ids.of_parts(parts.start, parts.end);
                    self.products = ids.map(ProductId::trusted).collect();
                }
            }
        }
        self.expanded().await.map(Some)
    }

    fn named(&mut self, list: Listed, parts: Range<usize>) -> Result<String> {
        let mut text = String::new();
        for id in list.ids(&self.detail).of_parts(parts.start, parts.end) {
            if !std::mem::take(&mut self.is_first) {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(&Reference::to(id)).map_err(Error::internal)?);
        }
        Ok(text)
    }

    async fn expanded(&mut self) -> Result<String> {
        let rest = std::mem::take(&mut self.products);
        let read = self.service.next_products(&self.caller, rest, false);
        let (read, rest) = read.await?;
        self.products = rest;
        let mut text = String::new();
        for detail in read {
            if !std::mem::take(&mut self.is_first) {
                text.push(',');
            }
            let child = match &detail.product {
                Some(product) => {
                    let product = products::body(&product.id, Some(product));
                    serde_json::to_string(&self.view.cut(CHILD_PRODUCTS, product.into()))
                }
                None => serde_json::to_string(&Reference::to(detail.id.as_str())),
            };
            text.push_str(&child.map_err(Error::internal)?);
        }
        Ok(text)
    }
}
