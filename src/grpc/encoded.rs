//! `GetCollection` and `ListChildren`, whose responses are cached as encoded bytes. The code that
//! tonic generates can only encode a message, so this service handles the two methods itself, ahead
//! of the generated one, and passes all other methods on.

use std::{marker::PhantomData, sync::Arc};

use bytes::{BufMut as _, Bytes};
use futures::FutureExt as _;
use http::{Request, Response};
use prost::{Message, Name};
use tonic::{
    Status,
    body::Body,
    codec::{BufferSettings, Codec, CompressionEncoding, EncodeBuf, Encoder},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::{Service as _, service_fn};

use super::{
    codec::ItemLimitDecoder,
    context::reply,
    pb::{
        GetCollectionRequest, ListChildrenRequest,
        collection_service_server::CollectionServiceServer,
    },
    service::Collections,
};

const GET: &str = "/endcap.v1.CollectionService/GetCollection";
const LIST_CHILDREN: &str = "/endcap.v1.CollectionService/ListChildren";

/// Whether the method with this path may have a cached response.
pub fn may_be_cached(path: &str) -> bool {
    [GET, LIST_CHILDREN].contains(&path)
}

/// `CollectionService`, with the methods that may have a cached response.
#[derive(Clone, Debug)]
pub(super) struct EncodedService {
    collections: Arc<Collections>,
    others: CollectionServiceServer<Collections>,
    max_message: usize,
}

impl EncodedService {
    pub(super) fn new(
        collections: Arc<Collections>,
        others: CollectionServiceServer<Collections>,
        max_message: usize,
    ) -> Self {
        Self {
            collections,
            others,
            max_message,
        }
    }

    /// Whether the service has the method with this path.
    pub(super) fn has(path: &str) -> bool {
        let name = path.strip_prefix('/').and_then(|rest| rest.split_once('/'));
        name.is_some_and(|(name, _)| name == CollectionServiceServer::<Collections>::NAME)
    }

    /// Calls a method.
    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let collections = Arc::clone(&self.collections);
        match request.uri().path() {
            GET => {
                let method = service_fn(move |message: tonic::Request<GetCollectionRequest>| {
                    let collections = Arc::clone(&collections);
                    async move { reply(collections.get(message).await) }.boxed()
                });
                self.grpc().unary(method, request).await
            }
            LIST_CHILDREN => {
                let method = service_fn(move |message: tonic::Request<ListChildrenRequest>| {
                    let collections = Arc::clone(&collections);
                    async move { reply(collections.list_children_page(message).await) }.boxed()
                });
                self.grpc().unary(method, request).await
            }
            _ => {
                let response = self.others.clone().call(request).await;
                response.unwrap_or_else(|never| match never {})
            }
        }
    }

    /// A handler with the same limits and compression as the generated service.
    fn grpc<U>(&self) -> Grpc<RawBytesCodec<U>>
    where
        U: Message + Name + Default + Send + 'static,
    {
        Grpc::new(RawBytesCodec(PhantomData))
            .max_decoding_message_size(self.max_message)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
    }
}

/// A codec that decodes messages like all services, and sends responses as the bytes they are.
struct RawBytesCodec<U>(PhantomData<U>);

impl<U: Message + Name + Default + Send + 'static> Codec for RawBytesCodec<U> {
    type Encode = Bytes;
    type Decode = U;
    type Encoder = RawBytesCodec<()>;
    type Decoder = ItemLimitDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        RawBytesCodec(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ItemLimitDecoder(ProstCodec::<U, U>::raw_decoder(BufferSettings::default()))
    }
}

impl Encoder for RawBytesCodec<()> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}
