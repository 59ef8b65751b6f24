//! How commands end, and what they share.

use std::{
    iter,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use crate::store::Cause;

/// Why a command failed.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How a command ended.
pub(super) type Outcome = Result<ExitCode, Failure>;

/// Where a server that listens there is reached from this machine: on loopback where it
/// listens on all addresses.
pub(super) fn from_here(mut listens: SocketAddr) -> SocketAddr {
    if listens.ip().is_unspecified() {
        listens.set_ip(match listens {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listens
}

/// Prints to standard output; that nobody reads it is no failure.
pub(super) fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Says on standard error what is not part of the output.
pub(super) fn note(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Says why a command failed: the error and its causes, but none that says again what the one
/// before it said. What is wrong with a database is all that there is to say of it.
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
