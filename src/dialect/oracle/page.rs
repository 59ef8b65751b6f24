//! Paging: its parameters, and the JSON around the items.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{
    codes,
    error::Failure,
    fields,
    problem::Problem,
    view::{PAGE, View},
};
use crate::dialect::json_body::{self, Items};

/// The maximum of `limit`, and its default.
const MAX_LIMIT: u64 = 250;

/// The paging parameters of a request.
pub(super) struct PageQuery {
    pub(super) limit: u64,
    pub(super) offset: u64,
    /// Which fields of the page itself are selected.
    pub(super) shows: View,
}

/// A page without its items, which are streamed into it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_results: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<[(); 0]>,
}

impl PageQuery {
    /// Parses the query; `shows` selects the fields of the page.
    pub(super) fn parse(query: &[(String, String)], shows: View) -> Result<Self, Failure> {
        let (mut limit, mut offset) = (MAX_LIMIT, 0);
        for (name, value) in query {
            match name.as_str() {
                "limit" => limit = number(name, value)?.min(MAX_LIMIT),
                "offset" => offset = number(name, value)?,
                _ => {}
            }
        }
        Ok(Self {
            limit,
            offset,
            shows,
        })
    }

    /// The response with these items and the selected fields.
    pub(super) fn respond<T, I>(&self, items: Items<T, I>, total: u64) -> Response
    where
        T: Send + 'static,
        I: Send + 'static,
    {
        let [total_results, offset, limit, _] = PAGE.map(|name| self.shows.wants(name));
        let has_items = self.shows.wants_items();
        let page = Page {
            total_results: total_results.then_some(total),
            offset: offset.then_some(self.offset),
            limit: limit.then_some(self.limit),
            items: has_items.then_some([]),
        };
        if has_items {
            json_body::page(&page, "items", items)
        } else {
            Json(page).into_response()
        }
    }
}

fn number(name: &str, value: &str) -> Result<u64, Failure> {
    // The maximum is that of a signed 64-bit integer, as in both databases.
    let number = fields::integer(&value.into()).and_then(|number| number.try_into().ok());
    number.ok_or_else(|| {
        let detail = format!("{value:?} must be an integer of at least 0");
        Problem::at(codes::BAD_REQUEST, name, detail).into()
    })
}
