//! The one provider of cryptography of the process.

use tokio_rustls::rustls::crypto::ring;

/// Has the clients of this process do their cryptography with what its server does it with.
pub fn install() {
    // Where it is there already, it is the same.
    drop(ring::default_provider().install_default());
}
