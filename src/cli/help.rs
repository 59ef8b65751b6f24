//! The help of commands: what it says of each setting, and which settings a command shows.

use clap::{Arg, Command};

use crate::config::{Kind, Setting};

const ALL_SETTINGS: &str = "\
Every setting may be given to every command; endcap serve --help and docs/reference/settings.md list them all.";

/// Adds what the table of settings says to the help of their flags, and hides in the help of each
/// command those that it does not use. Hidden flags are still accepted: the same flags, or a
/// script that passes them, serve for all commands.
pub(super) fn complete(command: Command) -> Command {
    let mut command = command.mut_args(describe);
    // Gives each command its own copy of the flags that all commands have.
    command.build();
    command
        .mut_args(|arg| hide_unused(arg, "endcap"))
        .mut_subcommands(|top| {
            let name = top.get_name().to_owned();
            shorten(top, &name)
        })
}

/// The command line with what the help of each command shows, and without the rest: a shell would
/// complete hidden flags, too.
pub(super) fn visible(command: Command) -> Command {
    let command = command.mut_args(|arg| describe(arg).global(false));
    let flags: Vec<_> = command.get_arguments().cloned().collect();
    command.mut_subcommands(|top| {
        let name = top.get_name().to_owned();
        with_used(top, &name, &flags)
    })
}

/// Whether the help of a command, `endcap` for that of the program, shows the setting.
fn shows(command: &str, setting: &str) -> bool {
    let is_of_database = setting == "data_dir" || setting.starts_with("database_");
    match command {
        "serve" => true,
        "endcap" => matches!(
            setting,
            "grpc_addr" | "http_addr" | "admin_addr" | "data_dir" | "database_url"
        ),
        "demo" => matches!(setting, "grpc_addr" | "http_addr" | "admin_addr" | "log"),
        "migrate" => is_of_database || matches!(setting, "log" | "log_format"),
        "key" => is_of_database || setting == "tenants",
        "check" | "reindex" | "secret" => is_of_database,
        "backup" => setting == "data_dir",
        "healthcheck" => setting == "admin_addr",
        "import" | "export" => setting == "grpc_addr",
        _ => false,
    }
}

/// Shortens the help of a command and of those below it, which all use the same settings.
fn shorten(command: Command, top: &str) -> Command {
    if top == "serve" {
        return command;
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

/// Adds the flags that the command and those below it use.
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

/// Adds the variable of a setting, its values and its default.
fn describe(arg: Arg) -> Arg {
    let name = arg.get_id().as_str();
    let Some(setting) = Setting::find(name) else {
        return arg;
    };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.push_str(&format!(" [env: {}]", Setting::variable(name)));
    // What follows is of the setting itself, not of the one that names a file with it.
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
