//! Traces: a SERVER span per request, and spans of use cases and statements below it. Spans below
//! one that is not sampled are not created.

use std::{
    borrow::Cow,
    future::Future,
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{
        FutureExt as _, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _,
        Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};

use super::request;
use crate::domain::Error;

/// Creates the spans. Without an exporter none is sampled, but requests still get ids.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();
/// Set if there is an exporter.
static IS_EXPORTED: OnceLock<()> = OnceLock::new();
/// W3C trace context.
static PROPAGATOR: LazyLock<TraceContextPropagator> = LazyLock::new(TraceContextPropagator::new);

/// Creates spans with this provider from now on.
pub(super) fn install(provider: &SdkTracerProvider) {
    drop(TRACER.set(provider.tracer("endcap")));
    let _ = IS_EXPORTED.set(());
}

fn tracer() -> &'static SdkTracer {
    TRACER.get_or_init(|| {
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff);
        provider.build().tracer("endcap")
    })
}

/// The SERVER span of a request, below the span in the request's headers, if there is one.
pub fn server_span(
    headers: &HeaderMap,
    name: Cow<'static, str>,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Context {
    let parent = PROPAGATOR.extract_with_context(&Context::new(), &HeaderExtractor(headers));
    let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
    let mut span = tracer().build_with_context(builder, &parent);
    if span.is_recording() {
        span.set_attributes(attributes());
    }
    parent.with_span(span)
}

/// Adds the current span to the headers of an outgoing request.
pub fn propagate(headers: &mut HeaderMap) {
    PROPAGATOR.inject_context(&Context::current(), &mut HeaderInjector(headers));
}

/// A span below that of `parent`; if that is not sampled, `parent` itself.
pub fn child_span(
    parent: &Context,
    name: impl Into<Cow<'static, str>>,
    kind: SpanKind,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) -> Context {
    if !is_sampled(parent) {
        return parent.clone();
    }
    let builder = SpanBuilder::from_name(name).with_kind(kind);
    let builder = builder.with_attributes(attributes());
    parent.with_span(tracer().build_with_context(builder, parent))
}

/// Records a span that has just ended and took `took`.
pub fn past(
    parent: &Context,
    name: impl Into<Cow<'static, str>>,
    took: Duration,
    failure: Option<&str>,
    attributes: impl FnOnce() -> Vec<KeyValue>,
) {
    if !is_sampled(parent) {
        return;
    }
    let now = opentelemetry::time::now();
    let builder = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Client)
        .with_start_time(now - took)
        .with_attributes(attributes());
    let mut span = tracer().build_with_context(builder, parent);
    if let Some(failure) = failure {
        span.set_status(Status::error(failure.to_owned()));
    }
    span.end_with_timestamp(now);
}

/// Whether the context's span is sampled, so that spans below it are recorded.
pub fn is_sampled(context: &Context) -> bool {
    context.has_active_span() && context.span().span_context().is_sampled()
}

/// Whether a sampler has decided against the context's span.
pub fn is_left_out(context: &Context) -> bool {
    IS_EXPORTED.get().is_some() && !is_sampled(context)
}

/// Runs a use case in a span of its own.
///
/// # Errors
/// Those of the use case.
pub fn use_case<T>(
    name: &'static str,
    run: impl Future<Output = Result<T, Error>>,
) -> impl Future<Output = Result<T, Error>> {
    // Boxed before it is part of another future: those of the handlers around it would have its
    // size, and each request moves them several times.
    let run = Box::pin(run);
    async move {
        request::set_operation(name);
        let parent = Context::current();
        if !is_sampled(&parent) {
            return run.await;
        }
        let context = child_span(&parent, name, SpanKind::Internal, Vec::new);
        let result = run.with_context(context.clone()).await;
        if let Err(error) = &result {
            fail(&context, error);
        }
        context.span().end();
        result
    }
}

/// Marks the context's span as failed, if the server is at fault.
fn fail(context: &Context, error: &Error) {
    let span = context.span();
    span.set_attribute(KeyValue::new("error.type", format!("{:?}", error.reason)));
    if error.is_ours() {
        // The message for the client, as the causes may contain data.
        span.set_status(Status::error(error.message.clone()));
    }
}
