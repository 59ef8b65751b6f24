//! listProducts.

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    codes,
    error::Failure,
    fields::Problems,
    headers, openapi,
    operation::Operation,
    page::PageQuery,
    problem::Problem,
    products,
    scim::{Node, Operand, Path},
    search::{Search, Shown, UnverifiedProperties},
    view::{self, View},
};
use crate::{
    dialect::{
        Context, handler, id_list,
        json_body::{self, Items},
    },
    domain::{
        CollectionId, ProductFilter, ProductId,
        filter::{Comparison, Matching},
    },
    service::{Key, ListProducts, PageStart, ProductDetail},
};

/// The properties of products, including documented ones that no product of this service has.
const SHOWN: Shown = Shown {
    known: &[
        "active",
        "arrivalDate",
        "avgCustRating",
        "brand",
        "childSKUs",
        "countryOfOrigin",
        "creationDate",
        "defaultProductListingSku",
        "derivedDirectCatalogs",
        "description",
        "displayName",
        "height",
        "id",
        "keywords",
        "lastModifiedDate",
        "length",
        "listPrice",
        "listPrices",
        "longDescription",
        "nonreturnable",
        "notForIndividualSale",
        "orderLimit",
        "parentCategories",
        "parentCategory",
        "productNumber",
        "productType",
        "relatedArticles",
        "relatedMediaContent",
        "relatedProducts",
        "repositoryId",
        "route",
        "salePrice",
        "salePrices",
        "shippingSurcharge",
        "taxCode",
        "type",
        "unitOfMeasure",
        "weight",
        "width",
    ],
    hidden: &[],
    nested: &[],
};

/// `GET /products`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/products",
    operation_id = "listProducts",
    tag = "Products",
    summary = "List products",
    params(openapi::Language, openapi::ProductQuery, openapi::PageQuery, openapi::Fields),
    responses((status = 200, description = "Success", body = openapi::ProductPage), openapi::Failures),
)]
pub async fn handle(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let service = &context.service;
    let locale = headers::optional_language(request.headers(), service.settings())?;
    let query = view::pairs(request.uri())?;
    let shows = View::read(&query, locale)?;
    let view = shows.of_items();
    let page = PageQuery::parse(&query, shows)?;
    let parsed = ParsedQuery::parse(&query)?;
    let failed = Failure::of(Operation::Product);
    parsed
        .search
        .check(&service.settings().limits)
        .map_err(&failed)?;
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    if let Some(id) = &parsed.category {
        // An unknown collection is an error, and not an empty list.
        let found = service.get_collection(&caller, Key::Id(id.clone())).await;
        found.map_err(&failed)?;
    }
    let (command, unverified) = parsed.command(&page);
    let found = service.list_products(&caller, command).await;
    let found = found.map_err(failed)?;
    unverified.check().map_err(Failure::Problems)?;
    let items = Items {
        first: found.products,
        rest: found.rest.into(),
        next: handler::next_products(service, &caller, found.still),
        write: Box::new(move |items| {
            let shown = items.iter().map(|detail| products::shown(detail, &view));
            shown.map(|item| json_body::written(&item)).collect()
        }),
    };
    Ok(page.respond(items, found.total))
}

/// The query parameters, except for paging and fields.
#[derive(Default)]
struct ParsedQuery {
    search: Search,
    ids: Option<Vec<ProductId>>,
    /// `None` if only unassigned products are listed, which are in no collection.
    category: Option<CollectionId>,
    skips_missing: bool,
    include_descendants: bool,
    unassigned: bool,
}

impl ParsedQuery {
    fn parse(query: &[(String, String)]) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut problems = Problems::default();
        for (name, value) in query {
            parsed.add(name, value, &mut problems)?;
        }
        if !parsed.unassigned {
            parsed.category = category(query)?;
        }
        if !parsed.skips_missing {
            problems.finish()?;
        }
        Ok(parsed)
    }

    fn add(&mut self, name: &str, value: &str, ids: &mut Problems) -> Result<(), Failure> {
        let is_set = || view::switch(name, value);
        let is_blank = value.trim().is_empty();
        match name {
            "name" if !value.is_empty() => self.search.add_part(value),
            "q" if !is_blank => self.search.add_filter(value, &SHOWN)?,
            "sort" => self.search.set_order(value, &SHOWN)?,
            "productIds" if !is_blank => {
                let given = id_list::split(value).into_iter();
                let given = given.map(|id| id.trim().to_owned());
                let given = given.filter(|id| !id.is_empty());
                let given = given.filter_map(|id| {
                    // A malformed id gets the code of an unknown product.
                    ids.take(codes::PRODUCT_INVALID, ProductId::parse("productIds", &id))
                });
                self.ids.get_or_insert_default().extend(given);
            }
            "includeChildren" => self.include_descendants = is_set()?,
            "unassigned" => self.unassigned = is_set()?,
            "continueOnMissingProduct" => self.skips_missing = is_set()?,
            "showInactiveProducts" if !is_set()? => self.search.add_condition(is_shown()),
            _ => {}
        }
        Ok(())
    }

    fn command(mut self, page: &PageQuery) -> (ListProducts, UnverifiedProperties) {
        let all_there = self.ids.is_some() && !self.skips_missing;
        if self.ids.is_none() {
            let taken = self.search.take_ids();
            let ids =
                taken.or_else(|| Some(self.search.ids()?.into_iter().map(Into::into).collect()));
            let ids = ids.map(|ids| {
                ids.into_iter()
                    .filter_map(|id| ProductId::parse("q", &id).ok())
            });
            self.ids = ids.map(Iterator::collect);
        }
        // Ascending by id is the default order, so the database sorts already.
        if self.category.is_none() && self.search.is_by_id() {
            self.search.take_order(true);
        }
        let view = View::of(self.search.names(&SHOWN), page.shows.locale.clone());
        let show = move |detail: &ProductDetail| products::shown(detail, &view);
        let (scan, unverified) = self.search.scan(show);
        let filter = ProductFilter {
            ids: self.ids,
            collections: self.category.map(|id| vec![id]),
            unassigned: self.unassigned,
            ..ProductFilter::default()
        };
        let command = ListProducts {
            include_descendants: self.include_descendants && filter.collections.is_some(),
            filter,
            slug: None,
            all_there,
            scan,
            start: PageStart::Offset(page.offset),
            size: page.limit as usize,
            bytes: None,
            omit_total: false,
        };
        (command, unverified)
    }
}

fn category(query: &[(String, String)]) -> Result<Option<CollectionId>, Failure> {
    let given = |(name, value): &&(String, String)| name == "categoryId" && !value.is_empty();
    let Some((name, value)) = query.iter().find(given) else {
        return Ok(None);
    };
    let id = CollectionId::parse(name, value)
        .map_err(|violation| Problem::at(codes::PRODUCTS_ID_INVALID, name, violation.problem()));
    Ok(Some(id?))
}

/// The condition that `active` is not false.
fn is_shown() -> Node {
    let matching = Matching::Compared(Comparison::NotEqual);
    Node::Is(Path::of("active"), matching, Operand::Switch(false))
}
