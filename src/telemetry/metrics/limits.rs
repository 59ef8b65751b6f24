//! Which limit an error is about, for the metric of refused requests.

use crate::domain::{
    Constraint, EntryKind, Error, FieldPath, Reason, TextField, Violation,
    error::SETTING,
    field::{DetailsField, ProductPart, RulePart},
    image::ImagePart,
};

/// The limits that refuse requests or connections, by their settings. All are initialized to zero,
/// to distinguish limits that have not refused anything from those that don't exist.
pub(super) const LIMITS: [&str; 51] = [
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
    "max_product_tags",
    "max_product_variants",
    "max_product_prices",
    "max_conditions",
    "max_rule_depth",
    "max_rule_chain",
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
    "max_synchronous_products",
    "max_synchronous_changes",
    "max_includes",
    "max_excludes",
    "max_pins",
];

/// The limits with an error reason of their own.
const BY_REASON: [(Reason, &str); 3] = [
    (Reason::TooManyCollections, "max_collections"),
    (Reason::TooManyParents, "max_parents"),
    (Reason::TooDeep, "max_depth"),
];

/// The limits that an error is about. Rate limits and body limits are not among them: they are
/// counted where they are enforced.
pub(super) fn of(error: &Error) -> impl Iterator<Item = &'static str> {
    let by_reason = BY_REASON.iter().find(|(reason, _)| *reason == error.reason);
    let by_reason = by_reason.map(|(_, limit)| *limit);
    let told = error.metadata.get(SETTING);
    let told = told.and_then(|told| LIMITS.iter().find(|limit| *limit == told));
    let of_fields = error.violations.iter().filter_map(limit);
    told.copied().or(by_reason).into_iter().chain(of_fields)
}

/// The limit that a field violates; `None` if it is not a setting.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "few fields have a limit that is a setting"
)]
fn limit(violation: &Violation) -> Option<&'static str> {
    let field = &violation.field;
    match violation.constraint {
        // These limits are fixed.
        Constraint::TooMany { .. } if is_fixed(field) => None,
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
            FieldPath::Entries(EntryKind::Include) => "max_includes",
            FieldPath::Entries(EntryKind::Exclude) => "max_excludes",
            FieldPath::Entries(EntryKind::Pin) => "max_pins",
            FieldPath::Product(_, ProductPart::Details(DetailsField::Tags)) => "max_product_tags",
            FieldPath::Product(_, ProductPart::Details(DetailsField::Variants)) => {
                "max_product_variants"
            }
            FieldPath::Product(_, ProductPart::Details(DetailsField::Prices)) => {
                "max_product_prices"
            }
            _ => "max_ids",
        }),
        Constraint::TooLarge { .. } => match field {
            FieldPath::Collection => Some("max_collection_bytes"),
            FieldPath::Depth => Some("max_expanded_bytes"),
            FieldPath::CustomProperties => Some("max_custom_property_bytes"),
            FieldPath::Product(_, ProductPart::Attributes) => Some("max_product_bytes"),
            _ => None,
        },
        Constraint::TooLong { .. } => match field {
            FieldPath::Text(_, TextField::DisplayName | TextField::SeoUrlSlug)
            | FieldPath::InternalName
            | FieldPath::Slug
            | FieldPath::FilterDisplayName
            | FieldPath::FilterTitle
            | FieldPath::FilterExpression
            | FieldPath::Product(_, ProductPart::Title | ProductPart::Slug | ProductPart::Type)
            | FieldPath::Image(_, ImagePart::FileName) => Some("max_name_chars"),
            FieldPath::Text(..) => Some("max_text_chars"),
            _ => None,
        },
        Constraint::TooDeep { .. } => match field {
            FieldPath::Rules(_) => Some("max_rule_depth"),
            _ => None,
        },
        Constraint::ChainTooLong { .. } => Some("max_rule_chain"),
        _ => None,
    }
}

/// Whether the limit on the field's items is fixed, and not a setting.
fn is_fixed(field: &FieldPath) -> bool {
    let is_operand = |parts: &[RulePart]| matches!(parts.last(), Some(RulePart::Operand));
    matches!(field, FieldPath::Product(_, ProductPart::Facts))
        || matches!(field, FieldPath::Rules(parts) if is_operand(parts))
}
