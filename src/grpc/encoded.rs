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
    context::{Reply, response},
    error::status,
    pb::{
        GetCollectionRequest, ListChildrenRequest,
        collection_service_server::CollectionServiceServer,
    },
    service::Collections,
};
use crate::{domain::Result, service::EncodedResponse};

/// In the extensions of a response whose message is in the read cache.
#[derive(Clone, Copy, Debug)]
pub struct CachedMessage;

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
            "/endcap.v1.CollectionService/GetCollection" => {
                let method = service_fn(move |message: tonic::Request<GetCollectionRequest>| {
                    let collections = Arc::clone(&collections);
                    async move { respond(collections.get(message).await) }.boxed()
                });
                self.grpc().unary(method, request).await
            }
            "/endcap.v1.CollectionService/ListChildren" => {
                let method = service_fn(move |message: tonic::Request<ListChildrenRequest>| {
                    let collections = Arc::clone(&collections);
                    async move { respond(collections.list_children_page(message).await) }.boxed()
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

fn respond(encoded: Result<EncodedResponse>) -> Reply<Bytes> {
    let EncodedResponse {
        body, is_cached, ..
    } = encoded.map_err(|error| status(&error))?;
    let length = body.len();
    let mut response = response(body, length);
    if is_cached {
        response.extensions_mut().insert(CachedMessage);
    }
    Ok(response)
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
