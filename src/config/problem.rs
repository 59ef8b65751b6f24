//! Errors of the configuration.

use std::fmt;

use serde::Serialize;

/// A problem with a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(rename = "setting")]
    place: String,
    #[serde(rename = "problem")]
    what: String,
}

impl Problem {
    /// A problem of a setting, or of the place that sets it.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

/// The message for an invalid TOML file. It does not quote the file, which may contain secrets.
pub fn invalid_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("invalid TOML in line {line}: {}", error.message())
}

/// All problems of the settings.
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
