//! Limits on connections: unauthenticated clients can't deny connections to others.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    auth::new_key,
    edge_limits::{closed, connect},
    harness::Server,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The beginning of a request head, which needs another frame to be complete.
const HALF_HEADERS: &[u8] = &[0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82];
const GET: &[u8] = b"GET /ccadmin/v1/collections/rootCategory HTTP/1.1\r\nhost: a\r\n\r\n";

fn keys() -> Flags {
    Flags {
        auth: Some("keys".into()),
        ..Flags::default()
    }
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Connects to the REST port from another address of this machine.
async fn connect_from(source: &str, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let source = SocketAddr::new(source.parse().unwrap(), 0);
    socket.bind(source).unwrap();
    socket.connect(address(&server.http)).await.unwrap()
}

/// The head of the next HTTP/1 response; empty if the connection is closed.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
    };
    let reading = tokio::time::timeout(Duration::from_secs(60), reading);
    reading.await.expect("no response arrived");
    String::from_utf8(head).unwrap()
}

/// The head of the next response, after its body was read.
async fn response(stream: &mut TcpStream) -> String {
    let head = head(stream).await;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    head
}

async fn ask(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    response(stream).await
}

fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Starts a login whose body never arrives; the server waits for it.
async fn stalled_login(server: &Server) -> TcpStream {
    let mut stream = connect(server).await;
    let login = "POST /ccadmin/v1/login HTTP/1.1\r\nhost: a\r\ncontent-length: 29\r\n\
                 content-type: application/x-www-form-urlencoded\r\n\
                 expect: 100-continue\r\n\r\n";
    stream.write_all(login.as_bytes()).await.unwrap();
    let said = head(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 100 "), "{said}");
    stream
}

#[tokio::test]
async fn a_connection_without_a_complete_head_times_out_on_each_port() {
    let flags = Flags {
        header_timeout: Some("300ms".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("header_timeout").await;
    let preface = [PREFACE, SETTINGS].concat();
    let half_head = [PREFACE, SETTINGS, HALF_HEADERS].concat();
    let sent: [&[u8]; 7] = [
        b"",
        b"P",
        b"PRI * HT",
        b"GET / HTTP/1.1\r\nhost:",
        PREFACE,
        &preface,
        &half_head,
    ];
    let mut open = Vec::new();
    for port in [&server.grpc, &server.http, &server.admin] {
        for sent in sent {
            let mut stream = TcpStream::connect(address(port)).await.unwrap();
            stream.write_all(sent).await.unwrap();
            open.push(stream);
        }
    }
    for stream in &mut open {
        closed(stream).await;
    }
    assert!(server.refused("header_timeout").await >= before + 21);
}

#[tokio::test]
async fn an_http_1_connection_may_idle_between_requests_but_not_within_a_head() {
    let flags = Flags {
        header_timeout: Some("300ms".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let mut idle = connect(&server).await;
    ask(&mut idle, GET).await;
    // It is older than the next connection, which is closed because its head is incomplete.
    let mut slow = connect(&server).await;
    ask(&mut slow, GET).await;
    slow.write_all(&GET[..20]).await.unwrap();
    assert_eq!(closed(&mut slow).await, "");
    let said = ask(&mut idle, GET).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[tokio::test]
async fn a_connection_with_short_requests_is_not_idle() {
    let idle = Duration::from_millis(500);
    let flags = Flags {
        connection_idle_timeout: Some("500ms".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let mut stream = connect(&server).await;
    let end = Instant::now() + 3 * idle;
    while Instant::now() < end {
        let said = ask(&mut stream, GET).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    assert_eq!(closed(&mut stream).await, "");
}

#[tokio::test]
async fn the_oldest_silent_connection_is_evicted_for_a_new_one() {
    let flags = Flags {
        max_connections: Some("8".into()),
        max_pending_connections_per_address: Some("8".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("max_unauthenticated_connections").await;
    let mut silent = Vec::new();
    // Two of the eight are reserved.
    for _ in 0..6 {
        silent.push(connect(&server).await);
    }
    let mut new = connect(&server).await;
    let said = ask(&mut new, GET).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert_eq!(closed(&mut silent[0]).await, "");
    assert!(silent[1..].iter().all(is_open));
    assert!(server.refused("max_unauthenticated_connections").await > before);

    // The same with any number of silent connections, and on both ports.
    for _ in 0..50 {
        silent.push(connect(&server).await);
        silent.push(TcpStream::connect(address(&server.grpc)).await.unwrap());
    }
    for url in [&server.http, &server.grpc] {
        let mut new = TcpStream::connect(address(url)).await.unwrap();
        let said = ask(&mut new, GET).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
}

#[tokio::test]
async fn authenticated_connections_are_never_evicted_and_may_use_all_slots() {
    let flags = Flags {
        max_connections: Some("4".into()),
        max_pending_connections_per_address: Some("4".into()),
        ..keys()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let key = new_key(&server, "default", &["collections.read"], &[]);
    let get = String::from_utf8(GET.into()).unwrap();
    let get = get.replace(
        "\r\n\r\n",
        &format!("\r\nauthorization: Bearer {key}\r\n\r\n"),
    );
    let mut authenticated = Vec::new();
    for _ in 0..4 {
        let mut silent = Vec::new();
        for _ in 0..10 {
            silent.push(connect(&server).await);
        }
        authenticated.push(connect(&server).await);
        for stream in &mut authenticated {
            let said = ask(stream, get.as_bytes()).await;
            assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        }
    }
    // Now no connection can be evicted.
    let before = server.refused("max_connections").await;
    assert_eq!(closed(&mut connect(&server).await).await, "");
    assert!(server.refused("max_connections").await > before);
    assert!(authenticated.iter().all(is_open));
}

#[tokio::test]
async fn a_slow_request_is_evicted_only_if_there_is_no_silent_connection() {
    let flags = Flags {
        max_connections: Some("4".into()),
        ..keys()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let mut login = stalled_login(&server).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(connect(&server).await);
    }
    let form = b"grant_type=client_credentials";
    let said = ask(&mut login, form).await;
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    drop((login, silent));

    let mut logins = Vec::new();
    for _ in 0..3 {
        logins.push(stalled_login(&server).await);
    }
    let mut new = connect(&server).await;
    let said = ask(&mut new, GET).await;
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert_eq!(closed(&mut logins[0]).await, "");
    assert!(logins[1..].iter().all(is_open));
}

#[tokio::test]
async fn silent_connections_per_address_are_limited_except_for_proxies() {
    let flags = Flags {
        max_pending_connections_per_address: Some("2".into()),
        trusted_proxies: Some("127.0.9.0/24, ::1".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let limit = "max_pending_connections_per_address";
    let before = server.refused(limit).await;
    let mut proxy = Vec::new();
    let mut other = Vec::new();
    for _ in 0..2 {
        other.push(connect_from("127.0.0.2", &server).await);
    }
    for _ in 0..5 {
        proxy.push(connect_from("127.0.9.1", &server).await);
    }
    let mut first = connect_from("127.0.0.3", &server).await;
    let second = connect_from("127.0.0.3", &server).await;
    let third = connect_from("127.0.0.3", &server).await;
    assert_eq!(closed(&mut first).await, "");
    assert!(server.refused(limit).await > before);
    for stream in proxy.iter().chain(&other).chain([&second, &third]) {
        assert!(is_open(stream));
    }
    // Connections that have sent a head don't count.
    for _ in 0..5 {
        let mut stream = connect_from("127.0.0.3", &server).await;
        ask(&mut stream, GET).await;
        other.push(stream);
    }
    assert!(other.iter().all(is_open));
}

#[tokio::test]
async fn the_admin_port_responds_despite_many_silent_connections() {
    let flags = Flags {
        max_admin_connections: Some("4".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("max_admin_connections").await;
    let mut silent = Vec::new();
    for source in 2..40 {
        let socket = TcpSocket::new_v4().unwrap();
        let source = SocketAddr::new([127, 0, 0, source].into(), 0);
        socket.bind(source).unwrap();
        silent.push(socket.connect(address(&server.admin)).await.unwrap());
    }
    for path in ["livez", "readyz"] {
        let mut probe = TcpStream::connect(address(&server.admin)).await.unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let said = ask(&mut probe, request.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    assert_eq!(closed(&mut silent[0]).await, "");
    drop(silent);
    assert!(server.refused("max_admin_connections").await > before);
}

#[rstest]
#[tokio::test]
async fn the_body_of_an_unauthenticated_request_is_limited(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let server = Server::start(engine, keys()).await;
    let limit = "max_unauthenticated_body_size";
    let before = server.refused(limit).await;
    // The server does not wait for the body.
    let mut stream = connect(&server).await;
    let login = "POST /ccadmin/v1/login HTTP/1.1\r\nhost: a\r\ncontent-length: 16777000\r\n\r\n";
    stream.write_all(login.as_bytes()).await.unwrap();
    let said = closed(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    assert!(said.contains("\"errorCode\""), "{said}");
    assert!(said.contains("the limit of 16384 bytes"), "{said}");
    // A chunked body, without a length.
    let mut stream = connect(&server).await;
    let chunk = "x".repeat(20_000);
    let login = format!(
        "POST /ccadmin/v1/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{chunk}\r\n",
        chunk.len()
    );
    let said = ask(&mut stream, login.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    // gRPC does not buffer more either.
    let channel = Channel::from_shared(server.grpc.clone()).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let service = "x".repeat(20_000);
    let status = health.check(HealthCheckRequest { service }).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(server.refused(limit).await >= before + 3);
    health.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn the_last_response_of_an_http_1_connection_has_connection_close() {
    let server = Server::start(Engine::Sqlite, Flags::default()).await;
    let post = |length: usize| {
        format!("POST /unserved HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{{}}")
    };
    let mut stream = connect(&server).await;
    // An unread body that has arrived completely does not close the connection.
    for _ in 0..2 {
        let said = ask(&mut stream, post(2).as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
        assert!(!said.contains("connection: close"), "{said}");
    }
    // A body that has not arrived completely closes it.
    for length in [100, 1_000_000] {
        let mut stream = connect(&server).await;
        let said = ask(&mut stream, post(length).as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
        assert!(said.contains("connection: close"), "{said}");
        assert_eq!(closed(&mut stream).await, "");
    }
}

#[tokio::test]
async fn an_http_1_connection_past_its_maximum_age_ends_with_connection_close() {
    let flags = Flags {
        max_connection_age: Some("500ms".into()),
        ..Flags::default()
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let mut stream = connect(&server).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = ask(&mut stream, GET).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        if said.contains("connection: close") {
            break;
        }
        assert!(Instant::now() < deadline, "the connection stays open");
        // Idle most of the time, as real clients are.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(closed(&mut stream).await, "");
}

/// Sends an HTTP/2 request with this authority, and returns the next frame of its stream.
async fn first_frame(stream: &mut TcpStream, authority: &str) -> (u8, Vec<u8>) {
    let path = b"/ccadmin/v1/collections/rootCategory";
    // GET and http, then two strings, by their indexes in HPACK's static table.
    let mut block = vec![0x82, 0x86];
    for (index, text) in [(4, &path[..]), (1, authority.as_bytes())] {
        block.extend([0x40 | index, u8::try_from(text.len()).unwrap()]);
        block.extend(text);
    }
    let mut sent = [PREFACE, SETTINGS].concat();
    sent.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 0x5, 0, 0, 0, 1]);
    sent.extend(block);
    stream.write_all(&sent).await.unwrap();
    loop {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.unwrap();
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if frame[5..] == [0, 0, 0, 1] {
            return (frame[3], payload);
        }
    }
}

/// A client that disappeared silently does not respond to GOAWAY either.
#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_http_2_client_does_not_make_a_shutdown_fail() {
    let server = Server::new(Sqlite).await;
    let mut stream = TcpStream::connect(address(&server.http)).await.unwrap();
    let (frame, _) = first_frame(&mut stream, "localhost").await;
    assert_eq!(frame, 1, "the head of a response");
    assert!(server.stop().await);
    drop(stream);
}

#[tokio::test]
async fn an_authority_with_several_addresses_is_accepted() {
    let server = Server::start(Engine::Sqlite, Flags::default()).await;
    for authority in [
        "a:1",
        "127.0.0.1:50051,127.0.0.2:50051",
        "127.0.0.1:50051%2C127.0.0.2:50051",
        "%5B::1%5D:50051",
    ] {
        let (kind, payload) = first_frame(&mut connect(&server).await, authority).await;
        // HEADERS with `:status: 200` by its index.
        assert_eq!((kind, payload[0]), (1, 0x88), "{authority}");
    }
    // RST_STREAM with PROTOCOL_ERROR: not a valid authority.
    let (kind, payload) = first_frame(&mut connect(&server).await, "a b").await;
    assert_eq!((kind, payload), (3, vec![0, 0, 0, 1]));
}
