//! Makes responses ahead of the client and counts their bytes in [`Memory`] until they are sent. A
//! response that is made only as fast as its client reads it would keep everything it is made from.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{Method, header::CONTENT_ENCODING};
use http_body::{Body as _, Frame, SizeHint};

use super::protocol::Protocol;
use crate::{
    domain::Scope,
    memory::{self, Memory, Reservation},
    processor,
};

/// The size of the chunks that are passed on to the connection. Bytes in its buffers are not
/// counted any more.
const CHUNK: usize = 16 << 10;
/// How many bytes of a streamed response are made ahead.
const AHEAD: usize = 64 << 10;
/// Like [`AHEAD`], for compressed responses, of which this is mostly all: while any of it is left
/// to compress, the encoder keeps state of its own, about a quarter of this.
const AHEAD_COMPRESSED: usize = 1 << 20;

/// Counts the response to a request while it is in memory. A read whose response does not fit is
/// refused. A write is not, as it has been executed already.
pub(super) async fn count<F: Future<Output = Response>>(
    memory: &Memory,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let protocol = Protocol::of(&request);
    let is_read = protocol.scope(&request) == Some(Scope::CollectionsRead)
        || [Method::GET, Method::HEAD].contains(request.method());
    let (response, mut reserved) = memory::reserving(is_read, next(request)).await;
    let (parts, body) = response.into_parts();
    let mut body = BufferedBody {
        made: VecDeque::new(),
        bytes: 0,
        body,
        reservation: Reservation::none(),
        memory: memory.clone(),
    };
    // A gRPC response has one message and trailers, which share one buffer until both are sent, so
    // it is made completely.
    let is_compressed = parts.headers.contains_key(CONTENT_ENCODING);
    let ahead = if protocol.is_grpc() {
        usize::MAX
    } else if is_compressed {
        AHEAD_COMPRESSED
    } else {
        AHEAD
    };
    // Compression takes processor time, so it counts as work of that many bytes.
    let bytes = if is_compressed {
        ahead
    } else {
        reserved.stored()
    };
    let make_ahead = poll_fn(|cx| {
        body.make_ahead(cx, ahead);
        Poll::Ready(())
    });
    processor::run(|| bytes, make_ahead).await;
    if !reserved.is_none() {
        reserved.resize(body.bytes);
        body.reservation = reserved;
    } else if is_read {
        match memory.take(body.bytes).await {
            Ok(reservation) => body.reservation = reservation,
            Err(error) => return protocol.render(&error),
        }
    } else {
        body.reservation = memory.count(body.bytes);
    }
    memory::sending();
    Response::from_parts(parts, Body::new(body))
}

/// A response body whose beginning, mostly all of it, is in memory.
struct BufferedBody {
    made: VecDeque<Result<Frame<Bytes>, axum::Error>>,
    /// The bytes of `made`.
    bytes: usize,
    /// The rest, which is not made yet.
    body: Body,
    reservation: Reservation,
    memory: Memory,
}

impl BufferedBody {
    /// Makes frames until `ahead` bytes are there or no more can be made now.
    fn make_ahead(&mut self, cx: &mut Context<'_>, ahead: usize) {
        while self.bytes < ahead {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => {
                    let failed = frame.is_err();
                    self.keep(frame);
                    if failed {
                        return;
                    }
                }
                Poll::Ready(None) => {
                    // Frees what the body was made from.
                    self.body = Body::empty();
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    /// Stores a frame, with its data in chunks. Chunks are copies, as the original buffer may have
    /// twice the size of its data, and would live until the last chunk is sent.
    fn keep(&mut self, frame: Result<Frame<Bytes>, axum::Error>) {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                self.bytes += data.len();
                if data.len() <= CHUNK {
                    self.made.push_back(Ok(Frame::data(data)));
                    return;
                }
                let chunks = data.chunks(CHUNK).map(Bytes::copy_from_slice);
                self.made.extend(chunks.map(|chunk| Ok(Frame::data(chunk))));
            }
            Ok(Err(other)) => self.made.push_back(Ok(other)),
            Err(error) => self.made.push_back(Err(error)),
        }
    }

    /// The next stored frame.
    fn next_made(&mut self) -> Option<Result<Frame<Bytes>, axum::Error>> {
        let frame = self.made.pop_front()?;
        if let Ok(frame) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.bytes -= data.len();
            memory::taken(data.len());
            self.reservation.give_back(data.len());
        }
        Some(frame)
    }
}

impl http_body::Body for BufferedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(made) = self.next_made() {
            return Poll::Ready(Some(made));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match frame {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                self.keep(Ok(frame));
                self.reservation = self.memory.count(self.bytes);
                memory::sending();
                Poll::Ready(self.next_made())
            }
            Poll::Pending => {
                memory::making();
                Poll::Pending
            }
            Poll::Ready(_) => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.made.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let made = self.bytes as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + made);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + made);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::memory::{Connection, MemoryLimits, Receiver};

    fn buffered(body: Body) -> BufferedBody {
        let mut body = BufferedBody {
            made: VecDeque::new(),
            bytes: 0,
            body,
            reservation: Reservation::none(),
            memory: Memory::new(MemoryLimits::default()),
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        body.make_ahead(&mut cx, AHEAD);
        body
    }

    #[tokio::test]
    async fn a_body_is_unchanged_when_split_into_chunks() {
        for size in [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK, 1 << 20] {
            let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let mut body = buffered(bytes.clone().into());
            assert_eq!(body.size_hint().exact(), Some(size as u64));
            assert_eq!(body.is_end_stream(), size == 0);
            let mut taken = Vec::new();
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                assert!(data.len() <= CHUNK);
                taken.extend_from_slice(&data);
                assert_eq!(body.size_hint().exact(), Some((size - taken.len()) as u64));
            }
            assert_eq!(taken, bytes);
            assert!(body.is_end_stream());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_in_any_part_is_reset() {
        const PARTS: usize = 3;
        const CHUNKS: usize = 4;
        for stalled in 1..PARTS * CHUNKS {
            let parts = (0..PARTS).map(|at| Ok::<_, axum::Error>(vec![at as u8; CHUNKS * CHUNK]));
            let mut body = buffered(Body::from_stream(stream::iter(parts)));
            let memory = body.memory.clone();
            let stalls = Receiver::new(Connection::new(1)).serve(async move {
                body.reservation = body.memory.take(body.bytes).await.unwrap();
                memory::sending();
                for _ in 0..stalled {
                    body.frame().await.unwrap().unwrap();
                }
                // The rest of the part may be empty, or too small to be counted.
                let is_held = body.memory.bytes() > 0;
                let never = (is_held).then(std::future::pending::<()>);
                futures::future::OptionFuture::from(never).await;
            });
            tokio::select! {
                _ = stalls => {}
                () = memory.watch() => unreachable!(),
                () = tokio::time::sleep(Duration::from_secs(60)) => panic!("held after {stalled}"),
            }
            assert_eq!(memory.bytes(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_response_is_reset_if_the_client_stalls_and_not_if_the_server_does() {
        let idle = MemoryLimits::default().idle;
        let memory = Memory::new(MemoryLimits::default());
        let of = |body: Body, is_read: bool| {
            let memory = memory.clone();
            let work = async move {
                let next = |_| async { Response::new(body) };
                let response = count(&memory, Request::new(Body::empty()), next).await;
                let mut body = response.into_body();
                while is_read && body.frame().await.is_some() {}
                std::future::pending::<()>().await;
            };
            let stream = Receiver::new(Connection::new(1)).serve_stream(work, idle);
            tokio::time::timeout(idle * 2, stream)
        };
        for size in [1, CHUNK] {
            assert!(of(vec![0; size].into(), false).await.is_ok(), "{size}");
        }
        let parts = stream::iter([Ok::<_, axum::Error>("part")]);
        let unfinished = Body::from_stream(parts.chain(stream::pending()));
        assert!(of(unfinished, true).await.is_err());
    }

    #[tokio::test]
    async fn parts_are_buffered_ahead_and_an_error_keeps_its_position() {
        let part = |at: usize| match at {
            20 => Err("it ends early"),
            _ => Ok(vec![at as u8; CHUNK]),
        };
        let mut body = buffered(Body::from_stream(stream::iter((0..).map(part))));
        assert_eq!(body.bytes, AHEAD);
        for at in 0..20 {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(data[..], vec![at as u8; CHUNK]);
        }
        assert!(body.frame().await.unwrap().is_err());
    }
}
