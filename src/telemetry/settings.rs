//! The settings of the OTLP export. Each corresponds to a standard environment variable of
//! OpenTelemetry, and takes precedence over it.

use std::{collections::HashMap, env, fmt, str::FromStr, time::Duration};

use opentelemetry_sdk::trace::Sampler;

/// The settings of the OTLP export. For those that are `None`, the standard variables apply.
#[derive(Clone, Debug, Default)]
pub struct OtlpConfig {
    /// Whether the export is disabled.
    pub disabled: Option<bool>,
    /// The URL of the collector.
    pub endpoint: Option<String>,
    /// The protocol of the collector.
    pub protocol: Option<OtlpProtocol>,
    /// The headers to send.
    pub headers: Option<OtlpHeaders>,
    /// The timeout of an export.
    pub timeout: Option<Duration>,
    /// Which traces are sampled.
    pub sampler: Option<TracesSampler>,
    /// The argument of the sampler: the share of traces.
    pub sampler_ratio: Option<Ratio>,
    /// Resource attributes in addition to name, version and instance of the service.
    pub resource_attributes: Option<ResourceAttributes>,
}

/// A standard variable has an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct WrongVariable {
    /// The name of the variable.
    pub name: String,
    /// What is wrong with its value.
    pub why: String,
}

/// A signal of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Traces.
    Traces,
    /// Metrics.
    Metrics,
    /// Logs.
    Logs,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// The path of the signal's endpoint over HTTP.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
            Self::Logs => "v1/logs",
        }
    }
}

impl OtlpConfig {
    /// Whether the signal is exported: it has an endpoint, and is not disabled.
    pub(super) fn sends(&self, signal: Signal) -> bool {
        let is_true = |text: String| text.eq_ignore_ascii_case("true");
        let disabled = self
            .disabled
            .unwrap_or_else(|| variable("OTEL_SDK_DISABLED").is_some_and(is_true));
        let name = signal.name();
        let exporter = variable(&format!("OTEL_{name}_EXPORTER"));
        let endpoint = || variable(&format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT"));
        let endpoints = || variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let has_endpoint = self.endpoint.is_some() || endpoint().is_some() || endpoints().is_some();
        !disabled && exporter.is_none_or(|exporter| exporter == "otlp") && has_endpoint
    }

    /// The protocol of the collector for the signal.
    pub(super) fn protocol(&self, signal: Signal) -> Result<OtlpProtocol, WrongVariable> {
        if let Some(protocol) = self.protocol {
            return Ok(protocol);
        }
        let own = format!("OTEL_EXPORTER_OTLP_{}_PROTOCOL", signal.name());
        for name in [own.as_str(), "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            if let Some(text) = variable(name) {
                let name = name.to_owned();
                return text.parse().map_err(|why| WrongVariable { name, why });
            }
        }
        Ok(OtlpProtocol::HttpProtobuf)
    }

    /// The problems with the standard variables.
    pub fn problems(&self) -> Vec<WrongVariable> {
        let all = [Signal::Traces, Signal::Metrics, Signal::Logs];
        let sent: Vec<_> = all.into_iter().filter(|one| self.sends(*one)).collect();
        let protocols = sent.iter().filter_map(|one| self.protocol(*one).err());
        let own = sent
            .iter()
            .map(|signal| format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.name()));
        let endpoints = own.chain(["OTEL_EXPORTER_OTLP_ENDPOINT".to_owned()]);
        let endpoints = endpoints.filter_map(|name| {
            let is_sent = !sent.is_empty() && self.endpoint.is_none();
            let text = variable(&name).filter(|_| is_sent)?;
            let is_url = text.parse::<http::Uri>().is_ok_and(|url| {
                matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some()
            });
            let why = format!("{text:?} must be an http or https URL");
            (!is_url).then_some(WrongVariable { name, why })
        });
        let mut problems: Vec<_> = protocols.chain(endpoints).collect();
        problems.dedup();
        problems
    }

    /// The sampler; `None` if the standard variables decide.
    pub(super) fn sampler(&self) -> Option<Sampler> {
        let ratio = self.sampler_ratio.map_or(1.0, |ratio| ratio.0);
        let by_parent = |sampler| Sampler::ParentBased(Box::new(sampler));
        Some(match self.sampler? {
            TracesSampler::AlwaysOn => Sampler::AlwaysOn,
            TracesSampler::AlwaysOff => Sampler::AlwaysOff,
            TracesSampler::TraceIdRatio => Sampler::TraceIdRatioBased(ratio),
            TracesSampler::ParentBasedAlwaysOn => by_parent(Sampler::AlwaysOn),
            TracesSampler::ParentBasedAlwaysOff => by_parent(Sampler::AlwaysOff),
            TracesSampler::ParentBasedTraceIdRatio => by_parent(Sampler::TraceIdRatioBased(ratio)),
        })
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Declares an enum whose variants have names.
macro_rules! names {
    ($(#[doc = $doc:literal])+ $type:ident { $($(#[doc = $value_doc:literal])+ $value:ident = $name:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[doc = $value_doc])+ $value,)+
        }

        impl $type {
            /// The names of the variants.
            pub const NAMES: &[&str] = &[$($name),+];
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$value),)+
                    _ => Err(format!("must be one of {}", [$($name),+].join(", "))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$value => $name,)+
                })
            }
        }
    };
}

names! {
    /// The protocol of a collector.
    OtlpProtocol {
        /// gRPC.
        Grpc = "grpc",
        /// Protobuf over HTTP.
        HttpProtobuf = "http/protobuf",
    }
}

names! {
    /// Which traces are sampled.
    TracesSampler {
        /// All.
        AlwaysOn = "always_on",
        /// None.
        AlwaysOff = "always_off",
        /// A share of them.
        TraceIdRatio = "traceidratio",
        /// As the parent span was; all of those without a parent.
        ParentBasedAlwaysOn = "parentbased_always_on",
        /// As the parent span was; none of those without a parent.
        ParentBasedAlwaysOff = "parentbased_always_off",
        /// As the parent span was; a share of those without a parent.
        ParentBasedTraceIdRatio = "parentbased_traceidratio",
    }
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ratio = text.parse().ok();
        ratio
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .map(Self)
            .ok_or_else(|| "must be a number from 0 to 1, such as 0.01".into())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses names and values, such as `name=value,name=value`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
    });
    let pairs: Option<_> = pairs.collect();
    pairs.ok_or_else(|| "must be names and values, such as name=value,other=value".into())
}

/// Headers for a collector. Their values are hidden when displayed.
#[derive(Clone)]
pub struct OtlpHeaders(Vec<(String, String)>);

impl OtlpHeaders {
    /// The headers with their values, by name.
    pub(super) fn expose(&self) -> HashMap<String, String> {
        self.0.iter().cloned().collect()
    }
}

impl FromStr for OtlpHeaders {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let headers = pairs(text)?;
        for (name, value) in &headers {
            let is_name = http::HeaderName::try_from(name.as_str()).is_ok();
            if !is_name || http::HeaderValue::try_from(value.as_str()).is_err() {
                return Err(format!("header {name:?} has an invalid name or value"));
            }
        }
        Ok(Self(headers))
    }
}

impl fmt::Display for OtlpHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.0.iter().map(|(name, _)| format!("{name}=***"));
        f.write_str(&hidden.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for OtlpHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Resource attributes, such as `name=value,name=value`.
#[derive(Clone, Debug)]
pub struct ResourceAttributes(pub(super) Vec<(String, String)>);

impl FromStr for ResourceAttributes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        pairs(text).map(Self)
    }
}

impl fmt::Display for ResourceAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        f.write_str(&pairs.collect::<Vec<_>>().join(","))
    }
}
