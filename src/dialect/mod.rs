//! The vendors' REST dialects: each is its routes, its JSON, its queries and its
//! errors over the same use cases. What they share is here: [`body`], [`handler`],
//! [`idempotency`] and [`precondition`].

pub mod body;
pub mod handler;
pub mod highlevel;
pub mod idempotency;
mod openapi;
pub mod oracle;
pub mod precondition;

use crate::{auth::Authenticator, config::HighLevelConfig, service::Service};

/// What the dialects' routes work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// The use cases.
    pub service: Service,
    /// Who gives tokens to those that log in.
    pub authenticator: Authenticator,
    /// The HighLevel dialect's own settings.
    pub highlevel: HighLevelConfig,
    /// Bytes of a request's body at most.
    pub max_body: usize,
    /// Bytes of the body of a request that needs no credential.
    pub max_unauthenticated_body: usize,
}
