//! The code generated from `proto/endcap/v1`.
#![expect(clippy::allow_attributes, reason = "made by tonic-prost-build")]

tonic::include_proto!("endcap.v1");

/// The code generated from `third_party/grpc/health/v1`.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The encoded descriptors of `endcap.v1` and `grpc.health.v1`, with everything they import.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/endcap_descriptor.bin"));
