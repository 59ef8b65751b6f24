//! An operator's tasks: start the service, upgrade and roll back, grant privileges to its roles,
//! back it up, and understand its error messages.

mod backup;
mod diagnosis;
mod floor;
mod folder;
mod load;
mod migrate;
mod released;
mod roles;
mod schema;
mod wait;

use std::{
    path::Path,
    process::{Command, Output},
};

use endcap::store::Engine;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use tempfile::TempDir;

use crate::{commands::read, postgres, program};

/// A database that no server uses yet.
pub(crate) struct Place {
    folder: TempDir,
    /// `None` for SQLite.
    postgres: Option<String>,
}

impl Place {
    async fn new(engine: Engine) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            postgres: match engine {
                Engine::Sqlite => None,
                Engine::Postgres => Some(postgres::new_database().await),
            },
        }
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    /// A command of this program on this database, with free ports.
    fn endcap(&self) -> Command {
        let mut command = program::endcap(self.data(), self.postgres.as_deref());
        command.args(["--log-format", "json"]);
        command
    }

    /// The same command of another version of the program.
    fn of(&self, program: &Path) -> Command {
        let ours = self.endcap();
        let mut command = Command::new(program);
        command.env_clear().args(ours.get_args());
        command
    }

    /// Runs a command to completion; returns its status, standard output and standard error.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run(self.endcap().args(["--log", "error"]).args(arguments))
    }

    /// A connection that is independent of all servers.
    async fn connect(&self) -> DatabaseConnection {
        let file = self.data().join("endcap.db");
        let url = match &self.postgres {
            None => format!("sqlite://{}?mode=rwc", file.display()),
            Some(url) => url.clone(),
        };
        Database::connect(url).await.unwrap()
    }

    async fn execute(&self, statements: &[&str]) {
        let db = self.connect().await;
        for statement in statements {
            db.execute_unprepared(statement).await.unwrap();
        }
        db.close().await.unwrap();
    }
}

/// A command's exit status, output and errors, without the note about which database it wrote to.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output: Output = command.output().unwrap();
    let (status, printed, told) = read(&output);
    let mut told: Vec<_> = told.split_inclusive('\n').collect();
    told.retain(|line| !line.contains("in the database "));
    (status, printed, told.concat())
}

/// The text of a documentation page for operators.
fn page(name: &str) -> String {
    let path = format!("{}/docs/operate/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The code blocks in this language under a heading of a page.
fn blocks(name: &str, headline: &str, language: &str) -> Vec<String> {
    let page = page(name);
    let start = page.find(&format!("\n{headline}\n"));
    let part = &page[start.unwrap_or_else(|| panic!("no {headline}")) + headline.len() + 2..];
    let part = part.split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    let blocks = part.split(&fence).skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect()
}
