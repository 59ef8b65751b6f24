//! The source layout: which top-level module may import from which, and that no files import each
//! other in a cycle. The sources are parsed; test code is ignored.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "syn may add kinds of items, and only some of them matter here"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, iter,
    path::{Path, PathBuf},
};

use syn::{
    Item, UseTree,
    parse::Parser as _,
    visit::{self, Visit},
};

/// The top-level modules, each with those that it may import from.
const MODULES: [(&str, &[&str]); 18] = [
    ("domain", &[]),
    ("memory", &["domain", "processor", "telemetry"]),
    ("pem", &[]),
    (
        "preflight",
        &[
            "auth",
            "config",
            "domain",
            "http",
            "pem",
            "store",
            "telemetry",
        ],
    ),
    ("processor", &[]),
    ("watched", &[]),
    ("crypto", &[]),
    ("telemetry", &["crypto", "domain"]),
    ("rate", &["domain", "telemetry"]),
    (
        "store",
        &["domain", "processor", "rate", "telemetry", "watched"],
    ),
    ("service", &["domain", "memory", "store", "telemetry"]),
    (
        "config",
        &["domain", "memory", "store", "telemetry", "watched"],
    ),
    (
        "auth",
        &["config", "domain", "rate", "store", "telemetry", "watched"],
    ),
    ("grpc", &["domain", "processor", "service", "telemetry"]),
    (
        "dialect",
        &[
            "auth",
            "config",
            "domain",
            "memory",
            "processor",
            "service",
            "telemetry",
        ],
    ),
    (
        "json",
        &["dialect", "domain", "grpc", "processor", "telemetry"],
    ),
    (
        "http",
        &[
            "auth",
            "config",
            "dialect",
            "domain",
            "grpc",
            "memory",
            "processor",
            "pem",
            "rate",
            "service",
            "telemetry",
            "watched",
        ],
    ),
    (
        "app",
        &[
            "auth",
            "config",
            "crypto",
            "dialect",
            "domain",
            "grpc",
            "http",
            "json",
            "memory",
            "preflight",
            "rate",
            "service",
            "store",
            "telemetry",
            "watched",
        ],
    ),
];

/// The module of the commands, which may import from all others, and none from it.
const TOP: &str = "cli";

/// The crates that a module must not import from.
const FOREIGN: [(&str, &[&str]); 5] = [
    (
        "domain",
        &[
            "axum",
            "hyper",
            "prost",
            "prost_types",
            "sea_orm",
            "serde",
            "sqlx",
            "tokio",
            "tonic",
            "tower",
        ],
    ),
    (
        "service",
        &[
            "axum",
            "hyper",
            "prost",
            "prost_types",
            "sea_orm",
            "serde_json",
            "sqlx",
            "tonic",
            "tower",
        ],
    ),
    (
        "auth",
        &["axum", "hyper", "prost", "sea_orm", "sqlx", "tonic"],
    ),
    ("dialect", &["prost", "sea_orm", "sqlx", "tonic"]),
    ("json", &["sea_orm", "sqlx"]),
];

/// The target of an import: another file, by its index among the sources, or a crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    File(usize),
    Crate(String),
}

/// An import.
#[derive(Clone, Debug)]
struct Import {
    from: usize,
    to: Target,
    /// How the file spells it.
    name: String,
    /// The module it is imported from. Re-exports count as the module's own.
    top_module: String,
}

/// A source file, which is a module.
struct Source {
    path: PathBuf,
    /// Its path from the crate's root.
    module: Vec<String>,
    items: Vec<Item>,
    /// What its `use`s import, by name, or `*` for globs: the paths.
    imports: BTreeMap<String, Vec<Vec<String>>>,
}

/// All files in `src`.
struct SourceTree {
    sources: Vec<Source>,
    by_module: BTreeMap<Vec<String>, usize>,
}

impl SourceTree {
    fn read(folder: &Path) -> Self {
        let mut files = Vec::new();
        rust_files(folder, &mut files);
        files.sort();
        // The program is a crate of its own.
        files.retain(|path| path != &folder.join("main.rs"));
        let sources: Vec<_> = files
            .into_iter()
            .map(|path| Source::parse(&path, path.strip_prefix(folder).unwrap()))
            .collect();
        let modules = sources.iter().enumerate();
        let by_module = modules.map(|(at, source)| (source.module.clone(), at));
        Self {
            by_module: by_module.collect(),
            sources,
        }
    }

    fn top_module(&self, source: usize) -> &str {
        self.sources[source]
            .module
            .first()
            .map_or("", String::as_str)
    }

    /// The file that defines what a path in a module refers to, through all re-exports.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => return self.find(&[], rest, depth),
            "self" => return self.find(module, rest, depth),
            "super" => return self.find(&module[..module.len().checked_sub(1)?], rest, depth),
            _ => {}
        }
        let here = &self.sources[*self.by_module.get(module)?];
        let child = [module, std::slice::from_ref(first)].concat();
        if self.by_module.contains_key(&child) || here.imports.contains_key(first) {
            return self.find(module, path, depth);
        }
        None
    }

    /// Resolves a path that is relative to a module.
    fn find(&self, module: &[String], path: &[String], depth: usize) -> Option<Target> {
        let at = *self.by_module.get(module)?;
        let Some((first, rest)) = path.split_first() else {
            return Some(Target::File(at));
        };
        if first == "super" {
            return self.find(&module[..module.len().checked_sub(1)?], rest, depth);
        }
        let child = [module, std::slice::from_ref(first)].concat();
        if self.by_module.contains_key(&child) {
            return self.find(&child, rest, depth);
        }
        let here = &self.sources[at];
        // Globs may lead back here, so the depth is limited.
        if depth > 0 {
            if let Some(from) = here.imports.get(first).and_then(|all| all.first()) {
                let path = [from.as_slice(), rest].concat();
                let found = self.resolve(module, &path, depth - 1);
                return Some(found.unwrap_or_else(|| Target::Crate(from[0].clone())));
            }
            for from in here.imports.get("*").into_iter().flatten() {
                let path = [from.as_slice(), path].concat();
                let target = self.resolve(module, &path, depth - 1);
                if let Some(Target::File(to)) = target
                    && self.sources[to].defines(first)
                {
                    return target;
                }
            }
        }
        Some(Target::File(at))
    }

    fn imports(&self) -> Vec<Import> {
        let mut imports = BTreeMap::new();
        for (from, source) in self.sources.iter().enumerate() {
            for path in source.paths() {
                let to = self
                    .resolve(&source.module, &path, 8)
                    .unwrap_or_else(|| Target::Crate(path[0].clone()));
                if to != Target::File(from) {
                    let top_module = source.module_of(&path);
                    imports
                        .entry((from, to, top_module))
                        .or_insert(path.join("::"));
                }
            }
        }
        let imports = imports.into_iter();
        imports
            .map(|((from, to, top_module), name)| Import {
                from,
                to,
                name,
                top_module,
            })
            .collect()
    }

    fn describe(&self, import: &Import) -> String {
        let to = match &import.to {
            Target::File(to) => self.sources[*to].path.display().to_string(),
            Target::Crate(name) => name.clone(),
        };
        let from = self.sources[import.from].path.display();
        format!("{from} -> {to} ({})", import.name)
    }

    /// The imports among files that import each other, directly or through others.
    fn cycles(&self, imports: &[Import]) -> Vec<Import> {
        let mut reached: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.sources.len()];
        for (start, reached) in reached.iter_mut().enumerate() {
            let mut open = vec![start];
            while let Some(from) = open.pop() {
                for import in imports.iter().filter(|import| import.from == from) {
                    if let Target::File(to) = import.to
                        && reached.insert(to)
                    {
                        open.push(to);
                    }
                }
            }
        }
        let is_in_cycle = |import: &&Import| match import.to {
            Target::File(to) => reached[to].contains(&import.from),
            Target::Crate(_) => false,
        };
        imports.iter().filter(is_in_cycle).cloned().collect()
    }

    /// The imports that the table does not allow.
    fn upward(&self, imports: &[Import]) -> Vec<Import> {
        let is_upward = |import: &&Import| {
            let top_module = self.top_module(import.from);
            match &import.to {
                Target::File(_) => {
                    let to = import.top_module.as_str();
                    let below = MODULES.iter().find(|(name, _)| *name == top_module);
                    // A module that is not in the table may import from none.
                    let is_below = match below {
                        Some((_, below)) => below.contains(&to),
                        None => top_module == TOP,
                    };
                    to != top_module && !is_below
                }
                Target::Crate(to) => FOREIGN
                    .iter()
                    .any(|(name, barred)| *name == top_module && barred.contains(&to.as_str())),
            }
        };
        imports.iter().filter(is_upward).cloned().collect()
    }
}

impl Source {
    fn parse(path: &Path, place: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{place:?}: {error}"));
        let mut module: Vec<_> = place
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if ["mod", "lib"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        let items: Vec<_> = file
            .items
            .into_iter()
            .filter(|item| !is_for_tests(item))
            .collect();
        let mut imports = BTreeMap::<_, Vec<_>>::new();
        for item in &items {
            if let Item::Use(item) = item {
                for (name, path) in leaves(&item.tree) {
                    imports.entry(name).or_default().push(path);
                }
            }
        }
        Self {
            path: Path::new("src").join(place),
            module,
            items,
            imports,
        }
    }

    /// The top-level module that a path in this file refers to.
    fn module_of(&self, path: &[String]) -> String {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let (base, rest) = match path[0].as_str() {
            "crate" => (0, &path[1..]),
            "super" => (self.module.len() - ups, &path[ups..]),
            _ => (self.module.len(), path),
        };
        let mut top_module = self.module[..base].iter().chain(rest);
        top_module.next().cloned().unwrap_or_default()
    }

    fn defines(&self, name: &str) -> bool {
        self.imports.contains_key(name)
            || self.items.iter().any(|item| {
                let ident = match item {
                    Item::Const(item) => &item.ident,
                    Item::Enum(item) => &item.ident,
                    Item::Fn(item) => &item.sig.ident,
                    Item::Static(item) => &item.ident,
                    Item::Struct(item) => &item.ident,
                    Item::Trait(item) => &item.ident,
                    Item::Type(item) => &item.ident,
                    _ => return false,
                };
                ident == name
            })
    }

    /// What the file needs from elsewhere: its private `use`s, and each path in its code.
    /// Re-exports don't count as needs.
    fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Paths::default();
        for item in &self.items {
            match item {
                Item::Use(item) if matches!(item.vis, syn::Visibility::Inherited) => {
                    paths
                        .0
                        .extend(leaves(&item.tree).into_iter().map(|(_, path)| path));
                }
                Item::Use(_) => {}
                item => paths.visit_item(item),
            }
        }
        let imports = |path: &Vec<String>| {
            let first = path[0].as_str();
            ["crate", "self", "super"].contains(&first)
                || path.len() > 1 && first.starts_with(char::is_lowercase)
                || self.imports.contains_key(first)
        };
        paths.0.retain(imports);
        paths.0
    }
}

/// The paths in code.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'a> Visit<'a> for Paths {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.0.push(segments.collect());
        visit::visit_path(self, path);
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.0
            .extend(leaves(&item.tree).into_iter().map(|(_, path)| path));
    }

    /// Arguments of a macro are usually expressions. Otherwise only paths of one form are found.
    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.visit_path(&call.path);
        let arguments = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        if let Ok(arguments) = arguments.parse2(call.tokens.clone()) {
            // The parsed arguments are temporary, so their paths are copied.
            let mut inner = Paths::default();
            arguments
                .iter()
                .for_each(|argument| inner.visit_expr(argument));
            self.0.append(&mut inner.0);
        } else {
            let text = call.tokens.to_string();
            let words = text.split(|c: char| !(c.is_alphanumeric() || "_: ".contains(c)));
            for word in words {
                for path in word.replace(" :: ", "::").split_whitespace() {
                    let path: Vec<_> = path.split("::").map(str::to_owned).collect();
                    if path.len() > 1 && path.iter().all(|part| !part.is_empty()) {
                        self.0.push(path);
                    }
                }
            }
        }
    }
}

/// Each name that a `use` imports, or `*` for globs, and its path.
fn leaves(tree: &UseTree) -> Vec<(String, Vec<String>)> {
    match tree {
        UseTree::Path(tree) => {
            let below = leaves(&tree.tree).into_iter();
            let first = tree.ident.to_string();
            below
                .map(|(name, path)| {
                    // `use a::{self}` means `use a`.
                    let name = if name == "self" { first.clone() } else { name };
                    let path = path.into_iter().filter(|part| part != "self");
                    (name, iter::once(first.clone()).chain(path).collect())
                })
                .collect()
        }
        UseTree::Name(tree) => {
            let name = tree.ident.to_string();
            vec![(name.clone(), vec![name])]
        }
        UseTree::Rename(tree) => vec![(tree.rename.to_string(), vec![tree.ident.to_string()])],
        UseTree::Glob(_) => vec![("*".into(), Vec::new())],
        UseTree::Group(tree) => tree.items.iter().flat_map(leaves).collect(),
    }
}

fn is_for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a Rust file in the folder has this function.
fn has_function(folder: &Path, name: &str) -> bool {
    let mut files = Vec::new();
    rust_files(folder, &mut files);
    files.iter().any(|path| {
        let text = fs::read_to_string(path).unwrap();
        text.contains(&format!("fn {name}("))
    })
}

#[test]
fn the_tests_named_in_the_security_guarantees_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/explanation/threat-model.md")).unwrap();
    let promises = text.split("\n## Security guarantees\n").nth(1).unwrap();
    let named: Vec<_> = promises
        .split('`')
        .skip(1)
        .step_by(2)
        // Names of tests are sentences; other names in that page are shorter.
        .filter_map(|code| Some(code.rsplit_once("::")?.1))
        .filter(|name| name.matches('_').count() >= 3)
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let exists = ["src", "tests"].map(|folder| has_function(&root.join(folder), name));
        assert!(exists.contains(&true), "{name}");
    }
}

fn report(tree: &SourceTree, imports: &[Import]) -> String {
    let lines: Vec<_> = imports.iter().map(|import| tree.describe(import)).collect();
    lines.join("\n")
}

#[test]
fn modules_import_only_from_allowed_modules() {
    let tree = SourceTree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let imports = tree.imports();
    // Makes sure that the parser finds imports at all.
    assert!(imports.len() > 500, "{}", imports.len());
    let upward = tree.upward(&imports);
    assert!(upward.is_empty(), "\n{}", report(&tree, &upward));
}

#[test]
fn imports_between_files_form_no_cycles() {
    let tree = SourceTree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let cycles = tree.cycles(&tree.imports());
    assert!(cycles.is_empty(), "\n{}", report(&tree, &cycles));
}

/// The part of a file that is not for tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

/// Code outside of a dialect's folder names it only where dialects are registered, and in the names
/// of its settings.
#[test]
fn dialects_are_named_only_in_their_folders_and_where_registered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (source, dialects) = (root.join("src"), root.join("src/dialect"));
    let named = fs::read_dir(&dialects).unwrap();
    let named = named.map(|entry| entry.unwrap().path());
    let named: Vec<_> = named.filter(|path| path.is_dir()).collect();
    assert!(named.len() > 1, "{named:?}");
    let lists = [source.join("app.rs"), dialects.join("mod.rs")];
    let mut all = Vec::new();
    rust_files(&source, &mut all);
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

/// Deliberate violations: an import that the table does not allow, through a re-export and in the
/// arguments of a macro, and two files that import each other.
#[test]
fn disallowed_imports_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod domain; pub mod store; pub mod service;");
    write("domain/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;");
    write(
        "domain/a.rs",
        "use super::B; pub struct A; fn f() { println!(\"{}\", crate::store::Row::new()); }",
    );
    write("domain/b.rs", "use super::a; pub struct B(a::A);");
    write("store/mod.rs", "mod row; pub use row::Row;");
    write("store/row.rs", "use sea_orm::DbErr; pub struct Row;");
    write(
        "service/mod.rs",
        "use sea_orm::DbErr; #[cfg(test)] mod tests { use crate::grpc::pb; }",
    );
    let tree = SourceTree::read(folder.path());
    let imports = tree.imports();
    let upward = report(&tree, &tree.upward(&imports));
    assert_eq!(
        upward,
        "src/domain/a.rs -> src/store/row.rs (crate::store::Row::new)\n\
         src/service/mod.rs -> sea_orm (sea_orm::DbErr)"
    );
    let cycles = report(&tree, &tree.cycles(&imports));
    assert_eq!(
        cycles,
        "src/domain/a.rs -> src/domain/b.rs (super::B)\n\
         src/domain/b.rs -> src/domain/a.rs (super::a)"
    );
}
