//! SHA-256 digests, random values, and their hexadecimal form: for API keys, shared secrets, page
//! tokens and the hash of rules.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest, as 64 hexadecimal digits.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes))
}

/// `BYTES` random bytes, as hexadecimal digits.
pub fn random<const BYTES: usize>() -> String {
    hex(&rand::random::<[u8; BYTES]>())
}

/// Whether the text has the form that [`hex`] gives to this number of bytes.
pub fn is_hex(text: &str, bytes: usize) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    // Without a branch per byte, as each request with an API key comes here.
    text.len() == bytes * 2 && text.bytes().fold(true, |all, byte| all & is_digit(byte))
}

/// The bytes as lower-case hexadecimal digits, two per byte.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}
