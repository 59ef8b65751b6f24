//! Logs and metrics, and the one place where failures are told to both.

mod ids;
mod log;
pub mod metrics;

pub use ids::{RequestIds, identified, request_ids};
pub use log::{LogConfig, LogFormat, init};

use crate::domain::Error;

/// Tells of a failure, once, where it leaves for the caller: counts the limits that it is
/// about, and logs it where it is ours, with its chain of causes, which the caller does
/// not see.
pub fn log_failure(error: &Error) {
    metrics::count(error);
    if !error.is_ours() {
        return;
    }
    let causes = causes(error);
    tracing::error!(reason = ?error.reason, causes, "{}", error.message);
}

/// What led to the error, the nearest first. A cause that the one before it ends with says
/// nothing more, and is left out.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if causes.last().is_none_or(|last| !last.ends_with(&text)) {
            causes.push(text);
        }
        cause = error.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use crate::domain::Error;

    /// An error whose text has that of its cause, as drivers' have.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}{1}")]
    struct Wrapped(
        &'static str,
        #[source] Box<dyn std::error::Error + Send + Sync>,
    );

    #[test]
    fn a_cause_is_said_once() {
        let refused: Box<dyn std::error::Error + Send + Sync> = "refused".into();
        let driver = Wrapped("connecting: ", refused);
        let error = Error::internal(Wrapped("Query Error: ", Box::new(driver)));
        assert_eq!(super::causes(&error), "Query Error: connecting: refused");
        let full = Error::internal("the disk is full");
        let error = Error::unauthenticated().caused_by(full);
        assert_eq!(super::causes(&error), "internal error: the disk is full");
        assert_eq!(super::causes(&Error::unauthenticated()), "");
    }
}
