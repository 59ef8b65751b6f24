//! The type of the setting for a PostgreSQL URL.

use std::{fmt, str::FromStr};

use reqwest::Url;

use super::kind::{Kind, Value, must_be};
use crate::store::{DatabaseTls, check_url};

/// The URL of a PostgreSQL database, whose password is never shown.
#[derive(Clone)]
pub struct DatabaseUrl {
    text: String,
    url: Url,
}

/// The parameters that a URL may have. The driver ignores others, and a misspelt `sslmode` must
/// not go unnoticed.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// The names of the parameter for TLS.
pub(super) const SSLMODE: [&str; 2] = ["sslmode", "ssl-mode"];
/// The names of that for certificates of authorities.
pub(super) const SSLROOTCERT: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
/// The names of that for the client's certificate.
pub(super) const SSLCERT: [&str; 2] = ["sslcert", "ssl-cert"];
/// The names of that for its key.
pub(super) const SSLKEY: [&str; 2] = ["sslkey", "ssl-key"];

impl DatabaseUrl {
    /// The URL, password and all.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether it has one.
    pub(super) fn has_password(&self) -> bool {
        self.url.password().is_some() || self.parameter(&["password"]).is_some()
    }

    /// Its parameter of one of these names.
    pub(super) fn parameter(&self, names: &[&str]) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        pairs.find_map(|(name, value)| names.contains(&&*name).then(|| value.into_owned()))
    }

    /// What of its parameters the driver would not take, or silently ignore.
    fn odd_parameter(&self) -> Option<String> {
        let is_mode = |mode: &String| DatabaseTls::NAMES.contains(&&**mode) || mode == "allow";
        if self.parameter(&SSLMODE).is_some_and(|mode| !is_mode(&mode)) {
            return Some(format!(
                "has an sslmode that is none of {}",
                DatabaseTls::NAMES.join(", ")
            ));
        }
        let mut names = self.url.query_pairs().map(|(name, _)| name);
        let unknown =
            names.find(|name| !PARAMETERS.contains(&&**name) && !name.starts_with("options["))?;
        let known = PARAMETERS.join(", ");
        Some(format!(
            "has the unknown parameter {unknown:?}; known are {known}"
        ))
    }
}

impl Value for DatabaseUrl {
    const KIND: Kind =
        Kind::Text("a PostgreSQL URL: postgres://user:password@host:5432/database?sslmode=…");
    const NAME: &'static str = "URL";
    const SECRET: bool = true;
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
        // A parser of URLs leaves line breaks out.
        if !is_postgres || text.contains(char::is_control) {
            return Err(must_be::<Self>());
        }
        // SeaORM knows the short form alone.
        let text = text.replacen("postgresql://", "postgres://", 1);
        let encode = "; characters such as # / ? @ in a password must be percent-encoded";
        let url: Url = text.parse().map_err(|error| format!("{error}{encode}"))?;
        // Most likely the end of a password: nothing of it may be shown.
        let rest = [Some(url.path()), url.query(), url.fragment()];
        if url.fragment().is_some() || rest.into_iter().flatten().any(|part| part.contains('@')) {
            return Err(format!("has a # or an @ after the host{encode}"));
        }
        let this = Self { text, url };
        if let Some(why) = this.odd_parameter() {
            return Err(why);
        }
        check_url(&this.text)?;
        Ok(this)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HIDDEN: &str = "***";
        let mut url = self.url.clone();
        if url.password().is_some() {
            // It has a host, or it would have no password.
            let _ = url.set_password(Some(HIDDEN));
        }
        if self.parameter(&["password"]).is_some() {
            let pairs = self.url.query_pairs().map(|(name, value)| {
                let value = if name == "password" {
                    HIDDEN.into()
                } else {
                    value
                };
                (name, value)
            });
            url.query_pairs_mut().clear().extend_pairs(pairs);
        }
        url.fmt(f)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
