//! docs/reference/command-line.md contains the help of each command.

use std::fmt::Write as _;

use super::generated_after;

fn reference(command: &mut clap::Command, path: &str, text: &mut String) {
    let _ = write!(text, "\n### {path}\n\n");
    if path == "endcap serve" {
        let about = command.get_about().map(ToString::to_string);
        let about = about.unwrap_or_default();
        let _ = writeln!(text, "{about}. Its help lists all [settings](settings.md).");
    } else {
        let help = command.render_help().to_string();
        let lines = help.lines().map(str::trim_end).collect::<Vec<_>>();
        let _ = write!(text, "```text\n{}\n```\n", lines.join("\n").trim_end());
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
