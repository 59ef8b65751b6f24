//! The request headers that the dialect reads.

use http::{HeaderMap, StatusCode};

use super::error::Failure;
use crate::dialect::header;

/// The versions that HighLevel lists as supported. For collections they are all the same.
const VERSIONS: [&str; 4] = ["2021-07-28", "2021-04-15", "2023-02-21", "v3"];

/// Checks the `Version` header: it must be a supported version, and present if `required`.
pub(super) fn check_version(headers: &HeaderMap, required: bool) -> Result<(), Failure> {
    let refuse = |message: &str| Err(Failure::Http(StatusCode::UNAUTHORIZED, message.into()));
    let Ok(version) = header::one_value(headers, "version") else {
        return Err(Failure::Http(
            StatusCode::BAD_REQUEST,
            "version header is given twice".into(),
        ));
    };
    match version {
        None if required => refuse("version header was not found."),
        None => Ok(()),
        Some(version) if VERSIONS.iter().any(|known| version == known) => Ok(()),
        Some(_) => refuse("version header is invalid"),
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn published_versions_are_accepted_and_nothing_else() {
        let (strict, lax) = (true, false);
        for version in VERSIONS {
            assert!(check_version(&with("version", version), strict).is_ok());
        }
        for odd in ["", "2021-07-29", "V3", "v3 "] {
            let refused = check_version(&with("version", odd), lax);
            assert!(
                matches!(refused, Err(Failure::Http(_, why)) if why == "version header is invalid")
            );
        }
        let mut twice = with("version", VERSIONS[0]);
        twice.append("version", HeaderValue::from_static(VERSIONS[0]));
        assert!(check_version(&twice, strict).is_ok());
        twice.append("version", HeaderValue::from_static(VERSIONS[1]));
        let refused = check_version(&twice, strict);
        assert!(matches!(
            refused,
            Err(Failure::Http(StatusCode::BAD_REQUEST, _))
        ));
        assert!(check_version(&HeaderMap::new(), strict).is_err());
        assert!(check_version(&HeaderMap::new(), lax).is_ok());
    }
}
