//! User-facing texts use the field's terms, and not certain idioms instead.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Page, ROOT, pages};

/// Terms that a newcomer would search for.
const TERMS: [&str; 11] = [
    "authentication",
    "authorization",
    "constraint",
    "drain",
    "idempotency",
    "in flight",
    "pending migration",
    "registered",
    "request",
    "response",
    "shutdown",
];

/// Idioms, and the terms to use instead.
const IDIOMS: [(&str, &str); 6] = [
    ("anew", "again"),
    ("beside", "in addition to, next to"),
    ("for ever", "never expires, always"),
    ("good for", "valid for, authorized for"),
    ("twin", "concurrent duplicate"),
    ("under way", "in flight, in progress"),
];

/// Adds the help of a command and its subcommands.
fn help(command: &mut clap::Command, text: &mut String) {
    text.push_str(&command.render_long_help().to_string());
    for below in command.get_subcommands_mut() {
        help(below, text);
    }
}

/// All user-facing texts, by where they are.
fn texts() -> Vec<(String, String)> {
    let mut command = endcap::cli::command();
    command.build();
    let mut of_commands = String::new();
    help(&mut command, &mut of_commands);
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let mut texts = vec![
        ("--help".into(), of_commands),
        (
            "helm/endcap/values.yaml".into(),
            read("helm/endcap/values.yaml"),
        ),
    ];
    for entry in fs::read_dir(Path::new(ROOT).join("proto/endcap/v1")).unwrap() {
        let path = entry.unwrap().path();
        texts.push((
            path.display().to_string(),
            fs::read_to_string(&path).unwrap(),
        ));
    }
    let pages = pages().into_iter();
    texts.extend(pages.map(|page| (page.name().to_owned(), page.text)));
    texts
}

/// Whether the text contains these words, as whole words.
fn has(text: &str, words: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(words).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + words.len()..].chars().next();
        !is_letter(before) && !is_letter(after)
    })
}

#[test]
fn the_glossary_contains_the_terms_of_the_field() {
    let glossary = Page::read(Path::new("docs/concepts/glossary.md"));
    let glossary = glossary.text.to_lowercase();
    let missing: Vec<_> = TERMS
        .iter()
        .filter(|term| !glossary.contains(*term))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn user_facing_texts_contain_no_private_idioms() {
    let mut found = BTreeSet::new();
    for (place, text) in texts() {
        // A line may break within an idiom.
        let text = text.to_lowercase();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (idiom, better) in IDIOMS {
            if has(&text, idiom) {
                found.insert(format!("{place}: {idiom:?}; write {better}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
