//! Listening: sockets bound early, connections of HTTP/1.1 and HTTP/2 on each, with TLS
//! or without, and their end.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use super::tls::{self, Tls};
use crate::{
    auth::{ClientCertificate, Peer},
    config::ConnectionConfig,
    telemetry::metrics,
};

/// How often an HTTP/2 connection is asked whether it lives, and how long it may take
/// to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What a client may send on an HTTP/2 connection or stream before it must wait.
const WINDOW: u32 = 1 << 20;

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    /// Where it listens; the port is the real one where 0 was asked.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// Where it can't be bound; the message names it.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
        let socket = TcpListener::bind(address).await.map_err(named)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            tls: None,
            address,
        })
    }

    /// The same, speaking TLS alone where there is a certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }
}

/// How many connections there may be, counted over the listeners that share this, and
/// what each may do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    free: Arc<Semaphore>,
    config: ConnectionConfig,
}

impl Connections {
    /// None is open yet.
    pub fn new(config: ConnectionConfig) -> Self {
        Self {
            free: Arc::new(Semaphore::new(config.max_connections)),
            config,
        }
    }
}

/// Serves connections until `stop` says so; then accepts no more, lets requests under
/// way end, and returns when all connections are closed. Dropped, it closes them.
pub async fn serve(
    listener: Listener,
    service: Router,
    connections: Connections,
    mut stop: watch::Receiver<bool>,
) {
    let builder = builder(&connections.config);
    let mut open = JoinSet::new();
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.socket.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: others may close soon.
                    tracing::warn!(%error, "accepting a connection");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = open.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        let Ok(slot) = Arc::clone(&connections.free).try_acquire_owned() else {
            // Closed at once: a client that waits in the backlog would learn nothing.
            metrics::refused("max_connections");
            tracing::debug!("a connection too many");
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "setting TCP_NODELAY");
        }
        let connection = Connection {
            builder: builder.clone(),
            service: service.clone(),
            peer: Peer::of(address),
            config: connections.config,
            stop: stop.clone(),
            _slot: slot,
            _counted: metrics::Counted::connection(),
        };
        match &listener.tls {
            None => open.spawn(connection.serve(stream, None)),
            Some(tls) => open.spawn(connection.serve_tls(stream, Arc::clone(tls))),
        };
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    drop(stop.wait_for(|stop| *stop).await);
}

/// What a connection needs to be served.
struct Connection {
    builder: auto::Builder<TokioExecutor>,
    service: Router,
    peer: Peer,
    config: ConnectionConfig,
    stop: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
    _counted: metrics::Counted,
}

impl Connection {
    async fn serve_tls(self, stream: TcpStream, tls: Arc<Tls>) {
        match timeout(self.config.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let client = tls::client(&stream);
                self.serve(stream, client).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => {
                metrics::refused("header_timeout");
                tracing::debug!("a TLS handshake took too long");
            }
        }
    }

    /// Serves requests, which get the client's address and certificate into their extensions, until
    /// the client closes, or the connection is too old or idle for too long, or the
    /// server stops.
    async fn serve<S>(mut self, stream: S, client: Option<ClientCertificate>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (under_way, mut changes) = watch::channel(0_usize);
        let peer = self.peer;
        let service = self
            .service
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                if let Some(client) = &client {
                    request.extensions_mut().insert(client.clone());
                }
                request
            });
        let service = tower::service_fn(move |request| {
            let (service, under_way) = (service.clone(), UnderWay::new(&under_way));
            async move {
                let response = service.oneshot(request).await?;
                let answer = |body| Answer {
                    body,
                    _under_way: under_way,
                };
                Ok::<_, std::convert::Infallible>(response.map(answer))
            }
        });
        let service = TowerToHyperService::new(service);
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // Those that came at once don't all end at once.
        let max_age = self.config.max_age.mul_f64(rand::random_range(0.9..1.0));
        let grace = tokio::select! {
            ended = connection.as_mut() => return log(ended),
            () = stopped(&mut self.stop) => None,
            () = sleep(max_age) => {
                metrics::refused("max_connection_age");
                Some(self.config.grace)
            }
            () = idle(&mut changes, self.config.idle_timeout) => {
                metrics::refused("connection_idle_timeout");
                Some(self.config.grace)
            }
        };
        connection.as_mut().graceful_shutdown();
        match grace {
            // How long that may take is for who stops the server.
            None => log(connection.await),
            Some(grace) => {
                let ended = timeout(grace, connection).await;
                log(ended.unwrap_or(Ok(())));
            }
        }
    }
}

fn log(ended: Result<(), Box<dyn Error + Send + Sync>>) {
    let Err(error) = ended else { return };
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_parse_too_large() {
            metrics::refused("max_header_size");
        } else if error.is_timeout() {
            metrics::refused("header_timeout");
        }
    }
    tracing::debug!(error, "a connection ended");
}

/// Ends when no request has been under way for so long.
async fn idle(under_way: &mut watch::Receiver<usize>, time: Duration) {
    loop {
        let is_quiet = under_way.wait_for(|count| *count == 0).await.is_ok();
        match timeout(time, under_way.changed()).await {
            Err(_) if is_quiet => return,
            Ok(Ok(())) => {}
            // The service is gone, and so will be the connection.
            Err(_) | Ok(Err(_)) => std::future::pending().await,
        }
    }
}

/// A request, up to the last byte of its answer.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// An answer whose request is under way until it is sent.
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl http_body::Body for Answer {
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

fn builder(config: &ConnectionConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(config.max_header_size);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(config.max_streams)
        // Settings hold it to 1 MiB.
        .max_header_list_size(u32::try_from(config.max_header_size).unwrap_or(u32::MAX))
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW);
    builder
}
