//! The context of the request that is being handled: its ids, and what is found out about it, for
//! the log, traces, metrics and error details.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use opentelemetry::{
    Context,
    trace::{FutureExt as _, TraceContextExt as _},
};
use tonic::Code;

use crate::domain::digest::hex;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The context of a request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<RequestState>);

#[derive(Debug)]
struct RequestState {
    request_id: Box<str>,
    trace_id: Box<str>,
    span_id: Box<str>,
    trace: Context,
    subject: OnceLock<Arc<str>>,
    tenant: OnceLock<Box<str>>,
    route: OnceLock<Arc<str>>,
    operation_route: OnceLock<Arc<str>>,
    operation: OnceLock<&'static str>,
    grpc_status: OnceLock<Code>,
}

impl RequestContext {
    /// The context of a request, with the client's `X-Request-Id` or a generated one, and the
    /// context of its SERVER span.
    pub fn new(request_id: &str, trace: Context) -> Self {
        let span = trace.span();
        let ids = span.span_context();
        Self(Arc::new(RequestState {
            request_id: request_id.into(),
            trace_id: hex(&ids.trace_id().to_bytes()).into(),
            span_id: hex(&ids.span_id().to_bytes()).into(),
            trace,
            subject: OnceLock::new(),
            tenant: OnceLock::new(),
            route: OnceLock::new(),
            operation_route: OnceLock::new(),
            operation: OnceLock::new(),
            grpc_status: OnceLock::new(),
        }))
    }

    /// Handles the request, with this context as [`current`].
    pub async fn scope<F: Future>(&self, request: F) -> F::Output {
        let request = request.with_context(self.0.trace.clone());
        CURRENT.scope(self.clone(), request).await
    }

    /// The client's `X-Request-Id`, or a generated one.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The trace that the client sent, or a new one: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.0.trace_id
    }

    /// The SERVER span: 16 hexadecimal digits.
    pub fn span_id(&self) -> &str {
        &self.0.span_id
    }

    /// The context of the SERVER span.
    pub fn trace(&self) -> &Context {
        &self.0.trace
    }

    /// The caller, once it is authenticated.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.get().map(AsRef::as_ref)
    }

    /// The tenant of the data, once it is known.
    pub fn tenant(&self) -> Option<&str> {
        self.0.tenant.get().map(AsRef::as_ref)
    }

    /// The template of the matched REST route.
    pub fn route(&self) -> Option<&Arc<str>> {
        self.0.operation_route.get().or(self.0.route.get())
    }

    /// The status of a gRPC call, once it is sent.
    pub fn grpc_status(&self) -> Option<Code> {
        self.0.grpc_status.get().copied()
    }

    /// Sets the template of the matched route. Only the first call has an effect.
    pub fn set_route(&self, route: &str) {
        let _ = self.0.route.set(route.into());
    }

    /// Sets the template of the operation, which replaces that of its wildcard route. Only the first
    /// call has an effect.
    pub fn set_operation_route(&self, route: &str) {
        let _ = self.0.operation_route.set(route.into());
    }

    /// Sets the status of a gRPC call. Only the first call has an effect.
    pub fn set_grpc_status(&self, code: Code) {
        let _ = self.0.grpc_status.set(code);
    }
}

/// The context of the request that is being handled; `None` outside of requests.
pub fn current() -> Option<RequestContext> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Sets the caller of the current request. Only the first call has an effect.
pub fn set_subject(subject: &Arc<str>) {
    let _ = CURRENT.try_with(|request| request.0.subject.set(Arc::clone(subject)));
}

/// Sets the tenant of the current request. Only the first call has an effect.
pub fn set_tenant(tenant: &str) {
    let _ = CURRENT.try_with(|request| {
        request.0.tenant.get_or_init(|| tenant.into());
    });
}

/// Sets the use case that handles the current request. Only the first call has an effect.
pub fn set_operation(name: &'static str) {
    let _ = CURRENT.try_with(|request| request.0.operation.set(name));
}

/// The use case that handles the current request; `background` outside of requests.
pub fn operation() -> &'static str {
    let name = CURRENT.try_with(|request| request.0.operation.get().copied());
    name.ok().flatten().unwrap_or("background")
}
