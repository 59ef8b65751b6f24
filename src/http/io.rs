//! The byte stream below HTTP: it reports received bytes to the connection's state, rewrites
//! authorities, and closes without losing what the client has not read yet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{authority::Authorities, connections::ConnectionState};

/// How many bytes are read at once while the rest of a frame is awaited.
const CHUNK: usize = 4 << 10;
/// How long a closing connection waits for the client to close its side, counted from the last byte
/// that was sent, and how many bytes it discards meanwhile.
const MAX_LINGER: Duration = Duration::from_millis(500);
const MAX_DISCARDED: usize = 16 << 20;

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
    /// When bytes were sent last.
    sent: Instant,
    /// Set once the sending side is shut down.
    linger: Option<Linger>,
}

/// How long to wait for the client to close its side.
struct Linger {
    end: Pin<Box<Sleep>>,
    /// How many more bytes are discarded.
    left: usize,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, state: ConnectionState) -> Self {
        Self {
            stream,
            state,
            authorities: Authorities::new(),
            held: BytesMut::new(),
            ready: 0,
            sent: Instant::now(),
            linger: None,
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sent = Instant::now();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sent = Instant::now();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Shuts down the sending side, and waits for the client to close its side. If the socket were
    /// closed while the client sends, the system would reset the connection, and discard what it has
    /// not transmitted yet.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.state.closing();
        }
        let Self {
            stream,
            sent,
            linger,
            ..
        } = &mut *self;
        let linger = linger.get_or_insert_with(|| Linger {
            end: Box::pin(sleep_until(*sent + MAX_LINGER)),
            left: MAX_DISCARDED,
        });
        // First, as a client that sends without a pause would use up the task's budget for polls.
        if linger.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut chunk = [0; CHUNK];
        while linger.left > 0 {
            let mut chunk = ReadBuf::new(&mut chunk);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut chunk));
            if read.is_err() || chunk.filled().is_empty() {
                break;
            }
            linger.left = linger.left.saturating_sub(chunk.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, join, repeat, sink},
        net::{TcpListener, TcpStream},
        time::sleep,
    };

    use super::*;
    use crate::{config::tests::connections, http::connections::Connections};

    fn io<S>(stream: S) -> Io<S> {
        let connections = Connections::new(connections());
        let slot = connections.admit([192, 0, 2, 1].into()).unwrap();
        Io::new(stream, slot.state.clone())
    }

    #[tokio::test]
    async fn a_client_that_is_still_sending_gets_everything() {
        const RESPONSE: usize = 16 << 20;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let served = tokio::spawn(async move {
            let mut io = io(accepted.unwrap().0);
            io.write_all(&vec![7; RESPONSE]).await.unwrap();
            io.shutdown().await.unwrap();
        });
        let mut client = client.unwrap();
        let mut chunk = vec![0; CHUNK];
        let mut received = 0;
        while received < RESPONSE {
            client.write_all(b"the next request").await.unwrap();
            let length = client.read(&mut chunk).await.unwrap();
            assert_ne!(length, 0, "the connection ended after {received} bytes");
            received += length;
        }
        drop(client);
        served.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_closes_is_awaited_for_a_limited_time() {
        for (pause, lingers) in [(0, 500), (300, 200), (500, 0), (9_000, 0)] {
            let (_client, stream) = duplex(CHUNK);
            let mut io = io(stream);
            io.write_all(b"response").await.unwrap();
            sleep(Duration::from_millis(pause)).await;
            let start = Instant::now();
            io.shutdown().await.unwrap();
            assert_eq!(start.elapsed().as_millis(), lingers, "after {pause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_stops_is_cut_off() {
        // Time does not pass meanwhile.
        let mut io = io(join(repeat(7), sink()));
        io.shutdown().await.unwrap();
        assert_eq!(io.linger.unwrap().left, 0);
    }
}
