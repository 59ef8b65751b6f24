//! The commands in the documentation work as written.
//!
//! All blocks of shell commands of a page are run in order, in one shell, in an empty directory,
//! against a server of their own. A block of `text` after one has its expected output, where `…`
//! stands for any text. [`NOT_RUN`] lists the blocks that are not run.

use std::{
    collections::BTreeSet,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Page, ROOT, not_run::NOT_RUN, pages};
use crate::{
    postgres,
    program::{Running, endcap, start},
};

/// A fenced block of a page.
struct Block {
    language: String,
    text: String,
    /// The expected output, if the page has it.
    printed: Option<String>,
}

impl Block {
    /// Why it is not run.
    fn reason(&self, page: &Page) -> Option<&'static str> {
        let listed = NOT_RUN
            .iter()
            .find(|(name, start, _)| *name == page.name() && self.text.starts_with(start));
        listed.map(|(_, _, reason)| *reason)
    }

    fn is_shell(&self) -> bool {
        self.language == "sh"
    }
}

/// The fenced blocks of a page, in order.
fn blocks(page: &Page) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut follows = false;
    let mut lines = page.text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            follows &= line.is_empty();
            continue;
        };
        let text = lines.by_ref().take_while(|line| line.trim_start() != "```");
        let text: String = text.map(|line| format!("{line}\n")).collect();
        match blocks.last_mut() {
            Some(shell) if follows && language == "text" => shell.printed = Some(text),
            _ => blocks.push(Block {
                language: language.to_owned(),
                text,
                printed: None,
            }),
        }
        follows = language == "sh";
    }
    blocks
}

/// Whether the output matches the page's, where `…` stands for any text.
fn is_as_said(said: &str, printed: &str) -> bool {
    let parts: Vec<_> = said.trim().split('…').map(str::trim).collect();
    let (first, last) = (parts[0], parts[parts.len() - 1]);
    let printed = printed.trim();
    let mut rest = printed;
    let in_order = parts.iter().all(|part| {
        let found = rest.split_once(part);
        rest = found.map_or(rest, |(_, after)| after);
        found.is_some()
    });
    in_order && printed.starts_with(first) && printed.ends_with(last)
}

#[test]
fn an_ellipsis_matches_any_text() {
    assert!(is_as_said("a …\nd", "a b\nc\nd\n"));
    assert!(is_as_said("…c…", "a b\nc\nd\n"));
    assert!(!is_as_said("a", "a b"));
    assert!(!is_as_said("b …", "a b"));
    assert!(!is_as_said("…d…c", "a b\nc\nd\n"));
}

/// A directory to run commands in, with the program and the files of the repository that pages use.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let link = |target: &Path, name| symlink(target, directory.path().join(name)).unwrap();
    for name in ["docs", "examples", "proto"] {
        link(&Path::new(ROOT).join(name), name);
    }
    std::fs::create_dir(directory.path().join("bin")).unwrap();
    link(Path::new(env!("CARGO_BIN_EXE_endcap")), "bin/endcap");
    directory
}

/// A running server on a database of its own, and how commands name that database.
struct Server {
    running: Running,
    database: (&'static str, String),
    _data: TempDir,
}

impl Server {
    async fn start(engine: Engine) -> Self {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().display().to_string();
        let (url, database) = match engine {
            Sqlite => (None, ("ENDCAP_DATA_DIR", folder)),
            Postgres => {
                let url = postgres::new_database().await;
                (Some(url.clone()), ("ENDCAP_DATABASE_URL", url))
            }
        };
        let program = || endcap(data.path(), url.as_deref());
        if url.is_some() {
            let migrated = program().arg("migrate").output().unwrap();
            assert!(migrated.status.success(), "{migrated:?}");
        }
        Self {
            running: start(program()),
            database,
            _data: data,
        }
    }

    /// Runs a script as a reader would paste it, with the settings of this server.
    fn paste(&self, script: &str) -> Output {
        let directory = directory();
        let address = |url: &str| url.split_once("://").unwrap().1.to_owned();
        let Running {
            grpc, http, admin, ..
        } = &self.running;
        let script = script
            .replace("localhost:50051", &address(grpc))
            .replace("localhost:8080", &address(http))
            .replace("localhost:9090", &address(admin));
        let path = std::env::var("PATH").unwrap();
        let (variable, database) = &self.database;
        Command::new("bash")
            .args(["-e", "-u", "-o", "pipefail", "-c", &script])
            .current_dir(directory.path())
            .env("PATH", format!("{}/bin:{path}", directory.path().display()))
            .env("ENDCAP_GRPC_ADDR", address(grpc))
            .env("ENDCAP_ADMIN_ADDR", address(admin))
            .env(variable, database)
            .output()
            .unwrap()
    }
}

/// Runs the blocks of a page, and returns what went wrong.
async fn run(page: &Page, engine: Engine) -> Vec<String> {
    const END: &str = "--- the block ends ---";
    let blocks = blocks(page);
    let shell = blocks.iter().filter(|block| block.is_shell());
    let shell: Vec<_> = shell.filter(|block| block.reason(page).is_none()).collect();
    if shell.is_empty() {
        return Vec::new();
    }
    let server = Server::start(engine).await;
    let scripts = shell.iter().map(|block| block.text.clone());
    let script = scripts
        .collect::<Vec<_>>()
        .join(&format!("\necho '{END}'\n"));
    let output = server.paste(&format!("exec 2>&1\n{script}"));
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return vec![format!("{}: {}\n{printed}", page.name(), output.status)];
    }
    let printed = printed.split(END);
    let pairs = shell.iter().zip(printed);
    let wrong = pairs.filter_map(|(block, printed)| {
        let said = block.printed.as_ref()?;
        let is_wrong = !is_as_said(said, printed);
        is_wrong.then(|| format!("{}: {}prints\n{printed}", page.name(), block.text))
    });
    wrong.collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_documentation_work_as_written(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    // Two pages at the same time, because they mostly wait for their commands.
    let turns = Arc::new(Semaphore::new(2));
    let mut running = JoinSet::new();
    for page in pages() {
        let turns = Arc::clone(&turns);
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            run(&page, engine).await
        });
    }
    let problems = running.join_all().await.concat();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn each_entry_of_the_not_run_list_matches_a_block_and_has_a_reason() {
    let pages = pages();
    let all = pages.iter().flat_map(|page| {
        let blocks = blocks(page).into_iter();
        blocks.map(move |block| (page, block))
    });
    let all: Vec<_> = all.collect();
    for (name, start, reason) in NOT_RUN {
        let is_there = all.iter().any(|(page, block)| {
            page.name() == *name && block.is_shell() && block.text.starts_with(start)
        });
        assert!(is_there, "{name} has no block {start:?}");
        assert!(reason.len() > 10, "{name}: {reason:?}");
    }
    let shell = all.iter().filter(|(_, block)| block.is_shell());
    let runs = shell.filter(|(page, block)| block.reason(page).is_none());
    assert!(runs.count() > 60);
}

/// Shell, JSON and TOML blocks are parsed even if they are not run.
#[test]
fn shell_json_and_toml_blocks_parse_and_other_languages_are_known() {
    const OTHER: [&str; 8] = [
        "text",
        "sql",
        "rust",
        "yaml",
        "python",
        "go",
        "typescript",
        "proto",
    ];
    let mut languages = BTreeSet::new();
    for page in pages() {
        for Block { language, text, .. } in blocks(&page) {
            let problem = match language.as_str() {
                "sh" => Command::new("bash")
                    .args(["-n", "-c", &text])
                    .output()
                    .ok()
                    .filter(|output| !output.status.success())
                    .map(|output| String::from_utf8_lossy(&output.stderr).into_owned()),
                "json" => serde_json::from_str::<serde_json::Value>(&text)
                    .err()
                    .map(|e| e.to_string()),
                "toml" => text.parse::<toml::Table>().err().map(|e| e.to_string()),
                other => (!OTHER.contains(&other)).then(|| format!("unknown language {other:?}")),
            };
            assert_eq!(problem, None, "{}: {text}", page.name());
            languages.insert(language);
        }
    }
    assert!(languages.len() > 4, "{languages:?}");
}
