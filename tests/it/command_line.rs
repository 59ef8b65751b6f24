//! The command line as a whole: the help of each command, completions, and JSON output.

use std::collections::BTreeSet;

use clap::{Command, ValueEnum as _};
use clap_complete::Shell;
use endcap::{
    config::{SETTINGS, Setting},
    store::Engine::Sqlite,
};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};

use crate::{
    commands::run,
    harness::{Server, create},
    program::output,
};

/// The maximum length of a command's help, unless it lists all settings.
const MAX_HELP_LINES: usize = 100;

/// All commands and subcommands, with their paths, such as `key create`.
fn commands() -> Vec<(String, Command)> {
    fn collect(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
        // The parser adds `help`.
        for below in command
            .get_subcommands()
            .filter(|it| it.get_name() != "help")
        {
            let path = format!("{path} {}", below.get_name()).trim().to_owned();
            collect(below, &path, all);
            all.push((path, below.clone()));
        }
    }
    let mut all = Vec::new();
    collect(&endcap::cli::command(), "", &mut all);
    all
}

/// The help with line breaks replaced by spaces, as lines may be wrapped anywhere.
fn help(path: &str, flag: &str) -> (usize, String) {
    let arguments: Vec<_> = path.split_whitespace().chain([flag]).collect();
    let (status, help, error) = run(&arguments);
    assert_eq!((status, error.as_str()), (Some(0), ""), "{path}");
    let words: Vec<_> = help.split_whitespace().collect();
    (help.lines().count(), words.join(" "))
}

#[test]
fn the_help_of_each_command_is_short_and_names_its_values() {
    let commands = commands();
    assert!(commands.len() > 10);
    let paths = commands.iter().map(|(path, _)| path.as_str()).chain([""]);
    for path in paths {
        for flag in ["-h", "--help"] {
            let (lines, help) = help(path, flag);
            assert!(!help.contains("<VALUE>"), "{path}: {help}");
            assert!(
                path == "serve" || lines < MAX_HELP_LINES,
                "{path} {flag}: {lines} lines"
            );
            // The demo uses few settings and names them all.
            let points = matches!(path, "serve" | "demo") || help.contains("endcap serve --help");
            assert!(points, "{path}: {help}");
        }
    }
}

#[test]
fn the_help_of_serve_lists_each_setting_with_its_type_and_variable() {
    let (_, help) = help("serve", "--help");
    for setting in SETTINGS {
        for name in [Some(setting.name), setting.file].into_iter().flatten() {
            for part in [
                format!(" {} <", Setting::flag(name)),
                format!("[env: {}]", Setting::variable(name)),
            ] {
                assert!(help.contains(&part), "{part} in {help}");
            }
        }
    }
    for part in [
        "--grpc-addr <ADDRESS>",
        "--trusted-proxies <NETWORK>",
        "--data-dir <DIRECTORY>",
        "--database-url <URL>",
        "--database-url-file <FILE>",
        "--database-tls <MODE>",
        "--tls-cert <FILE>",
        "--max-depth <COUNT>",
        "--max-body-size <SIZE>",
        "--drain-timeout <TIME>",
        "--rate-per-caller <RATE>",
        "--locales <LOCALE>",
        "--default-tenant <TENANT>",
        "--reflection <BOOLEAN>",
        "--otlp-endpoint <URL>",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn a_command_shows_the_settings_that_it_uses_and_accepts_all() {
    for (path, shown) in [
        ("", &["http_addr", "data_dir", "database_url"][..]),
        ("demo", &["grpc_addr", "http_addr", "log"]),
        ("migrate", &["database_url", "database_tls_ca", "log"]),
        ("key", &["data_dir", "database_url", "tenants"]),
        ("key list", &["data_dir", "database_password_file"]),
        ("secret rotate", &["data_dir", "database_url"]),
        ("check", &["data_dir", "database_acquire_timeout"]),
        ("reindex", &["data_dir", "database_url"]),
        ("backup", &["data_dir"]),
        ("healthcheck", &["admin_addr"]),
        ("import children", &["grpc_addr"]),
        ("export children", &["grpc_addr"]),
        ("config", &[]),
        ("completions", &[]),
    ] {
        let (_, help) = help(path, "--help");
        for name in shown {
            let flag = format!(" {} <", Setting::flag(name));
            assert!(help.contains(&flag), "{path}: {flag} in {help}");
        }
        assert!(!help.contains("--max-depth <"), "{path}: {help}");
    }
    for (path, command) in commands() {
        let ids: BTreeSet<_> = command
            .get_arguments()
            .map(|arg| arg.get_id().as_str())
            .collect();
        for setting in SETTINGS {
            for name in [Some(setting.name), setting.file].into_iter().flatten() {
                assert!(ids.contains(name), "{path} does not accept {name}");
            }
        }
    }
    // The flag is accepted in both places: the command only fails for lack of a database.
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = ["--data-dir", data.to_str().unwrap()];
    for hidden in [
        ["--max-depth", "7", "key", "list"],
        ["key", "list", "--max-depth", "7"],
    ] {
        let (status, _, error) = run(&[&hidden[..], &data].concat());
        assert_eq!(status, Some(1));
        assert!(error.contains("there is no database at "), "{error}");
    }
}

#[test]
fn completions_of_each_shell_have_each_command() {
    let names: BTreeSet<_> = commands()
        .into_iter()
        .map(|(_, command)| command.get_name().to_owned())
        .collect();
    for shell in Shell::value_variants() {
        let shell = shell.to_string();
        // Invalid settings are ignored.
        let (ok, script, error) = output(&["completions", &shell], &[("ENDCAP_COLOUR", "red")]);
        assert!(ok && error.is_empty(), "{shell}: {error}");
        let is_part = |c: char| !c.is_ascii_alphanumeric();
        let words: BTreeSet<_> = script.split(is_part).collect();
        for name in &names {
            assert!(words.contains(name.as_str()), "{name} for {shell}");
        }
    }
    let (status, _, error) = run(&["completions", "cmd"]);
    assert_eq!(status, Some(2));
    assert!(
        error.contains("bash, elvish, fish, powershell, zsh"),
        "{error}"
    );
}

#[test]
fn bash_completes_commands_and_flags() {
    let (_, script, _) = run(&["completions", "bash"]);
    let complete = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let last = words.len() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({line}); COMP_CWORD={last}\n\
             _endcap endcap '{}' '{}'\necho \"${{COMPREPLY[@]}}\"",
            words[last],
            words[last - 1]
        );
        let output = std::process::Command::new("bash")
            .args(["-c", &ask])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("endcap mig"), "migrate");
    assert_eq!(complete("endcap key rev"), "revoke");
    assert_eq!(complete("endcap key create --lab"), "--label");
    assert_eq!(complete("endcap key create --max-dep"), "");
    assert_eq!(complete("endcap serve --max-dep"), "--max-depth");
}

/// Runs commands on one database, and records which ones.
struct Json {
    data: String,
    commands: BTreeSet<String>,
}

impl Json {
    /// The status and the result of a command. Its path is the first arguments.
    fn run(&mut self, path: &str, arguments: &[&str]) -> (Option<i32>, Value) {
        self.commands.insert(path.to_owned());
        let path: Vec<_> = path.split(' ').collect();
        let mut all = vec!["--data-dir", &self.data];
        for port in ["--grpc-addr", "--http-addr", "--admin-addr"] {
            all.extend([port, "127.0.0.1:0"]);
        }
        all.extend(path);
        all.extend(arguments);
        all.extend(["--output", "json"]);
        let (status, printed, error) = run(&all);
        let json = serde_json::from_str(&printed);
        let json = json.unwrap_or_else(|odd| panic!("{all:?}: {odd} in {printed:?}: {error}"));
        (status, json)
    }

    fn ok(&mut self, path: &str, arguments: &[&str]) -> Value {
        let (status, json) = self.run(path, arguments);
        assert_eq!(status, Some(0), "{path}: {json}");
        json
    }
}

/// The commands about migrations, on a database that does not exist yet.
fn migrations(commands: &mut Json) {
    let valid = commands.ok("config", &["--check"]);
    assert_eq!(valid["valid"], true);
    assert_eq!(valid["database_exists"], false);
    let applied = commands.ok("migrate", &[]);
    let count = applied["applied"].as_array().unwrap().len();
    let version = &applied["version"];
    assert!(
        count > 0 && applied["applied"][count - 1] == *version,
        "{applied}"
    );
    let nothing = json!({"applied": [], "newer": null, "version": version});
    assert_eq!(commands.ok("migrate", &[]), nothing);
    assert_eq!(commands.ok("migrate", &["--check"]), json!({"pending": []}));
    let status = commands.ok("migrate", &["--status"]);
    let last = json!({"name": version, "state": "applied"});
    assert_eq!(status["migrations"][count - 1], last);
    assert!(
        status["floor"].is_string() && status["version"] == *version,
        "{status}"
    );
}

fn keys(commands: &mut Json) {
    let allowed = ["--label", "a\tb", "--tenant", "shop", "--scope", "admin"];
    let created = commands.ok(
        "key create",
        &[&allowed[..], &["--expires-in", "1d"]].concat(),
    );
    let key = created["key"].as_str().unwrap();
    let parts: Vec<_> = key.split('_').collect();
    assert_eq!(created["id"], parts[1]);
    assert!(
        created["database"]
            .as_str()
            .unwrap()
            .ends_with("/endcap.db")
    );
    let list = commands.ok("key list", &[]);
    let [listed] = list["keys"].as_array().unwrap().as_slice() else {
        panic!("{list}");
    };
    assert!(!list.to_string().contains(parts[2]));
    for name in ["id", "label", "tenants", "scopes", "expire_time"] {
        assert_eq!(listed[name], created[name], "{name}");
    }
    assert_eq!(listed["label"], "a\tb");
    assert_eq!(listed["state"], "active");
    assert_eq!(listed["revoke_time"], Value::Null);
    let revoked = commands.ok("key revoke", &[parts[1]]);
    assert_eq!(
        (&revoked["id"], &revoked["state"]),
        (&created["id"], &"revoked".into())
    );
    let list = commands.ok("key list", &[]);
    assert_eq!(list["keys"][0]["state"], "revoked");
    assert!(list["keys"][0]["revoke_time"].is_string(), "{list}");
}

async fn check(commands: &mut Json) {
    let sound = json!({
        "tenant_count": 0, "collection_count": 0, "problem_count": 0, "problems": [],
    });
    assert_eq!(commands.ok("check", &[]), sound);
    let right = json!({
        "collection_count": 0, "rebuilt_count": 0, "problem_count": 0, "problems": [],
    });
    assert_eq!(commands.ok("reindex", &[]), right);
    let url = format!("sqlite://{}/endcap.db", commands.data);
    let database = Database::connect(url).await.unwrap();
    let ghost = "INSERT INTO segments (tenant_id, collection_id, list, segment_id, rank, len) \
                 VALUES ('ghosts', 'gone', 1, 1, 1, 1)";
    database.execute_unprepared(ghost).await.unwrap();
    database.close().await.unwrap();
    let (status, found) = commands.run("check", &[]);
    assert_eq!((status, &found["problem_count"]), (Some(1), &1.into()));
    let problem = &found["problems"][0];
    assert_eq!(problem["tenant_id"], "ghosts");
    assert_eq!(problem["collection_id"], "gone");
    assert_eq!(problem["list"], "products");
    assert!(
        problem["problem"]
            .as_str()
            .unwrap()
            .contains("the collection does not exist")
    );
}

fn config(commands: &mut Json) {
    let settings = commands.ok("config", &["--max-depth", "7"]);
    assert_eq!(settings["max_depth"], 7);
    assert_eq!(settings["data_dir"], commands.data.as_str());
    // Problems of a single setting, and of two that contradict each other.
    for (flag, value, problem) in [
        ("--max-mutations", "0", "must be an integer"),
        ("--tls-cert", "/nowhere.pem", "must be set together"),
    ] {
        let (status, json) = commands.run("config", &["--check", flag, value]);
        assert_eq!((status, &json["valid"]), (Some(1), &false.into()));
        let first = &json["problems"][0];
        let name = flag[2..].replace('-', "_");
        let setting = first["setting"].as_str().unwrap();
        assert!(setting == flag || setting == name, "{json}");
        assert!(
            first["problem"].as_str().unwrap().contains(problem),
            "{json}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_with_a_result_prints_it_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut commands = Json {
        data: path("data"),
        commands: BTreeSet::new(),
    };
    migrations(&mut commands);
    keys(&mut commands);
    let rotated = commands.ok("secret rotate", &[]);
    assert!(rotated["rotated_count"].is_u64(), "{rotated}");
    check(&mut commands).await;
    config(&mut commands);
    let copy = path("copy");
    let written = commands.ok("backup", &[&copy]);
    let size = std::fs::metadata(&copy).unwrap().len();
    assert_eq!(written, json!({"file": copy, "size_bytes": size}));

    let server = Server::new(Sqlite).await;
    create(&mut server.grpc().await, "summer").await;
    let ids = path("ids");
    std::fs::write(&ids, "hat\ntowel\nhat\n").unwrap();
    let place = [&ids, "--collection", "summer", "--server", &server.grpc];
    let mut imported = commands.ok("import children", &place);
    assert!(imported["duration_seconds"].take().is_f64());
    let counts = json!({
        "added_count": 2, "existing_count": 1, "removed_count": 0, "collection_count": 1,
        "duration_seconds": null,
    });
    assert_eq!(imported, counts);

    // All commands with the flag were run.
    let has_output = |command: &Command| command.get_arguments().any(|it| it.get_id() == "output");
    let all = self::commands().into_iter();
    let all = all.filter(|(_, command)| has_output(command));
    assert_eq!(commands.commands, all.map(|(path, _)| path).collect());
}

#[test]
fn a_command_that_fails_prints_no_json() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = ["--data-dir", data.to_str().unwrap(), "--output", "json"];
    let (status, printed, error) = run(&[&["key", "list"][..], &data].concat());
    assert_eq!((status, printed.as_str()), (Some(1), ""));
    assert!(
        error.starts_with("endcap: there is no database at "),
        "{error}"
    );
    let (status, _, error) = run(&["key", "list", "--output", "yaml"]);
    assert_eq!(status, Some(2));
    assert!(error.contains("text, json"), "{error}");
}
