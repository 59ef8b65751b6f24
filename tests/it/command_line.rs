//! The command line as a whole: the help of each command.

use std::collections::BTreeSet;

use clap::Command;
use endcap::config::{SETTINGS, Setting};

use crate::commands::run;

/// The longest that the help of a command may be which does not list all settings.
const MAX_HELP_LINES: usize = 100;

/// All commands, and those below them, each with its path: `key create`.
fn commands() -> Vec<(String, Command)> {
    fn collect(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
        // `help` is made by the parser.
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

/// The help with line breaks as spaces: a line may break anywhere.
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
            let points = path == "serve" || help.contains("endcap serve --help");
            assert!(points, "{path}: {help}");
        }
    }
}

#[test]
fn the_help_of_serve_has_each_setting_with_its_kind_and_its_variable() {
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
        ("migrate", &["database_url", "database_tls_ca", "log"]),
        ("key", &["data_dir", "database_url"]),
        ("key list", &["data_dir", "database_password_file"]),
        ("secret rotate", &["data_dir", "database_url"]),
        ("check", &["data_dir", "database_acquire_timeout"]),
        ("backup", &["data_dir"]),
        ("healthcheck", &["admin_addr"]),
        ("import children", &["grpc_addr"]),
        ("export children", &["grpc_addr"]),
        ("config", &[]),
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
    // It gets as far as to look for the database, wherever the flag is.
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
