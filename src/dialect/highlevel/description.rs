//! The OpenAPI 3.1 description of this dialect, assembled from the operations and the types in
//! `openapi`.

use utoipa::OpenApi;

use super::{openapi, prices, products, routes};
use crate::dialect::openapi::add_bearer;

/// The OpenAPI description.
pub fn describe() -> utoipa::openapi::OpenApi {
    let mut description = Description::openapi();
    add_bearer(&mut description, "Location-Access");
    description
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Endcap: HighLevel's Products API",
        version = "2021-07-28",
        description = "HighLevel's Products Collections API, and the operations of its Products \
                       API that concern collections, as Endcap serves them. Existing clients only \
                       change their base URL.\n\n\
                       **Authentication**: `Authorization: Bearer`, with an API key or a token of \
                       the configured issuer. If authentication is disabled, no credential is \
                       needed. The location (`altId`, `locationId`) is the tenant, and the \
                       credential must be valid for it. Each request has the header `Version`.\n\n\
                       **Examples**: requests that succeed with the sample catalogue of `/docs/`, \
                       and the responses of a server.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    paths(
        routes::list,
        routes::create,
        routes::read,
        routes::update,
        routes::delete,
        products::list,
        products::create,
        products::read,
        products::update,
        products::delete,
        products::bulk_update,
        products::bulk_edit,
        prices::list,
        prices::create,
        prices::read,
        prices::update,
        prices::delete,
        prices::list_inventory,
        prices::update_inventory,
    ),
    components(schemas(openapi::ErrorDto, openapi::UnprocessableDTO)),
    security(("Location-Access" = [])),
    tags(
        (name = "Collections", description = "Named sets of products."),
        (name = "Products", description = "Products and the collections that contain them."),
        (name = "Prices", description = "Prices and stock, which rules of smart collections evaluate."),
    ),
)]
struct Description;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_as_reviewed() {
        let json = serde_json::to_value(describe()).unwrap();
        insta::assert_json_snapshot!(json);
    }
}
