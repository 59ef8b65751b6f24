//! One connection, HTTP/1.1 or HTTP/2, with TLS or without, from accept to close: its timeouts, its
//! maximum age, and its part of a graceful shutdown. `connections` limits how many there are, and
//! `exchange` serves the requests.

use std::{
    collections::VecDeque,
    error::Error,
    future::{Future, pending, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use hyper::rt::Executor;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tower::service_fn;

use super::{
    Handler,
    connections::{ConnectionState, Slot},
    exchange::exchange,
    io::Io,
    tls::{self, Tls},
};
use crate::{
    auth::ClientCertificate,
    config::ConnectionConfig,
    memory::{Connection, Receiver},
    telemetry::metrics,
};

/// How often an HTTP/2 connection is pinged, and how long the client may take to acknowledge that.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The flow-control window of an HTTP/2 connection, and of each stream, in bytes.
const WINDOW: u32 = 1 << 20;
/// The most bytes that are buffered for sending per HTTP/2 stream.
const SEND_BUFFER: usize = 64 << 10;
/// How long a client with no request in flight may take to acknowledge GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// Like [`GOAWAY_TIMEOUT`], for an authenticated client at shutdown: it may still be reading the
/// last responses.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(3);

/// How many HTTP/2 streams begin before what they have to send is sent.
const BEGIN: usize = 16;

/// How long an idle HTTP/1 connection, or one without any request yet, stays open at shutdown, and
/// how long a TLS handshake may still take then.
const LINGER: Duration = Duration::from_millis(500);

/// Serves the connections of a listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    handler: Handler,
    config: Arc<ConnectionConfig>,
    stop: watch::Receiver<bool>,
}

/// The executor of a connection's HTTP/2 streams. Each stream is a receiver of its own in
/// `crate::memory`, so that a stalled one can be reset without the others.
///
/// A stream begins in the task of its connection, and gets a task of its own only if it has to wait.
/// So the responses to requests that arrive together, and wait for nothing, are sent together.
#[derive(Clone)]
struct Streams {
    connection: Connection,
    response_idle_timeout: Duration,
    /// Those that have not begun yet.
    new: Arc<Mutex<VecDeque<BoxFuture<'static, ()>>>>,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let receiver = Receiver::new(self.connection.clone());
        let served = receiver.serve_stream(stream, self.response_idle_timeout);
        // As in a task of its own, a panic ends only the stream.
        let served = AssertUnwindSafe(served).catch_unwind().map(drop).boxed();
        self.with(|new| new.push_back(served));
    }
}

impl Streams {
    /// Drives a connection and its streams until it ends.
    async fn drive<C: Future + Unpin>(&self, connection: &mut C) -> C::Output {
        poll_fn(|context| {
            loop {
                if let Poll::Ready(ended) = connection.poll_unpin(context) {
                    self.begin(usize::MAX);
                    return Poll::Ready(ended);
                }
                if !self.begin(BEGIN) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// Begins up to `count` new streams. Returns whether there was any.
    fn begin(&self, count: usize) -> bool {
        for begun in 0..count {
            let Some(mut stream) = self.with(VecDeque::pop_front) else {
                return begun > 0;
            };
            // Nothing can wake it here, but if it has to wait, its task polls it again at once.
            let mut context = Context::from_waker(Waker::noop());
            if stream.poll_unpin(&mut context).is_pending() {
                tokio::spawn(stream);
            }
        }
        true
    }

    fn with<T>(&self, act: impl FnOnce(&mut VecDeque<BoxFuture<'static, ()>>) -> T) -> T {
        act(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The reason why the server closes a connection.
enum Closing {
    /// The server shuts down.
    Stop,
    /// No complete request head arrived in time.
    SlowHead,
    /// No request was in flight for too long.
    Idle,
    /// The connection has reached its maximum age.
    Age,
}

impl Server {
    pub(super) fn new(
        handler: Handler,
        config: ConnectionConfig,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            handler,
            config: Arc::new(config),
            stop,
        }
    }

    /// Serves a connection until it ends, or is evicted to make room for another.
    pub(super) async fn serve(self, stream: TcpStream, tls: Option<Arc<Tls>>, slot: Slot) {
        let _guard = metrics::GaugeGuard::connection();
        // Nagle's algorithm would delay small frames until earlier ones are acknowledged.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY failed");
        }
        let state = slot.state.clone();
        // Boxed, as the functions around it would each hold it again, for as long as the connection.
        let served = Box::pin(async {
            match tls {
                None => self.serve_http(stream, None, state).await,
                Some(tls) => self.serve_tls(stream, &tls, state).await,
            }
        });
        // This is the receiver of the responses over HTTP/1; over HTTP/2 each stream has its own.
        let connection = Connection::new(slot.state.id());
        let served = Receiver::new(connection).serve(served);
        tokio::select! {
            _ = served => {}
            () = slot.evicted() => {
                tracing::debug!("connection closed to make room for a new one");
            }
        }
    }

    async fn serve_tls(self, stream: TcpStream, tls: &Tls, state: ConnectionState) {
        let (awaited, mut stop) = (state.clone(), self.stop.clone());
        tokio::select! {
            accepted = tls.accept(stream) => match accepted {
                Ok(stream) => {
                    let client = tls::client(&stream);
                    self.serve_http(stream, client, state).await;
                }
                Err(error) => tracing::debug!(%error, "TLS handshake failed"),
            },
            () = slow_head(&awaited, self.config.header_timeout) => {
                metrics::refused("header_timeout");
                tracing::debug!("TLS handshake timed out");
            }
            () = stopped(&mut stop).then(|()| sleep(LINGER)) => {
                tracing::debug!("TLS handshake ended by the shutdown");
            }
        }
    }

    /// Serves requests until the client closes the connection, or the server has a reason to.
    async fn serve_http<S>(
        mut self,
        stream: S,
        client: Option<ClientCertificate>,
        state: ConnectionState,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = TowerToHyperService::new(service_fn({
            let (handler, state) = (self.handler.clone(), state.clone());
            // Boxed, as HTTP/2 moves it several times.
            move |request| exchange(request, state.clone(), client.clone(), handler.clone()).boxed()
        }));
        let io = TokioIo::new(Io::new(stream, state.clone()));
        let streams = Streams {
            connection: Connection::new(state.id()),
            response_idle_timeout: self.config.response_idle_timeout,
            new: Arc::default(),
        };
        let builder = builder(&self.config, streams.clone());
        let mut connection = pin!(builder.serve_connection(io, service));
        let closing = tokio::select! {
            ended = streams.drive(&mut connection) => return log(ended),
            closing = self.closing(&state) => closing,
        };
        closing.limit().into_iter().for_each(metrics::refused);
        if matches!(closing, Closing::Age) && state.now().is_http1 {
            // HTTP/1 has no GOAWAY. The server can only announce the end of the connection in a
            // response, so it waits for the next one.
            state.end();
            tokio::select! {
                ended = streams.drive(&mut connection) => return log(ended),
                () = stopped(&mut self.stop) => {}
                () = sleep(self.config.grace) => {}
            }
        }
        let now = state.now();
        if *self.stop.borrow() && (now.is_http1 || now.begun == 0) {
            // A request may be on its way, and over HTTP/1 its client could not retry it safely.
            state.end();
            tokio::select! {
                ended = streams.drive(&mut connection) => return log(ended),
                () = idle(&state, LINGER) => {}
            }
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = streams.drive(&mut connection) => log(ended),
            () = self.grace_elapsed(&closing, &state) => {}
        }
    }

    /// Completes when the server has a reason to close the connection.
    async fn closing(&mut self, state: &ConnectionState) -> Closing {
        // Randomized, so that connections opened at the same time don't all reconnect at the same
        // time.
        let max_age = self.config.max_age.mul_f64(rand::random_range(0.9..1.0));
        tokio::select! {
            () = stopped(&mut self.stop) => Closing::Stop,
            () = slow_head(state, self.config.header_timeout) => Closing::SlowHead,
            () = idle(state, self.config.idle_timeout) => Closing::Idle,
            () = sleep(max_age) => Closing::Age,
        }
    }

    /// Completes when a closing connection has run out of time: time for requests in flight, and
    /// then time for the client to read the responses and acknowledge GOAWAY.
    async fn grace_elapsed(&self, closing: &Closing, state: &ConnectionState) {
        let grace = async {
            match closing {
                // At shutdown, the caller enforces the drain timeout for all connections.
                Closing::Stop => pending().await,
                Closing::SlowHead | Closing::Idle | Closing::Age => sleep(self.config.grace).await,
            }
        };
        let is_silent = matches!(closing, Closing::SlowHead | Closing::Idle);
        let quiet = async {
            if is_silent || !state.is_authenticated() {
                idle(state, GOAWAY_TIMEOUT).await;
            } else if matches!(closing, Closing::Stop) {
                idle(state, LAST_READ_TIMEOUT).await;
            } else {
                pending().await
            }
        };
        tokio::select! {
            () = grace => {}
            () = quiet => {}
        }
    }
}

impl Closing {
    /// The setting of the limit that closes the connection, unless the reason is the shutdown.
    fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Stop => None,
            Self::SlowHead => Some("header_timeout"),
            Self::Idle => Some("connection_idle_timeout"),
            Self::Age => Some("max_connection_age"),
        }
    }
}

pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped, which also stops the server.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Completes when a request head has been awaited for `time`.
///
/// Like [`idle`], it looks at the activity only when `time` may have passed: to be woken by each
/// change would cost every request more than this costs a connection.
async fn slow_head(state: &ConnectionState, time: Duration) {
    loop {
        let now = Instant::now();
        let end = state.now().head_since.unwrap_or(now) + time;
        if now >= end {
            return;
        }
        sleep_until(end).await;
    }
}

/// Completes when no request has been in flight for `time`, counted from the call at the earliest.
async fn idle(state: &ConnectionState, time: Duration) {
    let start = Instant::now();
    loop {
        let now = Instant::now();
        let since = state.now().quiet_since;
        let end = since.map_or(now, |since| since.max(start)) + time;
        if now >= end {
            return;
        }
        sleep_until(end).await;
    }
}

fn log(ended: Result<(), Box<dyn Error + Send + Sync>>) {
    let Err(error) = ended else { return };
    let error_of_http = error.downcast_ref::<hyper::Error>();
    if error_of_http.is_some_and(hyper::Error::is_parse_too_large) {
        metrics::refused("max_header_size");
    }
    tracing::debug!(error, "connection ended with an error");
}

fn builder(config: &ConnectionConfig, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // Hyper's timeout would also close connections that are idle between requests, and does not
        // exist for HTTP/2. `slow_head` covers both.
        .header_read_timeout(None)
        .max_buf_size(config.max_header_size);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(config.max_streams)
        // Cannot fail: the setting allows at most 1 MiB.
        .max_header_list_size(u32::try_from(config.max_header_size).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW);
    builder
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::yield_now;

    use super::*;

    fn streams() -> Streams {
        Streams {
            connection: Connection::new(1),
            response_idle_timeout: Duration::from_secs(60),
            new: Arc::default(),
        }
    }

    #[tokio::test]
    async fn streams_that_need_not_wait_share_the_task_of_their_connection() {
        let streams = streams();
        let (polls, done) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let own = tokio::task::try_id();
        let mut connection = poll_fn(|_| {
            let poll = polls.fetch_add(1, Ordering::Relaxed);
            // Everything that began was polled before.
            let expected = Ord::min(poll * BEGIN, 2 * BEGIN);
            assert_eq!(done.load(Ordering::Relaxed), expected);
            if poll == 0 {
                for _ in 0..2 * BEGIN {
                    let done = Arc::clone(&done);
                    streams.execute(async move {
                        assert_eq!(tokio::task::try_id(), own);
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                }
            }
            if poll == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        streams.drive(&mut connection).await;
        assert_eq!(polls.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn streams_that_wait_or_panic_do_not_delay_their_connection() {
        let streams = streams();
        let (sender, received) = tokio::sync::oneshot::channel();
        let own = tokio::task::try_id();
        streams.execute(async { panic!("this is expected") });
        streams.execute(async move {
            yield_now().await;
            let _ = sender.send(tokio::task::try_id());
        });
        let mut ended = poll_fn(|_| Poll::Ready(7));
        assert_eq!(streams.drive(&mut ended).await, 7);
        assert_ne!(received.await.unwrap(), own);
    }
}
