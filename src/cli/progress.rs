//! Progress bars, on terminals only.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar up to `total`, or a counter if the total is unknown. `what` is the unit.
pub(super) fn progress(total: Option<u64>, what: &str) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            format!("{{bar:40}} {{pos}} of {{len}} {what}, {{per_sec}}, {{eta}} to go"),
        ),
        None => (
            ProgressBar::new_spinner(),
            format!("{{spinner}} {{pos}} {what}, {{per_sec}}"),
        ),
    };
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
