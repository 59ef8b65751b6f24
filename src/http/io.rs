//! The byte stream below HTTP: it reports received bytes to the connection's state, and rewrites
//! authorities.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{authority::Authorities, connections::ConnectionState};

/// How many bytes are read at once while the rest of a frame is awaited.
const CHUNK: usize = 4 << 10;

/// A stream that reports received bytes to the state of its connection, and rewrites
/// [authorities](Authorities) that h2 would reject.
pub(super) struct Io<S> {
    stream: S,
    state: ConnectionState,
    authorities: Authorities,
    /// The beginning of a frame that has not been received completely.
    held: BytesMut,
    /// How many of the held bytes can be passed on.
    ready: usize,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, state: ConnectionState) -> Self {
        Self {
            stream,
            state,
            authorities: Authorities::new(),
            held: BytesMut::new(),
            ready: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> Io<S> {
    /// Reads into the buffer, and holds back what can't be passed on yet.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let new = &mut buf.filled_mut()[before..];
        let received = new.len();
        let passed = self.authorities.pass(new);
        self.held.extend_from_slice(&new[passed..]);
        buf.set_filled(before + passed);
        Poll::Ready(Ok(received))
    }

    /// Reads more of a held frame.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; CHUNK];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        let received = chunk.filled().len();
        // The rest of the held frame will never arrive, so it is passed on as it is.
        if received == 0 {
            self.authorities.stop();
        }
        self.held.extend_from_slice(chunk.filled());
        self.ready = self.authorities.pass(&mut self.held);
        Poll::Ready(Ok(received))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.filled().len() == before {
            if self.ready > 0 {
                let length = self.ready.min(buf.remaining());
                buf.put_slice(&self.held.split_to(length));
                self.ready -= length;
                break;
            }
            let received = if self.held.is_empty() {
                ready!(self.poll_direct(cx, buf))?
            } else {
                ready!(self.poll_held(cx))?
            };
            if received > 0 {
                self.state.received();
            } else if self.ready == 0 {
                // The end of the stream, after everything before it was passed on.
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
