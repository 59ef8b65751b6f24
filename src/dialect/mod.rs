//! The vendors' REST dialects: each is its routes, its JSON, its queries and its
//! errors over the same use cases. What they share is here, in [`body`] and in
//! [`idempotency`].

pub mod body;
pub mod highlevel;
pub mod idempotency;
pub mod oracle;
pub mod precondition;

use crate::{
    config::HighLevelConfig,
    domain::{Caller, Deadline, TenantId},
    service::Service,
};

/// What the dialects' routes work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// The use cases.
    pub service: Service,
    /// The tenant of requests that name none.
    pub default_tenant: TenantId,
    /// The HighLevel dialect's own settings.
    pub highlevel: HighLevelConfig,
    /// Bytes of a request's body at most.
    pub max_body: usize,
}

/// The caller of a request about the tenant's data.
pub fn caller(extensions: &http::Extensions, tenant: TenantId) -> Caller {
    Caller {
        tenant,
        deadline: extensions.get::<Deadline>().map(|deadline| deadline.0),
    }
}
