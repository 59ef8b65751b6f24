//! The gRPC services, and the dispatch of calls to them.

use std::sync::Arc;

use axum::{Router, body::Body, extract::Request, response::Response};
use futures::FutureExt as _;
use http::HeaderMap;
use tonic::{body::Body as TonicBody, codec::CompressionEncoding, service::Routes};
use tower::ServiceExt as _;

use super::{
    codec,
    context::Context,
    encoded::EncodedService,
    health::Statuses,
    pb::{
        DESCRIPTORS, collection_service_server::CollectionServiceServer,
        health::health_server::HealthServer, product_service_server::ProductServiceServer,
        rule_service_server::RuleServiceServer,
    },
    products::Products,
    rules::RuleMethods,
    service::Collections,
};
use crate::processor;

/// Whether the messages of a request with these headers are compressed.
pub fn is_compressed(headers: &HeaderMap) -> bool {
    let encoding = headers.get("grpc-encoding");
    encoding.is_some_and(|encoding| encoding != "identity")
}

/// gRPC services. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    /// Ahead of the router: a router costs every request several allocations.
    collections: EncodedService,
    others: Router,
    max_items: usize,
}

impl Services {
    /// The services of `endcap.v1` alone, for calls from within this process.
    pub fn api(context: Context) -> Self {
        let others = others(&context);
        Self::with(context, others)
    }

    /// All services: collections, products, rules, health checking, and reflection, the latter also
    /// as v1alpha, which older clients ask for.
    ///
    /// # Errors
    /// If the descriptors can't be read.
    pub fn all(
        context: Context,
        statuses: Statuses,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let mut routes = others(&context).add_service(HealthServer::new(statuses));
        if context.reflection {
            let reflection = || {
                tonic_reflection::server::Builder::configure()
                    .register_encoded_file_descriptor_set(DESCRIPTORS)
                    // Lets clients like grpcurl decode the details of errors.
                    .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            };
            routes = routes
                .add_service(reflection().build_v1()?)
                .add_service(reflection().build_v1alpha()?);
        }
        Ok(Self::with(context, routes))
    }

    fn with(context: Context, others: Routes) -> Self {
        let (max_message, max_items) = (context.max_message, context.max_items);
        let methods = Arc::new(Collections::new(context));
        let generated = CollectionServiceServer::from_arc(Arc::clone(&methods))
            .max_decoding_message_size(max_message)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        Self {
            collections: EncodedService::new(methods, generated, max_message),
            others: others.prepare().into_axum_router(),
            max_items,
        }
    }

    /// Calls a method.
    pub async fn call(&self, request: Request) -> Response {
        // A message is decompressed before its size is known, and 16 KiB may become 16 MiB.
        let bytes = if is_compressed(request.headers()) {
            usize::MAX
        } else {
            0
        };
        let response = async {
            if EncodedService::has(request.uri().path()) {
                let request = request.map(TonicBody::new);
                // Boxed, as the functions around it would each move it.
                let response = self.collections.call(request).boxed().await;
                return response.map(Body::new);
            }
            let response = self.others.clone().oneshot(request).await;
            response.unwrap_or_else(|never| match never {})
        };
        let response = codec::with_item_limit(self.max_items, response);
        processor::run(|| bytes, response).await
    }
}

/// The services of `endcap.v1` without collections.
fn others(context: &Context) -> Routes {
    let max_message = context.max_message;
    let products = ProductServiceServer::new(Products::new(context.clone()))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let rules = RuleServiceServer::new(RuleMethods::new(context.clone()))
        .max_decoding_message_size(max_message)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    Routes::new(products).add_service(rules)
}
