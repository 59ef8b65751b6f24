//! docs/reference/errors.md lists each reason with its cause, its remedy and its codes.

use std::{collections::BTreeMap, fmt::Write as _};

use endcap::{
    app::DIALECTS,
    domain::{Error, Reason},
    grpc::{self, DESCRIPTORS},
};
use prost_reflect::DescriptorPool;
use tonic_types::StatusExt as _;

use super::{generated_after, grpc_reference::Comments};

/// All reasons; the test compares their names with those in the proto.
const REASONS: [Reason; 35] = [
    Reason::Unauthenticated,
    Reason::ScopeMissing,
    Reason::TenantDenied,
    Reason::TenantRequired,
    Reason::InvalidField,
    Reason::IndexOutOfRange,
    Reason::CollectionNotFound,
    Reason::ParentNotFound,
    Reason::ChildNotFound,
    Reason::ChildNotInList,
    Reason::IdTaken,
    Reason::SlugTaken,
    Reason::CycleDetected,
    Reason::TooDeep,
    Reason::TooManyParents,
    Reason::RootImmutable,
    Reason::HasChildren,
    Reason::KindImmutable,
    Reason::KindMismatch,
    Reason::ChildAlreadyInList,
    Reason::EtagMismatch,
    Reason::RequestIdReused,
    Reason::PageTokenInvalid,
    Reason::ProductNotFound,
    Reason::ProductsUnknown,
    Reason::DeadlineExceeded,
    Reason::DatabaseUnavailable,
    Reason::Overloaded,
    Reason::ResponseTooLarge,
    Reason::RateLimited,
    Reason::StorageFull,
    Reason::TooManyCollections,
    Reason::EvaluationTooLarge,
    Reason::NamedByRules,
    Reason::Internal,
];

/// The parts of a reason's comment in the proto, by label: `Example: …`, `Metadata: …`, `Remedy:
/// …`, `Retry: …`. The text before the labels is the cause.
fn parts(comment: &str) -> BTreeMap<&str, String> {
    let comment = comment.replace('\n', " ");
    let labels = ["Cause", "Example", "Metadata", "Remedy", "Retry"];
    let find = |label: &str| comment.find(&format!(" {label}: ")).map(|at| at + 1);
    let mut starts: Vec<_> = labels
        .iter()
        .filter_map(|it| Some((find(it)?, *it)))
        .collect();
    starts.push((0, "Cause"));
    starts.sort_unstable();
    let ends = starts
        .iter()
        .skip(1)
        .map(|(at, _)| *at)
        .chain([comment.len()]);
    let pairs = starts.iter().zip(ends);
    let parts = pairs.map(|((start, label), end)| {
        let text = &comment[*start..end];
        let text = text.split_once(": ").map_or(text, |(_, text)| text).trim();
        (*label, text.replace('|', "\\|"))
    });
    parts.collect()
}

/// The HTTP status in each dialect, by the dialect's name.
fn statuses(error: &Error) -> Vec<(&'static str, u16)> {
    let status = DIALECTS
        .iter()
        .map(|dialect| (dialect.name, (dialect.error)(error).status().as_u16()));
    status.collect()
}

/// The name of a reason, and its row.
fn row(reason: Reason, comments: &BTreeMap<String, String>) -> (String, String) {
    let error = Error::new(reason, "");
    let status = grpc::status(&error);
    let details = status.get_error_details();
    let name = details.error_info().unwrap().reason.clone();
    let parts = parts(&comments[&name]);
    let part = |label: &str| parts.get(label).cloned();
    let need = |label: &str| part(label).unwrap_or_else(|| panic!("{name} has no {label}"));
    let mut text = format!("\n## {name}\n\n{}", sentence(&need("Cause")));
    let _ = write!(text, " Example: {}\n\n", need("Example"));
    let _ = writeln!(text, "- **Remedy**: {}", need("Remedy"));
    let _ = writeln!(text, "- **Retry**: {}", need("Retry"));
    let code = screaming(&format!("{:?}", status.code()));
    assert!(comments[&name].starts_with(&format!("{code}: ")), "{name}");
    let _ = write!(text, "- **Codes**: gRPC {code}");
    for (dialect, status) in statuses(&error) {
        // The JSON API is a dialect named after the product.
        let dialect = if dialect == "Endcap" { "JSON" } else { dialect };
        let _ = write!(text, ", {dialect} {status}");
        if dialect == "JSON" && reason == Reason::EtagMismatch {
            text.push_str(" (412 with `If-Match`)");
        }
    }
    text.push('\n');
    if let Some(metadata) = part("Metadata") {
        let _ = writeln!(text, "- **Metadata**: {metadata}");
    }
    (name, text)
}

/// `NotFound` becomes `NOT_FOUND`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.char_indices() {
        if at > 0 && c.is_uppercase() {
            text.push('_');
        }
        text.extend(c.to_uppercase());
    }
    text
}

/// Makes a sentence of the text.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

#[test]
fn each_reason_has_cause_remedy_and_codes() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let comments = Comments::read(&pool);
    let reasons = pool.get_enum_by_name("endcap.v1.ErrorReason").unwrap();
    let file = reasons.parent_file();
    let published = reasons
        .values()
        .filter(|value| value.number() > 0)
        .map(|value| {
            let name = value.name().strip_prefix("ERROR_REASON_").unwrap();
            (name.to_owned(), comments.of(&file, value.path()).to_owned())
        });
    let published: BTreeMap<_, _> = published.collect();
    let rows: BTreeMap<_, _> = REASONS.iter().map(|it| row(*it, &published)).collect();
    assert!(rows.keys().eq(published.keys()), "{:?}", rows.keys());
    let text: String = rows.into_values().collect();
    generated_after(
        "docs/reference/errors.md",
        "<!-- Generated from the proto",
        &text,
    );
}
