//! Who asks: what every use case is told of the request's sender.

use std::time::Instant;

use super::TenantId;

/// When a request's time runs out; the edge puts it into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// The sender of a request, as far as use cases care.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose data the request is about; nothing crosses it.
    pub tenant: TenantId,
    /// When the caller stops waiting; no retry starts after it.
    pub deadline: Option<Instant>,
}
