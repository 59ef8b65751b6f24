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
        description = "Oracle Commerce's Admin API for collections as this service serves it, and \
                       what concerns collections of its operations on products. Its clients change \
                       their base URL. Each operation is also served under `/ccadminui/v1`, and \
                       with a slash at its end.\n\n\
                       **Authentication**: `Authorization: Bearer`. `login` exchanges an API key for \
                       a token that is valid for some minutes, `refresh` renews it, `logout` revokes \
                       it; keys and tokens of the configured issuer are accepted by the other \
                       operations, too. The tenant is that of the credential. Servers that run \
                       without authentication accept any request.\n\n\
                       **Examples**: requests that succeed on the sample catalogue of `/docs/`, \
                       and what a server answered.",
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
        (name = "Products", description = "The projection of products, and the collections that contain them."),
        (name = "Catalogs", description = "Catalogs and locales that are configured."),
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
