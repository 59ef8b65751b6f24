//! Links between pages resolve, and the index links to every page.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Component, Path, PathBuf},
};

use super::{Page, ROOT, pages};

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The text without inline code.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// The targets of a page's links, except those to other sites.
fn links(page: &Page) -> Vec<String> {
    let text = without_code(&prose(&page.text).collect::<Vec<_>>().join("\n"));
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')'));
    let targets = targets.map(|(target, _)| target.to_owned());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors of a page, as GitHub derives them from headings.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut times = HashMap::new();
    let headlines = prose(&page.text).filter_map(|line| {
        let (marks, headline) = line.split_once(' ')?;
        (!marks.is_empty() && marks.chars().all(|mark| mark == '#')).then_some(headline)
    });
    let anchors = headlines.map(|headline| {
        let kept = headline.trim().chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || "-_".contains(c) => c.to_lowercase().next(),
            _ => None,
        });
        let anchor: String = kept.collect();
        let seen: &mut u32 = times.entry(anchor.clone()).or_default();
        *seen += 1;
        match *seen {
            1 => anchor,
            times => format!("{anchor}-{}", times - 1),
        }
    });
    anchors.collect()
}

/// The path of a link's target, from the root of the repository.
fn resolve(page: &Page, target: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in page.path.parent().unwrap().join(target).components() {
        if part == Component::ParentDir {
            assert!(path.pop(), "{}: {target}", page.name());
        } else {
            path.push(part);
        }
    }
    path
}

/// Why a link does not resolve.
fn problem(page: &Page, target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => page.path.clone(),
        file => resolve(page, file),
    };
    if !Path::new(ROOT).join(&path).exists() {
        return Some(format!("{}: {target}: no such file", page.name()));
    }
    let is_there = anchor.is_empty() || anchors(&Page::read(&path)).contains(anchor);
    (!is_there).then(|| format!("{}: {target}: no such headline", page.name()))
}

#[test]
fn links_point_to_existing_files_and_headings() {
    let pages = pages();
    let all: Vec<_> = pages
        .iter()
        .flat_map(|page| links(page).into_iter().map(move |link| (page, link)))
        .collect();
    assert!(all.len() > 100, "{}", all.len());
    let problems: Vec<_> = all
        .iter()
        .filter_map(|(page, target)| problem(page, target))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_index_links_to_every_page() {
    let index = Page::read(Path::new("docs/README.md"));
    let named: BTreeSet<_> = links(&index)
        .iter()
        .map(|target| resolve(&index, target))
        .collect();
    let pages = pages();
    let pages = pages.iter().filter(|page| page.path.starts_with("docs"));
    let missing: Vec<_> = pages
        .filter(|page| page.path != index.path && !named.contains(&page.path))
        .map(Page::name)
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Adds the files in a directory that may refer to pages: sources, scripts, settings.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("node_modules") || path.ends_with("__pycache__") {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The pages that a text refers to by path.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("docs/").map(|(at, _)| at);
    let paths = starts.filter(|at| !text[..*at].ends_with(['/', '.', '-', '_', '{']));
    let paths = paths.map(|at| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-/._".contains(c));
        rest[..end.unwrap_or(rest.len())].trim_end_matches('.')
    });
    let extensions = [".md", ".toml", ".json", ".svg"];
    paths.filter(move |path| extensions.iter().any(|extension| path.ends_with(extension)))
}

#[test]
fn documents_named_in_sources_and_messages_exist() {
    let root = Path::new(ROOT);
    let mut all = vec![root.join("Cargo.toml"), root.join("build.rs")];
    for directory in [
        "src",
        "tests",
        "benches",
        "migrations",
        "proto",
        "helm",
        "scripts",
        ".ci",
    ] {
        files(&root.join(directory), &mut all);
    }
    let texts = all.iter().filter_map(|path| fs::read_to_string(path).ok());
    let texts: Vec<_> = texts.collect();
    let named: BTreeSet<_> = texts.iter().flat_map(|text| named(text)).collect();
    assert!(named.len() > 8, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|path| !root.join(path).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
