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
mod services;
mod verdicts;

pub use context::Context;
pub use encoded::CachedMessage;
pub use error::{refused_by_tonic, status};
pub use health::Statuses;
pub use methods::{method, scope};
pub use pb::DESCRIPTORS;
pub use services::{Services, is_compressed};

/// The services that need no credential, as they reveal nothing about any tenant.
pub const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
