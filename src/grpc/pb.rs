//! The code made of `proto/endcap/v1`.
#![expect(clippy::allow_attributes, reason = "made by tonic-prost-build")]

tonic::include_proto!("endcap.v1");
