//! The gRPC API, `endcap.v1`. Its methods decode a request, call a use case in `service`, and
//! encode the response; `http` authenticates requests and serves them. The JSON API (`json`) calls
//! these same services.

pub mod codec;
mod context;
mod decode;
mod encode;
mod encoded;
mod error;
mod health;
mod mask;
mod methods;
mod path;
pub mod pb;
mod product_details;
mod product_fields;
mod products;
mod rules;
mod service;
mod verdicts;

use std::sync::Arc;

use axum::middleware::{Next, from_fn};
use tonic::service::Routes;

pub use context::Context;
pub use error::{refused_by_tonic, status};
pub use health::Statuses;
pub use methods::{method, scope};
pub use pb::DESCRIPTORS;

use pb::{
    collection_service_server::CollectionServiceServer, health::health_server::HealthServer,
    product_service_server::ProductServiceServer, rule_service_server::RuleServiceServer,
};

/// The services that need no credential, as they reveal nothing about any tenant.
pub const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// All gRPC services: collections, products, rules, health checking, and reflection, the latter
/// also as v1alpha, which older clients ask for.
///
/// # Errors
/// If the descriptors can't be read.
pub fn routes(
    context: Context,
    statuses: Statuses,
) -> Result<Routes, tonic_reflection::server::Error> {
    let (max_items, has_reflection) = (context.max_items, context.reflection);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            // Lets clients like grpcurl decode the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = api(context).add_service(HealthServer::new(statuses));
    if has_reflection {
        routes = routes
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
    }
    Ok(limit_items(max_items, routes))
}

/// The services of `endcap.v1` alone, for calls from within this process.
pub fn services(context: Context) -> Routes {
    limit_items(context.max_items, api(context))
}

fn api(context: Context) -> Routes {
    let max_message = context.max_message;
    let products = ProductServiceServer::new(products::Products::new(context.clone()))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let rules = RuleServiceServer::new(rules::RuleMethods::new(context.clone()))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let methods = Arc::new(service::Collections::new(context));
    let collections = CollectionServiceServer::from_arc(Arc::clone(&methods))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let collections = encoded::EncodedService::new(methods, collections, max_message);
    Routes::new(collections)
        .add_service(products)
        .add_service(rules)
}

/// Adds the limit on items per message to the services.
fn limit_items(max_items: usize, routes: Routes) -> Routes {
    let limited = move |request, next: Next| codec::with_item_limit(max_items, next.run(request));
    routes.into_axum_router().layer(from_fn(limited)).into()
}
