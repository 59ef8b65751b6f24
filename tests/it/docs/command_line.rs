//! docs/reference/command-line.md contains the help of each command; settings that the help describes
//! are only named there.

use std::fmt::Write as _;

use endcap::config::Setting;

use super::generated_after;

fn reference(command: &mut clap::Command, path: &str, text: &mut String) {
    let _ = write!(text, "\n### {path}\n\n");
    if path == "endcap serve" {
        let about = command.get_about().map(ToString::to_string);
        let about = about.unwrap_or_default();
        let _ = writeln!(text, "{about}. Its help lists all [settings](settings.md).");
    } else {
        let mut settings = Vec::new();
        let hides = !matches!(path, "endcap" | "endcap demo");
        let mut shown = command.clone().mut_args(|arg| {
            let name = arg.get_id().as_str();
            if !hides || arg.is_hide_set() || Setting::find(name).is_none() {
                return arg;
            }
            settings.push(format!("`{}`", Setting::flag(name)));
            arg.hide(true)
        });
        let help = shown.render_help().to_string();
        let lines = help.lines().map(str::trim_end).collect::<Vec<_>>();
        let _ = write!(text, "```text\n{}\n```\n", lines.join("\n").trim_end());
        if !settings.is_empty() {
            let _ = write!(text, "\n[Settings](settings.md): {}\n", settings.join(", "));
        }
    }
    for below in command.get_subcommands_mut() {
        if below.get_name() != "help" {
            let path = format!("{path} {}", below.get_name());
            reference(below, &path, text);
        }
    }
}

#[test]
fn the_command_line_reference_matches_the_help() {
    let mut command = endcap::cli::command().term_width(100);
    command.build();
    let mut text = String::new();
    reference(&mut command, "endcap", &mut text);
    generated_after(
        "docs/reference/command-line.md",
        "<!-- Generated from the command line",
        &text,
    );
}
