//! The shape of the house: imports go down only.

use std::{fs, path::Path};

/// The crates and modules that a layer must not name.
const FORBIDDEN: [(&str, &[&str]); 2] = [
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
            "crate::grpc",
            "crate::dialect",
            "crate::http",
            "crate::app",
            "crate::cli",
            "crate::config",
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

#[test]
fn imports_go_down_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for (folder, names) in FORBIDDEN {
        offences(&root.join(folder), names, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
