//! The domain: collections, products, rules and their invariants, in plain Rust. Nothing here
//! depends on a protocol, a database or a serialization format. [`crate::service`] has the use
//! cases, and [`crate::store`] the persistence.

pub mod caller;
pub mod change;
pub mod child_ids;
pub mod children;
pub mod collection;
pub mod consistency;
pub mod constraint;
pub mod decimal;
pub mod details;
pub mod digest;
pub mod error;
pub mod etag;
pub mod facts;
pub mod field;
pub mod filter;
pub mod ids;
pub mod image;
pub mod json;
pub mod key;
pub mod limits;
pub mod lineage;
pub mod locale;
pub mod page;
pub mod product;
pub mod rate;
pub mod reader;
pub mod request;
pub mod rule_entries;
pub mod rules;
pub mod search;
pub mod slug;
pub mod sort;
pub mod text;
pub mod time;

pub use caller::{
    Administering, Caller, Deadline, Identity, Reading, Scope, ScopeNames, Tenants, Writing,
};
pub use change::{Change, MapChange};
pub use child_ids::ChildIds;
pub use children::{ChildType, Mutation, OnDuplicate, OnMissing, Outcome, Place, Position};
pub use collection::{Active, Changes, Collection, Draft, Kind, Progress, RootNames, RulesState};
pub use consistency::Consistency;
pub use constraint::Constraint;
pub use decimal::Decimal;
pub use details::{Details, DetailsChanges, Price, Variant};
pub use error::{Error, ErrorKind, Reason, Result, Violation, Violations};
pub use etag::{Etag, Precondition, PropertiesEtag, ReadEtag};
pub use facts::{Facts, Needs};
pub use field::FieldPath;
pub use filter::{CollectionFilter, ProductFilter};
pub use ids::{ChildId, CollectionId, ProductId, RequestId, TenantId};
pub use image::{Image, ImageDraft, ImageSource, ImageText};
pub use json::{CustomProperties, Json};
pub use key::ApiKey;
pub use limits::Limits;
pub use lineage::Lineage;
pub use locale::Locale;
pub use product::{Product, ProductChanges};
pub use rate::{Rate, Throttled};
pub use reader::{Locales, Reader};
pub use request::Retryable;
pub use rule_entries::{ChildReason, EntryCounts, EntryKind, RuleEntry};
pub use rules::{
    Combinator, Condition, Field, Group, Operand, Operator, References, Rule, RuleSet, Rules,
};
pub use slug::{Handle, Slug};
pub use sort::{Sort, SortBy};
pub use text::{Text, TextField, Texts};
pub use time::Timestamp;
