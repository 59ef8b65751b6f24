//! Keys: long random texts by which programs say who they are.
//!
//! A key is `endcap_<id>_<secret>`: a name that is no secret, then 256 random bits, both
//! in hexadecimal digits, so that it survives every copy and paste and that scanners for
//! leaked secrets can find it. Only its SHA-256 is kept. A slow hash, as passwords need,
//! would gain nothing: nobody guesses 256 random bits, fast or slow.

use std::collections::BTreeSet;

use subtle::ConstantTimeEq as _;

use super::{
    Scope, Tenants, Timestamp,
    digest::{is_hex, random, sha256},
};

/// What all keys start with.
pub const PREFIX: &str = "endcap_";

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// What is known of a key; not the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// The middle part of the key: 16 hexadecimal digits.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// The SHA-256 of the whole key: 64 hexadecimal digits.
    pub hash: String,
    /// Whose data it is valid for.
    pub tenants: Tenants,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// From when on it is valid for nothing.
    pub expire_time: Option<Timestamp>,
}

/// The text of a new key, and its id.
pub fn generate() -> (String, String) {
    let (id, secret) = (random::<ID_BYTES>(), random::<SECRET_BYTES>());
    (format!("{PREFIX}{id}_{secret}"), id)
}

/// The id in a key's text; none where the text can't be a key.
pub fn id(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (is_id(id) && is_hex(secret, SECRET_BYTES)).then_some(id)
}

/// Whether a key can have that id.
pub fn is_id(text: &str) -> bool {
    is_hex(text, ID_BYTES)
}

/// What is kept of a key's text.
pub fn hash(text: &str) -> String {
    sha256(text)
}

impl ApiKey {
    /// Whether it is the key of that text. How long that takes does not tell how much of
    /// the text is right.
    pub fn is(&self, text: &str) -> bool {
        hash(text).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expire_time.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_an_id_and_is_known_by_its_hash() {
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
        // Of "abc", as FIPS 180 has it.
        assert!(hash("abc").starts_with("ba7816bf8f01cfea"));
    }

    #[test]
    fn what_can_be_no_key_has_no_id() {
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
