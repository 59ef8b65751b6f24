//! All settings: each can be read back as printed, each secret can be read from a file, and the
//! reference in the documentation matches the table.

use std::{fmt::Write as _, path::Path};

use endcap::{
    app,
    config::{Config, Flags, Kind, SETTINGS, Setting},
};
use serde_json::{Value, json};

use crate::program::output;

/// Settings that others depend on.
const BASE: &str = "\
    database_url = 'postgres://me@db/endcap'\n\
    database_tls = 'verify-full'\n\
    database_tls_cert = 'client.crt'\n\
    database_tls_key = 'client.key'\n\
    tls_cert = 'server.crt'\n\
    tls_key = 'server.key'\n";

fn load(toml: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endcap.toml");
    std::fs::write(&path, toml).unwrap();
    app::config(&Flags::default(), Some(path)).map_err(|error| error.to_string())
}

/// Possible values of a setting of this kind, most likely first.
fn candidates(kind: Kind) -> Vec<toml::Value> {
    match kind {
        Kind::Boolean => vec![true.into(), false.into()],
        Kind::Integer { min, .. } => [min + 6, min].map(|n| (n as i64).into()).into(),
        Kind::Size(_) => vec!["9KiB".into(), 10_000.into(), "2MiB".into()],
        Kind::Choice(all) => all.iter().map(|text| (*text).into()).collect(),
        Kind::List(item) => {
            let items: Vec<_> = candidates(*item);
            let pairs = items.windows(2).rev().map(<[_]>::to_vec);
            let alone = items.iter().map(|item| vec![item.clone()]);
            pairs.chain(alone).map(toml::Value::Array).collect()
        }
        Kind::Optional(kind) => candidates(*kind),
        Kind::Text(_) => [
            "postgres://me@db/other?sslmode=verify-ca",
            "127.0.0.1:7",
            "[::1]:7",
            "10.0.0.0/8",
            "1m 30s",
            "7/1m",
            "debug",
            "collections.write",
            "admin",
            "de",
            "pt-BR",
            "name=value",
            "http://collector:4317",
            "0.5",
            "CHF",
        ]
        .map(toml::Value::from)
        .into(),
    }
}

/// A TOML file that sets this setting to another value than its default, and the value.
fn set(setting: &Setting) -> (String, toml::Value) {
    let default = load("").unwrap();
    let text = |config: &Config| {
        let mut texts = config.raw.texts();
        texts
            .find(|(other, _)| other.name == setting.name)
            .unwrap()
            .1
    };
    let mut refusals = Vec::new();
    for value in candidates(setting.kind) {
        let mut file: toml::Table = BASE.parse().unwrap();
        file.insert(setting.name.into(), value.clone());
        if ["database_url", "database_read_url"].contains(&setting.name) {
            file.remove("database_tls");
        }
        match load(&file.to_string()) {
            Ok(config) if text(&config) != text(&default) => return (file.to_string(), value),
            Ok(_) => {}
            Err(error) => refusals.push(error),
        }
    }
    panic!("{}: no candidate is accepted: {refusals:?}", setting.name);
}

fn texts(config: &Config) -> Vec<(&str, String)> {
    let texts = config.raw.texts();
    texts.map(|(setting, text)| (setting.name, text)).collect()
}

#[test]
fn each_printed_setting_can_be_read_back() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let check = |file: &str| {
        let config = load(file).unwrap();
        let printed = config.raw.to_toml();
        let again = load(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(texts(&again), texts(&config), "{printed}");
        let json = serde_json::to_value(printed.parse::<toml::Table>().unwrap()).unwrap();
        let odd: Vec<_> = schema.iter_errors(&json).map(|it| it.to_string()).collect();
        assert!(odd.is_empty(), "{odd:?}\n{printed}");
        json
    };
    let printed = check("");
    for setting in SETTINGS {
        let is = |value: &Value| match setting.kind.when_set() {
            Kind::Boolean => value.is_boolean(),
            Kind::Integer { .. } => value.is_u64(),
            Kind::List(_) => value.is_array(),
            Kind::Size(_) | Kind::Text(_) | Kind::Choice(_) | Kind::Optional(_) => {
                value.is_string()
            }
        };
        let default = printed.get(setting.name);
        // An optional setting may be unset.
        let is_there = default.is_some_and(is);
        assert_eq!(is_there, default.is_some(), "{}", setting.name);
        assert!(is_there || setting.default.is_empty(), "{}", setting.name);

        let (file, _) = set(setting);
        assert!(check(&file).get(setting.name).is_some_and(is), "{file}");
    }
    // Unset; the default is another value.
    assert_eq!(
        check("rate_of_unknown_keys = ''")["rate_of_unknown_keys"],
        ""
    );
}

#[test]
fn each_secret_can_be_read_from_a_file_and_is_never_printed() {
    let secrets = SETTINGS.iter().filter_map(|it| Some((it, it.file?)));
    let secrets: Vec<_> = secrets.collect();
    assert!(secrets.len() >= 2, "{secrets:?}");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (path, toml) = (at("secret"), at("endcap.toml"));
    for (setting, file) in secrets {
        let (name, flag) = (setting.name, Setting::flag(setting.name));
        let (variable, value) = match name {
            "database_url" => ("ENDCAP_MAX_DEPTH", "7"),
            _ => ("ENDCAP_DATABASE_URL", "postgres://me@db/endcap"),
        };
        let secret = match name {
            "database_url" | "database_read_url" => "postgres://me:hunter2@db/endcap",
            "otlp_headers" => "api-key=hunter2",
            _ => "hunter2",
        };
        let file_flag = Setting::flag(file);
        let file_variable = Setting::variable(file);
        std::fs::write(&toml, format!("{file} = '{path}'")).unwrap();
        let other = (variable, value);
        for (arguments, environment) in [
            (vec!["config", &file_flag, &path], vec![other]),
            (vec!["config"], vec![other, (&file_variable, &path)]),
            (vec!["config", "--config", &toml], vec![other]),
        ] {
            let told = |part: &str, arguments: &[&str]| {
                let (ok, printed, error) = output(arguments, &environment);
                assert!(!ok && printed.is_empty(), "{name}: {printed}");
                assert!(error.contains(part), "{part} in {error}");
                assert!(!error.contains("hunter2"), "{error}");
            };
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            let (ok, printed, error) = output(&arguments, &environment);
            assert!(ok && error.is_empty(), "{error}");
            let line = format!("\n{file} = \"{path}\"\n");
            assert!(printed.contains(&line), "{printed}");
            assert!(!printed.contains("hunter2"), "{printed}");

            let both = [&arguments[..], &[&flag, secret]].concat();
            told(&format!("{flag}: can't be given together with "), &both);
            std::fs::write(&path, "\n").unwrap();
            told(&format!("{path}: is empty"), &arguments);
            std::fs::write(&path, "hunter2\nhunter2").unwrap();
            told(&format!("{path}: must"), &arguments);
            std::fs::remove_file(&path).unwrap();
            told(&format!("{path}: can't be read: No such file"), &arguments);
        }
        // A secret that is given directly is hidden, too.
        let (ok, printed, _) = output(&["config", &flag, secret], &[(variable, value)]);
        assert!(ok && printed.contains("***"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn an_empty_secret_file_variable_is_ignored() {
    let url = ("ENDCAP_DATABASE_URL", "postgres://me@db/endcap");
    let file = ("ENDCAP_DATABASE_URL_FILE", "");
    let (ok, printed, error) = output(&["config"], &[url, file]);
    assert!(ok, "{error}");
    assert!(printed.contains("database_url = \"postgres://me@db/endcap\""));
}

/// The JSON Schema of a value.
fn schema_of(kind: Kind) -> Value {
    match kind {
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Integer { min, max } => {
            json!({"type": "integer", "minimum": min, "maximum": max})
        }
        Kind::Size(_) => json!({"type": ["string", "integer"]}),
        Kind::Text(_) => json!({"type": "string"}),
        Kind::Choice(all) => json!({"enum": all}),
        Kind::List(item) => {
            let mut item = schema_of(*item);
            if item["type"] == "string" {
                item["pattern"] = "^[^,]+$".into();
            }
            json!({"type": "array", "items": item})
        }
        Kind::Optional(kind) => match schema_of(*kind) {
            text if text["type"] == "string" => text,
            schema => json!({"anyOf": [schema, {"const": ""}]}),
        },
    }
}

/// All settings, including those for files of secrets: name, setting, description.
fn all_names() -> Vec<(&'static str, &'static Setting, String)> {
    let mut all = Vec::new();
    for setting in SETTINGS {
        all.push((setting.name, setting, setting.description.trim().to_owned()));
        if let Some(file) = setting.file {
            let text = format!("File to read {} from", setting.name);
            all.push((file, setting, text));
        }
    }
    all
}

/// The JSON Schema of a file of settings.
fn schema() -> Value {
    let properties = all_names().into_iter().map(|(name, setting, text)| {
        let is_file = name != setting.name;
        let kind = if is_file {
            Kind::Text("a path")
        } else {
            setting.kind
        };
        let mut schema = schema_of(kind);
        schema["description"] = format!("{text}. Value: {kind}.").into();
        if let Some(default) = kind.toml(setting.default).filter(|_| !is_file) {
            schema["default"] = serde_json::to_value(default).unwrap();
        }
        (name.to_owned(), schema)
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of Endcap",
        "type": "object",
        "additionalProperties": false,
        "properties": properties.collect::<serde_json::Map<_, _>>(),
    })
}

const GENERATED: &str = "Generated from src/config/table.rs by `UPDATE_DOCS=1 cargo test --test it \
                         settings`";

/// A file with all settings, as comments.
fn sample() -> String {
    let mut text = format!(
        "#:schema ./settings.schema.json\n\
         # All settings of Endcap at their defaults.\n\
         # {GENERATED}\n\
         # Each is also a flag (--grpc-addr) and a variable (ENDCAP_GRPC_ADDR), which come first.\n"
    );
    let mut group = "";
    for (name, setting, description) in all_names() {
        if setting.group != group {
            group = setting.group;
            let _ = write!(text, "\n## {group}\n");
        }
        let is_file = name != setting.name;
        let kind = if is_file {
            Kind::Text("a path")
        } else {
            setting.kind
        };
        text.push('\n');
        let mut line = "#".to_owned();
        for word in format!("{description}. Value: {kind}.").split_whitespace() {
            if line.len() + word.len() >= 100 {
                let _ = writeln!(text, "{line}");
                line = "#".into();
            }
            let _ = write!(line, " {word}");
        }
        let default = kind.toml(setting.default).filter(|_| !is_file);
        let default = default.unwrap_or_else(|| "".into());
        let _ = write!(text, "{line}\n#{name} = {default}\n");
    }
    text
}

fn type_name(kind: Kind) -> &'static str {
    match kind.when_set() {
        Kind::Boolean => "boolean",
        Kind::Integer { .. } => "integer",
        Kind::Size(_) => "string or integer",
        Kind::List(_) => "list of strings",
        Kind::Text(_) | Kind::Choice(_) | Kind::Optional(_) => "string",
    }
}

/// The reference page: the part that is written by hand, up to a mark, and then the table.
fn reference(committed: &str) -> String {
    let mark = format!("<!-- {GENERATED} -->\n");
    let (by_hand, _) = committed.split_once(&mark).unwrap();
    let mut text = format!("{by_hand}{mark}");
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(
                text,
                "\n## {group}\n\n\
                 | setting, flag, variable | type | default | what it is | format | re-read |\n\
                 |---|---|---|---|---|---|\n"
            );
        }
        let names = |name: &str| {
            let (flag, variable) = (Setting::flag(name), Setting::variable(name));
            format!("`{name}`<br>`{flag}`<br>`{variable}`")
        };
        let mut all = names(setting.name);
        if let Some(file) = setting.file {
            let _ = write!(all, "<br>or a file with it:<br>{}", names(file));
        }
        let default = match setting.kind.toml(setting.default) {
            Some(value) => format!("`{value}`"),
            None => "unset".into(),
        };
        let kind = setting.kind;
        let optional = if matches!(kind, Kind::Optional(_)) {
            ", or empty"
        } else {
            ""
        };
        let cells = [
            all,
            type_name(kind).to_owned(),
            default,
            setting.description.trim().replace('|', "\\|"),
            format!("{kind}{optional}"),
            setting.reload.unwrap_or("no").to_owned(),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

#[test]
fn the_settings_reference_is_up_to_date() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let read = |name| std::fs::read_to_string(docs.join(name)).unwrap_or_default();
    for (name, text) in [
        ("settings.md", reference(&read("settings.md"))),
        ("endcap.toml", sample()),
        ("settings.schema.json", format!("{:#}\n", schema())),
    ] {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(docs.join(name), &text).unwrap();
        }
        let is_current = read(name) == text;
        assert!(
            is_current,
            "docs/reference/{name} is out of date. {GENERATED}"
        );
    }
}

#[test]
fn the_sample_file_has_all_defaults() {
    let lines = sample();
    let lines = lines.lines().filter_map(|line| line.strip_prefix('#'));
    let is_setting = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
    let file: Vec<_> = lines.filter(is_setting).collect();
    assert_eq!(file.len(), all_names().len());
    let file = file.join("\n");
    let config = load(&file).unwrap();
    assert_eq!(texts(&config), texts(&load("").unwrap()));
    let json = serde_json::to_value(file.parse::<toml::Table>().unwrap()).unwrap();
    assert!(jsonschema::is_valid(&schema(), &json));
}

#[test]
fn the_schema_rejects_invalid_settings() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for odd in [
        "max_deph = 7",
        "max_depth = 0",
        "max_depth = [7]",
        "reflection = 1",
        "auth = ['key']",
        "log_format = 'xml'",
        "cors_origins = ['a,b']",
        "database_url_file = 1",
        "default_tenant = 7",
        "max_unauthenticated_connections = -1",
    ] {
        let json = serde_json::to_value(odd.parse::<toml::Table>().unwrap()).unwrap();
        assert!(!schema.is_valid(&json), "{odd}");
        assert!(load(odd).is_err(), "{odd}");
    }
}
