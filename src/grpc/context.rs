//! What the methods share: who calls, how a message is opened and answered, and how it is
//! retried.

use std::sync::Arc;

use prost::Message;
use tonic::{Request, Response, Status};

use super::error::status;
use crate::{
    domain::{
        Caller, Constraint, Error, FieldPath, RequestId, Result, Retryable, TenantId, Violation,
        digest::sha256,
    },
    service::{Answer, Command, Retry},
};

/// What the gRPC services work with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The use cases.
    pub service: crate::service::Service,
    /// Bytes of a message at most.
    pub max_message: usize,
    /// Items of a message at most: texts and messages, with those in these.
    pub max_items: usize,
    /// Whether the API is described to everybody who asks.
    pub reflection: bool,
    /// Whether a credential for several tenants must name one in each request.
    pub requires_tenant: bool,
}

/// What a method answers.
pub(super) type Reply<T> = Result<Response<T>, Status>;

impl Context {
    /// The caller and the message of a request.
    pub(super) fn open<T>(
        &self,
        request: Request<T>,
        tenant: fn(&T) -> &str,
    ) -> Result<(Caller, T)> {
        let (_, extensions, message) = request.into_parts();
        let caller = extensions.get::<Caller>();
        let caller = caller.ok_or_else(Error::unauthenticated)?.clone();
        let caller = match tenant(&message) {
            "" if self.requires_tenant => caller.home()?,
            "" => caller,
            name => caller.within(TenantId::parse("tenant_id", name)?),
        };
        Ok((caller, message))
    }

    /// Executes a command: the message of a new answer, or of a kept one.
    pub(super) async fn execute<C: Command, M: Message + Default>(
        &self,
        caller: &Caller,
        command: C,
        encode: impl FnOnce(C::Answer) -> M,
    ) -> Result<M> {
        match self.service.execute(caller, command).await? {
            Answer::New(value) => Ok(encode(value)),
            Answer::Kept(bytes) => M::decode(bytes.as_slice()).map_err(Error::internal),
        }
    }
}

pub(super) fn reply<T>(result: Result<T>) -> Reply<T> {
    result.map(Response::new).map_err(|error| status(&error))
}

/// The value of a field that must be given.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Violation::new(field, "", Constraint::Required).into())
}

/// What makes a retry of the message safe; none where its client did not ask.
pub(super) fn retry<T: 'static>(
    method: &'static str,
    id: &str,
    message: &impl Message,
    encode: fn(&T) -> Vec<u8>,
) -> Result<Option<Retry<T>>> {
    if id.is_empty() {
        return Ok(None);
    }
    let request = Retryable {
        method,
        id: RequestId::parse(FieldPath::RequestId, id)?,
        fingerprint: sha256(message.encode_to_vec()),
    };
    let encode = Arc::new(encode);
    Ok(Some(Retry { request, encode }))
}
