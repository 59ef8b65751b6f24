//! The result of a command, and how it is reported.

use std::{
    iter,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use crate::store::Cause;

/// The error of a failed command.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The exit status of a command, or its error.
pub(super) type Outcome = Result<ExitCode, Failure>;

/// The address at which this machine can reach a server that listens on `listens`: loopback, if
/// that is all addresses.
pub(super) fn from_here(mut listens: SocketAddr) -> SocketAddr {
    if listens.ip().is_unspecified() {
        listens.set_ip(match listens {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listens
}

/// Prints to standard output. Ignores errors, which mean that nobody reads it.
pub(super) fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints something that is not part of the result to standard error.
pub(super) fn note(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Reports the error of a failed command with its causes, except for causes that the previous
/// message ends with. If one of them is a problem with the database, only that is reported.
pub(super) fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    use std::io::Write as _;
    let chain = || iter::successors(Some(error), |error| error.source());
    let text = match chain().find_map(|error| error.downcast_ref::<Cause>()) {
        Some(cause) => format!("endcap: {cause}"),
        None => {
            let mut text = format!("endcap: {error}");
            for cause in chain().skip(1).map(ToString::to_string) {
                if !text.ends_with(&cause) {
                    text.push_str(&format!("\n  because: {cause}"));
                }
            }
            text
        }
    };
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
