//! What is wrong with settings.

use std::fmt;

use serde::Serialize;

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(rename = "setting")]
    place: String,
    #[serde(rename = "problem")]
    what: String,
}

impl Problem {
    /// Of the setting, or the place that says it.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

/// What is wrong with a TOML file, without quoting it: there may be secrets in it.
pub fn invalid_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("invalid TOML in line {line}: {}", error.message())
}

/// Every problem of the settings.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid configuration:")?;
        for problem in &self.0 {
            write!(f, "\n  {}: {}", problem.place, problem.what)?;
        }
        Ok(())
    }
}
