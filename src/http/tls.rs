//! TLS: the server's certificate, read again when its files change, and the names in
//! clients' certificates.

use std::{io, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig, crypto::ring, pki_types::CertificateDer,
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use x509_parser::parse_x509_certificate;

use crate::{
    auth::ClientCertificate,
    config::TlsConfig,
    domain::digest::sha256,
    pem::{certificates, private_key},
    telemetry::metrics,
    watched::{Unusable, Watched},
};

/// What a connection may speak, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Speaks TLS with the certificate that stands in the files now. A connection keeps what
/// it began with.
#[derive(Debug)]
pub struct Tls(Watched<ServerConfig>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one can't be used, or the key is not the certificate's.
    pub fn open(config: &TlsConfig) -> Result<Self, Unusable> {
        let mut paths = vec![config.cert.clone(), config.key.clone()];
        paths.extend(config.client_ca.clone());
        Watched::open(paths, config.reload_interval, parse).map(Self)
    }

    /// The handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.get()).accept(stream).await
    }
}

/// From a certificate, its key, and the clients' authorities where they are asked for.
fn parse(contents: &[Vec<u8>]) -> Result<ServerConfig, String> {
    let [cert, key, ca @ ..] = contents else {
        return Err("two files at least".into());
    };
    let key = private_key(key).map_err(|why| format!("the key: {why}"))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match ca {
        [] => builder.with_no_client_auth(),
        [ca, ..] => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(ca)? {
                roots.add(authority).map_err(|error| error.to_string())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                // Other callers have keys or tokens; who has nothing is refused later,
                // in the words of the protocol.
                .allow_unauthenticated()
                .build()
                .map_err(|error| error.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(cert)?;
    let own = chain
        .first()
        .and_then(|own| parse_x509_certificate(own).ok());
    if let Some((_, own)) = own {
        metrics::certificate_expiry(own.validity().not_after.timestamp());
    }
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

/// The name in the certificate that the client has shown.
pub(super) fn client(stream: &TlsStream<TcpStream>) -> Option<ClientCertificate> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(ClientCertificate(name(certificate).into()))
}

/// The first URI, else the first DNS name that the certificate is for, else its SHA-256.
/// Not its subject: names of people have no place in programs' certificates.
fn name(certificate: &CertificateDer<'_>) -> String {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok();
    let named = parsed.as_ref().and_then(|parsed| {
        let mut uris = parsed.valid_uri_names();
        uris.next().or_else(|| parsed.valid_dns_names().next())
    });
    named.map_or_else(|| fingerprint(certificate), str::to_owned)
}

fn fingerprint(certificate: &[u8]) -> String {
    format!("sha256:{}", sha256(certificate))
}
