//! Listeners: sockets that are bound early, before anything is served, and the accept loop.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{
    Handler,
    connection::{Server, stopped},
    connections::Connections,
    tls::Tls,
};

/// The pause before accepting again when accept failed, most likely for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    /// The bound address, with the actual port if port 0 was requested.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// If it can't be bound; the message names the address.
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

    /// Serves TLS only, if there is a certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }
}

/// Raises the process's soft limit on open files to its hard limit. The default is often only
/// 1,024, for the sake of programs that use `select`, and `max_connections` alone would exceed it.
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

/// Serves connections until `stop` becomes true. Then it accepts no more, drains requests in
/// flight, and returns when all connections are closed. If the future is dropped, they are closed
/// at once.
pub async fn serve(
    listener: Listener,
    handler: impl Into<Handler>,
    connections: Connections,
    mut stop: watch::Receiver<bool>,
) {
    let server = Server::new(handler.into(), connections.config().clone(), stop.clone());
    let mut open = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept(&connections) => accepted,
            // Removes connections that have ended from the set.
            Some(_) = open.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        // Without a slot the connection is closed at once: left in the backlog, the client would
        // only see a connection that never responds.
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
                    // Most likely the process is out of file descriptors. Silent clients lose
                    // theirs first, and others may close soon.
                    tracing::warn!(%error, "accepting a connection failed");
                    connections.make_room();
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
