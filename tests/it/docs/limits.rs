//! docs/reference/limits.md lists every limit with its default.

use std::collections::BTreeSet;

use endcap::config::{SETTINGS, Setting};

use super::generated;

fn default(setting: &Setting) -> String {
    match setting.kind.toml(setting.default) {
        Some(toml::Value::String(text)) => text,
        Some(value) => value.to_string(),
        None => "none".into(),
    }
}

/// The setting in a row of the page.
fn setting(row: &str) -> Option<&'static Setting> {
    let (name, _) = row.strip_prefix("| `")?.split_once('`')?;
    Some(Setting::find(name).unwrap_or_else(|| panic!("{name} is not a setting")))
}

fn is_limit(setting: &Setting) -> bool {
    let name = setting.name;
    // These don't limit what clients may do.
    let is_other = ["drain_timeout", "otlp_timeout"].contains(&name);
    let is_limit = name.starts_with("max_") || name.starts_with("rate_");
    is_limit || name.ends_with("_timeout") && !is_other
}

#[test]
fn every_limit_is_listed_with_its_default() {
    let mut listed = BTreeSet::new();
    generated("docs/reference/limits.md", |page| {
        let rows = page.lines().map(|line| {
            let Some(setting) = setting(line) else {
                return format!("{line}\n");
            };
            listed.insert(setting.name);
            let what = line.splitn(4, '|').nth(3).unwrap();
            format!("| `{}` | {} |{what}\n", setting.name, default(setting))
        });
        rows.collect()
    });
    let limits = SETTINGS.iter().filter(|setting| is_limit(setting));
    let missing: Vec<_> = limits
        .map(|setting| setting.name)
        .filter(|name| !listed.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
