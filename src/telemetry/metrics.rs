//! What is counted, for `/metrics` on the admin port. Like the log it is the process's:
//! there is one.

use std::sync::LazyLock;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::domain::{
    Constraint, Error, FieldPath, Reason, TextField, Violation, error::SETTING, field::ProductPart,
    image::ImagePart,
};

/// The limits that refuse, by the names of their settings. All are there from the start,
/// so that one which never refused is told from one that is not counted.
const LIMITS: [&str; 42] = [
    "max_body_size",
    "max_message_items",
    "max_unauthenticated_body_size",
    "max_header_size",
    "max_connections",
    "max_unauthenticated_connections",
    "max_pending_connections_per_address",
    "max_admin_connections",
    "max_requests_in_flight",
    "max_response_memory",
    "max_connection_response_memory",
    "response_idle_timeout",
    "request_timeout",
    "rate_per_caller",
    "rate_per_tenant",
    "rate_of_unknown_keys",
    "max_logins_per_key",
    "connection_idle_timeout",
    "max_connection_age",
    "header_timeout",
    "max_name_chars",
    "max_text_chars",
    "max_locales",
    "max_collection_bytes",
    "max_keywords",
    "max_images",
    "max_custom_properties",
    "max_custom_property_bytes",
    "max_product_bytes",
    "max_conditions",
    "max_rule_depth",
    "max_collections",
    "max_parents",
    "max_depth",
    "max_mutations",
    "max_mutation_ids",
    "max_ids",
    "max_page_bytes",
    "max_paths",
    "max_expanded",
    "max_expanded_bytes",
    "max_scanned",
];

/// The limits that have a reason of their own.
const BY_REASON: [(Reason, &str); 3] = [
    (Reason::TooManyCollections, "max_collections"),
    (Reason::TooManyParents, "max_parents"),
    (Reason::TooDeep, "max_depth"),
];

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

struct Metrics {
    registry: Registry,
    refused: Family<Limit, Counter>,
    requests_in_flight: Gauge,
    connections: Gauge,
    response_memory: Gauge,
    wal: Gauge,
    kept: Gauge,
    jobs: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("endcap");
        let refused = Family::<Limit, Counter>::default();
        for limit in LIMITS {
            drop(refused.get_or_create(&Limit { limit }));
        }
        let (requests_in_flight, connections) = (Gauge::default(), Gauge::default());
        let (response_memory, wal, kept) = (Gauge::default(), Gauge::default(), Gauge::default());
        let jobs = Gauge::default();
        registry.register(
            "jobs",
            "Jobs that are not done yet, of all servers on the database",
            jobs.clone(),
        );
        registry.register(
            "refused",
            "Requests and connections that a limit refused, by the limit's setting",
            refused.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests under way",
            requests_in_flight.clone(),
        );
        registry.register("connections", "Open connections", connections.clone());
        registry.register_with_unit(
            "response_memory",
            "Memory of responses that their clients have not taken yet",
            Unit::Bytes,
            response_memory.clone(),
        );
        registry.register_with_unit(
            "sqlite_wal",
            "Size of the write-ahead log of SQLite",
            Unit::Bytes,
            wal.clone(),
        );
        registry.register_with_unit(
            "kept_responses",
            "Size of the responses that are kept for retries, as of the last sweep",
            Unit::Bytes,
            kept.clone(),
        );
        Self {
            registry,
            refused,
            requests_in_flight,
            connections,
            response_memory,
            wal,
            kept,
            jobs,
        }
    }
}

/// Everything, as OpenMetrics writes it.
pub fn text() -> String {
    let mut all = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut all, &METRICS.registry);
    all
}

/// Counts something that a limit refused; `limit` is the name of its setting.
pub fn refused(limit: &'static str) {
    METRICS.refused.get_or_create(&Limit { limit }).inc();
}

/// Tells how many bytes responses hold now.
pub fn response_memory(bytes: usize) {
    METRICS
        .response_memory
        .set(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// Tells how large the write-ahead log of SQLite is.
pub fn wal(bytes: u64) {
    METRICS.wal.set(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// Tells how many bytes are kept for retries.
pub fn kept(bytes: u64) {
    METRICS.kept.set(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// Tells how many jobs are not done yet.
pub fn jobs(count: usize) {
    METRICS.jobs.set(i64::try_from(count).unwrap_or(i64::MAX));
}

/// Something that there is one more of as long as this lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// A request under way.
    pub fn request() -> Self {
        Self::of(&METRICS.requests_in_flight)
    }

    /// An open connection.
    pub fn connection() -> Self {
        Self::of(&METRICS.connections)
    }

    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts the limits that an error is about. Rates and sizes of bodies are counted where it
/// is known which of them it was.
pub(super) fn count(error: &Error) {
    let by_reason = BY_REASON.iter().find(|(reason, _)| *reason == error.reason);
    let by_reason = by_reason.map(|(_, limit)| *limit);
    let told = error.metadata.get(SETTING);
    let told = told.and_then(|told| LIMITS.iter().find(|limit| *limit == told));
    told.copied().or(by_reason).into_iter().for_each(refused);
    error.violations.iter().filter_map(limit).for_each(refused);
}

/// The limit that a field violates; none where it is not a setting.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "few fields have a limit that is a setting"
)]
fn limit(violation: &Violation) -> Option<&'static str> {
    let field = &violation.field;
    match violation.constraint {
        Constraint::TooMany { .. } => Some(match field {
            FieldPath::Texts | FieldPath::Image(_, ImagePart::Texts) => "max_locales",
            FieldPath::Keywords(..) => "max_keywords",
            FieldPath::Images => "max_images",
            FieldPath::CustomProperties => "max_custom_properties",
            FieldPath::Rules(_) | FieldPath::FilterExpression => "max_conditions",
            FieldPath::Mutations => "max_mutations",
            FieldPath::MutationIds => "max_mutation_ids",
            FieldPath::ParentIds => "max_parents",
            FieldPath::Depth => "max_expanded",
            FieldPath::Paths => "max_paths",
            FieldPath::Scanned => "max_scanned",
            _ => "max_ids",
        }),
        Constraint::TooLong { .. } => match field {
            FieldPath::Collection => Some("max_collection_bytes"),
            FieldPath::Depth => Some("max_expanded_bytes"),
            FieldPath::CustomProperties => Some("max_custom_property_bytes"),
            FieldPath::Product(_, ProductPart::Attributes) => Some("max_product_bytes"),
            FieldPath::Text(_, TextField::DisplayName | TextField::SeoUrlSlug)
            | FieldPath::InternalName
            | FieldPath::Slug
            | FieldPath::FilterDisplayName
            | FieldPath::FilterTitle
            | FieldPath::FilterExpression
            | FieldPath::Product(..)
            | FieldPath::Image(_, ImagePart::FileName) => Some("max_name_chars"),
            FieldPath::Text(..) => Some("max_text_chars"),
            _ => None,
        },
        Constraint::TooDeep { .. } => match field {
            FieldPath::Rules(_) => Some("max_rule_depth"),
            _ => None,
        },
        _ => None,
    }
}
