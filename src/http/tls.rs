//! TLS: the server's certificate, which is reloaded when its files change, and the identities in
//! client certificates.

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

/// The protocols offered by ALPN, in order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Accepts TLS connections with the current certificate. A connection keeps the certificate it
/// began with.
#[derive(Debug)]
pub struct Tls(Watched<ServerConfig>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If a file can't be used, or the key does not belong to the certificate.
    pub fn open(config: &TlsConfig) -> Result<Self, Unusable> {
        let mut paths = vec![config.cert.clone(), config.key.clone()];
        paths.extend(config.client_ca.clone());
        Watched::open(paths, config.reload_interval, parse).map(Self)
    }

    /// Performs the handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.get()).accept(stream).await
    }
}

/// The TLS configuration from the contents of the certificate file, the key file, and optionally
/// the file with the authorities of client certificates.
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
                // Other clients have API keys or tokens. One without any credential is rejected
                // later, in the form of its protocol.
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

/// The identity in the certificate that the client presented.
pub(super) fn client(stream: &TlsStream<TcpStream>) -> Option<ClientCertificate> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(ClientCertificate(name(certificate).into()))
}

/// The first URI in the certificate, or else its first DNS name, or else its SHA-256. The subject
/// is not used, as it may be a person's name, and programs should not be identified by those.
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
