//! A proxy in front of PostgreSQL that counts the server's statements and round trips, including
//! those of the driver, the pool and the ORM.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// The counts so far.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Executed statements.
    pub(crate) statements: AtomicU64,
    /// Messages that end a round trip: Sync, or a simple query. A Sync on its own is not counted,
    /// because the pool sends one when a connection is returned.
    pub(crate) trips: AtomicU64,
}

/// Starts a proxy for a database, and returns its URL.
pub(crate) async fn start(database_url: &str) -> (String, Arc<Sent>) {
    let mut url = reqwest::Url::parse(database_url).unwrap();
    let host = url.host_str().unwrap().to_owned();
    let port = url.port().unwrap_or(5_432);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(own)).unwrap();
    url.query_pairs_mut().append_pair("sslmode", "disable");
    let sent = Arc::new(Sent::default());
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, mut to_client) = client.into_split();
            let (mut from_server, to_server) = server.into_split();
            tokio::spawn(forward(from_client, to_server, Arc::clone(&counted)));
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
            });
        }
    });
    (url.into(), sent)
}

/// Forwards what a client sends until it disconnects.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, sent: Arc<Sent>) {
    let mut pending = Vec::new();
    let mut last = None;
    while let Ok(1..) = from.read_buf(&mut pending).await {
        let whole = count(&pending, &mut last, &sent);
        if to.write_all(&pending[..whole]).await.is_err() {
            return;
        }
        pending.drain(..whole);
    }
}

/// Counts the complete messages in `bytes`, after a message of type `last`, and returns their total
/// length.
fn count(bytes: &[u8], last: &mut Option<u8>, sent: &Sent) -> usize {
    let mut at = 0;
    loop {
        // The first message of a connection has no type.
        let head = usize::from(last.is_some());
        let Some(length) = bytes.get(at + head..at + head + 4) else {
            return at;
        };
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if bytes.len() < at + head + length {
            return at;
        }
        let kind = last.map_or(0, |_| bytes[at]);
        let is_alone = last.is_none_or(|last| b"SQ".contains(&last));
        let is_trip = kind == b'Q' || (kind == b'S' && !is_alone);
        sent.trips.fetch_add(is_trip.into(), Ordering::Relaxed);
        let is_statement = b"EQ".contains(&kind);
        sent.statements
            .fetch_add(is_statement.into(), Ordering::Relaxed);
        *last = Some(kind);
        at += head + length;
    }
}
