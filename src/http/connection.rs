//! One connection: HTTP/1.1 and HTTP/2, with TLS or without, from accept to its end.

use std::{
    error::Error,
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
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
    time::{sleep, timeout, timeout_at},
};
use tower::service_fn;

use super::{
    connections::{Activity, ConnectionState, Slot},
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

/// How often an HTTP/2 connection is asked whether it lives, and how long it may take
/// to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What a client may send on an HTTP/2 connection or stream before it must wait.
const WINDOW: u32 = 1 << 20;
/// What waits in a stream of HTTP/2 to be written.
const SEND_BUFFER: usize = 64 << 10;
/// How long a client that has no request in flight may take to acknowledge GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// The same where the server stops and the client is authenticated: it may still be reading the
/// last that was sent.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an idle connection of HTTP/1, or one that has said nothing yet, is left open when the
/// server stops.
const LINGER: Duration = Duration::from_millis(500);

/// What serves the connections of a listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    service: Router,
    config: Arc<ConnectionConfig>,
    stop: watch::Receiver<bool>,
}

/// Runs the streams of the HTTP/2 connection. Each can be reset by itself.
#[derive(Clone, Debug)]
struct Streams(Connection);

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Receiver::new(self.0.clone()).serve(stream));
    }
}

/// Why the server closes a connection.
enum Closing {
    /// The server stops.
    Stop,
    /// No complete request head came in time.
    SlowHead,
    /// No request was in flight for too long.
    Idle,
    /// It has lived long enough.
    Age,
}

impl Server {
    pub(super) fn new(
        service: Router,
        config: ConnectionConfig,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            service,
            config: Arc::new(config),
            stop,
        }
    }

    /// Serves a connection until it ends, or its slot is given to another.
    pub(super) async fn serve(self, stream: TcpStream, tls: Option<Arc<Tls>>, slot: Slot) {
        let _counted = metrics::Counted::connection();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY");
        }
        let state = slot.state.clone();
        let served = async {
            match tls {
                None => self.serve_http(stream, None, state).await,
                Some(tls) => self.serve_tls(stream, &tls, state).await,
            }
        };
        // Over HTTP/1 it takes its responses itself, over HTTP/2 each of its streams does.
        let connection = Connection::new(slot.state.id());
        let served = Receiver::new(connection).serve(served);
        tokio::select! {
            _ = served => {}
            () = slot.evicted() => tracing::debug!("a connection was closed for a new one"),
        }
    }

    async fn serve_tls(self, stream: TcpStream, tls: &Tls, state: ConnectionState) {
        let mut activity = state.watch();
        tokio::select! {
            accepted = tls.accept(stream) => match accepted {
                Ok(stream) => {
                    let client = tls::client(&stream);
                    self.serve_http(stream, client, state).await;
                }
                Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
            },
            () = slow_head(&mut activity, self.config.header_timeout) => {
                metrics::refused("header_timeout");
                tracing::debug!("a TLS handshake took too long");
            }
        }
    }

    /// Serves requests until the client closes the connection, or the server has to.
    async fn serve_http<S>(
        mut self,
        stream: S,
        client: Option<ClientCertificate>,
        state: ConnectionState,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = TowerToHyperService::new(service_fn({
            let (service, state) = (self.service.clone(), state.clone());
            move |request| exchange(request, state.clone(), client.clone(), service.clone())
        }));
        let io = TokioIo::new(Io::new(stream, state.clone()));
        let builder = builder(&self.config, Streams(Connection::new(state.id())));
        let mut connection = pin!(builder.serve_connection(io, service));
        let closing = tokio::select! {
            ended = connection.as_mut() => return log(ended),
            closing = self.closing(&state) => closing,
        };
        closing.limit().into_iter().for_each(metrics::refused);
        if matches!(closing, Closing::Age) && state.now().is_http1 {
            // Only a response can say over HTTP/1 that the connection ends: the next one does.
            state.end();
            tokio::select! {
                ended = connection.as_mut() => return log(ended),
                () = stopped(&mut self.stop) => {}
                () = sleep(self.config.grace) => {}
            }
        }
        let now = state.now();
        if *self.stop.borrow() && (now.is_http1 || now.begun == 0) {
            // A request may be on its way, and its client would not send it again.
            state.end();
            let mut requests = state.watch();
            tokio::select! {
                ended = connection.as_mut() => return log(ended),
                () = idle(&mut requests, LINGER) => {}
            }
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => log(ended),
            () = self.patience(&closing, &state) => {}
        }
    }

    /// Ends when the server has to close the connection.
    async fn closing(&mut self, state: &ConnectionState) -> Closing {
        let (mut heads, mut requests) = (state.watch(), state.watch());
        // Those that came at once don't all end at once.
        let max_age = self.config.max_age.mul_f64(rand::random_range(0.9..1.0));
        tokio::select! {
            () = stopped(&mut self.stop) => Closing::Stop,
            () = slow_head(&mut heads, self.config.header_timeout) => Closing::SlowHead,
            () = idle(&mut requests, self.config.idle_timeout) => Closing::Idle,
            () = sleep(max_age) => Closing::Age,
        }
    }

    /// Ends when a connection that is being closed has had its time: for requests in flight,
    /// and after them for the client to read what was sent and to acknowledge GOAWAY.
    async fn patience(&self, closing: &Closing, state: &ConnectionState) {
        let grace = async {
            match closing {
                // Who stops the server says how long.
                Closing::Stop => pending().await,
                Closing::SlowHead | Closing::Idle | Closing::Age => sleep(self.config.grace).await,
            }
        };
        let is_silent = matches!(closing, Closing::SlowHead | Closing::Idle);
        let mut requests = state.watch();
        let quiet = async {
            if is_silent || !state.is_authenticated() {
                idle(&mut requests, GOAWAY_TIMEOUT).await;
            } else if matches!(closing, Closing::Stop) {
                idle(&mut requests, LAST_READ_TIMEOUT).await;
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
    /// The setting of the limit that closes the connection, if it is one.
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
    // An error means that the sender is gone, which is a stop too.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Ends when a request head has been awaited for so long.
async fn slow_head(activity: &mut watch::Receiver<Activity>, time: Duration) {
    loop {
        let awaited = activity.wait_for(|now| now.head_since.is_some()).await;
        let Some(since) = awaited.ok().and_then(|now| now.head_since) else {
            // The state is gone, and so is the connection.
            return pending().await;
        };
        let came = activity.wait_for(|now| now.head_since != Some(since));
        if timeout_at(since + time, came).await.is_err() {
            return;
        }
    }
}

/// Ends when no request has been in flight for so long.
async fn idle(activity: &mut watch::Receiver<Activity>, time: Duration) {
    loop {
        let quiet = activity.wait_for(|now| now.in_flight == 0).await;
        // Not whether one is in flight: one may come and go between two looks.
        let Some(begun) = quiet.ok().map(|now| now.begun) else {
            return pending().await;
        };
        let another = activity.wait_for(|now| now.begun != begun);
        if timeout(time, another).await.is_err() {
            return;
        }
    }
}

fn log(ended: Result<(), Box<dyn Error + Send + Sync>>) {
    let Err(error) = ended else { return };
    let error_of_http = error.downcast_ref::<hyper::Error>();
    if error_of_http.is_some_and(hyper::Error::is_parse_too_large) {
        metrics::refused("max_header_size");
    }
    tracing::debug!(error, "a connection ended");
}

fn builder(config: &ConnectionConfig, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // It would also cut off connections that are idle between two requests; and HTTP/2
        // has none. `slow_head` is for both.
        .header_read_timeout(None)
        .max_buf_size(config.max_header_size);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(config.max_streams)
        // Settings hold it to 1 MiB.
        .max_header_list_size(u32::try_from(config.max_header_size).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW);
    builder
}
