//! The answer to a read, whose lists of children may be long: those are read and sent
//! part by part, so that a part is in memory and not the list.

use std::{collections::HashMap, time::Instant};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures::stream;
use http::header::{CONTENT_TYPE, ETAG};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::{
    products,
    response::{self, CHILD_CATEGORIES, CHILD_PRODUCTS, ListField, Reference, Shape},
    view::View,
};
use crate::{
    domain::{ChildId, ChildType, Error, ProductId, Result},
    service::{ChildReader, Depth, Detail, Settings},
};

/// How many children are read and sent at once. An answer with no more is sent whole.
pub const PART: usize = 8_192;

/// The same of children that are written out: a product may be long.
const EXPANDED_PART: usize = 256;

/// A part of a body.
enum Part {
    More(String),
    Last(String),
}

/// The answer to a read, or to an update whose answer is not kept. Until a long one is sent
/// it holds a connection to the database, at most up to the deadline.
///
/// # Errors
/// Where more collections stand below than are written out; where the store fails.
pub async fn answer(
    mut detail: Detail,
    children: ChildReader,
    shape: Shape,
    view: &View,
    settings: &Settings,
    deadline: Option<Instant>,
) -> Result<Response> {
    let depth = Depth {
        levels: view.levels,
        or_fewer: false,
    };
    let mut fields = response::list_fields(&detail, shape, view);
    let below = if view.levels > 0 && view.wants(CHILD_CATEGORIES) {
        fields.retain(|field| field.name != CHILD_CATEGORIES);
        Some(children.below(&mut detail, depth, settings).await?)
    } else {
        None
    };
    let lists = Lists {
        products: detail.collection.product_count,
        collections: detail.collection.collection_count,
        fields,
        expanded: view.products.then(|| view.clone()),
        children,
    };
    if below.is_none() && lists.expanded.is_none() && lists.longest() <= PART as u64 {
        detail.products = lists.whole(ChildType::Product).await?;
        detail.collections = lists.whole(ChildType::Collection).await?;
        return Ok(response::answer(&detail, shape, view, settings).into_response());
    }
    let mut head = response::without_lists(&detail, below.as_ref(), shape, view, settings);
    // The object goes on with the lists.
    head.pop();
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, format!("\"{}\"", detail.collection.etag())),
    ];
    Ok((headers, body(head, lists, deadline)).into_response())
}

/// The body that is `head` and then the lists. It breaks off, so that the client sees
/// an error and no end, where a part can't be read or the deadline passes.
fn body(head: String, lists: Lists, deadline: Option<Instant>) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    let write = async move {
        let write = lists.write(head, &sender);
        let written = match deadline {
            None => write.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), write)
                .await
                .unwrap_or_else(|_| {
                    tracing::warn!("the deadline passed before the lists were sent");
                    Ok(())
                }),
        };
        if let Err(error) = written {
            tracing::error!(%error, "reading a list while it is sent");
        }
    };
    tokio::spawn(write.in_current_span());
    let parts = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver: mpsc::Receiver<Part> = receiver?;
        match receiver.recv().await {
            Some(Part::More(text)) => Some((Ok(text), Some(receiver))),
            Some(Part::Last(text)) => Some((Ok(text), None)),
            None => Some((Err("the answer ends early"), None)),
        }
    });
    Body::from_stream(parts)
}

/// The lists of one collection that an answer shows.
struct Lists {
    products: u64,
    collections: u64,
    fields: Vec<ListField>,
    /// How child products are written out; none where they are only named.
    expanded: Option<View>,
    children: ChildReader,
}

impl Lists {
    fn len(&self, list: ChildType) -> u64 {
        match list {
            ChildType::Product => self.products,
            ChildType::Collection => self.collections,
        }
    }

    fn longest(&self) -> u64 {
        let shown = self.fields.iter().filter_map(|field| field.list);
        shown.map(|list| self.len(list)).max().unwrap_or_default()
    }

    /// A list that is no longer than a part; empty where no field shows it.
    async fn whole(&self, list: ChildType) -> Result<Vec<ChildId>> {
        if self.len(list) == 0 || self.fields.iter().all(|field| field.list != Some(list)) {
            return Ok(Vec::new());
        }
        self.children.read(list, 0, PART).await
    }

    /// Adds children to a list that is begun.
    async fn add(&self, text: &mut String, ids: &[ChildId], view: Option<&View>) -> Result<()> {
        let known = match view {
            Some(_) => {
                let ids = ids.iter().cloned().map(ProductId::from);
                self.children.products(&ids.collect::<Vec<_>>()).await?
            }
            None => HashMap::new(),
        };
        for id in ids {
            if !text.ends_with('[') {
                text.push(',');
            }
            let child = match (known.get(&id.clone().into()), view) {
                (Some(product), Some(view)) => {
                    let product = products::body(&product.id, Some(product));
                    serde_json::to_string(&view.cut(CHILD_PRODUCTS, product.into()))
                }
                _ => serde_json::to_string(&Reference::to(id)),
            };
            text.push_str(&child.map_err(Error::internal)?);
        }
        Ok(())
    }

    /// Writes `text`, the fields and the object's end, as far as someone reads.
    async fn write(self, mut text: String, parts: &mpsc::Sender<Part>) -> Result<()> {
        for field in &self.fields {
            if !text.ends_with('{') {
                text.push(',');
            }
            text.push_str(&format!("\"{}\":", field.name));
            let len = field.list.map_or(0, |list| self.len(list));
            let Some(list) = field.list.filter(|_| len > 0) else {
                text.push_str(if field.null { "null" } else { "[]" });
                continue;
            };
            text.push('[');
            let mut next = 0;
            while next < len {
                let view = self.expanded.as_ref();
                let view = view.filter(|_| field.name == CHILD_PRODUCTS);
                let part = view.map_or(PART, |_| EXPANDED_PART);
                let ids = self.children.read(list, next, part).await?;
                if ids.is_empty() {
                    return Err(Error::internal("a list is shorter than its count"));
                }
                next += ids.len() as u64;
                self.add(&mut text, &ids, view).await?;
                if parts
                    .send(Part::More(std::mem::take(&mut text)))
                    .await
                    .is_err()
                {
                    // The client has gone.
                    return Ok(());
                }
            }
            text.push(']');
        }
        text.push('}');
        let _ = parts.send(Part::Last(text)).await;
        Ok(())
    }
}
