//! Parsing and checks of certificates and private keys in PEM.

use jiff::Timestamp;
use tokio_rustls::rustls::{
    Error as TlsError, InconsistentKeys,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{Error as PemError, PemObject as _},
    },
    sign::CertifiedKey,
};
use webpki::{EndEntityCert, Error, KeyUsage};

/// Parses the certificates in a file; there must be at least one.
///
/// # Errors
/// With what is wrong.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("no certificate found".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses the private key in a file.
///
/// # Errors
/// With what is wrong.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let found = PrivateKeyDer::from_pem_slice(pem);
    if let Err(PemError::NoItemsFound) = found {
        return Err("no private key found".into());
    }
    found.map_err(|error| error.to_string())
}

/// Checks that the private key belongs to the first certificate.
///
/// # Errors
/// With what is wrong.
pub fn check_pair(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(), String> {
    match CertifiedKey::from_der(certificates, key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("is not the private key of the certificate".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Checks that the certificate is valid now.
///
/// # Errors
/// With when it expired, or when it becomes valid.
pub fn check_time(certificate: &CertificateDer<'_>) -> Result<(), String> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    let usage = KeyUsage::server_auth();
    let now = UnixTime::now();
    // Validity is checked first. Other errors are expected, as no authority is trusted here, and
    // are reported by whoever verifies the certificate.
    match certificate.verify_for_usage(&[], &[], &[], now, usage, None, None) {
        Err(Error::CertExpired { not_after, .. }) => Err(format!("expired at {}", utc(not_after))),
        Err(Error::CertNotValidYet { not_before, .. }) => {
            Err(format!("is not valid before {}", utc(not_before)))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn utc(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, to: i32) -> (Vec<CertificateDer<'static>>, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let parsed = certificates(pem.as_bytes()).unwrap();
        (parsed, key.serialize_pem())
    }

    #[test]
    fn a_certificate_is_checked_for_its_validity_period_and_key() {
        let (valid, key) = certificate(2000, 3000);
        let (expired, other) = certificate(2000, 2001);
        let (early, _) = certificate(3000, 3001);
        assert_eq!(check_time(&valid[0]), Ok(()));
        let told = "expired at 2001-01-01T00:00:00Z".to_owned();
        assert_eq!(check_time(&expired[0]), Err(told));
        let told = "is not valid before 3000-01-01T00:00:00Z".to_owned();
        assert_eq!(check_time(&early[0]), Err(told));
        assert!(check_time(&CertificateDer::from_slice(b"x")).is_err());

        let pair = |key: &str| check_pair(valid.clone(), private_key(key.as_bytes()).unwrap());
        assert_eq!(pair(&key), Ok(()));
        assert!(pair(&other).unwrap_err().contains("is not the private key"));
        assert!(private_key(b"x").is_err() && certificates(b"x").is_err());
    }
}
