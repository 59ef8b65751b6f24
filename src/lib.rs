//! Endcap: one collection service for a company's catalogue, over gRPC, JSON and two
//! vendors' REST dialects. See docs/explanation/architecture.md for the house.

// The futures of requests are nested about as deep as the default allows, and the optimizer looks
// at them whole: a release would fail to build where no debug build does.
#![recursion_limit = "256"]

pub mod app;
pub mod auth;
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
