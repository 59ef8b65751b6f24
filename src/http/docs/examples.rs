//! Adds the examples in a dialect's `examples.json` to its OpenAPI description. The file has the
//! request of each operation; a test fills in the responses of a real server.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::dialect::Dialect;

/// The contents of `examples.json`.
#[derive(Debug, Deserialize)]
struct Examples {
    operations: Vec<Operation>,
    errors: Vec<Failure>,
}

/// The example of an operation.
#[derive(Debug, Deserialize)]
struct Operation {
    operation: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    body: Option<Value>,
    response: Option<Value>,
}

/// The response to a failed request, an example for all operations.
#[derive(Debug, Deserialize)]
struct Failure {
    status: String,
    response: Option<Value>,
}

/// The dialect's OpenAPI description with its examples, as JSON.
pub(super) fn described(dialect: &Dialect) -> String {
    let mut description = (dialect.description)();
    // They can be parsed; the tests of the examples would fail otherwise.
    if let Ok(examples) = serde_json::from_str(dialect.examples) {
        add(&mut description, &examples);
    }
    description.to_string()
}

fn add(description: &mut Value, examples: &Examples) {
    let items = description["paths"].as_object_mut().into_iter().flatten();
    for (_, item) in items {
        for (_, described) in item.as_object_mut().into_iter().flatten() {
            let mut known = examples.operations.iter();
            if let Some(example) = known.find(|it| described["operationId"] == it.operation) {
                add_request(described, example);
                add_responses(described, example.response.as_ref(), &examples.errors);
            }
        }
    }
}

fn add_request(described: &mut Value, example: &Operation) {
    let parameters = described
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        // Removes a default example if this operation's example does not use the parameter: Swagger
        // UI would send it along with the others, which do not fit it.
        let value = example.parameters.get(name).cloned();
        set(parameter, value);
    }
    set_content(described.get_mut("requestBody"), example.body.as_ref());
}

fn add_responses(described: &mut Value, response: Option<&Value>, errors: &[Failure]) {
    let responses = described["responses"].as_object_mut();
    for (status, described) in responses.into_iter().flatten() {
        let mut failures = errors.iter();
        let example = if status.starts_with('2') {
            response
        } else {
            let failure = failures.find(|failure| failure.status == *status);
            failure.and_then(|failure| failure.response.as_ref())
        };
        set_content(Some(described), example);
    }
}

/// Sets the example of a request body or response.
fn set_content(described: Option<&mut Value>, example: Option<&Value>) {
    let content = described.and_then(|it| it.get_mut("content")?.as_object_mut());
    for (_, media) in content.into_iter().flatten() {
        set(media, example.cloned());
    }
}

fn set(described: &mut Value, example: Option<Value>) {
    if let Value::Object(described) = described {
        match example {
            Some(example) => described.insert("example".into(), example),
            None => described.shift_remove("example"),
        };
    }
}
