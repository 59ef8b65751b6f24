//! `endcap.v1` over gRPC: decode, call the use case, encode.

pub mod codec;
mod context;
mod decode;
mod encode;
mod error;
mod mask;
mod methods;
mod path;
pub mod pb;
mod products;
mod service;

use axum::middleware::{Next, from_fn};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

pub use context::Context;
pub use error::{refused_by_tonic, status};
pub use methods::{method, scope};
pub use pb::DESCRIPTORS;

use pb::{
    collection_service_server::CollectionServiceServer,
    product_service_server::ProductServiceServer,
};

/// The names of the services, as health checks ask for them.
pub const SERVICE_NAMES: [&str; 2] = ["endcap.v1.CollectionService", "endcap.v1.ProductService"];

/// The services that everybody may call: they tell nothing of any tenant.
pub const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// All gRPC services: collections, products, health, and reflection in both versions, for older
/// clients ask for v1alpha.
///
/// # Errors
/// Where the descriptors can't be read.
pub async fn routes(
    context: Context,
) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in SERVICE_NAMES {
        health
            .set_service_status(name, tonic_health::ServingStatus::Serving)
            .await;
    }
    let (max_message, max_items) = (context.max_message, context.max_items);
    let has_reflection = context.reflection;
    let products = ProductServiceServer::new(products::Products::new(context.clone()))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let collections = CollectionServiceServer::new(service::Collections::new(context))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that clients can show the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::new(collections)
        .add_service(products)
        .add_service(health_service);
    if has_reflection {
        routes = routes
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
    }
    let counted = move |request, next: Next| codec::limited(max_items, next.run(request));
    let routes = routes.into_axum_router().layer(from_fn(counted));
    Ok((routes.into(), health))
}
