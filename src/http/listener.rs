//! Listening: sockets bound early, and the connections that come on them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{
    connection::{Server, stopped},
    connections::Connections,
    tls::Tls,
};

/// How long to wait before accepting again when there are no files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

/// Lets the process open as many files as the system allows it. By default it is often only
/// 1,024, which some programs need that still use `select`, and which `max_connections` alone
/// would use up.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "raising the limit of open files failed");
    }
}

/// Serves connections until `stop` says so; then accepts no more, lets requests in flight
/// end, and returns when all connections are closed. Dropped, it closes them.
pub async fn serve(
    listener: Listener,
    service: Router,
    connections: Connections,
    mut stop: watch::Receiver<bool>,
) {
    let server = Server::new(service, connections.config().clone(), stop.clone());
    let mut open = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept(&connections) => accepted,
            Some(_) = open.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        // Without a slot it is closed at once: a client that waits in the backlog would learn
        // nothing.
        if let Some(slot) = connections.admit(peer) {
            let (server, tls) = (server.clone(), listener.tls.clone());
            open.spawn(async move { server.serve(stream, tls, slot).await });
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

impl Listener {
    async fn accept(&self, connections: &Connections) -> (TcpStream, IpAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => return (stream, peer.ip()),
                Err(error) => {
                    // Out of files, most likely. Those of silent clients are the first to
                    // spare; others may close soon.
                    tracing::warn!(%error, "accepting a connection failed");
                    connections.make_room();
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
