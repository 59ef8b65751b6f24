//! The `SeaORM` models of all tables. They are not used outside the store.

pub(super) mod api_key;
pub(super) mod collection;
pub(super) mod due_evaluation;
pub(super) mod evaluation;
pub(super) mod heartbeat;
pub(super) mod job;
pub(super) mod job_list;
pub(super) mod login;
pub(super) mod member;
pub(super) mod product;
pub(super) mod request;
pub(super) mod rule_entry;
pub(super) mod rule_set;
pub(super) mod secret;
pub(super) mod segment;
pub(super) mod segment_content;
pub(super) mod switched_list;
pub(super) mod tenant;
