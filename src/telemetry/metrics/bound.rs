//! Instruments bound to the attributes of requests. An instrument that is not bound hashes and compares
//! the text of all attributes for each value.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, RwLock},
};

use opentelemetry::metrics::{BoundCounter, BoundUpDownCounter};

use super::{
    requests::{CallLabels, ExchangeLabels, Measures},
    table::Instruments,
};

/// The bound instruments. The number of each is limited by that of methods, routes and statuses.
#[derive(Debug)]
pub(super) struct BoundInstruments {
    pub(super) requests_in_flight: BoundUpDownCounter<i64>,
    pub(super) connections: BoundUpDownCounter<i64>,
    /// By pool.
    pub(super) waiting: Bound<&'static str, BoundUpDownCounter<i64>>,
    /// By method.
    pub(super) active_calls: Bound<&'static str, BoundUpDownCounter<i64>>,
    /// By method and scheme.
    pub(super) active_exchanges: Bound<(&'static str, &'static str), BoundUpDownCounter<i64>>,
    /// By result.
    pub(super) read_cache_lookups: Bound<&'static str, BoundCounter<u64>>,
    pub(super) calls: Bound<CallLabels, Measures>,
    pub(super) exchanges: Bound<ExchangeLabels, Measures>,
}

impl BoundInstruments {
    pub(super) fn new(instruments: &Instruments) -> Self {
        Self {
            requests_in_flight: instruments.requests_in_flight.bind(&[]),
            connections: instruments.connections.bind(&[]),
            waiting: Bound::default(),
            active_calls: Bound::default(),
            active_exchanges: Bound::default(),
            read_cache_lookups: Bound::default(),
            calls: Bound::default(),
            exchanges: Bound::default(),
        }
    }
}

/// Instruments of one kind, by what determines their attributes.
#[derive(Debug)]
pub(super) struct Bound<K, T>(RwLock<HashMap<K, T>>);

impl<K, T> Default for Bound<K, T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Bound<K, T> {
    /// The instrument for this key, which `bind` binds if it is the first one.
    pub(super) fn get(&self, key: &K, bind: impl FnOnce() -> T) -> T {
        let bound = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = bound.get(key) {
            return found.clone();
        }
        drop(bound);
        let mut bound = self.0.write().unwrap_or_else(PoisonError::into_inner);
        bound.entry(key.clone()).or_insert_with(bind).clone()
    }
}
