//! API keys: long random strings with which programs authenticate.
//!
//! A key is `endcap_<id>_<secret>`: a public id and 256 random bits, both in hexadecimal digits, so
//! that it survives copying and that secret scanners can detect it. Only its SHA-256 is stored. A
//! slow password hash is not needed, because 256 random bits cannot be guessed.

use std::collections::BTreeSet;

use subtle::ConstantTimeEq as _;

use super::{
    Scope, Tenants, Timestamp,
    digest::{is_hex, random, sha256},
};

/// The prefix of all keys.
pub const PREFIX: &str = "endcap_";

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// The stored data of a key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The middle part of the key: 16 hexadecimal digits.
    pub id: String,
    /// A label for people.
    pub label: String,
    /// The SHA-256 of the whole key: 64 hexadecimal digits.
    pub hash: String,
    /// The tenants for which it is valid.
    pub tenants: Tenants,
    /// Its permissions.
    pub scopes: BTreeSet<Scope>,
    /// When it expires; `None` for never.
    pub expire_time: Option<Timestamp>,
}

/// Generates a key; returns its text and its id.
pub fn generate() -> (String, String) {
    let (id, secret) = (random::<ID_BYTES>(), random::<SECRET_BYTES>());
    (format!("{PREFIX}{id}_{secret}"), id)
}

/// The id in the text of a key; `None` if the text does not have the form of a key.
pub fn id(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (is_id(id) && is_hex(secret, SECRET_BYTES)).then_some(id)
}

/// Whether the text has the form of a key's id.
pub fn is_id(text: &str) -> bool {
    is_hex(text, ID_BYTES)
}

/// The hash that is stored of a key's text.
pub fn hash(text: &str) -> String {
    sha256(text)
}

impl ApiKey {
    /// Whether this is the key with the given text. The comparison takes constant time, so that its
    /// duration does not reveal how much of the text is right.
    pub fn is(&self, text: &str) -> bool {
        hash(text).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }

    /// Whether the key has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expire_time.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_has_an_id_and_is_verified_by_its_hash() {
        let (text, id) = generate();
        assert_eq!(super::id(&text), Some(id.as_str()));
        assert_ne!(generate().0, text);
        let key = ApiKey {
            id,
            label: String::new(),
            hash: hash(&text),
            tenants: Tenants::All,
            scopes: BTreeSet::new(),
            expire_time: Some(Timestamp::from_micros(5)),
        };
        assert!(key.is(&text));
        assert!(!key.is(&text.replace("endcap_", "endcap-")));
        assert!(!key.is(&generate().0));
        assert!(key.is_expired(Timestamp::from_micros(5)));
        assert!(!key.is_expired(Timestamp::from_micros(4)));
        // The hash of "abc", from FIPS 180.
        assert!(hash("abc").starts_with("ba7816bf8f01cfea"));
    }

    #[test]
    fn a_malformed_api_key_has_no_id() {
        let (text, _) = generate();
        for odd in [
            "",
            "endcap_",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
            &text.to_uppercase(),
            &text.replacen("endcap_", "endcap__", 1),
        ] {
            assert_eq!(id(odd), None, "{odd}");
        }
    }
}
