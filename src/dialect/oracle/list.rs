//! listCollections.

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    catalogs, codes,
    error::Failure,
    fields::Problems,
    headers,
    names::SHOWN,
    openapi,
    operation::Operation,
    page::PageQuery,
    problem::Problem,
    response::{self, CHILD_CATEGORIES},
    search::{Search, UnverifiedProperties},
    view::{self, View},
};
use crate::{
    dialect::{
        Context, handler,
        json_body::{self, Items},
    },
    domain::{
        CollectionFilter, CollectionId, Locale,
        filter::{Order, OrderBy},
        ids::{NON_NAVIGABLE_ROOT, ROOT},
    },
    service::{Ancestors, Depth, Detail, ListCollections, PageStart, Scan, Settings},
};

/// The default levels of child collections to expand: if the query has `categoryIds`, and
/// otherwise.
const LEVELS: (usize, usize) = (4, 1);

/// A parsed list request.
struct ListRequest {
    command: ListCollections,
    page: PageQuery,
    view: View,
    unverified: UnverifiedProperties,
}

/// `GET /collections`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/collections",
    operation_id = "listCollections",
    tag = "Collections",
    summary = "List collections",
    params(openapi::Language, openapi::CollectionQuery, openapi::PageQuery, openapi::Shown, openapi::CatalogPaths),
    responses((status = 200, description = "Success", body = openapi::CollectionPage), openapi::Failures),
)]
pub async fn handle(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let service = &context.service;
    let settings = service.settings();
    let locale = headers::optional_language(request.headers(), settings)?;
    let query = view::pairs(request.uri())?;
    let failed = Failure::of(Operation::Read);
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    let list_request = list_request(&query, locale, &context)?;
    let ancestors = list_request.command.ancestors;
    let found = service
        .list_collections(&caller, list_request.command)
        .await;
    let found = found.map_err(failed)?;
    list_request.unverified.check().map_err(Failure::Problems)?;
    let (view, descendants, reservation) =
        (list_request.view, found.descendants, found.reservation);
    let writing = service.clone();
    let items = Items {
        first: found.collections,
        rest: found.rest.into(),
        next: handler::next_collections(service, &caller, ancestors, found.still),
        write: Box::new(move |mut items| {
            let _kept = &reservation;
            for item in &mut items {
                item.collections = descendants.children(&item.collection.id);
            }
            let item = |detail| response::item(detail, &descendants, &view, writing.settings());
            let written = items.iter().map(|detail| json_body::written(&item(detail)));
            written.collect()
        }),
    };
    Ok(list_request.page.respond(items, found.total))
}

/// The query parameters of a list, except for paging and fields.
#[derive(Default)]
struct ParsedQuery {
    filter: CollectionFilter,
    search: Search,
    is_searched: bool,
    skips_missing: bool,
    hierarchy: bool,
    /// `filterRootCategories`, if it is given.
    no_roots: Option<bool>,
    paged: bool,
    depth: bool,
    limit: bool,
}

impl ParsedQuery {
    fn parse(query: &[(String, String)]) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        // Parsed first, because it affects how the ids are parsed.
        for (name, value) in query {
            if name == "continueOnMissingCategory" {
                parsed.skips_missing = view::switch(name, value)?;
            }
        }
        for (name, value) in query {
            parsed.add(name, value)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let is_set = || view::switch(name, value);
        let is_blank = value.trim().is_empty();
        match name {
            "name" if !value.is_empty() => {
                self.search.add_part(value);
                self.is_searched = true;
            }
            "q" if !is_blank => {
                self.search.add_filter(value, &SHOWN)?;
                self.is_searched = true;
            }
            "categoryIds" if !is_blank => {
                let ids = ids(value, self.filter.ids.take(), self.skips_missing)?;
                self.filter.ids = Some(ids);
            }
            "sort" => self.search.set_order(value, &SHOWN)?,
            "onlyActive" => self.filter.active = is_set()?,
            "orphaned" => self.filter.orphaned = is_set()?,
            "filterRootCategories" => self.no_roots = Some(is_set()?),
            "asHierarchy" => self.hierarchy = is_set()?,
            "pageResults" => self.paged = is_set()?,
            "depth" => self.depth = true,
            "limit" => self.limit = true,
            _ => {}
        }
        Ok(())
    }

    /// Checks for conflicts between parameters: with `asHierarchy`, which lists a whole tree, and
    /// between `onlyActive` and a search, which sees all child collections, active or not.
    fn check(&self) -> Result<(), Failure> {
        let children = ["childCategories", "fixedChildCategories"];
        let is_of_children = |name: &String| children.contains(&name.as_str());
        if self.filter.active && self.search.names(&SHOWN).iter().any(is_of_children) {
            let why = format!(
                "can't be true together with q or sort with {}",
                children.join(" or ")
            );
            return Err(Problem::at(codes::BAD_REQUEST, "onlyActive", why).into());
        }
        let beside = match self.hierarchy {
            true if self.paged => "pageResults",
            true if self.is_searched => "name or q",
            _ => return Ok(()),
        };
        let why = format!("can't be true together with {beside}");
        Err(Problem::at(codes::BAD_REQUEST, "asHierarchy", why).into())
    }

    /// How deep to expand. `levels` is the value of `depth`, if that is given.
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

    /// The filter. The top level of a hierarchy is the collections in `categoryIds`, or else the
    /// children of the roots, or the roots themselves if the request includes them.
    fn filter(&mut self) -> CollectionFilter {
        let roots = || [ROOT, NON_NAVIGABLE_ROOT].map(CollectionId::trusted).into();
        let mut filter = std::mem::take(&mut self.filter);
        filter.roots = self.no_roots != Some(true);
        if !filter.roots
            && let Some(ids) = &mut filter.ids
        {
            ids.retain(|id| !id.is_root());
        }
        if self.hierarchy && filter.ids.is_none() && !filter.orphaned {
            if self.no_roots == Some(false) {
                filter.ids = Some(roots());
            } else {
                filter.parents = Some(roots());
            }
        }
        filter
    }
}

fn list_request(
    query: &[(String, String)],
    locale: Locale,
    context: &Context,
) -> Result<ListRequest, Failure> {
    let settings = context.service.settings();
    let shows = View::read(query, locale)?;
    let mut parsed = ParsedQuery::parse(query)?;
    parsed.check()?;
    let checked = parsed.search.check(&settings.limits);
    checked.map_err(Failure::of(Operation::Read))?;
    let view = shows.of_items();
    let catalog = || catalogs::catalog(&context.settings);
    let mut view = view.of_collections(query, catalog)?;
    let depth = parsed.depth(view.levels, settings);
    view.levels = depth.levels;
    let mut page = PageQuery::parse(query, shows)?;
    if parsed.hierarchy && !parsed.limit {
        page.limit = settings.limits.expanded as u64;
    }
    let mut filter = parsed.filter();
    let all_there = filter.ids.is_some() && !parsed.skips_missing;
    let SplitSearch {
        order,
        scan,
        unverified,
    } = split_search(parsed.search, &mut filter, &view.locale, context);
    Ok(ListRequest {
        command: ListCollections {
            all_there,
            filter,
            order,
            scan,
            descendants: descendants(&view, depth),
            ancestors: Ancestors::Named,
            start: PageStart::Offset(page.offset),
            size: page.limit as usize,
            bytes: None,
            paths: view.paths.then_some(settings.limits.paths),
            omit_total: false,
        },
        page,
        view,
        unverified,
    })
}

/// A search, split between the database and a scan.
struct SplitSearch {
    order: Vec<Order>,
    scan: Option<Scan<Detail>>,
    unverified: UnverifiedProperties,
}

/// Moves the conditions that the database can evaluate into the filter.
fn split_search(
    mut search: Search,
    filter: &mut CollectionFilter,
    locale: &Locale,
    context: &Context,
) -> SplitSearch {
    let settings = context.service.settings();
    let names = search.names(&SHOWN);
    if filter.ids.is_none() && filter.parents.is_none() {
        let ids = search.take_ids();
        let ids = ids.or_else(|| Some(search.ids()?.into_iter().map(Into::into).collect()));
        // A malformed id matches no collection.
        let ids = ids.map(|ids| {
            ids.into_iter()
                .filter_map(|id| CollectionId::parse("q", &id).ok())
        });
        let roots = filter.roots;
        filter.ids = ids.map(|ids| ids.filter(|id| roots || !id.is_root()).collect());
    }
    let reads_default = *locale == settings.default_locale;
    filter.expression = search.take_expression(reads_default);
    let by = |by| Order {
        by,
        descending: false,
    };
    // The scan's sort is stable, so this order breaks its ties.
    let order = match search.take_order(reads_default) {
        Some(order) if order.is_empty() => vec![by(OrderBy::DisplayName)],
        Some(order) => order,
        None => vec![by(OrderBy::Id)],
    };
    let view = View::of(names, locale.clone());
    let children = view.include().collections;
    let service = context.service.clone();
    let show = move |detail: &Detail| response::searched(detail, &view, service.settings());
    let (scan, unverified) = search.scan(show);
    SplitSearch {
        order,
        scan: scan.map(|scan| Scan { children, ..scan }),
        unverified,
    }
}

/// How deep to read below the collections; `None` if the response does not include children.
fn descendants(view: &View, depth: Depth) -> Option<Depth> {
    let levels = if view.wants(CHILD_CATEGORIES) {
        depth.levels
    } else {
        0
    };
    view.include()
        .collections
        .then_some(Depth { levels, ..depth })
}

/// Comma-separated ids. A malformed id gets the code of an unknown one.
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
