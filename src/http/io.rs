//! What a client sends, before HTTP is read of it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{authority::Authorities, connections::ConnectionState};

/// Bytes read at once of the rest of a frame.
const CHUNK: usize = 4 << 10;

/// A stream whose connection's state learns when something is received, and whose requests
/// have an [authority](Authorities) that h2 takes.
pub(super) struct Io<S> {
    stream: S,
    state: ConnectionState,
    authorities: Authorities,
    /// The beginning of a frame whose rest is awaited.
    held: BytesMut,
    /// Bytes of that which can be passed on.
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
    /// Reads into the buffer; what can't be passed on of it is held.
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

    /// Reads more of a frame that is held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; CHUNK];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        let received = chunk.filled().len();
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
                // The end, and all that came before it was passed on.
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
