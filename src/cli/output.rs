//! The flag `--output`: prints a command's result as text for people, or as JSON for programs.

use clap::ValueEnum;
use serde_json::Value;

use super::outcome::say;

/// The format of a command's result. The fields of the JSON are listed in docs/reference/command-line.md;
/// they keep their names and their meaning.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Output {
    /// Format of the result on standard output: text for people, one JSON document for programs
    #[arg(
        long = "output",
        id = "output",
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Output {
    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints the result of the command. To be called once.
    pub(super) fn print(self, text: &str, json: &Value) {
        if self.is_json() {
            say(&format!("{json:#}\n"));
        } else {
            say(text);
        }
    }
}
