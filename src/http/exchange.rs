//! One request and its response on a connection. The request counts as in flight until the last
//! byte of its response; over HTTP/1, whether the connection can be reused depends on the rest of
//! the request body.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{
    HeaderValue, Version,
    header::{CONNECTION, CONTENT_ENCODING, EXPECT},
};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    Handler,
    connections::{ConnectionState, InFlight},
};
use crate::{
    auth::{ClientCertificate, Peer},
    grpc,
};

/// How much of a request body that a handler did not read is discarded to keep the connection
/// usable, in bytes and in time. Beyond that, a new connection is cheaper.
const MAX_LEFT: usize = 64 << 10;
const LEFT_TIMEOUT: Duration = Duration::from_millis(50);
/// After how many bytes of an uncompressed request body its handler has to wait once.
const SHORT: usize = 16 << 10;

/// Serves a request with the handler, after adding the connection's state, the peer's address and
/// the client's certificate to its extensions.
pub(super) async fn exchange(
    mut request: Request<Incoming>,
    state: ConnectionState,
    client: Option<ClientCertificate>,
    handler: Handler,
) -> Result<Response<Sent>, Infallible> {
    let in_flight = state.begin(request.version());
    let extensions = request.extensions_mut();
    extensions.insert(Peer::of(state.address()));
    extensions.insert(state.clone());
    client.and_then(|client| extensions.insert(client));
    let is_http1 = request.version() < Version::HTTP_2;
    let (request, left) = lend(request);
    let mut response = handler.call(request).await;
    // The rest of the body is read first: some clients miss a response that arrives while they are
    // still sending.
    let is_read = left.is_read().await;
    // Without `Connection: close` the client would send its next request into a closing connection.
    if is_http1 && (!is_read || state.now().ends) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response.map(|body| Sent {
        body,
        _in_flight: in_flight,
    }))
}

/// A response body. Its request is in flight until this is dropped.
pub(super) struct Sent {
    body: Body,
    _in_flight: InFlight,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request body that returns what a handler did not read of it when it is dropped.
struct Lent {
    body: Option<Incoming>,
    left: Left,
}

/// A request body that makes its handler wait once, if it is long or compressed. Streams begin in the
/// task of their connection, where the others would wait until a long body is decoded. One that waits
/// gets a task of its own.
struct Yielding<B> {
    body: B,
    /// How many more bytes can be read before the handler has to wait; `None` after that.
    short: Option<usize>,
}

/// The part of a request body that the handler did not read.
#[derive(Clone, Default)]
struct Left {
    body: Arc<Mutex<Option<Incoming>>>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    is_held_back: bool,
}

fn lend(request: Request<Incoming>) -> (Request, Left) {
    let left = Left {
        body: Arc::default(),
        is_held_back: request.headers().contains_key(EXPECT),
    };
    // A compressed body may be much longer than it looks.
    let headers = request.headers();
    let is_compressed = headers.contains_key(CONTENT_ENCODING) || grpc::is_compressed(headers);
    let short = if is_compressed { 0 } else { SHORT };
    let lent = |body: Incoming| {
        if body.is_end_stream() {
            return Body::empty();
        }
        let lent = Lent {
            body: Some(body),
            left: left.clone(),
        };
        Body::new(Yielding::new(lent, short))
    };
    (request.map(lent), left)
}

impl Left {
    fn swap(&self, body: Option<Incoming>) -> Option<Incoming> {
        let mut left = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *left, body)
    }

    /// Discards the rest of the body, within limits, and returns whether it was read to its end.
    async fn is_read(&self) -> bool {
        let Some(body) = self.swap(None) else {
            return true;
        };
        if self.is_held_back || body.size_hint().lower() > MAX_LEFT as u64 {
            return false;
        }
        let read = Limited::new(body, MAX_LEFT).collect();
        matches!(timeout(LEFT_TIMEOUT, read).await, Ok(Ok(_)))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| !body.is_end_stream());
        self.left.swap(left);
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let exact = || SizeHint::with_exact(0);
        self.body
            .as_ref()
            .map_or_else(exact, |body| body.size_hint())
    }
}

impl<B> Yielding<B> {
    fn new(body: B, short: usize) -> Self {
        let short = Some(short);
        Self { body, short }
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Yielding<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.short == Some(0) {
            self.short = None;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len);
            self.short = self.short.map(|short| short.saturating_sub(length));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[test]
    fn a_long_body_makes_its_handler_wait_once() {
        const FRAME: usize = 1_000;
        let waits = |length: usize, short: usize| {
            let bytes = vec![7; length];
            let frames = bytes.chunks(FRAME).map(Bytes::copy_from_slice);
            let frames: Vec<_> = frames.map(Ok::<_, Infallible>).collect();
            let mut body = Yielding::new(Body::from_stream(stream::iter(frames)), short);
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let (mut read, mut waits) = (Vec::new(), Vec::new());
            loop {
                match Pin::new(&mut body).poll_frame(&mut cx) {
                    Poll::Pending => waits.push(read.len()),
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(frame)) => read.extend(frame.unwrap().into_data().unwrap()),
                }
            }
            assert_eq!(read, bytes);
            waits
        };
        assert!(waits(0, SHORT).is_empty());
        assert!(waits(SHORT - 1, SHORT).is_empty());
        assert_eq!(waits(SHORT, SHORT), [SHORT]);
        assert_eq!(waits(10 * SHORT, SHORT), [SHORT.next_multiple_of(FRAME)]);
        assert_eq!(waits(1, 0), [0]);
    }
}
