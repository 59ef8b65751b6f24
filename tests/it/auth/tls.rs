//! TLS on both ports, client certificates, and certificate rotation.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use endcap::config::Flags;
use endcap::store::Engine::{self, Postgres, Sqlite};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::new_key;
use crate::{
    commands::run,
    harness::{Server, http_client},
};

/// A certificate authority, and the files that it creates.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The certificate and key files of a client or server.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Writes a certificate for these names and its key, replacing existing files.
    pub(crate) fn issue(&self, folder: &Path, name: &str, names: Vec<SanType>) -> Holder {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        // Differs from the authority's name: OpenSSL would consider the certificate self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let holder = Holder {
            cert: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&holder.key, key.serialize_pem()).unwrap();
        std::fs::write(&holder.cert, cert.pem()).unwrap();
        holder
    }

    pub(crate) fn issue_server(&self, folder: &Path) -> Holder {
        let here = SanType::IpAddress("127.0.0.1".parse().unwrap());
        self.issue(folder, "server", vec![here])
    }

    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, &self.pem).unwrap();
        path
    }

    /// A REST client that trusts only this authority, with or without a certificate.
    fn client(&self, holder: Option<&Holder>) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let mut client = http_client().tls_certs_only([root]);
        if let Some(holder) = holder {
            let mut pem = std::fs::read(&holder.cert).unwrap();
            pem.extend(std::fs::read(&holder.key).unwrap());
            client = client.identity(reqwest::Identity::from_pem(&pem).unwrap());
        }
        client.build().unwrap()
    }
}

/// Performs the TLS handshake, and sends nothing else.
async fn shake_hands(server: &Server, authority: &Authority) -> TlsStream<TcpStream> {
    let pem = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pem).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, connect(server).await)
        .await
        .unwrap()
}

async fn connect(server: &Server) -> TcpStream {
    let address = server.http.strip_prefix("https://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// The files of a server that accepts API keys and client certificates.
fn set_up() -> (TempDir, Authority, Flags) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = authority.issue_server(folder.path());
    let ca = authority.write(folder.path(), "ca.crt");
    let flag = |path: &Path| Some(path.display().to_string());
    let flags = Flags {
        auth: Some("keys,certificates".into()),
        tls_cert: flag(&server.cert),
        tls_key: flag(&server.key),
        tls_client_ca: flag(&ca),
        certificate_tenants: Some("shop".into()),
        certificate_scopes: Some("collections.read,collections.write".into()),
        reload_interval: Some("1ms".into()),
        ..Flags::default()
    };
    (folder, authority, flags)
}

/// Runs grpcurl; returns whether it succeeded, and its entire output.
fn grpcurl(server: &Server, options: &[&str], method: &str) -> (bool, String) {
    let data = json!({"collectionId": "rootCategory"}).to_string();
    let output = Command::new("grpcurl")
        .args(options)
        .args(["-d", &data])
        .arg(server.grpc.strip_prefix("https://").unwrap())
        .arg(method)
        .output()
        .unwrap_or_else(|error| panic!("grpcurl: {error}; run the tests through scripts/test"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

const GET: &str = "endcap.v1.CollectionService/GetCollection";

/// As of load balancers that only check whether the port is open.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_tls_handshake_does_not_delay_a_shutdown() {
    let (_folder, _, mut flags) = set_up();
    flags.header_timeout = Some("5m".into());
    let server = Server::start(Sqlite, flags).await;
    let _silent = connect(&server).await;
    assert!(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_url_lacks_tls_says_so() {
    let (folder, _, flags) = set_up();
    let server = Server::start(Sqlite, flags).await;
    let url = server.grpc.replace("https:", "http:");
    let file = folder.path().join("ids").display().to_string();
    let export = ["export", "children", "--collection", "a", "--server", &url];
    let (status, _, error) = run(&[&export[..], &[&file]].concat());
    assert_eq!(status, Some(1));
    assert!(error.contains("ended without a response"), "{error}");
    assert!(error.contains("its URL begins with https://"), "{error}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_whose_name_is_no_subject_is_refused(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (folder, authority, flags) = set_up();
    let named = |uri: &str| {
        let uri = SanType::URI(uri.try_into().unwrap());
        let holder = authority.issue(folder.path(), "client", vec![uri]);
        authority.client(Some(&holder))
    };
    let fine = named("spiffe://example/importer");
    let odd = [
        format!("spiffe://example/{}", "x".repeat(300)),
        "spiffe://example/\n".into(),
    ]
    .map(|uri| named(&uri));
    let server = Server::start(engine, flags).await;
    let url = format!("{}/ccadmin/v1/collections/rootCategory", server.http);
    assert_eq!(fine.get(&url).send().await.unwrap().status(), 200);
    for client in &odd {
        assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_calls_with_a_key_or_a_certificate(#[values(Sqlite, Postgres)] engine: Engine) {
    let (folder, authority, flags) = set_up();
    let uri = SanType::URI("spiffe://example/importer".try_into().unwrap());
    let client = authority.issue(folder.path(), "client", vec![uri]);
    let stranger = Authority::new().issue(folder.path(), "stranger", Vec::new());
    let ca = folder.path().join("ca.crt");
    let ca = ["-cacert", ca.to_str().unwrap()];
    let server = Server::start(engine, flags).await;
    let with = |holder: &Holder| {
        let (cert, key) = (holder.cert.to_str().unwrap(), holder.key.to_str().unwrap());
        let options = [ca[0], ca[1], "-cert", cert, "-key", key];
        options.map(str::to_owned)
    };
    let call = |options: &[String]| {
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        grpcurl(&server, &options, GET)
    };

    let (done, told) = call(&with(&client));
    assert!(done && told.contains("\"tenantId\": \"shop\""), "{told}");

    let plain = ca.map(str::to_owned);
    let (done, told) = call(&plain);
    assert!(!done && told.contains("Unauthenticated"), "{told}");
    let key = new_key(&server, "books", &["collections.read"], &[]);
    let header = ["-H".to_owned(), format!("authorization: Bearer {key}")];
    let (done, told) = call(&[&plain[..], &header].concat());
    assert!(done && told.contains("\"tenantId\": \"books\""), "{told}");
    // If an API key is sent, it takes precedence over the certificate.
    let (done, told) = call(&[&with(&client)[..], &header].concat());
    assert!(done && told.contains("\"tenantId\": \"books\""), "{told}");
    let bad = ["-H".to_owned(), "authorization: Bearer x".to_owned()];
    let (done, told) = call(&[&with(&client)[..], &bad].concat());
    assert!(!done && told.contains("Unauthenticated"), "{told}");

    let (done, told) = call(&with(&stranger));
    assert!(!done && !told.contains("tenantId"), "{told}");
    let (done, told) = grpcurl(&server, &["-plaintext", "-connect-timeout", "3"], GET);
    assert!(!done && !told.contains("tenantId"), "{told}");
    let (done, told) = grpcurl(&server, &["-connect-timeout", "3"], GET);
    assert!(!done && told.contains("certificate"), "{told}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn rest_and_the_command_line_client_support_tls(#[values(Sqlite, Postgres)] engine: Engine) {
    let (folder, authority, flags) = set_up();
    let dns = SanType::DnsName("importer.example".try_into().unwrap());
    let holder = authority.issue(folder.path(), "client", vec![dns]);
    let ca = folder.path().join("ca.crt");
    let server = Server::start(engine, flags).await;
    for url in [&server.http, &server.grpc] {
        let url = format!("{url}/ccadmin/v1/collections/rootCategory");
        for (client, status) in [
            (authority.client(Some(&holder)), 200),
            (authority.client(None), 401),
        ] {
            let response = client.get(&url).send().await.unwrap();
            assert_eq!(response.status(), status);
        }
        let stranger = Authority::new().client(None);
        assert!(stranger.get(&url).send().await.unwrap_err().is_connect());
    }
    let key = new_key(&server, "shop", &["collections.read"], &[]);
    let output = Command::new(env!("CARGO_BIN_EXE_endcap"))
        .env_clear()
        .env("ENDCAP_KEY", key)
        .args(["export", "children", "--collection", "rootCategory"])
        .args(["--server", &server.grpc, "--ca", ca.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(server.stop().await, "requests or connections did not end");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_served_without_a_restart(
    #[values(Sqlite, Postgres)] engine: Engine,
) {
    let (folder, first, flags) = set_up();
    let server = Server::start(engine, flags).await;
    let url = format!("{}/ccadmin/v1/collections/rootCategory", server.http);
    let reaches = async |authority: &Authority| {
        let response = authority.client(None).get(&url).send().await;
        response.is_ok()
    };
    assert!(reaches(&first).await);
    let second = Authority::new();
    second.issue_server(folder.path());
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reaches(&second).await {
        assert!(
            Instant::now() < deadline,
            "the new certificate is not served"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!reaches(&first).await);
    // A key that does not belong to the certificate changes nothing.
    let key = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(folder.path().join("server.key"), key).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(reaches(&second).await);
    // Restores the files for the server on the next database.
    first.issue_server(folder.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_timeout_also_covers_the_tls_handshake() {
    let (_folder, authority, flags) = set_up();
    let flags = Flags {
        header_timeout: Some("1s".into()),
        ..flags
    };
    let server = Server::start(Engine::Sqlite, flags).await;
    let before = server.refused("header_timeout").await;
    let mut silent = connect(&server).await;
    let mut half_way = connect(&server).await;
    // The beginning of a ClientHello.
    half_way.write_all(&[0x16, 3, 1, 2]).await.unwrap();
    let mut shaken = shake_hands(&server, &authority).await;
    let mut half_head = shake_hands(&server, &authority).await;
    half_head.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let ended = async {
        // An error also ends the connection.
        drop(silent.read(&mut [0]).await);
        drop(half_way.read(&mut [0]).await);
        drop(shaken.read(&mut [0]).await);
        drop(half_head.read(&mut [0]).await);
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    ended.expect("the connections are not closed");
    assert!(server.refused("header_timeout").await >= before + 4);
}
