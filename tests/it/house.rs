//! The shape of the house: imports go down only.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The crates and modules that a layer must not name.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    (
        "src/domain",
        &[
            "tonic",
            "axum",
            "prost",
            "prost_types",
            "sea_orm",
            "sqlx",
            "serde",
            "serde_json",
            "tower",
            "hyper",
            "tokio",
            "crate::auth",
            "crate::service",
            "crate::store",
            "crate::grpc",
            "crate::dialect",
            "crate::http",
            "crate::app",
            "crate::cli",
            "crate::telemetry",
        ],
    ),
    (
        "src/service",
        &[
            "tonic",
            "axum",
            "prost",
            "prost_types",
            "sea_orm",
            "sqlx",
            "serde_json",
            "tower",
            "hyper",
            "crate::auth",
            "crate::grpc",
            "crate::dialect",
            "crate::http",
            "crate::app",
            "crate::cli",
            "crate::config",
        ],
    ),
    (
        "src/auth",
        &[
            "tonic",
            "axum",
            "prost",
            "sea_orm",
            "sqlx",
            "hyper",
            "crate::service",
            "crate::grpc",
            "crate::dialect",
            "crate::http",
            "crate::app",
            "crate::cli",
        ],
    ),
];

/// What of a file is not for tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

fn offences(folder: &Path, names: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            offences(&path, names, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in product(&text)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for name in names {
                let told = |start: &str| line.contains(&format!("{start}{name}::"));
                let grouped = name
                    .strip_prefix("crate::")
                    .is_some_and(|module| line.trim_start().starts_with(&format!("{module}::")));
                if told("use ") || told(" ") || told("(") || told("<") || told("&") || grouped {
                    found.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
}

/// The files of Rust under the folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Whether a file of Rust under the folder has that function.
fn has_function(folder: &Path, name: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return has_function(&path, name);
        }
        let text = fs::read_to_string(&path).unwrap();
        text.contains(&format!("fn {name}("))
    })
}

#[test]
fn the_tests_that_hold_the_promises_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let promises = text.split("\n## What is promised\n").nth(1).unwrap();
    let named: Vec<_> = promises
        .split('`')
        .skip(1)
        .step_by(2)
        // A test's name is a sentence; what else is named there is a word or two.
        .filter_map(|code| Some(code.rsplit_once("::")?.1))
        .filter(|name| name.matches('_').count() >= 3)
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let exists = ["src", "tests"].map(|folder| has_function(&root.join(folder), name));
        assert!(exists.contains(&true), "{name}");
    }
}

#[test]
fn imports_go_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (folder, names) in FORBIDDEN {
        offences(&root.join(folder), names, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// But for the list of them, a dialect is named in its own folder alone, and its own
/// settings have its name.
#[test]
fn dialects_are_named_in_their_folders_and_in_one_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (source, dialects) = (root.join("src"), root.join("src/dialect"));
    let named = fs::read_dir(&dialects).unwrap();
    let named = named.map(|entry| entry.unwrap().path());
    let named: Vec<_> = named.filter(|path| path.is_dir()).collect();
    assert!(named.len() > 1, "{named:?}");
    let lists = [source.join("app.rs"), dialects.join("mod.rs")];
    let mut all = Vec::new();
    files(&source, &mut all);
    let mut found = Vec::new();
    for folder in named {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for path in &all {
            if path.starts_with(&folder) || lists.contains(path) {
                continue;
            }
            let text = fs::read_to_string(path).unwrap().to_lowercase();
            let lines = product(&text).lines().map(str::trim);
            let lines = lines.filter(|line| !line.starts_with("//"));
            let setting = |line: &str| {
                path.ends_with("config/table.rs") && line.starts_with(&format!("{name}_"))
            };
            let naming = lines.filter(|line| line.contains(&name) && !setting(line));
            found.extend(naming.map(|line| format!("{}: {line}", path.display())));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
