//! `GetCollection` and `ListChildren`, whose responses are cached as encoded bytes. The code that
//! tonic generates can only encode a message, so this service handles the two methods itself, ahead
//! of the generated one, and passes all other methods on.

use std::{
    convert::Infallible,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes};
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use prost::{Message, Name};
use tonic::{
    Status,
    body::Body,
    codec::{BufferSettings, Codec, CompressionEncoding, EncodeBuf, Encoder},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::{
    codec::ItemLimitDecoder,
    context::reply,
    pb::{
        GetCollectionRequest, ListChildrenRequest,
        collection_service_server::CollectionServiceServer,
    },
    service::Collections,
};

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

impl NamedService for EncodedService {
    const NAME: &'static str = CollectionServiceServer::<Collections>::NAME;
}

impl Service<Request<Body>> for EncodedService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let collections = Arc::clone(&self.collections);
        match request.uri().path() {
            "/endcap.v1.CollectionService/GetCollection" => {
                let method = service_fn(move |message: tonic::Request<GetCollectionRequest>| {
                    let collections = Arc::clone(&collections);
                    async move { reply(collections.get(message).await) }.boxed()
                });
                let mut grpc = self.grpc();
                async move { Ok(grpc.unary(method, request).await) }.boxed()
            }
            "/endcap.v1.CollectionService/ListChildren" => {
                let method = service_fn(move |message: tonic::Request<ListChildrenRequest>| {
                    let collections = Arc::clone(&collections);
                    async move { reply(collections.list_children_page(message).await) }.boxed()
                });
                let mut grpc = self.grpc();
                async move { Ok(grpc.unary(method, request).await) }.boxed()
            }
            _ => self.others.call(request).boxed(),
        }
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
