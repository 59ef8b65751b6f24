//! The help of commands: the descriptions of settings, and which settings each command shows.

use clap::{Arg, Command};

use super::demo;
use crate::config::{Kind, Setting};

const ALL_SETTINGS: &str = "\
Every setting may be given to every command; endcap serve --help and docs/reference/settings.md list them all.";

/// Completes the help of flags from the table of settings, and hides in each command the flags of
/// settings that it does not use. Hidden flags are still accepted, so that a script can pass the
/// same flags to all commands.
pub(super) fn complete(command: Command) -> Command {
    let mut command = command.mut_args(describe);
    // Copies the global flags into each command, so that they can be hidden separately.
    command.build();
    command
        .mut_args(|arg| hide_unused(arg, "endcap"))
        .mut_subcommands(|top| {
            let name = top.get_name().to_owned();
            shorten(top, &name)
        })
}

/// The command line with the flags that help shows only. Shell completions are generated from it,
/// as they would include hidden flags.
pub(super) fn visible(command: Command) -> Command {
    let command = command.mut_args(|arg| describe(arg).global(false));
    let flags: Vec<_> = command.get_arguments().cloned().collect();
    command.mut_subcommands(|top| {
        let name = top.get_name().to_owned();
        with_used(top, &name, &flags)
    })
}

/// Whether the help of a command shows a setting. `endcap` is the program itself.
fn shows(command: &str, setting: &str) -> bool {
    let is_of_database = setting == "data_dir" || setting.starts_with("database_");
    match command {
        "serve" => true,
        "endcap" => matches!(
            setting,
            "grpc_addr" | "http_addr" | "admin_addr" | "data_dir" | "database_url"
        ),
        "demo" => demo::USED.contains(&setting),
        "migrate" => is_of_database || matches!(setting, "log" | "log_format"),
        "key" => is_of_database || setting == "tenants",
        "check" | "reindex" | "secret" => is_of_database,
        "backup" => setting == "data_dir",
        "healthcheck" => setting == "admin_addr",
        "import" | "export" => setting == "grpc_addr",
        _ => false,
    }
}

/// Shortens the help of a command and its subcommands, which all use the same settings.
fn shorten(command: Command, top: &str) -> Command {
    match top {
        "serve" => return command,
        "demo" => {
            return command
                .mut_args(|arg| hide_unused(arg, top))
                .mut_args(for_demo);
        }
        _ => {}
    }
    let help = match command.get_after_help() {
        Some(own) => format!("{own}\n\n{ALL_SETTINGS}"),
        None => ALL_SETTINGS.into(),
    };
    command
        .mut_args(|arg| hide_unused(arg, top))
        .mut_subcommands(|below| shorten(below, top))
        .after_help(help)
}

/// Adds the flags that a command and its subcommands use.
fn with_used(command: Command, top: &str, flags: &[Arg]) -> Command {
    let used = flags.iter().filter(|arg| !is_unused(arg, top)).cloned();
    command
        .args(used)
        .mut_subcommands(|below| with_used(below, top, flags))
}

fn is_unused(arg: &Arg, command: &str) -> bool {
    let id = arg.get_id().as_str();
    Setting::find(id).is_some() && !shows(command, id)
}

fn hide_unused(arg: Arg, command: &str) -> Arg {
    if is_unused(&arg, command) {
        arg.hide(true)
    } else {
        arg
    }
}

/// Leaves only the description of a setting: the demo reads neither variables nor files, and has
/// other defaults.
fn for_demo(arg: Arg) -> Arg {
    match Setting::find(arg.get_id().as_str()) {
        Some(setting) => arg.help(setting.description.trim()),
        None if arg.get_id() == "config" => arg.hide(true),
        None => arg,
    }
}

/// Adds the variable, the possible values and the default to the help of a setting.
fn describe(arg: Arg) -> Arg {
    let name = arg.get_id().as_str();
    let Some(setting) = Setting::find(name) else {
        return arg;
    };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.push_str(&format!(" [env: {}]", Setting::variable(name)));
    // These belong to the secret itself, and not to the setting that names its file.
    if setting.name == name {
        help.push_str(&values(setting.kind));
        if !setting.default.is_empty() {
            help.push_str(&format!(" [default: {}]", setting.default));
        }
    }
    arg.help(help)
}

fn values(kind: Kind) -> String {
    match kind.when_set() {
        Kind::Choice(all) => format!(" [values: {}]", all.join(", ")),
        Kind::List(Kind::Choice(all)) => {
            format!(" [values, separated by commas: {}]", all.join(", "))
        }
        Kind::List(_) => " [separated by commas]".into(),
        Kind::Boolean
        | Kind::Integer { .. }
        | Kind::Size(_)
        | Kind::Text(_)
        | Kind::Optional(_) => String::new(),
    }
}
