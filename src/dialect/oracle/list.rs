//! listCollections.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde::Serialize;

use super::{
    codes,
    error::Failure,
    fields::Problems,
    headers, openapi,
    operation::Operation,
    problem::Problem,
    query,
    response::{self, CHILD_CATEGORIES},
    view::{self, PAGE, View},
};
use crate::{
    dialect::{
        Context, handler,
        json_body::{self, Items},
    },
    domain::{
        CollectionFilter, CollectionId, Locale,
        filter::{Expression, Matching, Order, OrderBy, TextAttribute},
        ids::{NON_NAVIGABLE_ROOT, ROOT},
    },
    service::{Above, Depth, ListCollections, PageStart, Settings},
};

/// The most items of a page, and as many as there are where a request names no number.
pub(super) const MAX_LIMIT: u64 = 250;
/// Levels that are written out of the collections named, and of others.
const LEVELS: (usize, usize) = (4, 1);

/// What a request for a list says.
struct Asked {
    command: ListCollections,
    page: PageQuery,
    view: View,
}

/// Which part of a list a request asks for.
pub(super) struct PageQuery {
    pub(super) limit: u64,
    pub(super) offset: u64,
    /// What the page has beside its items.
    pub(super) shows: View,
}

/// A page of a list, as it is written before its items are.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_results: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    items: [(); 0],
}

/// `GET /collections`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/collections",
    operation_id = "listCollections",
    tag = "Collections",
    summary = "List collections",
    params(openapi::Language, openapi::CollectionQuery, openapi::PageQuery, openapi::Shown),
    responses((status = 200, description = "It is done", body = openapi::CollectionPage), openapi::Failures),
)]
pub async fn handle(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let service = &context.service;
    let settings = service.settings();
    let locale = headers::optional_language(request.headers(), settings)?;
    let asked = asked(&view::pairs(request.uri())?, locale, settings)?;
    let failed = Failure::of(Operation::Read);
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    let above = asked.command.above;
    let found = service.list_collections(&caller, asked.command).await;
    let found = found.map_err(failed)?;
    let (view, below, share) = (asked.view, found.below, found.share);
    let writing = service.clone();
    let items = Items {
        first: found.collections,
        rest: found.rest.into(),
        next: handler::next_collections(service, &caller, above),
        write: Box::new(move |mut items| {
            let _kept = &share;
            for item in &mut items {
                item.collections = below.children(&item.collection.id);
            }
            let item = |detail| response::item(detail, &below, &view, writing.settings());
            let written = items.iter().map(|detail| json_body::written(&item(detail)));
            written.collect()
        }),
    };
    Ok(asked.page.answer(items, found.total))
}

/// What the query says of a list, but for its page and what it shows.
#[derive(Default)]
struct Said {
    filter: CollectionFilter,
    conditions: Vec<Expression>,
    order: Vec<Order>,
    skips_missing: bool,
    navigation: bool,
    hierarchy: bool,
    paged: bool,
    depth: bool,
    limit: bool,
}

impl Said {
    fn parse(query: &[(String, String)]) -> Result<Self, Failure> {
        let mut said = Self::default();
        said.filter.roots = true;
        // Before the ids, which it is about.
        for (name, value) in query {
            if name == "continueOnMissingCategory" {
                said.skips_missing = view::switch(name, value)?;
            }
        }
        for (name, value) in query {
            said.add(name, value)?;
        }
        Ok(said)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let is_set = || view::switch(name, value);
        let is_blank = value.trim().is_empty();
        match name {
            "name" if !value.is_empty() => self.conditions.push(named(value)),
            "q" if !is_blank => self.conditions.push(query::expression(value)?),
            "categoryIds" if !is_blank => {
                let ids = ids(value, self.filter.ids.take(), self.skips_missing)?;
                self.filter.ids = Some(ids);
            }
            "sort" => self.order = query::order(value)?,
            "onlyActive" => self.filter.active = is_set()?,
            "filterRootCategories" => self.filter.roots = !is_set()?,
            "minimalFieldsForNavigation" => self.navigation = is_set()?,
            "asHierarchy" => self.hierarchy = is_set()?,
            "pageResults" => self.paged = is_set()?,
            "depth" => self.depth = true,
            "limit" => self.limit = true,
            _ => {}
        }
        Ok(())
    }

    /// Checks that nothing is said of a whole tree that does not go with it.
    fn check(&self) -> Result<(), Failure> {
        let beside = match self.hierarchy {
            true if self.paged => "pageResults",
            true if !self.conditions.is_empty() => "name or q",
            _ => return Ok(()),
        };
        let why = format!("can't be true beside {beside}");
        Err(Problem::at(codes::BAD_REQUEST, "asHierarchy", why).into())
    }

    /// How deep to go, where `levels` is what `depth` says, if anything.
    fn depth(&self, levels: usize, settings: &Settings) -> Depth {
        let levels = match &self.filter.ids {
            _ if self.depth => levels,
            _ if self.hierarchy => settings.limits.depth,
            Some(_) => LEVELS.0,
            None => LEVELS.1,
        };
        Depth {
            levels,
            or_fewer: !self.depth && !self.hierarchy,
        }
    }

    /// Which collections: of a tree those where it begins, which are the ones named, else
    /// the roots or what is under one.
    fn filter(self) -> CollectionFilter {
        let mut filter = self.filter;
        if self.hierarchy && filter.ids.is_none() {
            if filter.roots {
                filter.ids = Some([ROOT, NON_NAVIGABLE_ROOT].map(CollectionId::trusted).into());
            } else {
                filter.parent = Some(CollectionId::root());
            }
        }
        filter.expression =
            (!self.conditions.is_empty()).then_some(Expression::All(self.conditions));
        filter
    }
}

fn asked(
    query: &[(String, String)],
    locale: Locale,
    settings: &Settings,
) -> Result<Asked, Failure> {
    let shows = View::read(query, locale)?;
    let mut said = Said::parse(query)?;
    said.check()?;
    let mut view = shows.of_items();
    if said.navigation {
        view = view.for_navigation();
    }
    let depth = said.depth(view.levels, settings);
    view.levels = depth.levels;
    let mut page = PageQuery::parse(query, shows)?;
    if said.hierarchy && !said.limit {
        page.limit = settings.limits.expanded as u64;
    }
    let mut order = std::mem::take(&mut said.order);
    if order.is_empty() {
        order.push(Order {
            by: OrderBy::Text(TextAttribute::DisplayName),
            descending: false,
        });
    }
    Ok(Asked {
        command: ListCollections {
            all_there: !said.skips_missing,
            filter: said.filter(),
            order,
            below: below(&view, depth),
            above: Above::Named,
            start: PageStart::Offset(page.offset),
            size: page.limit as usize,
            bytes: None,
            paths: view.paths.then_some(settings.limits.paths),
        },
        page,
        view,
    })
}

/// What is to be read below the collections; nothing where they don't show it.
fn below(view: &View, depth: Depth) -> Option<Depth> {
    let levels = if view.wants(CHILD_CATEGORIES) {
        depth.levels
    } else {
        0
    };
    view.include()
        .collections
        .then_some(Depth { levels, ..depth })
}

/// A part of the display name, or of the id.
fn named(part: &str) -> Expression {
    let has = |attribute| Expression::Text(attribute, Matching::Contains, part.to_owned());
    Expression::Any(vec![
        has(TextAttribute::DisplayName),
        has(TextAttribute::Id),
    ])
}

/// Ids, separated by commas. What can't be an id is not that of a collection.
fn ids(
    list: &str,
    before: Option<Vec<CollectionId>>,
    skips_missing: bool,
) -> Result<Vec<CollectionId>, Failure> {
    let mut problems = Problems::default();
    let parts = list.split(',').map(str::trim).filter(|id| !id.is_empty());
    let mut ids = before.unwrap_or_default();
    ids.extend(parts.filter_map(|id| {
        let id = CollectionId::parse("categoryIds", id);
        problems.take(codes::ID_INVALID, id)
    }));
    if !skips_missing {
        problems.finish()?;
    }
    Ok(ids)
}

impl PageQuery {
    /// What the query says; `shows` is what it wants to see.
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

    /// The answer with these items. What the page has beside them is left out where the
    /// request names fields and not that.
    pub(super) fn answer<T, I>(&self, items: Items<T, I>, total: u64) -> Response
    where
        T: Send + 'static,
        I: Send + 'static,
    {
        let [total_results, offset, limit, _] = PAGE.map(|name| self.shows.wants(name));
        let page = Page {
            total_results: total_results.then_some(total),
            offset: offset.then_some(self.offset),
            limit: limit.then_some(self.limit),
            items: [],
        };
        json_body::page(&page, "items", items)
    }
}

fn number(name: &str, value: &str) -> Result<u64, Failure> {
    // Both engines count in 63 bits.
    let number = value.trim().parse().ok().filter(|n| *n <= i64::MAX as u64);
    number.ok_or_else(|| {
        let detail = format!("{value:?} must be an integer from 0 on");
        Problem::at(codes::BAD_REQUEST, name, detail).into()
    })
}
