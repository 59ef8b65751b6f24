//! What a collection is and which rules hold for it, in plain Rust: nothing here
//! knows a protocol, a database or a serialisation.

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
pub mod rules;
pub mod search;
pub mod slug;
pub mod text;
pub mod time;

pub use caller::{
    Administering, Caller, Deadline, Identity, Reading, Scope, ScopeNames, Tenants, Writing,
};
pub use change::{Change, MapChange};
pub use child_ids::ChildIds;
pub use children::{ChildType, Mutation, OnDuplicate, OnMissing, Outcome, Place, Position};
pub use collection::{Active, Changes, Collection, Draft, Kind, RootNames};
pub use consistency::Consistency;
pub use constraint::Constraint;
pub use decimal::Decimal;
pub use details::{Details, DetailsChanges, Price, Variant};
pub use error::{Error, ErrorKind, Reason, Result, Violation, Violations};
pub use etag::{Etag, ReadEtag};
pub use facts::Facts;
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
pub use rules::{Combinator, Condition, Field, Group, Operand, Operator, Rule, RuleSet, Rules};
pub use slug::{Handle, Slug};
pub use text::{Text, TextField, Texts};
pub use time::Timestamp;
