//! Page tokens: a position, and a signature over it and the request that it continues. They are
//! opaque to clients.
//!
//! A token is `<place>.<signature>`. The signature is verified before anything is decoded, so only
//! positions that a server on this database wrote are ever parsed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::{Result, digest::sha256, page::bad_token},
    store::{Store, secrets::SharedSecret},
};

/// The name of the shared secret that signs tokens.
const SECRET_NAME: &str = "page_tokens";
/// The version of the format of positions. It is signed, so a server only reads its own format.
const VERSION: &str = "3";

/// The maximum length of a position in bytes: see [`super::child_token`], whose positions contain
/// many ids.
pub(super) const MAX_PLACE: usize = 57_999;
/// The maximum length of a token in bytes: a position in base64, a dot and 64 hexadecimal digits.
/// Anything longer is rejected without hashing it.
pub const MAX_TOKEN: usize = MAX_PLACE.div_ceil(3) * 4 + 1 + 64;

/// Issues and reads page tokens. Clones share the cached secret.
#[derive(Clone, Debug)]
pub(super) struct PageTokens(SharedSecret);

impl PageTokens {
    pub(super) fn new(store: Store) -> Self {
        Self(SharedSecret::new(store, SECRET_NAME))
    }

    /// Reads the secret; creates it if there is none.
    pub(super) async fn prepare(&self) -> Result<()> {
        self.0.sign(b"").await.map(drop)
    }

    /// A token for the position, if there is one, valid for requests with the same `scope`.
    ///
    /// This may have to read the secret over a connection of its own, so the caller must not have a
    /// transaction open: holding one connection while waiting for another could deadlock the pool.
    pub(super) async fn issue(&self, scope: &str, place: Option<String>) -> Result<Option<String>> {
        let Some(place) = place else {
            return Ok(None);
        };
        let place = URL_SAFE_NO_PAD.encode(place);
        let signature = self.0.sign(signed(scope, &place).as_bytes()).await?;
        Ok(Some(format!("{place}.{signature}")))
    }

    /// The position in a token that was issued for the same `scope`. No transaction may be open, as
    /// in [`Self::issue`].
    pub(super) async fn read(&self, scope: &str, token: &str) -> Result<String> {
        let (place, signature) = split(token).ok_or_else(bad_token)?;
        let message = signed(scope, place);
        if !self.0.verify(message.as_bytes(), signature).await? {
            return Err(bad_token());
        }
        let place = URL_SAFE_NO_PAD.decode(place).map_err(|_| bad_token())?;
        String::from_utf8(place).map_err(|_| bad_token())
    }
}

/// The position in a token, still encoded, and its signature.
fn split(token: &str) -> Option<(&str, &str)> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    token.rsplit_once('.')
}

/// The signed message. The scope is hashed to a fixed length, so that two pairs of scope and
/// position never give the same message.
fn signed(scope: &str, place: &str) -> String {
    format!("{VERSION}.{}.{place}", sha256(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_over_the_size_limit_is_rejected() {
        let signature = "0".repeat(64);
        let token = |place: usize| {
            let place = URL_SAFE_NO_PAD.encode("x".repeat(place));
            format!("{place}.{signature}")
        };
        let longest = token(MAX_PLACE);
        assert_eq!(longest.len(), MAX_TOKEN);
        assert_eq!(split(&longest).map(|parts| parts.1), Some(&*signature));
        assert_eq!(split(&token(MAX_PLACE + 1)), None);
        assert_eq!(split("no full stop"), None);
    }

    #[test]
    fn the_signed_text_differs_for_each_scope_and_place() {
        let signed: std::collections::BTreeSet<_> = [("a", "b.c"), ("a.b", "c"), ("", "a.b.c")]
            .map(|(scope, place)| signed(scope, place))
            .into();
        assert_eq!(signed.len(), 3);
    }
}
