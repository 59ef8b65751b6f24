//! Parses fields of JSON objects, and collects the problems with them.

use serde_json::{Map, Number, Value};

use super::{
    codes,
    error::Failure,
    paths,
    problem::{Problem, TOLD},
};
use crate::domain::{Change, Violation};

/// A JSON object in a request.
pub type Object = Map<String, Value>;

/// The problems of a request, so that the client gets all of them at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem, unless the maximum for a response is reached.
    pub fn add(&mut self, problem: Problem) {
        if self.0.len() < TOLD {
            self.0.push(problem);
        }
    }

    /// Adds the problem that a field has an invalid value.
    pub fn invalid(&mut self, path: &str, detail: impl std::fmt::Display) {
        self.add(Problem::at(codes::INVALID_INPUT, path, detail));
    }

    /// Returns the value of `result`, or adds its violation as a problem, with the request's name
    /// of the field.
    pub fn take<T>(&mut self, code: codes::Code, result: Result<T, Violation>) -> Option<T> {
        let problem = |violation: Violation| {
            Problem::at(code, paths::of(&violation.field), violation.problem())
        };
        result
            .map_err(|violation| self.add(problem(violation)))
            .ok()
    }

    /// Fails if there are problems.
    ///
    /// # Errors
    /// With all problems, in the order found.
    pub fn finish(self) -> Result<(), Failure> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Failure::Problems(self.0))
        }
    }

    #[cfg(test)]
    pub fn numbers(&self) -> Vec<&'static str> {
        self.0.iter().map(|problem| problem.code.number).collect()
    }
}

/// The path of a field below `at`, which is empty for the body itself.
pub fn path(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.into()
    } else {
        format!("{at}.{name}")
    }
}

/// The value of a field, unless it is missing or null.
pub fn given<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// Whether a field is present and not empty.
pub fn has(object: &Object, name: &str) -> bool {
    match object.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => true,
    }
}

/// The change of an optional text; null clears it.
pub fn text(object: &Object, at: &str, name: &str, problems: &mut Problems) -> Change<String> {
    match object.get(name) {
        None => Change::Keep,
        Some(Value::Null) => Change::Clear,
        Some(Value::String(text)) => Change::Set(text.clone()),
        Some(_) => {
            problems.invalid(&path(at, name), "must be a string");
            Change::Keep
        }
    }
}

/// The object in a field; `None` if it is missing or null.
pub fn object<'a>(
    parent: &'a Object,
    at: &str,
    name: &str,
    problems: &mut Problems,
) -> Option<&'a Object> {
    let value = given(parent, name)?;
    if !value.is_object() {
        problems.invalid(&path(at, name), "must be an object");
    }
    value.as_object()
}

/// An integer; also as a float without a fraction, or as a string of either.
pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(digits) => {
            let digits = digits.trim();
            let number = || whole(digits.parse::<Number>().ok()?.as_f64()?);
            digits.parse().ok().or_else(number)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The float as an integer, if it has no fraction and floats are exact in its range.
#[expect(
    clippy::cast_possible_truncation,
    reason = "it has no fraction and is in range"
)]
fn whole(float: f64) -> Option<i64> {
    const MAX: f64 = 9_007_199_254_740_992.0;
    (float.fract() == 0.0 && float.abs() <= MAX).then_some(float as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_also_come_as_strings_of_digits_and_as_floats() {
        assert_eq!(integer(&json!(5)), Some(5));
        assert_eq!(integer(&json!("5")), Some(5));
        assert_eq!(integer(&json!("-1")), Some(-1));
        assert_eq!(integer(&json!(5.0)), Some(5));
        assert_eq!(integer(&json!("5.0")), Some(5));
        assert_eq!(integer(&json!(-1e2)), Some(-100));
        let odd = [
            json!(1.5),
            json!(1e300),
            json!("1.5"),
            json!("x"),
            json!("inf"),
        ];
        for odd in odd
            .into_iter()
            .chain([json!({}), json!(null), json!([1]), json!(true)])
        {
            assert_eq!(integer(&odd), None, "{odd}");
        }
    }
}
