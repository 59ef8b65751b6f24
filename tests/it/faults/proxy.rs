//! A proxy in front of a database that simulates network faults.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The fault that connections suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No fault.
    None,
    /// All connections are closed, and new ones immediately.
    Cut,
    /// Like `Cut`, but the peer sees a reset.
    Reset,
    /// Nothing is forwarded on connections that are open now or opened during the fault. They stay
    /// stalled until they are cut.
    Stall,
}

/// A proxy. When it is dropped, it cuts all connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
}

impl Proxy {
    /// Starts a proxy in front of the database with this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let url: reqwest::Url = url.parse().unwrap();
        let host = url.host_str().unwrap().to_owned();
        let database = (host, url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fault, faults) = watch::channel(Fault::None);
        tokio::spawn(async move {
            let mut gone = faults.clone();
            loop {
                let client = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = gone.wait_for(|_| false) => return,
                };
                tokio::spawn(pass(client, database.clone(), faults.clone()));
            }
        });
        Self { address, fault }
    }

    /// The database's URL, through the proxy.
    pub(crate) fn url(&self, of: &str) -> String {
        let mut url: reqwest::Url = of.parse().unwrap();
        url.set_ip_host(self.address.ip()).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn pass(mut client: TcpStream, database: (String, u16), mut faults: watch::Receiver<Fault>) {
    let is_over = |fault: &Fault| matches!(fault, Fault::Cut | Fault::Reset);
    let mut stalls = faults.clone();
    let passing = async {
        let Ok(mut database) = TcpStream::connect(database).await else {
            return;
        };
        let is_stall = tokio::select! {
            _ = copy_bidirectional(&mut client, &mut database) => false,
            stalled = stalls.wait_for(|fault| *fault == Fault::Stall) => stalled.is_ok(),
        };
        if is_stall {
            std::future::pending::<()>().await;
        }
    };
    let is_reset = tokio::select! {
        () = passing => return,
        over = faults.wait_for(is_over) => over.is_ok_and(|fault| *fault == Fault::Reset),
    };
    if is_reset {
        client.set_zero_linger().unwrap();
    }
}
