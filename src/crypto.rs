//! The cryptography provider that the whole process uses for TLS.

use tokio_rustls::rustls::crypto::ring;

/// Makes TLS clients in this process use the same provider as the server.
pub fn install() {
    // An error means that one is installed already, and only this one ever is.
    drop(ring::default_provider().install_default());
}
