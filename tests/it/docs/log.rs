//! docs/reference/log.md lists each message that the server logs, with its fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use super::{Page, ROOT, generated_after};

const PAGE: &str = "docs/reference/log.md";
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The arguments of a macro, from the text after its opening parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let (mut depth, mut is_text, mut is_escaped) = (0, false, false);
    for c in text.chars() {
        match c {
            _ if is_text => {
                is_text = is_escaped || c != '"';
                is_escaped = c == '\\' && !is_escaped;
            }
            '"' => is_text = true,
            ')' if depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(c);
    }
    let arguments = arguments.iter().map(|argument| argument.trim().to_owned());
    arguments.filter(|argument| !argument.is_empty()).collect()
}

/// A logged message: level, message, fields.
type Line = (&'static str, String, Vec<String>);

/// The message that a macro logs.
fn line(level: &'static str, arguments: &[String]) -> Option<Line> {
    let message = arguments
        .iter()
        .position(|argument| argument.starts_with('"'))?;
    let fields = arguments[..message].iter().filter_map(|argument| {
        let name = argument.split('=').next().unwrap().trim();
        let is_target = argument.starts_with("target:");
        (!is_target).then(|| name.trim_start_matches(['%', '?']).to_owned())
    });
    let text = arguments[message].trim_matches('"').replace('|', "\\|");
    // The interpolated variables.
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let _ = write!(shown, "{before}…");
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    Some((level, format!("{shown}{rest}"), fields.collect()))
}

/// All messages that are logged in the sources.
fn lines() -> BTreeSet<Line> {
    let mut files = Vec::new();
    sources(&Path::new(ROOT).join("src"), &mut files);
    let mut lines = BTreeSet::new();
    for text in files.iter().map(|path| fs::read_to_string(path).unwrap()) {
        let text = text.split("\n#[cfg(test)]\n").next().unwrap();
        for level in LEVELS {
            let begin = format!("tracing::{level}!(");
            let calls = text.split(&begin).skip(1);
            lines.extend(calls.filter_map(|call| line(level, &arguments(call))));
        }
    }
    lines
}

#[test]
fn every_log_message_is_listed_and_its_fields_are_documented() {
    let lines = lines();
    assert!(lines.len() > 25, "{lines:#?}");
    let mut by_message = BTreeMap::<_, BTreeSet<_>>::new();
    for (level, message, fields) in &lines {
        let fields: Vec<_> = fields.iter().map(|name| format!("`{name}`")).collect();
        by_message
            .entry((message, level))
            .or_default()
            .extend(fields);
    }
    let mut text = String::from("\n| message | level | fields |\n|---|---|---|\n");
    for ((message, level), fields) in by_message {
        let fields = fields.into_iter().collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| {message} | {level} | {fields} |");
    }
    generated_after(PAGE, "<!-- Generated from the sources", &text);
    let page = Page::read(Path::new(PAGE)).text;
    let fields: BTreeSet<_> = lines.iter().flat_map(|(_, _, fields)| fields).collect();
    let missing = fields
        .iter()
        .filter(|name| !page.contains(&format!("\n| `{name}` |")));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "{missing:?}");
}
