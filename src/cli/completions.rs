//! `endcap completions`: scripts that complete the command line in a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use super::outcome::{Outcome, say};

pub(super) const HELP: &str = "\
The script is printed to standard output. A shell reads it from a file when it starts.

Examples:
  endcap completions bash > ~/.local/share/bash-completion/completions/endcap
  endcap completions fish > ~/.config/fish/completions/endcap.fish
  endcap completions zsh > ~/.zfunc/_endcap       with ~/.zfunc in fpath";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn print(mut command: clap::Command, args: &Args) -> Outcome {
    // Through memory, because `say` ignores that a reader has closed the pipe, and clap does not.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "endcap", &mut script);
    say(&String::from_utf8_lossy(&script));
    Ok(ExitCode::SUCCESS)
}
