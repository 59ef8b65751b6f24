//! Tests of the documentation: its links, its commands, and its generated pages.

mod blocks;
mod command_line;
mod errors;
mod grpc_reference;
mod limits;
mod links;
mod log;
mod not_run;
mod tls;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The directory of the repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A page of the documentation.
struct Page {
    /// The path in the repository.
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: &Path) -> Self {
        Self {
            text: fs::read_to_string(Path::new(ROOT).join(path)).unwrap(),
            path: path.to_owned(),
        }
    }

    /// The path, for error messages.
    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// All pages: those in docs, the README files and the changelog.
fn pages() -> Vec<Page> {
    let others = ["CHANGELOG.md", "README.md", "helm/endcap/README.md"];
    let mut paths: Vec<_> = others.map(PathBuf::from).into();
    collect(Path::new("docs"), &mut paths);
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// Adds the pages in a directory, recursively.
fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(Path::new(ROOT).join(directory)).unwrap() {
        let path = directory.join(entry.unwrap().file_name());
        if Path::new(ROOT).join(&path).is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Compares a page with the output of `generate`; if `UPDATE_DOCS` is set, writes the page instead.
fn generated(path: &str, generate: impl FnOnce(&str) -> String) {
    let file = Path::new(ROOT).join(path);
    let written = fs::read_to_string(&file).unwrap_or_default();
    let made = generate(&written);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &made).unwrap();
    } else {
        let command = "UPDATE_DOCS=1 cargo test --test it docs::";
        assert!(written == made, "{path} is out of date: {command}");
    }
}

/// Like [`generated`], for a page that is handwritten up to the comment that begins with `mark`.
fn generated_after(path: &str, mark: &str, text: &str) {
    generated(path, |page| {
        let start = page
            .find(mark)
            .unwrap_or_else(|| panic!("{path} has no {mark}"));
        let end = start + page[start..].find("-->\n").unwrap() + "-->\n".len();
        format!("{}{text}", &page[..end])
    });
}
