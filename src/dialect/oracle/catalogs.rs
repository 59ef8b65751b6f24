//! listCatalogs and listLocales, which only show settings.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    error::Failure,
    headers, openapi,
    operation::Operation,
    page::PageQuery,
    search::{Search, Shown},
    view::{self, Catalog, View},
};
use crate::{
    config::Raw,
    dialect::{
        Context, handler,
        json_body::{self, Items},
    },
    domain::{
        Locale,
        filter::Keys,
        ids::{NON_NAVIGABLE_ROOT, ROOT},
    },
    service::Settings,
};

/// Oracle's code for independent catalogs, as opposed to views of others.
const VERSION: u64 = 2;

const SHOWN: Shown = Shown {
    known: &[
        "catalogVersion",
        "displayName",
        "id",
        "name",
        "repositoryId",
        "rootCategories",
        "rootNavigationCategory",
    ],
    hidden: &[],
    nested: &[],
};

/// The catalog, from the settings. Each tenant has exactly one.
pub fn catalog(settings: &Raw) -> Catalog {
    Catalog {
        id: settings.oracle_catalog_id.clone(),
        name: settings.oracle_catalog_name.clone(),
    }
}

/// `GET /catalogs`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/catalogs",
    operation_id = "listCatalogs",
    tag = "Catalogs",
    summary = "List catalogs (each tenant has exactly one)",
    params(openapi::Language, openapi::CatalogQuery, openapi::PageQuery, openapi::Fields),
    responses((status = 200, description = "Success", body = openapi::CatalogPage), openapi::Failures),
)]
pub async fn list(State(context): State<Context>, request: Request) -> Result<Response, Failure> {
    let settings = context.service.settings();
    let locale = headers::optional_language(request.headers(), settings)?;
    let query = view::pairs(request.uri())?;
    let shows = View::read(&query, locale)?;
    let view = shows.of_items();
    let page = PageQuery::parse(&query, shows)?;
    let mut search = Search::default();
    for (name, value) in &query {
        match name.as_str() {
            "q" if !value.trim().is_empty() => search.add_filter(value, &SHOWN)?,
            "name" if !value.is_empty() => search.add_part(value),
            "sort" => search.set_order(value, &SHOWN)?,
            _ => {}
        }
    }
    let failed = Failure::of(Operation::Read);
    search.check(&settings.limits).map_err(&failed)?;
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    caller.reading().map_err(failed)?;

    let (scan, unverified) = search.scan(Clone::clone);
    let mut items = vec![item(&catalog(&context.settings))];
    items.retain(|item: &Value| {
        let keys = scan.as_ref().map(|scan| (scan.evaluate)(item));
        keys.unwrap_or_else(|| Some(Keys::default())).is_some()
    });
    unverified.check().map_err(Failure::Problems)?;
    let total = items.len() as u64;
    let (skipped, shown) = (page.offset.min(total) as usize, page.limit as usize);
    let items = items.into_iter().skip(skipped).take(shown);
    let items = items.map(|item| view.cut_object(item)).collect();
    let items = Items {
        first: items,
        rest: Default::default(),
        next: Box::new(|rest: std::collections::VecDeque<()>| {
            Box::pin(async move { Ok((Vec::new(), rest)) })
        }),
        write: Box::new(|items: Vec<Value>| items.iter().map(json_body::written).collect()),
    };
    Ok(page.respond(items, total))
}

fn item(catalog: &Catalog) -> Value {
    let root = |id: &str| json!({ "repositoryId": id });
    json!({
        "id": catalog.id,
        "repositoryId": catalog.id,
        "name": catalog.name,
        "displayName": catalog.name,
        "catalogVersion": VERSION,
        "rootNavigationCategory": root(ROOT),
        "rootCategories": [root(ROOT), root(NON_NAVIGABLE_ROOT)],
    })
}

/// `GET /locales`.
#[utoipa::path(
    get,
    path = "/ccadmin/v1/locales",
    operation_id = "listLocales",
    tag = "Catalogs",
    summary = "List the configured locales",
    params(openapi::LocaleQuery, openapi::Fields),
    responses((status = 200, description = "Success", body = openapi::LocaleList), openapi::Failures),
)]
pub async fn locales(
    State(context): State<Context>,
    request: Request,
) -> Result<Response, Failure> {
    let settings = context.service.settings();
    let view = View::parse(request.uri(), settings.default_locale.clone())?;
    let failed = Failure::of(Operation::Read);
    let caller = handler::caller(request.extensions()).map_err(&failed)?;
    caller.reading().map_err(failed)?;
    Ok(Json(view.cut_object(locale_list(settings))).into_response())
}

/// The default locale, and the locales of the setting `locales`.
fn locale_list(settings: &Settings) -> Value {
    let default = &settings.default_locale;
    let mut locales = settings.locales.clone();
    if !locales.contains(default) {
        locales.insert(0, default.clone());
    }
    let items: Vec<_> = locales.iter().map(locale).collect();
    json!({ "defaultLocale": locale(default), "items": items })
}

/// A locale in Oracle's form, `pt_BR` for `pt-BR`. Its ids are names, where Oracle has numbers.
fn locale(locale: &Locale) -> Value {
    let name = locale.as_str().replace('-', "_");
    json!({
        "name": name,
        "displayName": locale.as_str(),
        "localeId": name,
        "repositoryId": name,
    })
}
