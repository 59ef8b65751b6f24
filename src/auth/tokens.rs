//! Login tokens: their form and their signature.
//!
//! A token is `endcaptoken.<login>.<secret>.<end>.<nonce>.<signature>`: the id of a login,
//! its secret, the second at which the token expires, random bits, and an HMAC-SHA256 of
//! these four. Secret and signature must both match. Whoever can read the database can sign,
//! but finds only a hash of the login's secret there; whoever has a token can't change when
//! it expires.

use std::time::Duration;

use super::rejection::{Reason, refused};
use crate::{
    config::LoginsConfig,
    domain::{Result, Timestamp, digest::random},
    store::{
        Store,
        secrets::{Secret, SharedSecret},
    },
    watched::{Unusable, Watched},
};

/// The prefix of all login tokens.
pub(super) const PREFIX: &str = "endcaptoken.";

/// The name of the signing secret in the database.
const SECRET_NAME: &str = "logins";
/// The minimum length of the secret in bytes. A shorter one could be guessed.
const SECRET_BYTES: usize = 32;

/// A login token and its lifetime.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token, as clients send it.
    pub text: String,
    /// How long it is valid from now.
    pub lifetime: Duration,
}

impl AccessToken {
    /// A token of a server without authentication, which accepts any token.
    pub(super) fn anonymous(lifetime: Duration) -> Self {
        let text = format!("{PREFIX}{}", random::<16>());
        Self { text, lifetime }
    }
}

/// Signs and verifies login tokens.
#[derive(Debug)]
pub(super) enum Signer {
    /// With the secret in the database, which all processes share.
    Shared(SharedSecret),
    /// With the secret in a file.
    File(Watched<Secret>),
}

/// The signed contents of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims<'a> {
    /// The id of the login.
    pub(super) login: &'a str,
    /// The login's secret.
    pub(super) secret: &'a str,
}

/// Reads the secret's file, if one is configured.
pub(super) fn open(
    config: &LoginsConfig,
    reload_interval: Duration,
) -> Result<Option<Watched<Secret>>, Unusable> {
    let file = config.secret_file.as_ref();
    file.map(|path| Watched::open(vec![path.clone()], reload_interval, parse))
        .transpose()
}

impl Signer {
    pub(super) fn new(
        config: &LoginsConfig,
        reload_interval: Duration,
        store: Store,
    ) -> Result<Self, Unusable> {
        let file = open(config, reload_interval)?;
        Ok(file.map_or_else(
            || Self::Shared(SharedSecret::new(store, SECRET_NAME)),
            Self::File,
        ))
    }

    /// Issues a token that expires at `end`, in seconds since 1970.
    pub(super) async fn issue(&self, claims: &Claims<'_>, end: u64) -> Result<String> {
        let (Claims { login, secret }, nonce) = (claims, random::<8>());
        let message = format!("{login}.{secret}.{end}.{nonce}");
        let signature = match self {
            Self::Shared(shared) => shared.sign(message.as_bytes()).await?,
            Self::File(file) => file.get().sign(message.as_bytes()),
        };
        Ok(format!("{PREFIX}{message}.{signature}"))
    }

    /// Verifies the signature and the expiry of a token, and returns its contents.
    pub(super) async fn read<'a>(&self, text: &'a str, now: Timestamp) -> Result<Claims<'a>> {
        let malformed = || refused(Reason::Malformed, "malformed login token");
        let token = text.strip_prefix(PREFIX).ok_or_else(malformed)?;
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let is_valid = match self {
            Self::Shared(shared) => shared.verify(message.as_bytes(), signature).await?,
            Self::File(file) => file.get().verify(message.as_bytes(), signature),
        };
        if !is_valid {
            return Err(refused(
                Reason::Mismatch,
                "invalid signature on a login token",
            ));
        }
        let parts: Vec<_> = message.split('.').collect();
        let [login, secret, end, _nonce] = parts[..] else {
            return Err(malformed());
        };
        let end: u64 = end.parse().map_err(|_| malformed())?;
        if end <= seconds(now) {
            return Err(refused(Reason::Expired, "expired login token"));
        }
        Ok(Claims { login, secret })
    }
}

fn parse(contents: &[Vec<u8>]) -> Result<Secret, String> {
    let secret = contents.first().map_or(&[][..], |text| text.trim_ascii());
    if secret.len() < SECRET_BYTES {
        let len = secret.len();
        return Err(format!("has {len} bytes; a secret needs {SECRET_BYTES}"));
    }
    Ok(Secret::new(secret, None))
}

/// Whole seconds since 1970.
pub(super) fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.micros() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
    const END: u64 = 1_700_000_300;
    const CLAIMS: Claims<'_> = Claims {
        login: "l1",
        secret: "s1",
    };

    /// A signer with a secret in a file, and the file.
    fn signer(secret: &str) -> (Signer, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), secret).unwrap();
        let paths = vec![file.path().to_owned()];
        let watched = Watched::open(paths, Duration::from_secs(3_600), parse).unwrap();
        (Signer::File(watched), file)
    }

    #[tokio::test]
    async fn a_token_is_valid_until_it_expires_and_for_its_secret_only() {
        let (signer, _file) = signer(SECRET);
        let token = signer.issue(&CLAIMS, END).await.unwrap();
        assert_eq!(signer.read(&token, NOW).await.unwrap(), CLAIMS);
        assert_ne!(signer.issue(&CLAIMS, END).await.unwrap(), token);
        let at = |seconds: i64| Timestamp::from_micros(NOW.micros() + seconds * 1_000_000);
        assert!(signer.read(&token, at(299)).await.is_ok());
        assert!(signer.read(&token, at(300)).await.is_err());
        let (other, _file) = super::tests::signer(&SECRET.to_uppercase());
        assert!(other.read(&token, NOW).await.is_err());
    }

    #[tokio::test]
    async fn a_tampered_token_is_rejected() {
        let (signer, _file) = signer(SECRET);
        let token = signer.issue(&CLAIMS, END).await.unwrap();
        for odd in [
            token.replace(".l1.", ".l2."),
            token.replace(".s1.", ".s2."),
            token.replace(&END.to_string(), &(END + 1).to_string()),
            token[..token.len() - 1].into(),
            token[PREFIX.len()..].into(),
            token.to_uppercase(),
            format!("{PREFIX}..."),
            PREFIX.into(),
            String::new(),
        ] {
            assert!(signer.read(&odd, NOW).await.is_err(), "{odd}");
        }
    }

    #[test]
    fn a_secret_file_has_a_minimum_length_and_its_newline_is_ignored() {
        let sign = |text: &str| parse(&[text.into()]).unwrap().sign(b"x");
        assert_eq!(sign(SECRET), sign(&format!("{SECRET}\n")));
        assert!(parse(&[b"short".to_vec()]).is_err());
        assert!(parse(&[]).is_err());
    }
}
