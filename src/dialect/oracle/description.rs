//! The OpenAPI 3.1 description of this dialect, assembled from the operations and the types in
//! `openapi`.

use utoipa::OpenApi;

use super::{
    assign, catalogs, create, delete, get, list, login, movement, openapi, product_list, products,
    update,
};
use crate::dialect::openapi::add_bearer;

/// The OpenAPI description.
pub fn describe() -> utoipa::openapi::OpenApi {
    let mut description = Description::openapi();
    add_bearer(&mut description, "Bearer");
    description
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Endcap: Oracle Commerce's Admin API",
        version = "v1",
        description = "The operations of Oracle Commerce's Admin API on collections, and those of \
                       its operations on products that concern collections, as Endcap serves them. \
                       Existing clients only change their base URL. Each operation is also served \
                       under `/ccadminui/v1`, and with a trailing slash.\n\n\
                       **Authentication**: `Authorization: Bearer`. `login` exchanges an API key \
                       for a short-lived token (5 minutes by default), `refresh` renews it, `logout` \
                       revokes it. The other operations also accept API keys and tokens of the \
                       configured issuer. The tenant is that of the credential, or the setting \
                       `default_tenant` if the credential is valid for several. If authentication \
                       is disabled, no credential is needed.\n\n\
                       **Examples**: requests that succeed with the sample catalogue of `/docs/`, \
                       and the responses of a server.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    paths(
        login::log_in,
        login::log_in_with_mfa,
        login::refresh,
        login::verify,
        login::log_out,
        list::handle,
        create::handle,
        movement::handle,
        assign::handle,
        get::handle,
        update::handle,
        delete::handle,
        product_list::handle,
        products::create,
        products::read,
        products::update,
        products::delete,
        products::add_to_collections,
        catalogs::list,
        catalogs::locales,
    ),
    components(schemas(openapi::ErrorBody)),
    security(("Bearer" = [])),
    tags(
        (name = "Login", description = "Exchange an API key for a short-lived token."),
        (name = "Collections", description = "Named sets of products, in a hierarchy."),
        (name = "Products", description = "Products, as far as collections need them, and the collections that contain them."),
        (name = "Catalogs", description = "The configured catalog and locales."),
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
