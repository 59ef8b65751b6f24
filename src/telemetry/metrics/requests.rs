//! The metrics of completed requests.

use std::{sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue,
    metrics::{BoundHistogram, Histogram},
};

use super::table::Instruments;

/// What distinguishes gRPC calls in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallLabels {
    /// The fully qualified method.
    pub method: &'static str,
    /// The name of the status code.
    pub code: &'static str,
    /// Whether the server is at fault.
    pub is_error: bool,
}

/// What distinguishes REST requests in metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeLabels {
    /// The method; `_OTHER` for one that HTTP does not define.
    pub method: &'static str,
    /// The template of the route; `None` if no route matched.
    pub route: Option<Arc<str>>,
    /// The status of the response.
    pub status: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The version of HTTP.
    pub version: &'static str,
}

/// What was measured of a completed request.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// The tenant of the data.
    pub tenant: Option<&'a str>,
    /// From the request's head to the last byte of the response.
    pub duration: Duration,
    /// The bytes received and sent.
    pub sizes: (u64, u64),
}

impl CallLabels {
    pub(super) fn bind(&self, instruments: &Instruments, has_tenant: bool) -> Measures {
        let duration = || instruments.rpc_duration.bind(&self.long());
        Measures {
            duration: (!has_tenant).then(duration),
            request_size: instruments.rpc_request_size.bind(&self.short()),
            response_size: instruments.rpc_response_size.bind(&self.short()),
        }
    }

    /// The attributes of sizes.
    fn short(&self) -> Vec<KeyValue> {
        let system = KeyValue::new("rpc.system.name", "grpc");
        vec![system, KeyValue::new("rpc.method", self.method)]
    }

    /// The attributes of durations.
    pub(super) fn long(&self) -> Vec<KeyValue> {
        let mut attributes = self.short();
        attributes.push(KeyValue::new("rpc.status_code", self.code));
        if self.is_error {
            attributes.push(KeyValue::new("error.type", self.code));
        }
        attributes
    }
}

impl ExchangeLabels {
    pub(super) fn bind(&self, instruments: &Instruments, has_tenant: bool) -> Measures {
        let duration = || instruments.http_duration.bind(&self.long());
        Measures {
            duration: (!has_tenant).then(duration),
            request_size: instruments.http_request_size.bind(&self.short()),
            response_size: instruments.http_response_size.bind(&self.short()),
        }
    }

    /// The attributes of sizes.
    fn short(&self) -> Vec<KeyValue> {
        let route = self.route.clone();
        let route = route.map(|route| KeyValue::new("http.route", route));
        let method = KeyValue::new("http.request.method", self.method);
        [method].into_iter().chain(route).collect()
    }

    /// The attributes of durations.
    pub(super) fn long(&self) -> Vec<KeyValue> {
        let mut attributes = self.short();
        let status = i64::from(self.status);
        attributes.push(KeyValue::new("http.response.status_code", status));
        attributes.push(KeyValue::new("url.scheme", self.scheme));
        attributes.push(KeyValue::new("network.protocol.version", self.version));
        if self.status >= 500 {
            attributes.push(KeyValue::new("error.type", self.status.to_string()));
        }
        attributes
    }
}

/// The instruments of the requests with the same labels.
#[derive(Clone, Debug)]
pub(super) struct Measures {
    /// `None` if the tenant is an attribute: the number of tenants is not limited, so nothing is
    /// bound to one.
    duration: Option<BoundHistogram<f64>>,
    request_size: BoundHistogram<f64>,
    response_size: BoundHistogram<f64>,
}

impl Measures {
    /// Records a request. `durations` is the instrument to which the duration is not bound, with the
    /// attributes that `long` returns.
    pub(super) fn record(
        &self,
        measured: Measured<'_>,
        durations: &Histogram<f64>,
        long: impl FnOnce() -> Vec<KeyValue>,
    ) {
        let (received, sent) = measured.sizes;
        self.request_size.record(received as f64);
        self.response_size.record(sent as f64);
        let seconds = measured.duration.as_secs_f64();
        if let Some(duration) = &self.duration {
            return duration.record(seconds);
        }
        let tenant = measured.tenant.map(str::to_owned);
        let tenant = tenant.map(|tenant| KeyValue::new("endcap.tenant", tenant));
        let attributes: Vec<_> = long().into_iter().chain(tenant).collect();
        durations.record(seconds, &attributes);
    }
}
