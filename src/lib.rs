//! Endcap: a service for the product collections of a catalogue, over gRPC, JSON and two vendors'
//! REST dialects. See docs/explanation/architecture.md for the source layout.

// Futures of requests nest almost as deep as the default allows. Optimized builds look deeper into
// them than debug builds, so without this only a release build would fail.
#![recursion_limit = "256"]
// A future is copied wherever it is passed on by value. Those of requests had up to 50 KB.
#![warn(clippy::large_futures)]

pub mod app;
pub mod auth;
#[expect(clippy::large_futures, reason = "they are made once per process")]
pub mod cli;
pub mod config;
pub mod crypto;
pub mod dialect;
pub mod domain;
pub mod grpc;
pub mod http;
pub mod json;
pub mod memory;
pub mod pem;
pub mod preflight;
pub mod processor;
pub mod rate;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod watched;
