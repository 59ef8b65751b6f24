//! The sources of settings (flags, environment, file), their precedence, and the problems in
//! reading them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    declare::{Setting, find},
    kind::Value,
    problem::{Problem, invalid_toml},
};
use crate::watched::read_secret;

const PREFIX: &str = "ENDCAP_";

/// Names with the prefix that are not settings: the configuration file's, the API key of commands
/// that call a server, and those that tests and scripts use.
const OTHERS: [&str; 6] = [
    "config",
    "key",
    "key_file",
    "race_seconds",
    "test_database_url",
    "tools",
];

/// All settings that were given, by source.
#[derive(Debug)]
pub(super) struct Sources {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    path: String,
}

impl Sources {
    /// Reads all sources, and returns the problems with them: unreadable values and unknown names.
    pub(super) fn read(
        flags: BTreeMap<String, String>,
        settings: &[Setting],
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

    /// The value of a setting, from the source with the highest precedence. `file` is the setting
    /// for a file that contains it.
    pub(super) fn value<T: Value>(
        &self,
        name: &str,
        file: Option<&str>,
        default: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let given = self.given(name);
        let from_file = file.and_then(|file| self.secret_file(file));
        let read;
        let (place, text) = match (given, from_file) {
            (Some((place, text)), Some((file, _))) if !text.is_empty() => {
                let what = format!("can't be given together with {file}");
                problems.push(Problem::new(place, what));
                return None;
            }
            (_, Some((place, path))) => {
                let place = format!("{place}: {}", path.display());
                match read_secret(&path) {
                    Ok(text) => read = text,
                    Err(why) => {
                        problems.push(Problem::new(place, why));
                        return None;
                    }
                }
                (place, read.as_str())
            }
            (given, None) => given.unwrap_or_else(|| (name.into(), default)),
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let shown = if T::SECRET {
                    String::new()
                } else {
                    format!("{text:?} ")
                };
                problems.push(Problem::new(place, format!("{shown}{error}")));
                None
            }
        }
    }

    /// The file that this setting names, and the place that sets it.
    pub(super) fn secret_file(&self, name: &str) -> Option<(String, PathBuf)> {
        let (place, path) = self.given(name)?;
        // An empty path means unset, as with other optional settings.
        (!path.is_empty()).then(|| (place, path.into()))
    }

    /// The value from the source with the highest precedence, and the place that sets it.
    fn given(&self, name: &str) -> Option<(String, &str)> {
        let flag = self.flags.get(name);
        let flag = flag.map(|text| (Setting::flag(name), text.as_str()));
        let variable = self.environment.get(name);
        let variable = variable.map(|text| (Setting::variable(name), text.as_str()));
        let line = self.file.get(name);
        let line = line.map(|text| (format!("{name} in {}", self.path), text.as_str()));
        flag.or(variable).or(line)
    }
}

fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    settings: &[Setting],
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
        if find(settings, &name).is_none() {
            let similar = similar(settings, &name).map(Setting::variable);
            problems.push(Problem::new(variable, unknown(similar.as_deref())));
        } else if let Ok(value) = value.into_string() {
            found.insert(name, value);
        } else {
            problems.push(Problem::new(variable, "is not UTF-8"));
        }
    }
    found
}

/// The problem with a name that is not a setting.
fn unknown(similar: Option<&str>) -> String {
    match similar {
        Some(similar) => format!("unknown setting; a similar one is {similar}"),
        None => "unknown setting".into(),
    }
}

/// The setting whose name is most similar to a misspelt one.
fn similar(settings: &[Setting], name: &str) -> Option<&'static str> {
    let most = 1 + name.len() / 5;
    let names = settings.iter().flat_map(|it| [Some(it.name), it.file]);
    // The difference of the lengths is a lower bound, which costs nothing for a huge name.
    let near = names
        .flatten()
        .filter(|it| it.len().abs_diff(name.len()) <= most);
    let rated = near.map(|it| (strsim::damerau_levenshtein(name, it), it));
    let (_, best) = rated
        .filter(|(edits, _)| *edits <= most)
        .min_by_key(|(edits, _)| *edits)?;
    Some(best)
}

/// Whether a variable comes from Kubernetes, which sets variables for each service of the namespace
/// in every pod. Those of a service named `endcap` or `endcap-postgresql`, say, start with the
/// prefix of settings. No setting has the endings checked here.
fn is_service_link(name: &str) -> bool {
    let is = |ends: &[&str]| {
        ends.iter()
            .any(|end| name == *end || name.ends_with(&format!("_{end}")))
    };
    // `…_SERVICE_PORT_HTTP` ends with a port's name, and `…_PORT_5432_TCP_ADDR` contains its
    // number.
    let has_port_name = |part: &str| name.starts_with(part) || name.contains(&format!("_{part}"));
    let numbered = name.split("port_").nth(1).is_some_and(|rest| {
        let number = rest.split('_').next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    });
    is(&["service_host", "service_port", "port"]) || has_port_name("service_port_") || numbered
}

fn from_file(
    path: &Path,
    settings: &[Setting],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let table = match table(path) {
        Ok(table) => table,
        Err(why) => {
            problems.push(Problem::new(path.display().to_string(), why));
            return found;
        }
    };
    for (key, value) in table {
        let place = format!("{key} in {}", path.display());
        let name = key.replace('-', "_");
        let text = match find(settings, &name) {
            None => Err(unknown(similar(settings, &name))),
            // Settings for files have no kind of their own; their value is always a string.
            Some(setting) if setting.file == Some(name.as_str()) => value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| "must be a path".into()),
            Some(setting) => setting.kind.text(&value),
        };
        match text {
            Err(why) => problems.push(Problem::new(place, why)),
            Ok(text) => {
                if found.insert(name, text).is_some() {
                    problems.push(Problem::new(place, "is given twice, with _ and with -"));
                }
            }
        }
    }
    found
}

/// Parses the file.
fn table(path: &Path) -> Result<toml::Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))?;
    text.parse().map_err(|error| invalid_toml(&text, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_service_variables_are_not_settings() {
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
        for setting in crate::config::SETTINGS {
            let names = [Some(setting.name), setting.file];
            for name in names.into_iter().flatten() {
                assert!(!is_service_link(name), "{name}");
            }
        }
        for misspelt in ["grpc_adr", "max_conections", "portal", "database_urls"] {
            assert!(!is_service_link(misspelt), "{misspelt}");
        }
    }
}
