//! Where settings come from, and what is wrong with them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::{self, Write as _},
    path::PathBuf,
    str::FromStr,
};

use super::problem::Problem;

const PREFIX: &str = "ENDCAP_";

/// Names with our prefix that are no settings: the file's, the key of commands that call
/// a server, and those of the tests and the scripts.
const OTHERS: [&str; 5] = [
    "config",
    "key",
    "race_seconds",
    "test_database_url",
    "tools",
];

/// All that was said of the settings.
#[derive(Debug)]
pub(super) struct Sources {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    path: String,
}

impl Sources {
    /// Reads the sources; what can't be read or is unknown is a problem.
    pub(super) fn read(
        flags: BTreeMap<String, String>,
        settings: &[(&str, &str)],
        variables: impl Iterator<Item = (OsString, OsString)>,
        file: Option<PathBuf>,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let path = file.as_deref().map(|path| path.display().to_string());
        let sources = Self {
            flags,
            environment: environment(variables, settings, &mut problems),
            file: file.map_or_else(BTreeMap::new, |path| {
                from_file(&path, settings, &mut problems)
            }),
            path: path.unwrap_or_default(),
        };
        (sources, problems)
    }

    /// The value of a setting, from the first source that has it.
    pub(super) fn value<T>(
        &self,
        name: &str,
        default: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let flag = self.flags.get(name).map(|text| {
            let place = format!("--{}", name.replace('_', "-"));
            (place, text.as_str())
        });
        let variable = self.environment.get(name).map(|text| {
            let place = format!("{PREFIX}{}", name.to_uppercase());
            (place, text.as_str())
        });
        let line = self.file.get(name).map(|text| {
            let place = format!("{name} in {}", self.path);
            (place, text.as_str())
        });
        let (place, text) = flag
            .or(variable)
            .or(line)
            .unwrap_or_else(|| (name.into(), default));
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                // Not the text of a URL: it may hold a password.
                let shown = if name == "database_url" {
                    String::new()
                } else {
                    format!("{text:?} ")
                };
                problems.push(Problem::new(place, format!("{shown}{error}")));
                None
            }
        }
    }
}

fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    settings: &[(&str, &str)],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str() else {
            continue;
        };
        let Some(name) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let name = name.to_lowercase();
        if OTHERS.contains(&name.as_str()) || is_service_link(&name) {
            continue;
        }
        if !is_setting(settings, &name) {
            problems.push(Problem::new(variable, "is no setting"));
        } else if let Ok(value) = value.into_string() {
            found.insert(name, value);
        } else {
            problems.push(Problem::new(variable, "is not UTF-8"));
        }
    }
    found
}

/// Kubernetes gives every pod variables for each service of its namespace: of one that is called
/// `endcap` or `endcap-postgresql`, say, they begin as our settings do. No setting ends so.
fn is_service_link(name: &str) -> bool {
    let is = |ends: &[&str]| {
        ends.iter()
            .any(|end| name == *end || name.ends_with(&format!("_{end}")))
    };
    // …_SERVICE_PORT_HTTP has the port's name, …_PORT_5432_TCP_ADDR its number.
    let has_port_name = |part: &str| name.starts_with(part) || name.contains(&format!("_{part}"));
    let numbered = name.split("port_").nth(1).is_some_and(|rest| {
        let number = rest.split('_').next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    });
    is(&["service_host", "service_port", "port"]) || has_port_name("service_port_") || numbered
}

fn from_file(
    path: &std::path::Path,
    settings: &[(&str, &str)],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let place = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(place, format!("can't be read: {error}")));
            return BTreeMap::new();
        }
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            problems.push(Problem::new(place, format!("is not TOML: {error}")));
            return BTreeMap::new();
        }
    };
    let mut found = BTreeMap::new();
    for (key, value) in table {
        let name = key.replace('-', "_");
        let value = match value {
            toml::Value::String(text) => Some(text),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Boolean(switch) => Some(switch.to_string()),
            toml::Value::Array(items) => {
                let items = items.iter().map(|item| item.as_str().map(str::to_owned));
                items
                    .collect::<Option<Vec<_>>>()
                    .map(|items| items.join(","))
            }
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
        };
        let place = format!("{key} in {place}");
        match value {
            _ if !is_setting(settings, &name) => {
                problems.push(Problem::new(place, "is no setting"))
            }
            Some(value) => {
                found.insert(name, value);
            }
            None => problems.push(Problem::new(place, "must be a text, a number or a switch")),
        }
    }
    found
}

fn is_setting(settings: &[(&str, &str)], name: &str) -> bool {
    settings.iter().any(|(setting, _)| *setting == name)
}

/// Adds a line for the setting to a file of settings.
pub(super) fn write_toml(text: &mut String, name: &str, value: &str) {
    let value = toml::Value::String(value.into());
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name} = {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_are_none_of_ours() {
        for link in [
            "service_host",
            "service_port",
            "service_port_grpc",
            "port",
            "port_50051_tcp",
            "port_50051_tcp_addr",
            "postgresql_service_host",
            "postgresql_service_port_tcp_postgresql",
            "postgresql_port",
            "postgresql_port_5432_tcp_proto",
        ] {
            assert!(is_service_link(link), "{link}");
        }
        for (setting, _) in crate::config::SETTINGS {
            assert!(!is_service_link(setting), "{setting}");
        }
        for misspelt in ["grpc_adr", "max_conections", "portal", "database_urls"] {
            assert!(!is_service_link(misspelt), "{misspelt}");
        }
    }
}
