//! Tokens that stand for a key for a while: what a client of Oracle's gets where it logs in.
//!
//! A token is `endcaptoken.<key>.<end>.<nonce>.<signature>`: the id of a key, the second at
//! which it is good for nothing any more, random bits, and an HMAC-SHA256 of these three.
//! Nothing is kept of it, so any process that has the secret can check it.

use std::time::Duration;

use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::refused;
use crate::{
    config::TokensConfig,
    domain::{
        Result, Timestamp,
        digest::{hex, random},
    },
    watched::{Unusable, Watched},
};

/// What all tokens start with.
pub(super) const PREFIX: &str = "endcaptoken.";

/// A shorter secret could be guessed.
const SECRET_BYTES: usize = 32;
/// Tokens that are remembered at most to have been ended before their time.
const ENDED: u64 = 100_000;

/// A token, and for how long it is good.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub text: String,
    /// How long.
    pub lifetime: Duration,
}

/// Makes tokens and checks them.
#[derive(Debug)]
pub(super) struct Tokens {
    secret: Secret,
    lifetime: Duration,
    /// The nonces of those that were ended before their time, in this process.
    ended: moka::sync::Cache<String, ()>,
}

#[derive(Debug)]
enum Secret {
    /// Of this process alone.
    Own(hmac::Key),
    /// Shared with others.
    File(Watched<hmac::Key>),
}

/// What a token says.
struct Claims<'a> {
    key: &'a str,
    nonce: &'a str,
}

impl Tokens {
    pub(super) fn new(config: &TokensConfig, reload_interval: Duration) -> Result<Self, Unusable> {
        let secret = match &config.secret_file {
            Some(path) => Secret::File(Watched::open(vec![path.clone()], reload_interval, parse)?),
            None => Secret::Own(key(&rand::random::<[u8; SECRET_BYTES]>())),
        };
        Ok(Self {
            secret,
            lifetime: config.lifetime,
            ended: moka::sync::Cache::builder()
                .max_capacity(ENDED)
                // The newest are never the ones to be forgotten.
                .eviction_policy(moka::policy::EvictionPolicy::lru())
                .time_to_live(config.lifetime)
                .build(),
        })
    }

    /// A new token for a key.
    pub(super) fn issue(&self, key: &str, now: Timestamp) -> AccessToken {
        let end = seconds(now).saturating_add(self.lifetime.as_secs());
        let nonce = random::<16>();
        let claims = format!("{key}.{end}.{nonce}");
        let signature = hex(self.sign(&claims).as_ref());
        AccessToken {
            text: format!("{PREFIX}{claims}.{signature}"),
            lifetime: self.lifetime,
        }
    }

    /// The id of the key that the token stands for.
    pub(super) fn read<'a>(&self, text: &'a str, now: Timestamp) -> Result<&'a str> {
        Ok(self.check(text, now)?.key)
    }

    /// Ends a token before its time; what is none is not minded.
    pub(super) fn end(&self, text: &str, now: Timestamp) {
        if let Ok(claims) = self.check(text, now) {
            self.ended.insert(claims.nonce.to_owned(), ());
        }
    }

    fn check<'a>(&self, text: &'a str, now: Timestamp) -> Result<Claims<'a>> {
        let token = text.strip_prefix(PREFIX).unwrap_or_default();
        let malformed = || refused("a login's token that is malformed");
        let (claims, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let right = hex(self.sign(claims).as_ref());
        if !bool::from(right.as_bytes().ct_eq(signature.as_bytes())) {
            return Err(refused("a login's token with another signature"));
        }
        let mut parts = claims.split('.');
        let (Some(key), Some(end), Some(nonce)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let end: u64 = end.parse().map_err(|_| malformed())?;
        if end <= seconds(now) {
            return Err(refused("a login's token that is expired"));
        }
        if self.ended.contains_key(nonce) {
            return Err(refused("a login's token that was ended"));
        }
        Ok(Claims { key, nonce })
    }

    fn sign(&self, claims: &str) -> hmac::Tag {
        match &self.secret {
            Secret::Own(key) => hmac::sign(key, claims.as_bytes()),
            Secret::File(file) => hmac::sign(&file.get(), claims.as_bytes()),
        }
    }
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

fn parse(contents: &[Vec<u8>]) -> Result<hmac::Key, String> {
    let secret = contents.first().map_or(&[][..], |text| text.trim_ascii());
    if secret.len() < SECRET_BYTES {
        let len = secret.len();
        return Err(format!("has {len} bytes; a secret needs {SECRET_BYTES}"));
    }
    Ok(key(secret))
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.micros() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        let config = TokensConfig {
            lifetime: Duration::from_secs(300),
            secret_file: None,
        };
        Tokens::new(&config, Duration::from_secs(1)).unwrap()
    }

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_token_is_good_until_its_end_and_where_it_was_made() {
        let tokens = tokens();
        let token = tokens.issue("k1", NOW).text;
        assert_eq!(tokens.read(&token, NOW).unwrap(), "k1");
        assert_ne!(tokens.issue("k1", NOW).text, token);
        let at = |seconds: i64| Timestamp::from_micros(NOW.micros() + seconds * 1_000_000);
        assert!(tokens.read(&token, at(299)).is_ok());
        assert!(tokens.read(&token, at(300)).is_err());
        assert!(super::tests::tokens().read(&token, NOW).is_err());
    }

    #[test]
    fn a_token_that_was_changed_or_ended_is_refused() {
        let tokens = tokens();
        let token = tokens.issue("k1", NOW).text;
        for odd in [
            token.replace("k1", "k2"),
            token.replace(PREFIX, "endcaptoken."),
            token[..token.len() - 1].into(),
            token.to_uppercase(),
            format!("{PREFIX}..."),
            PREFIX.into(),
            String::new(),
        ] {
            assert_eq!(tokens.read(&odd, NOW).is_ok(), odd == token, "{odd}");
        }
        let other = tokens.issue("k1", NOW).text;
        tokens.end(&token, NOW);
        tokens.end("no token", NOW);
        assert!(tokens.read(&token, NOW).is_err());
        assert!(tokens.read(&other, NOW).is_ok());
    }

    #[test]
    fn a_shared_secret_is_long_and_a_line_break_is_no_part_of_it() {
        let text = "0123456789abcdef0123456789abcdef";
        let sign = |text: &str| {
            let key = parse(&[text.into()]).unwrap();
            hex(hmac::sign(&key, b"x").as_ref())
        };
        assert_eq!(sign(text), sign(&format!("{text}\n")));
        assert!(parse(&[b"short".to_vec()]).is_err());
        assert!(parse(&[]).is_err());
    }
}
