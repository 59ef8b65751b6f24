//! The Oracle Commerce Admin API for collections and their products.
//!
//! A handler parses the request ([`headers`], [`view`], [`properties`], [`images`], [`parents`],
//! [`children`]) into one command, and renders the result ([`response`], [`derived`]). All problems
//! with a request are collected ([`fields`], [`problem`]) and reported with Oracle's codes
//! ([`codes`], [`operation`], [`error`]).

mod assign;
mod catalogs;
mod children;
mod codes;
mod columns;
mod create;
mod delete;
mod derived;
mod description;
mod error;
mod facts;
mod fields;
mod get;
mod headers;
mod images;
mod list;
mod login;
mod movement;
mod names;
mod openapi;
mod operation;
mod page;
mod parameters;
mod parents;
mod paths;
mod problem;
mod product_list;
mod products;
mod properties;
mod query;
mod response;
mod routes;
mod scim;
mod search;
mod stream;
mod update;
mod view;

use super::Dialect;
use crate::domain::RootNames;

/// Oracle's API as a dialect.
pub static DIALECT: Dialect = Dialect {
    name: "Oracle Commerce",
    paths: &["/ccadmin", "/ccadminui"],
    open_paths: &routes::OPEN_PATHS,
    scope: routes::scope,
    routes: routes::router,
    error: error::error_response,
    not_found: error::not_found,
    description_path: "/openapi/oracle.json",
    description: || super::openapi::json(&description::describe()),
    examples: include_str!("examples.json"),
    rate_headers: None,
    scopes: &[],
    root_names: Some(RootNames {
        navigable: "Commerce Root",
        non_navigable: "Non-Navigable",
    }),
    facts_of_stored: Some(facts::of_stored),
};
