//! The code made of `proto/endcap/v1`.
#![expect(clippy::allow_attributes, reason = "made by tonic-prost-build")]

tonic::include_proto!("endcap.v1");

/// The code made of `third_party/grpc/health/v1`.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The descriptors of `endcap.v1` and `grpc.health.v1`, with all that these import.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/endcap_descriptor.bin"));
