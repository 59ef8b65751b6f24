//! Tests of the whole service through its real API, on both engines.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
mod postgres;

mod api;
mod auth;
mod children;
mod clients;
mod collections;
mod commands;
mod concurrency;
mod connections;
mod database_access;
mod edge;
mod edge_limits;
mod faults;
mod fuzz;
mod grpcurl;
mod highlevel;
mod highlevel_products;
mod histories;
mod house;
mod json_depth;
mod kept;
mod large;
mod limits;
mod log_filter;
mod many_lists;
mod one_model;
mod oracle;
mod overload;
mod page_tokens;
mod paging;
mod plans;
mod pooler;
mod preflight;
mod products;
mod program;
mod races;
mod readme;
mod rolling;
mod rollout;
mod settings;
mod soak;
mod telemetry;
mod upgrade;
