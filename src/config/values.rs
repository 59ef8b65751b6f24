//! The types of settings' values: each is parsed from text, and displayed as text that parses to
//! the same value.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    ops::Deref,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use tracing_subscriber::EnvFilter;

use super::kind::{Kind, Value, must_be};
use crate::{
    domain::{Locale, Rate, TenantId, sort::is_currency},
    store::{DatabaseTls, Pooler},
    telemetry::{LogFormat, OtlpHeaders, OtlpProtocol, Ratio, ResourceAttributes, TracesSampler},
};

/// A positive number.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub(super) usize);

/// A size in bytes, from 1 KiB to 1 GiB, such as `16MiB`.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub(super) usize);

/// The size of a cache in bytes; 0 disables the cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheSize(pub(super) usize);

/// The maximum size of a request head in bytes, within what hyper supports.
#[derive(Clone, Copy, Debug)]
pub struct HeaderSize(pub(super) usize);

/// An address to listen on, with a port; `localhost:8080`, or `:8080` for all addresses.
#[derive(Clone, Copy, Debug)]
pub struct Address(pub SocketAddr);

/// A rate, such as `100/10s`.
#[derive(Clone, Copy, Debug)]
pub struct RateText(pub(super) Rate);

/// An IP address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug)]
pub struct Network(pub(super) IpNet);

/// A duration from 1 ms to 1 hour, such as `30s` or `500ms`.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub(super) Duration);

/// A duration of up to 1 hour, which may be zero (`0s`).
#[derive(Clone, Copy, Debug)]
pub struct Pause(pub(super) Duration);

/// A duration from 1 second to 30 days, such as `12h`.
#[derive(Clone, Copy, Debug)]
pub struct LongTime(pub(super) Duration);

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub struct Switch(pub(super) bool);

/// An optional value; an empty text means unset.
#[derive(Clone, Debug)]
pub struct Opt<T>(pub(super) Option<T>);

/// A list of values, separated by commas.
#[derive(Clone, Debug)]
pub struct CommaList<T>(pub(super) Vec<T>);

/// The connection pooler in front of PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub struct PoolerName(pub(super) Pooler);

/// A log filter: directives, each a level, or a target and a level.
#[derive(Clone, Debug)]
pub struct LogFilter(pub(super) String);

/// The URL of an OpenTelemetry collector.
#[derive(Clone, Debug)]
pub struct CollectorUrl(pub(super) String);

/// The id of a tenant.
#[derive(Clone, Debug)]
pub struct TenantName(pub(super) TenantId);

/// A locale.
#[derive(Clone, Debug)]
pub struct LocaleName(pub(super) Locale);

/// An ISO 4217 currency code.
#[derive(Clone, Debug)]
pub struct CurrencyCode(pub(super) String);

/// The path of a directory.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A secret, which is hidden when displayed.
#[derive(Clone)]
pub struct SecretText(pub(super) String);

/// An authentication method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Authentication is disabled: every caller is authorized for everything.
    None,
    /// API keys.
    Keys,
    /// JWTs of an issuer.
    Jwt,
    /// Client certificates.
    Certificates,
}

/// A signature algorithm of JWTs. Those with a shared secret (HMAC) are not supported, because the
/// server could issue tokens with it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningAlgorithm(pub jsonwebtoken::Algorithm);

/// The path of a file.
#[derive(Clone, Debug)]
pub struct FileName(pub(super) PathBuf);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u32>() {
            Ok(count) if count > 0 => Ok(Self(count as usize)),
            _ => Err(must_be::<Self>()),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.parse::<bytesize::ByteSize>().ok();
        let size = size.and_then(|size| usize::try_from(size.as_u64()).ok());
        let fits = |size: &usize| (1_024..=1 << 30).contains(size);
        let size = size.filter(fits);
        size.map(Self).ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Exact: in bytes, unless the size is a multiple of a larger unit.
        let size = self.0;
        if size.is_multiple_of(1 << 20) {
            write!(f, "{}MiB", size >> 20)
        } else if size.is_multiple_of(1 << 10) {
            write!(f, "{}KiB", size >> 10)
        } else {
            write!(f, "{size}B")
        }
    }
}

impl FromStr for HeaderSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.parse().ok().map(|Size(size)| size);
        size.filter(|size| (8_192..=1 << 20).contains(size))
            .map(Self)
            .ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for HeaderSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Size(self.0).fmt(f)
    }
}

impl FromStr for CacheSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self(0));
        }
        let size = text.parse().ok().map(|Size(size)| size);
        size.map(Self).ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for CacheSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            size => Size(size).fmt(f),
        }
    }
}

impl FromStr for PoolerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(Pooler::None)),
            "transaction" => Ok(Self(Pooler::Transaction)),
            _ => Err(must_be::<Self>()),
        }
    }
}

impl fmt::Display for PoolerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Pooler::None => "none",
            Pooler::Transaction => "transaction",
        })
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        // `EnvFilter` reads a bare name as a target, which would silence everything else. So a typo
        // for a level, such as `verbose`, must be rejected.
        let is_level = |text: &str| LEVELS.contains(&text.to_lowercase().as_str());
        let is_good = |directive: &str| match directive.rsplit_once('=') {
            Some((target, level)) => !target.trim().is_empty() && is_level(level.trim()),
            None => is_level(directive),
        };
        let directives: Vec<_> = text.split(',').map(str::trim).collect();
        let filter = directives.join(",");
        let is_filter = directives.into_iter().all(is_good) && EnvFilter::try_new(&filter).is_ok();
        is_filter
            .then_some(Self(filter))
            .ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = match text.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}"),
            None => text.to_owned(),
        };
        let mut found = whole.to_socket_addrs().ok();
        // If a name has several addresses, the first of IPv4: most clients use that for
        // `localhost`.
        let all: Vec<_> = found.iter_mut().flatten().collect();
        let address = all.iter().find(|it| it.is_ipv4()).or(all.first());
        address
            .map(|address| Self(*address))
            .ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RateText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = text.split_once('/').and_then(|(count, interval)| {
            // The number of a time unit may be omitted: `10/s` means `10/1s`.
            let interval = interval.trim();
            let one = |text: &str| format!("1{text}");
            let is_unit = !interval.starts_with(|c: char| c.is_ascii_digit());
            let interval = if is_unit {
                one(interval)
            } else {
                interval.to_owned()
            };
            let Time(interval) = interval.parse().ok()?;
            let count = count.trim().parse().ok()?;
            Some(Rate { count, interval })
        });
        rate.map(Self).ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for RateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.count, Time(self.0.interval))
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        address
            .or_else(|_| text.parse())
            .map(Self)
            .map_err(|_| must_be::<Self>())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text).ok();
        time.filter(|time| (Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(time))
            .map(Self)
            .ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_duration(text).ok();
        time.filter(|time| *time <= Duration::from_secs(3_600))
            .map(Self)
            .ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Time(self.0).fmt(f)
    }
}

impl FromStr for LongTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
        let time = humantime::parse_duration(text).ok();
        time.filter(|time| (Duration::from_secs(1)..=MONTH).contains(time))
            .map(Self)
            .ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for LongTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Time(self.0).fmt(f)
    }
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| must_be::<Self>())
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Deref for Switch {
    type Target = bool;

    fn deref(&self) -> &bool {
        &self.0
    }
}

impl<T: FromStr> FromStr for Opt<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.is_empty() {
            Ok(Self(None))
        } else {
            text.parse().map(Some).map(Self)
        }
    }
}

impl<T: fmt::Display> fmt::Display for Opt<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |value| value.fmt(f))
    }
}

impl<T: FromStr> FromStr for CommaList<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: fmt::Display> fmt::Display for CommaList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}

impl FromStr for CollectorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = reqwest::Url::parse(text).ok();
        let is_web = |url: &reqwest::Url| {
            ["http", "https"].contains(&url.scheme())
                && url.username().is_empty()
                && url.password().is_none()
        };
        url.filter(is_web)
            .map(|_| Self(text.into()))
            .ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tenant = TenantId::parse("", text);
        tenant
            .map(Self)
            .map_err(|violation| violation.constraint.to_string())
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LocaleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let locale = Locale::parse(text).map_err(|constraint| constraint.to_string())?;
        Ok(Self(locale))
    }
}

impl fmt::Display for LocaleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CurrencyCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_currency(text) {
            Ok(Self(text.into()))
        } else {
            Err(must_be::<Self>())
        }
    }
}

impl fmt::Display for CurrencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Folder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err(must_be::<Self>())
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Deref for Folder {
    type Target = PathBuf;

    fn deref(&self) -> &PathBuf {
        &self.0
    }
}

impl FromStr for SecretText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The same rule as for a secret in a file, except for a trailing line break, which here is
        // most likely a mistake in pasting.
        if text.contains(char::is_control) {
            return Err(must_be::<Self>());
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DatabaseTls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mode = Self::ALL.into_iter().find(|mode| mode.name() == text);
        mode.ok_or_else(must_be::<Self>)
    }
}

impl fmt::Display for DatabaseTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "keys" => Ok(Self::Keys),
            "jwt" => Ok(Self::Jwt),
            "certificates" => Ok(Self::Certificates),
            _ => Err(must_be::<Self>()),
        }
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Keys => "keys",
            Self::Jwt => "jwt",
            Self::Certificates => "certificates",
        })
    }
}

impl FromStr for SigningAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Algorithm>() {
            Ok(algorithm) if algorithm.family() != AlgorithmFamily::Hmac => Ok(Self(algorithm)),
            _ => Err(must_be::<Self>()),
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants have the names of RFC 7518.
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for FileName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Implements [`Value`] for types: their placeholder in `--help`, and how they are written.
macro_rules! kinds {
    ($($type:ty = $name:literal, $kind:expr;)+) => {
        $(impl Value for $type {
            const KIND: Kind = $kind;
            const NAME: &'static str = $name;
        })+
    };
}

kinds! {
    Address = "ADDRESS", Kind::Text("an address and a port, such as 127.0.0.1:8080, localhost:8080 or :8080");
    Auth = "METHOD", Kind::Choice(&["none", "keys", "jwt", "certificates"]);
    CollectorUrl = "URL", Kind::Text("an http or https URL without credentials, such as http://collector:4317");
    Count = "COUNT", Kind::Integer { min: 1, max: u32::MAX as u64 };
    CurrencyCode = "CURRENCY", Kind::Text("three capitals of ISO 4217 such as EUR");
    DatabaseTls = "MODE", Kind::Choice(&DatabaseTls::NAMES);
    FileName = "FILE", Kind::Text("a path");
    Folder = "DIRECTORY", Kind::Text("a path");
    CacheSize = "SIZE", Kind::Size("0, or a size from 1KiB to 1GiB, such as 64MiB");
    HeaderSize = "SIZE", Kind::Size("a size from 8KiB to 1MiB, such as 32KiB");
    LocaleName = "LOCALE", Kind::Text("a BCP 47 locale such as en or pt-BR");
    LogFilter = "FILTER", Kind::Text(
        "a level (off, error, warn, info, debug or trace), or directives such as info,endcap=debug"
    );
    LogFormat = "FORMAT", Kind::Choice(&["auto", "pretty", "json"]);
    LongTime = "TIME", Kind::Text("a duration from 1s to 30d, such as 12h");
    Network = "NETWORK", Kind::Text("an IP address or a network such as 10.0.0.0/8");
    Pause = "TIME", Kind::Text("a duration from 0s to 1h, such as 5s");
    OtlpProtocol = "PROTOCOL", Kind::Choice(OtlpProtocol::NAMES);
    PoolerName = "MODE", Kind::Choice(&["none", "transaction"]);
    Ratio = "RATIO", Kind::Text("a number from 0 to 1, such as 0.01");
    ResourceAttributes = "ATTRIBUTES", Kind::Text("names and values, such as name=value,other=value");
    RateText = "RATE", Kind::Text("a number and a time, such as 100/10s or 10/s");
    SigningAlgorithm = "ALGORITHM", Kind::Choice(&[
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ]);
    Size = "SIZE", Kind::Size("a size from 1KiB to 1GiB, such as 16MiB");
    String = "TEXT", Kind::Text("a string");
    Switch = "BOOLEAN", Kind::Boolean;
    TenantName = "TENANT", Kind::Text("a tenant id: ASCII letters, digits and - _ . ~ : @ + /");
    TracesSampler = "SAMPLER", Kind::Choice(TracesSampler::NAMES);
    Time = "TIME", Kind::Text("a duration from 1ms to 1h, such as 30s or 500ms");
}

impl Value for OtlpHeaders {
    const KIND: Kind = Kind::Text("headers, such as name=value,other=value");
    const NAME: &'static str = "HEADERS";
    const SECRET: bool = true;
}

impl Value for SecretText {
    const KIND: Kind = Kind::Text("one line, without control characters");
    const NAME: &'static str = "SECRET";
    const SECRET: bool = true;
}

impl<T: Value> Value for Opt<T> {
    const KIND: Kind = Kind::Optional(&T::KIND);
    const NAME: &'static str = T::NAME;
    const SECRET: bool = T::SECRET;
}

impl<T: Value> Value for CommaList<T> {
    const KIND: Kind = Kind::List(&T::KIND);
    const NAME: &'static str = T::NAME;
    const SECRET: bool = T::SECRET;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_host_name_or_no_host() {
        let read = |text: &str| text.parse::<Address>().map(|it| it.to_string());
        assert_eq!(read("127.0.0.1:80").unwrap(), "127.0.0.1:80");
        assert_eq!(read("[::1]:80").unwrap(), "[::1]:80");
        assert_eq!(read("localhost:80").unwrap(), "127.0.0.1:80");
        assert_eq!(read(":80").unwrap(), "0.0.0.0:80");
        for odd in ["", "80", "127.0.0.1", "127.0.0.1:", ":x", "127.0.0.1:99999"] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_log_filter_consists_of_levels() {
        for good in ["info", "OFF", "info,sqlx=warn", "endcap::http=trace, warn"] {
            let filter: LogFilter = good.parse().unwrap();
            // The canonical form is also valid.
            assert!(EnvFilter::try_new(filter.to_string()).is_ok(), "{good}");
        }
        for odd in [
            "",
            "verbose",
            "info,endcap",
            "endcap=loud",
            "=info",
            "info,",
            "endcap[=debug",
        ] {
            let error = odd.parse::<LogFilter>().unwrap_err();
            assert!(error.contains("debug"), "{odd}: {error}");
        }
    }

    #[test]
    fn a_rate_is_a_count_per_duration() {
        let read = |text: &str| text.parse::<RateText>().map(|it| it.to_string());
        assert_eq!(read("100/10s").unwrap(), "100/10s");
        assert_eq!(read("10/s").unwrap(), "10/1s");
        assert_eq!(read("5/min").unwrap(), "5/1m");
        for odd in ["10", "10/", "/s", "s/10", "10/s/s"] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_pause_may_be_zero_but_not_too_long() {
        assert_eq!("0s".parse::<Pause>().unwrap().0, Duration::ZERO);
        assert!("2h".parse::<Pause>().is_err());
    }
}
