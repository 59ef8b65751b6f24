//! The type of the setting for a PostgreSQL URL.

use std::{fmt, str::FromStr};

use reqwest::Url;

use super::kind::{Kind, Value, must_be};
use crate::store::{DatabaseTls, check_url};

/// The URL of a PostgreSQL database. Its password is hidden when displayed.
#[derive(Clone)]
pub struct DatabaseUrl {
    text: String,
    url: Url,
}

/// The accepted parameters of a URL. The driver ignores unknown ones, and a misspelt `sslmode` must
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
/// The names of the parameter with the TLS mode.
pub(super) const SSLMODE: [&str; 2] = ["sslmode", "ssl-mode"];
/// The names of the parameter with the CA certificates.
pub(super) const SSLROOTCERT: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
/// The names of the parameter with the client certificate.
pub(super) const SSLCERT: [&str; 2] = ["sslcert", "ssl-cert"];
/// The names of the parameter with the client certificate's key.
pub(super) const SSLKEY: [&str; 2] = ["sslkey", "ssl-key"];

impl DatabaseUrl {
    /// The URL, including the password.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether it contains a password.
    pub(super) fn has_password(&self) -> bool {
        self.url.password().is_some() || self.parameter(&["password"]).is_some()
    }

    /// The value of the parameter with one of these names.
    pub(super) fn parameter(&self, names: &[&str]) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        pairs.find_map(|(name, value)| names.contains(&&*name).then(|| value.into_owned()))
    }

    /// The problem with a parameter that the driver would reject, or silently ignore.
    fn odd_parameter(&self) -> Option<String> {
        let is_mode = |mode: &String| DatabaseTls::NAMES.contains(&&**mode) || mode == "allow";
        if self.parameter(&SSLMODE).is_some_and(|mode| !is_mode(&mode)) {
            return Some(format!(
                "has an invalid sslmode; allowed: {}",
                DatabaseTls::NAMES.join(", ")
            ));
        }
        let mut names = self.url.query_pairs().map(|(name, _)| name);
        let unknown =
            names.find(|name| !PARAMETERS.contains(&&**name) && !name.starts_with("options["))?;
        let known = PARAMETERS.join(", ");
        Some(format!(
            "has the unknown parameter {unknown:?}; allowed: {known}"
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
        // Checked before parsing, because a URL parser removes line breaks.
        if !is_postgres || text.contains(char::is_control) {
            return Err(must_be::<Self>());
        }
        // SeaORM accepts the short scheme only.
        let text = text.replacen("postgresql://", "postgres://", 1);
        let encode = "; characters such as # / ? @ in a password must be percent-encoded";
        let url: Url = text.parse().map_err(|error| format!("{error}{encode}"))?;
        // These are most likely the end of a password that was not encoded, so the error quotes
        // none of the URL.
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
            // Cannot fail: a URL with a password has a host.
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
