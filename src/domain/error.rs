//! The single error type of the service. Each protocol translates it at its edge, with a table of
//! its own.

use std::{collections::BTreeMap, fmt};

use super::{constraint::Constraint, field::FieldPath, rate::Throttled};

/// The result of a use case.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The category of a failure. Each protocol has one status for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is at fault.
    Invalid,
    /// Missing or invalid credentials.
    Unauthenticated,
    /// The caller is not authorized.
    Forbidden,
    /// An index is outside the list as it is.
    OutOfRange,
    /// Something that the request names does not exist in the tenant.
    NotFound,
    /// The id or slug is taken.
    AlreadyExists,
    /// The etag is not the current one.
    Stale,
    /// The request conflicts with the current state.
    FailedPrecondition,
    /// The caller exceeds its rate limit.
    Exhausted,
    /// A dependency is unavailable or too busy; a retry may succeed.
    Unavailable,
    /// The deadline passed.
    Deadline,
    /// A server error.
    Internal,
}

/// The machine-readable reason of a failure. Each one is published in `endcap.v1.ErrorReason`, with
/// its meaning and an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Missing or invalid credentials.
    Unauthenticated,
    /// The credential lacks a scope.
    ScopeMissing,
    /// The credential is not authorized for the tenant.
    TenantDenied,
    /// The credential is valid for several tenants and the request names none.
    TenantRequired,
    /// A field is missing, malformed or over a limit.
    InvalidField,
    /// An index is outside the list.
    IndexOutOfRange,
    /// No such collection.
    CollectionNotFound,
    /// No such parent.
    ParentNotFound,
    /// A collection to be added as a child does not exist.
    ChildNotFound,
    /// The list has no such child.
    ChildNotInList,
    /// The id is taken.
    IdTaken,
    /// The slug is taken.
    SlugTaken,
    /// A collection would be its own ancestor.
    CycleDetected,
    /// Collections would nest too deep.
    TooDeep,
    /// A collection would have too many parents.
    TooManyParents,
    /// Roots do not allow the change.
    RootImmutable,
    /// The collection has child collections.
    HasChildren,
    /// The rules of other collections reference the collection.
    NamedByRules,
    /// The kind of a collection cannot be changed by an update.
    KindImmutable,
    /// The request does not apply to this kind of collection.
    KindMismatch,
    /// A child to be added is in the list already.
    ChildAlreadyInList,
    /// The etag is not the current one.
    EtagMismatch,
    /// The idempotency key was used for another request.
    RequestIdReused,
    /// The page token is invalid or belongs to another request.
    PageTokenInvalid,
    /// The product is not registered.
    ProductNotFound,
    /// Products to be added to a collection are not registered.
    ProductsUnknown,
    /// The deadline passed.
    DeadlineExceeded,
    /// The database is unavailable or too busy.
    DatabaseUnavailable,
    /// Too many requests are in flight.
    Overloaded,
    /// The response would exceed the server's limit.
    ResponseTooLarge,
    /// The caller or the tenant exceeds its rate limit.
    RateLimited,
    /// The database cannot write, because its disk is full or fails.
    StorageFull,
    /// The tenant would have too many collections.
    TooManyCollections,
    /// Rules would be evaluated over too many products, or too many lists would change.
    EvaluationTooLarge,
    /// A server error.
    Internal,
}

impl Reason {
    /// The category of failures with this reason.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::InvalidField
            | Self::RequestIdReused
            | Self::PageTokenInvalid
            | Self::TenantRequired => ErrorKind::Invalid,
            Self::Unauthenticated => ErrorKind::Unauthenticated,
            Self::ScopeMissing | Self::TenantDenied => ErrorKind::Forbidden,
            Self::IndexOutOfRange => ErrorKind::OutOfRange,
            Self::CollectionNotFound | Self::ChildNotInList | Self::ProductNotFound => {
                ErrorKind::NotFound
            }
            Self::IdTaken | Self::SlugTaken => ErrorKind::AlreadyExists,
            Self::EtagMismatch => ErrorKind::Stale,
            Self::ParentNotFound
            | Self::ChildNotFound
            | Self::CycleDetected
            | Self::TooDeep
            | Self::TooManyParents
            | Self::TooManyCollections
            | Self::RootImmutable
            | Self::HasChildren
            | Self::NamedByRules
            | Self::KindImmutable
            | Self::KindMismatch
            | Self::ChildAlreadyInList
            | Self::ProductsUnknown
            | Self::EvaluationTooLarge
            | Self::ResponseTooLarge => ErrorKind::FailedPrecondition,
            Self::DeadlineExceeded => ErrorKind::Deadline,
            Self::RateLimited => ErrorKind::Exhausted,
            Self::DatabaseUnavailable | Self::Overloaded | Self::StorageFull => {
                ErrorKind::Unavailable
            }
            Self::Internal => ErrorKind::Internal,
        }
    }
}

/// The metadata key of the setting that has the exceeded limit.
pub const SETTING: &str = "setting";

/// A resource that a failure is about, by its id.
#[derive(Clone, Debug)]
pub enum Resource {
    /// A collection.
    Collection(Box<str>),
    /// A product.
    Product(Box<str>),
}

impl Resource {
    /// The id.
    pub fn id(&self) -> &str {
        match self {
            Self::Collection(id) | Self::Product(id) => id,
        }
    }
}

/// A failure. `message` is for the caller, `source` only for the log.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The machine-readable reason.
    pub reason: Reason,
    /// A message for people, which names the resource and the limit.
    pub message: String,
    /// All violations, if fields are invalid.
    pub violations: Vec<Violation>,
    /// The resource that the failure is about.
    pub resource: Option<Box<Resource>>,
    /// Machine-readable details, by the keys that are published with the reason.
    pub metadata: BTreeMap<&'static str, String>,
    /// The rate limit, if the caller exceeded it.
    pub throttled: Option<Box<Throttled>>,
    /// The cause, which is logged once at the edge and never sent.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure with a reason and a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            violations: Vec::new(),
            resource: None,
            metadata: BTreeMap::new(),
            throttled: None,
            source: None,
        }
    }

    /// The same about a collection.
    #[must_use]
    pub fn about(mut self, id: impl Into<String>) -> Self {
        self.resource = Some(Box::new(Resource::Collection(id.into().into_boxed_str())));
        self
    }

    /// The same about a product.
    #[must_use]
    pub fn about_product(mut self, id: impl Into<String>) -> Self {
        self.resource = Some(Box::new(Resource::Product(id.into().into_boxed_str())));
        self
    }

    /// The same with the name of the setting whose limit was exceeded, if neither the reason nor a
    /// violation implies it.
    #[must_use]
    pub fn limited_by(self, setting: &'static str) -> Self {
        self.with(SETTING, setting)
    }

    /// The same with a machine-readable detail.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key, value.to_string());
        self
    }

    /// The same with a cause for the log.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A server error; the caller gets no details.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "internal error").caused_by(source)
    }

    /// The error of missing or invalid credentials. Only the log says what is wrong with them.
    pub fn unauthenticated() -> Self {
        Self::new(
            Reason::Unauthenticated,
            "missing or invalid credentials: send authorization: Bearer …",
        )
    }

    /// The error of a collection that does not exist in the tenant.
    pub fn collection_not_found(key: &str) -> Self {
        Self::new(
            Reason::CollectionNotFound,
            format!("collection {} does not exist", Quoted(key)),
        )
        .about(key)
    }

    /// The category of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.reason.kind()
    }

    /// Whether the server is at fault, so that the cause must be logged. Overload is excluded:
    /// logging each rejected request would add to the load.
    pub fn is_ours(&self) -> bool {
        matches!(self.kind(), ErrorKind::Internal | ErrorKind::Unavailable)
            && self.reason != Reason::Overloaded
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        vec![violation].into()
    }
}

impl From<Vec<Violation>> for Error {
    fn from(violations: Vec<Violation>) -> Self {
        Self {
            violations,
            ..Self::new(Reason::InvalidField, "the request is invalid")
        }
    }
}

/// A constraint that a field violates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field.
    pub field: FieldPath,
    /// The value, truncated if long; empty if there is none.
    pub value: String,
    /// The constraint.
    pub constraint: Constraint,
}

impl Violation {
    /// A violation of `constraint` by the `value` of `field`.
    pub fn new(field: impl Into<FieldPath>, value: &str, constraint: Constraint) -> Self {
        Self {
            field: field.into(),
            value: shorten(value, SHOWN),
            constraint,
        }
    }

    /// The problem with the value, to be appended to the name of the field.
    pub fn problem(&self) -> String {
        if self.value.is_empty() {
            self.constraint.to_string()
        } else {
            format!("{:?} {}", self.value, self.constraint)
        }
    }
}

/// For logs and tests. Callers see their protocol's name of the field.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem())
    }
}

/// Collects violations, so that the caller gets all of them at once.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Adds a violation.
    pub fn add(&mut self, field: impl Into<FieldPath>, value: &str, constraint: Constraint) {
        self.0.push(Violation::new(field, value, constraint));
    }

    /// The value of `result`; if there is none, adds the violation.
    pub fn take<T>(&mut self, result: std::result::Result<T, Violation>) -> Option<T> {
        result.map_err(|violation| self.0.push(violation)).ok()
    }

    /// Adds a violation if `value` has more than `max` characters, or a NUL, which PostgreSQL's
    /// texts cannot contain.
    pub fn length(&mut self, field: impl Into<FieldPath>, value: &str, max: usize) {
        if value.contains('\0') {
            self.add(
                field,
                value,
                Constraint::Malformed("without NUL characters"),
            );
            return;
        }
        // A character takes at least one byte, so short texts need no counting.
        if value.len() > max {
            let length = value.chars().count();
            if length > max {
                self.add(field, value, Constraint::TooLong { length, max });
            }
        }
    }

    /// Adds a violation if there are more than `max` items.
    pub fn count(&mut self, field: impl Into<FieldPath>, count: usize, max: usize) {
        if count > max {
            self.add(field, "", Constraint::TooMany { count, max });
        }
    }

    /// Fails if there are any violations.
    ///
    /// # Errors
    /// With all violations, in the order in which they were added.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.0.into())
        }
    }
}

/// A value as messages show it: quoted, and truncated if it is long.
#[derive(Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shorten(self.0, SHOWN))
    }
}

/// The number of characters of a value that are shown.
const SHOWN: usize = 80;

/// The beginning of a text that a client sent, so that an error is not as large as the request.
pub fn shorten(value: &str, shown: usize) -> String {
    match value.char_indices().nth(shown) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_field_value_and_limit() {
        let mut violations = Violations::default();
        violations.length("name", &"é".repeat(300), 255);
        violations.length("slug", &"é".repeat(255), 255);
        let error = violations.finish().unwrap_err();
        assert_eq!(error.violations.len(), 1);
        let text = error.violations[0].to_string();
        assert!(text.starts_with("name: \"é"), "{text}");
        assert!(
            text.ends_with("…\" is 300 characters long; the limit is 255"),
            "{text}"
        );
    }
}
