//! What the methods of all services share: authentication and decoding of a request
//! (`Context::open`), execution of a command with its idempotency key (`Context::execute`), and
//! encoding of the response.

use std::sync::Arc;

use prost::Message;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::{encode, error::status, pb};
use crate::{
    domain::{
        Caller, CollectionId, Constraint, Error, FieldPath, Reason, RequestId, Result, Retryable,
        TenantId, Violation, digest::sha256, page::PageBytes,
    },
    service::{Command, Executed, Include, Retry, Service, StoredResponse},
};

/// What the gRPC services depend on: the use cases, and the settings of the API.
#[derive(Clone, Debug)]
pub struct Context {
    /// The use cases.
    pub service: Arc<Service>,
    /// The largest request message, in bytes after decompression.
    pub max_message: usize,
    /// The most items that a request message may have: strings and messages, at any depth.
    pub max_items: usize,
    /// Whether reflection is served, to clients without credentials too.
    pub reflection: bool,
    /// Whether a credential for several tenants must name one in each request.
    pub requires_tenant: bool,
}

/// The result of a generated service method.
pub(super) type Reply<T> = Result<Response<T>, Status>;

impl Context {
    /// Returns the caller of a request, limited to the tenant that its message names, and the
    /// message.
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

    /// Returns the limit on the bytes of a page, measured on its items as `shown` encodes them.
    pub(super) fn page_bytes<T, M: Message>(
        &self,
        shown: impl Fn(&T) -> M + Send + Sync + 'static,
    ) -> PageBytes<T> {
        /// Reserved for the rest of a page: two page tokens and a count.
        const REST: usize = 4 << 10;
        /// Reserved per item for its field tag and length.
        const ITEM: usize = 6;
        let max = self.service.settings().limits.page_bytes;
        PageBytes {
            max: max.saturating_sub(REST),
            of: Arc::new(move |item| shown(item).encoded_len() + ITEM),
        }
    }

    /// Executes a command, and returns its response message: a new one, or for a retry the one that
    /// was stored with the idempotency key.
    pub(super) async fn execute<C: Command, M: Written>(
        &self,
        caller: &Caller,
        command: C,
        encode: impl FnOnce(C::Response) -> M,
    ) -> Result<WriteResponse<M>> {
        let (message, replayed) = match self.service.execute(caller, command).await? {
            Executed::New(value) => (encode(value), None),
            Executed::Replayed(StoredResponse::Whole(bytes)) => (decoded(&bytes)?, Some("stored")),
            Executed::Replayed(StoredResponse::Summary(bytes)) => {
                let mut message: M = decoded(&bytes)?;
                if let Some(collection) = message.collection() {
                    self.restore(caller, collection).await?;
                }
                (message, Some("current"))
            }
        };
        Ok(WriteResponse { message, replayed })
    }

    /// Reads the current state of a collection of which only a summary was stored. If it was
    /// deleted since, the summary is returned as it is.
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

/// How many ids the results in a stored summary list in total. A summary has a size limit, and this
/// many fit next to the counts.
pub(super) const SUMMARY_IDS: usize = 200;

/// The response message of a write.
pub(super) trait Written: Message + Default {
    /// What is stored for retries if the message is too large to be stored whole.
    fn summary(self) -> Self;

    /// The collection in the message, if it has one.
    fn collection(&mut self) -> Option<&mut pb::Collection> {
        None
    }
}

/// The outcome of a write.
pub(super) struct WriteResponse<M> {
    pub(super) message: M,
    /// For a replayed response, its source, sent as `idempotency-replayed`: `stored`, or `current`
    /// if the response was too large to store and was read again.
    pub(super) replayed: Option<&'static str>,
}

/// Responses of at least this many bytes are compressed, if the client accepts that. Clients in
/// C++, Java and Python accept gzip without being told to, and for a cached response of a few
/// kilobytes it would take several times the time of all the rest.
const MIN_COMPRESSED: usize = 16 << 10;

/// The response with a message of this many bytes.
pub(super) fn response<T>(message: T, bytes: usize) -> Response<T> {
    let mut response = Response::new(message);
    if bytes < MIN_COMPRESSED {
        response.disable_compression();
    }
    response
}

fn respond<T: Message>(message: T) -> Response<T> {
    let bytes = message.encoded_len();
    response(message, bytes)
}

pub(super) fn reply<T: Message>(result: Result<T>) -> Reply<T> {
    reply_or(result, status)
}

/// Like [`reply`], with a conversion of errors of the caller's choice.
pub(super) fn reply_or<T: Message>(result: Result<T>, status: fn(&Error) -> Status) -> Reply<T> {
    result.map(respond).map_err(|error| status(&error))
}

/// Like [`reply`], for writes: adds the header `idempotency-replayed` to replayed responses.
pub(super) fn reply_written<M: Message>(result: Result<WriteResponse<M>>) -> Reply<M> {
    reply_written_or(result, status)
}

/// Like [`reply_written`], with a conversion of errors of the caller's choice.
pub(super) fn reply_written_or<M: Message>(
    result: Result<WriteResponse<M>>,
    status: fn(&Error) -> Status,
) -> Reply<M> {
    let WriteResponse { message, replayed } = result.map_err(|error| status(&error))?;
    let mut response = respond(message);
    if let Some(replayed) = replayed {
        let of = MetadataValue::from_static(replayed);
        response.metadata_mut().insert("idempotency-replayed", of);
    }
    Ok(response)
}

/// Returns the value of a required field, or a violation that names the field.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Violation::new(field, "", Constraint::Required).into())
}

/// The idempotency of a write: how to recognize a retry of it, and how to store its response.
/// `None` if the client sent no request id.
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
        encode: Arc::new(move |response| Some(encode(response).encode_to_vec())),
        summarize: Arc::new(move |response| encode(response).summary().encode_to_vec()),
    }))
}
