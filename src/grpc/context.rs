//! What the methods share: who calls, how a message is opened and answered, and how it is
//! retried.

use std::sync::Arc;

use prost::Message;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::{encode, error::status, pb};
use crate::{
    domain::{
        Caller, CollectionId, Constraint, Error, FieldPath, Reason, RequestId, Result, Retryable,
        TenantId, Violation, digest::sha256, page::PageBytes,
    },
    service::{Answer, Command, Include, Kept, Retry},
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

    /// How many bytes the items of a page may take, each of which is shown as that message.
    pub(super) fn page_bytes<T, M: Message>(
        &self,
        shown: impl Fn(&T) -> M + Send + Sync + 'static,
    ) -> PageBytes<T> {
        /// What a page has next to its items: two tokens, a count.
        const REST: usize = 4 << 10;
        /// What a list has next to an item: its field and its length.
        const ITEM: usize = 6;
        let max = self.service.settings().limits.page_bytes;
        PageBytes {
            max: max.saturating_sub(REST),
            of: Arc::new(move |item| shown(item).encoded_len() + ITEM),
        }
    }

    /// Executes a command: the message of a new answer, or of a kept one.
    pub(super) async fn execute<C: Command, M: Written>(
        &self,
        caller: &Caller,
        command: C,
        encode: impl FnOnce(C::Answer) -> M,
    ) -> Result<Executed<M>> {
        let (message, replayed) = match self.service.execute(caller, command).await? {
            Answer::New(value) => (encode(value), None),
            Answer::Kept(Kept::Whole(bytes)) => (decoded(&bytes)?, Some("stored")),
            Answer::Kept(Kept::Summary(bytes)) => {
                let mut message: M = decoded(&bytes)?;
                if let Some(collection) = message.collection() {
                    self.restore(caller, collection).await?;
                }
                (message, Some("current"))
            }
        };
        Ok(Executed { message, replayed })
    }

    /// Completes a collection of which its id was kept; one that is gone stays as it is.
    async fn restore(&self, caller: &Caller, collection: &mut pb::Collection) -> Result<()> {
        let id = CollectionId::trusted(collection.id.as_str());
        match self.service.reread(caller, &id, Include::default()).await {
            Ok(whole) => *collection = encode::collection(&whole.detail),
            Err(error) if error.reason == Reason::CollectionNotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

pub(super) fn decoded<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(Error::internal)
}

/// Ids that the results in a summary name together: with counts, all that fits.
pub(super) const SUMMARY_IDS: usize = 200;

/// What a write answers.
pub(super) trait Written: Message + Default {
    /// What is kept of it where it is too large to be kept whole.
    fn summary(self) -> Self;

    /// The collection in it, where it has one.
    fn collection(&mut self) -> Option<&mut pb::Collection> {
        None
    }
}

/// What a write came to.
pub(super) struct Executed<M> {
    pub(super) message: M,
    /// Of a retry, when it is of: `stored`, or `current` where that was too large.
    pub(super) replayed: Option<&'static str>,
}

pub(super) fn reply<T>(result: Result<T>) -> Reply<T> {
    result.map(Response::new).map_err(|error| status(&error))
}

/// The same for a write.
pub(super) fn reply_written<M>(result: Result<Executed<M>>) -> Reply<M> {
    reply_written_or(result, status)
}

/// The same with errors that become statuses in a way of their own.
pub(super) fn reply_written_or<M>(
    result: Result<Executed<M>>,
    status: fn(&Error) -> Status,
) -> Reply<M> {
    let Executed { message, replayed } = result.map_err(|error| status(&error))?;
    let mut response = Response::new(message);
    if let Some(replayed) = replayed {
        let of = MetadataValue::from_static(replayed);
        response.metadata_mut().insert("idempotency-replayed", of);
    }
    Ok(response)
}

/// The value of a field that must be given.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Violation::new(field, "", Constraint::Required).into())
}

/// What makes a retry of the message safe; none where its client did not ask.
pub(super) fn retry<T: 'static, M: Written + 'static>(
    method: &'static str,
    id: &str,
    message: &impl Message,
    encode: fn(&T) -> M,
) -> Result<Option<Retry<T>>> {
    if id.is_empty() {
        return Ok(None);
    }
    let request = Retryable {
        method,
        id: RequestId::parse(FieldPath::RequestId, id)?,
        fingerprint: sha256(message.encode_to_vec()),
    };
    Ok(Some(Retry {
        request,
        encode: Arc::new(move |answer| Some(encode(answer).encode_to_vec())),
        summarize: Arc::new(move |answer| encode(answer).summary().encode_to_vec()),
    }))
}
