//! Checks the query string of every request. Unknown parameters are rejected, and so are repeated
//! ones of which only the last would count.

use std::{
    collections::{BTreeMap, HashSet},
    sync::LazyLock,
};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Method, Uri};
use serde_json::Value;
use utoipa::openapi::{
    PathItem, RefOr, Schema, Type,
    path::{Operation, ParameterIn},
    schema::SchemaType,
};

use super::{codes, description, error::Failure, fields::Problems, problem::Problem, view};
use crate::domain::error::Quoted;

/// The parameters that may be repeated.
const REPEATED: [&str; 6] = [
    "categoryIds",
    "exclude",
    "expand",
    "fields",
    "productIds",
    "q",
];

/// The valid values of a query parameter.
#[derive(Debug)]
enum Takes {
    /// Any text, which the operation checks.
    Text,
    /// `true` or `false`.
    Switch,
    /// One of these; a switch that is not supported can only be `false`.
    OneOf(Vec<String>),
}

type Parameters = BTreeMap<String, Takes>;

/// The query parameters of each operation, by path and method, from the OpenAPI description.
static PARAMETERS: LazyLock<BTreeMap<(String, Method), Parameters>> = LazyLock::new(|| {
    let paths = description::describe().paths.paths.into_iter();
    let operations = paths.flat_map(|(path, item)| {
        let operations = of_path(item).into_iter();
        operations.map(move |(method, operation)| ((path.clone(), method), parameters(operation)))
    });
    operations.collect()
});

fn of_path(item: PathItem) -> Vec<(Method, Operation)> {
    let operations = [
        (Method::GET, item.get),
        (Method::POST, item.post),
        (Method::PUT, item.put),
        (Method::DELETE, item.delete),
    ];
    let there = |(method, operation): (_, Option<Operation>)| Some((method, operation?));
    operations.into_iter().filter_map(there).collect()
}

fn parameters(operation: Operation) -> Parameters {
    let parameters = operation.parameters.into_iter().flatten();
    let of_query = parameters.filter_map(|parameter| match parameter {
        RefOr::T(one) if one.parameter_in == ParameterIn::Query => {
            let takes = one.schema.map_or(Takes::Text, takes);
            Some((one.name, takes))
        }
        RefOr::T(_) | RefOr::Ref(_) => None,
    });
    of_query.collect()
}

fn takes(schema: RefOr<Schema>) -> Takes {
    let RefOr::T(Schema::Object(schema)) = schema else {
        return Takes::Text;
    };
    match schema.enum_values {
        Some(values) => {
            let values = values.iter().filter_map(Value::as_str);
            Takes::OneOf(values.map(Into::into).collect())
        }
        None if schema.schema_type == SchemaType::Type(Type::Boolean) => Takes::Switch,
        None => Takes::Text,
    }
}

/// Rejects requests with invalid query parameters.
pub async fn check(path: MatchedPath, request: Request, next: Next) -> Response {
    // The path in the description. Operations are also served below `/ccadminui`, and with a
    // trailing slash.
    let path = path.as_str().trim_end_matches('/');
    let path = path.replacen("/ccadminui/", "/ccadmin/", 1);
    let method = match request.method() {
        &Method::HEAD => Method::GET,
        method => method.clone(),
    };
    // The router rejects other methods.
    let checked = PARAMETERS.get(&(path, method));
    let checked = checked.map_or(Ok(()), |parameters| check_query(request.uri(), parameters));
    match checked {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

fn check_query(uri: &Uri, parameters: &Parameters) -> Result<(), Failure> {
    let mut problems = Problems::default();
    let mut seen = HashSet::new();
    for (name, value) in &view::pairs(uri)? {
        // Names that begin with `_` are cache busters, which are ignored.
        if !name.starts_with('_')
            && let Err(why) = check_one(name, value, parameters, &mut seen)
        {
            problems.add(Problem::at(codes::BAD_REQUEST, name, why));
        }
    }
    problems.finish()
}

fn check_one<'a>(
    name: &'a str,
    value: &str,
    parameters: &Parameters,
    seen: &mut HashSet<&'a str>,
) -> Result<(), String> {
    let Some(takes) = parameters.get(name) else {
        return Err("is not a query parameter of this operation".into());
    };
    if !seen.insert(name) && !REPEATED.contains(&name) {
        return Err("is given twice".into());
    }
    let is_in = |values: &[&str]| values.iter().any(|one| one.eq_ignore_ascii_case(value));
    match takes {
        Takes::Switch if !is_in(&["true", "false"]) => {
            Err(format!("{} must be true or false", Quoted(value)))
        }
        Takes::OneOf(values) if !values.iter().any(|one| one.eq_ignore_ascii_case(value)) => {
            Err(format!("{} must be {}", Quoted(value), values.join(" or ")))
        }
        Takes::Text | Takes::Switch | Takes::OneOf(_) => Ok(()),
    }
}
