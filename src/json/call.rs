//! In-process calls of the gRPC services, from encoded request to encoded response message.

use axum::{body::Body, body::Bytes};
use bytes::{BufMut as _, BytesMut};
use http::{
    Extensions, HeaderMap, HeaderValue, Request, Version,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::BodyExt as _;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use tonic::{Code, Status};

use super::error::internal;
use crate::{
    domain::Caller,
    grpc::{self, CachedMessage, Context, refused_by_tonic},
};

/// The length of the gRPC message prefix: the compression flag and the message's length.
const FRAME_HEAD: usize = 5;

/// The gRPC services, without a network in between.
#[derive(Clone, Debug)]
pub(super) struct Services(grpc::Services);

/// The response to a successful call.
#[derive(Debug)]
pub(super) struct UnaryResponse {
    pub(super) metadata: HeaderMap,
    pub(super) message: Bytes,
    /// Whether the message is in the read cache.
    pub(super) is_cached: bool,
}

impl Services {
    pub(super) fn new(context: Context) -> Self {
        Self(grpc::Services::api(context))
    }

    /// Calls the method at a gRPC path with a length-prefixed message.
    ///
    /// # Errors
    /// With the status that the service responds with.
    pub(super) async fn call(
        &self,
        path: &str,
        frame: Bytes,
        extensions: &Extensions,
    ) -> Result<UnaryResponse, Status> {
        let mut request = Request::post(path)
            .version(Version::HTTP_2)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .header(TE, HeaderValue::from_static("trailers"))
            .body(Body::from(frame))
            .map_err(internal)?;
        if let Some(caller) = extensions.get::<Caller>() {
            request.extensions_mut().insert(caller.clone());
        }
        let (parts, body) = self.0.call(request).await.into_parts();
        if let Some(error) = refused_by_tonic(&parts.headers) {
            return Err(grpc::status(&error));
        }
        check(&parts.headers)?;
        let body = body.collect().await.map_err(internal)?;
        body.trailers().map_or(Ok(()), check)?;
        let mut message = body.to_bytes();
        if message.len() < FRAME_HEAD {
            return Err(internal("a response without a message"));
        }
        Ok(UnaryResponse {
            metadata: parts.headers,
            message: message.split_off(FRAME_HEAD),
            is_cached: parts.extensions.get::<CachedMessage>().is_some(),
        })
    }
}

/// Encodes a message with its gRPC length prefix.
pub(super) fn frame(message: &DynamicMessage) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + length);
    // The compression flag: the message is not compressed.
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).map_err(internal)?);
    message.encode(&mut frame).map_err(internal)?;
    Ok(frame.freeze())
}

fn check(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        Some(_) | None => Ok(()),
    }
}
