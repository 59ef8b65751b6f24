//! The request to update a collection, and its result. [`super::update_collection`] executes it.

use std::{collections::BTreeSet, sync::Arc};

use super::{Detail, Include, Retry};
use crate::{
    domain::{Changes, ChildType, CollectionId, Mutation, Outcome, Precondition, Reader},
    memory::Reservation,
};

/// A request to update a collection.
#[derive(Clone, Debug)]
pub struct UpdateCollection {
    /// The collection.
    pub id: CollectionId,
    /// The changes of its properties.
    pub changes: Changes,
    /// The language of the client, if all texts in `changes` are in that language; `None` if they
    /// are in the locales that they specify.
    pub reader: Option<Reader>,
    /// Its new parents; `None` to keep the current ones.
    pub parents: Option<BTreeSet<CollectionId>>,
    /// The mutations of its lists, in order.
    pub mutations: Vec<ChildMutation>,
    /// The precondition on the current version, if any.
    pub etag: Option<Precondition>,
    /// Whether to return the result without changing anything.
    pub validate_only: bool,
    /// What to include in the response.
    pub include: Include,
    /// How to recognise and answer a retry; `None` without an idempotency key.
    pub retry: Option<Retry<Updated>>,
}

/// A mutation and the list that it applies to.
#[derive(Clone, Debug)]
pub struct ChildMutation {
    /// The kind of list.
    pub list: ChildType,
    /// The mutation.
    pub mutation: Mutation,
}

/// The result of an update.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The collection in its new state.
    pub detail: Detail,
    /// The outcome of each mutation, in the order of the request.
    pub outcomes: Vec<Outcome>,
    /// The number of rows that the mutations wrote or deleted, without the collection's own row.
    pub rows_written: u64,
    /// The reserved memory for the lists in `detail`.
    pub reservation: Arc<Reservation>,
}

impl UpdateCollection {
    /// An update of the collection that does not change anything yet.
    pub fn of(id: CollectionId) -> Self {
        Self {
            id,
            changes: Changes::default(),
            reader: None,
            parents: None,
            mutations: Vec::new(),
            etag: None,
            validate_only: false,
            include: Include::default(),
            retry: None,
        }
    }
}
