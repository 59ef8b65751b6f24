//! Page tokens: a version, a hash of the request that they go on with, and a place.
//! Clients pass them back and never look inside.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::domain::{Result, digest::sha256, page::bad_token};

const VERSION: &str = "1";

/// A token for the place, good for requests with the same `scope`.
pub(super) fn encode(scope: &str, place: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}.{}.{place}", hash(scope)))
}

/// The place in a token that was made for the same `scope`.
pub(super) fn decode(scope: &str, token: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad_token())?;
    let text = String::from_utf8(bytes).map_err(|_| bad_token())?;
    let mut parts = text.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(VERSION), Some(hashed), Some(place)) if hashed == hash(scope) => Ok(place.into()),
        _ => Err(bad_token()),
    }
}

fn hash(scope: &str) -> String {
    let mut digest = sha256(scope);
    digest.truncate(12);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_the_request_it_was_made_for() {
        let token = encode("tenant a, filter x", "12.some.id");
        assert_eq!(decode("tenant a, filter x", &token).unwrap(), "12.some.id");
        assert!(decode("tenant b, filter x", &token).is_err());
        assert!(decode("tenant a, filter x", "not a token").is_err());
        assert!(decode("tenant a, filter x", "").is_err());
    }
}
