//! Reads one collection, with or without its lists, ancestors and descendants. Encoded responses
//! can be served from [`super::read_cache`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::future::Either;

use super::{
    Ancestors, Depth, Descendants, Detail, Include, Service, Settings, detail, lineage_of,
    read_cache::{EncodedResponse, Filled},
    with_lists,
};
use crate::{
    domain::{
        Caller, ChildIds, Collection, CollectionId, Consistency, Error, Lineage, Reading, Reason,
        Result, RulesState,
    },
    memory::Reservation,
    store::{
        Mark, Tx, Versions, collections,
        lineage::{self, Found, Key},
        rules::evaluations,
    },
    telemetry::trace,
};

/// The maximum number of collections that a cached response may depend on: the collection itself
/// and its ancestors.
const MAX_SHOWN: usize = 64;

/// A collection with the requested lists, from one snapshot.
#[derive(Debug)]
pub struct Whole {
    /// The collection.
    pub detail: Detail,
    /// Its descendants, if they were requested.
    pub descendants: Option<Descendants>,
    /// The reserved memory for the lists.
    pub reservation: Arc<Reservation>,
}

impl Service {
    /// Reads one collection without its lists.
    ///
    /// # Errors
    /// If the caller is not authorized; if the tenant has no such collection; if the store fails.
    pub async fn get_collection(&self, caller: &Caller, key: Key) -> Result<Detail> {
        trace::use_case("GetCollection", async move {
            let tx = self.store.look_up(&caller.reading()?)?;
            Ok(self.one(&tx, &key).await?.0)
        })
        .await
    }

    /// The same, encoded by `encode`, or a cached response that is fresh enough. `form` identifies
    /// the encoding in the cache.
    ///
    /// # Errors
    /// As for [`Self::get_collection`].
    pub async fn get_encoded(
        &self,
        caller: &Caller,
        key: Key,
        consistency: Consistency,
        form: &str,
        encode: impl Fn(&Detail) -> Bytes + Send + Sync,
    ) -> Result<EncodedResponse> {
        trace::use_case("GetCollection", async move {
            let tx = &self.store.look_up(&caller.reading()?)?;
            let (kind, name, consistency) = match (&key, consistency) {
                (Key::Id(id), _) => ("id", id.as_str(), consistency),
                // An etag cannot validate a read by slug: the slug may have moved to another
                // collection.
                (Key::Slug(slug), Consistency::AtLeast(_)) => {
                    ("slug", slug.as_str(), Consistency::Full)
                }
                (Key::Slug(slug), _) => ("slug", slug.as_str(), consistency),
            };
            // Both tenants are part of the key: one determines the data, the other is shown.
            let (tenant, named) = (tx.tenant.as_str(), tx.named.as_str());
            let name = [tenant, named, "get", kind, name, form].join(" ");
            let (key, encode) = (&key, &encode);
            let fill = |of_replica: Option<Tx>| async move {
                let tx = of_replica.as_ref().unwrap_or(tx);
                self.fill(tx, key, encode).await
            };
            self.cache
                .get(&self.store, tx, name, consistency, fill)
                .await
        })
        .await
    }

    async fn fill(&self, tx: &Tx, key: &Key, encode: impl Fn(&Detail) -> Bytes) -> Result<Filled> {
        let before = self.before(tx, key).await?;
        let (detail, versions) = self.one(tx, key).await?;
        // The slug may have moved to another collection between the two reads.
        let before = before.filter(|(id, _)| *id == detail.collection.id);
        let before = before.map(|(_, mark)| mark);
        let mark = versions.and_then(|versions| self.store.mark(before, versions));
        Ok(Filled {
            encoded: EncodedResponse {
                body: encode(&detail),
                etag: detail.collection.etag(),
                read_etag: Some(detail.read_etag()),
                is_cached: false,
            },
            holds: mark
                .map(|mark| (detail.collection.id, mark))
                .into_iter()
                .collect(),
        })
    }

    /// The collection, and its versions if it is stored.
    async fn one(&self, tx: &Tx, key: &Key) -> Result<(Detail, Option<Versions>)> {
        let (detail, versions) = self.read_one(tx, key).await?;
        let state = detail.collection.rules_state;
        if state == RulesState::Evaluating && detail.progress.is_none() {
            // The job ended between the two statements, so the state and the progress disagree.
            return self.read_one(tx, key).await;
        }
        Ok((detail, versions))
    }

    async fn read_one(&self, tx: &Tx, key: &Key) -> Result<(Detail, Option<Versions>)> {
        let found = lineage::get(tx, key, Ancestors::default()).await?;
        let (collection, lineage, versions) = match (found, key) {
            (Some(found), _) => (found.collection, found.lineage, Some(found.versions)),
            (None, Key::Id(id)) if id.is_root() => {
                let root = self.settings.unmade_root(id.clone());
                (root, Lineage::default(), None)
            }
            (None, Key::Id(id)) => return Err(Error::collection_not_found(id.as_str())),
            (None, Key::Slug(slug)) => {
                let message = format!("no collection has the slug {:?}", slug.as_str());
                return Err(Error::new(Reason::CollectionNotFound, message));
            }
        };
        let named = super::counts(tx, std::slice::from_ref(&collection)).await?;
        let progress = evaluations::progress(tx, std::slice::from_ref(&collection)).await?;
        let progress = progress.get(&collection.id).copied();
        // The progress of a job does not change any version, so the response must not be cached.
        let versions = versions.filter(|_| progress.is_none());
        let detail = Detail {
            tenant: tx.named.clone(),
            named: named.get(&collection.id).copied().unwrap_or_default(),
            progress,
            collection,
            lineage,
            products: ChildIds::default(),
            collections: ChildIds::default(),
            named_products: ChildIds::default(),
        };
        Ok((detail, versions))
    }

    /// The mark that must be taken before the collection is read, so that the response can be
    /// cached.
    async fn before(&self, tx: &Tx, key: &Key) -> Result<Option<(CollectionId, Mark)>> {
        let id = match key {
            _ if !self.cache.is_on() || !self.store.has_stamps() => return Ok(None),
            Key::Id(id) => id.clone(),
            // The mark is found by id, so the slug must be resolved first.
            Key::Slug(_) => match lineage::get(tx, key, Ancestors::default()).await? {
                Some(found) => found.collection.id,
                None => return Ok(None),
            },
        };
        let mark = self.store.before(tx, &id);
        Ok(mark.map(|mark| (id, mark)))
    }

    /// Reads one collection with the requested lists, and its descendants down to the given depth.
    ///
    /// # Errors
    /// If the caller is not authorized; if the tenant has no such collection; if there is not
    /// enough memory for the lists, or if the descendants exceed a limit; if the store fails.
    pub async fn get_whole(
        &self,
        caller: &Caller,
        id: CollectionId,
        include: Include,
        descendants: Option<Depth>,
    ) -> Result<Whole> {
        trace::use_case("GetCollection", async move {
            let reading = caller.reading()?;
            let tx = self.store.read(&reading).await?;
            Ok(self.whole(&reading, tx, &id, include, descendants).await?.0)
        })
        .await
    }

    /// Reads one collection with the requested lists, encoded by `encode`, or a cached response
    /// that is fresh enough. `form` identifies the encoding in the cache. For a large collection,
    /// `encode` may return `None` to leave the encoding to the caller.
    ///
    /// # Errors
    /// As for [`Self::get_whole`].
    pub async fn get_whole_encoded(
        &self,
        caller: &Caller,
        id: CollectionId,
        include: Include,
        consistency: Consistency,
        form: &str,
        encode: impl Fn(&Whole) -> Option<Bytes> + Send + Sync,
    ) -> Result<Either<EncodedResponse, Whole>> {
        trace::use_case("GetCollection", async move {
            let reading = &caller.reading()?;
            let tx = &self.store.look_up(reading)?;
            let name = format!("{} {} whole {id} {form}", tx.tenant, tx.named);
            let (id, encode, left) = (&id, &encode, &Mutex::new(None));
            let fill = |of_replica: Option<Tx>| async move {
                let (whole, mut holds) =
                    self.whole_to_keep(reading, of_replica, id, include).await?;
                let body = encode(&whole);
                let etag = whole.detail.collection.etag();
                if body.is_none() {
                    holds.clear();
                    *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(whole);
                }
                Ok(Filled {
                    encoded: EncodedResponse {
                        body: body.unwrap_or_default(),
                        etag,
                        read_etag: None,
                        is_cached: false,
                    },
                    holds,
                })
            };
            let encoded = self.cache.get(&self.store, tx, name, consistency, fill);
            let encoded = encoded.await?;
            let left = left.lock().unwrap_or_else(PoisonError::into_inner).take();
            Ok(left.map_or(Either::Left(encoded), Either::Right))
        })
        .await
    }

    /// A collection with its lists, and the marks of everything that it depends on: itself, and the
    /// ancestors whose names it shows; empty if it must not be cached.
    async fn whole_to_keep(
        &self,
        reading: &Reading,
        of_replica: Option<Tx>,
        id: &CollectionId,
        include: Include,
    ) -> Result<(Whole, Vec<(CollectionId, Mark)>)> {
        let tx = match of_replica {
            Some(tx) => tx,
            None => self.store.read_on(reading).await?,
        };
        let before = if self.cache.is_on() && self.store.has_stamps() {
            // The ancestors must be known to take their marks, which must precede the actual read.
            let lineage = lineage_of(&tx, id, include.ancestors).await?;
            let mut shown = vec![id];
            shown.extend(lineage.ancestors());
            let marks = shown.into_iter().map(|id| {
                let mark = self.store.before(&tx, id);
                mark.map(|mark| (id.clone(), mark))
            });
            marks.collect::<Option<HashMap<_, _>>>().unwrap_or_default()
        } else {
            HashMap::new()
        };
        let tx = if before.is_empty() {
            tx
        } else {
            // A later snapshot, so that it includes everything up to the marks.
            drop(tx);
            self.store.read_on(reading).await?
        };
        let (whole, versions) = self.whole(reading, tx, id, include, None).await?;
        let shown = versions.into_iter().map(|(id, versions)| {
            let before = before.get(&id).copied();
            let mark = self.store.mark(before, versions);
            mark.map(|mark| (id, mark))
        });
        let shown = shown.take(MAX_SHOWN + 1).collect::<Option<Vec<_>>>();
        // The progress of a job does not change any version, so the response must not be cached.
        let may_keep = |shown: &Vec<_>| shown.len() <= MAX_SHOWN && whole.detail.progress.is_none();
        let holds = shown.filter(may_keep);
        Ok((whole, holds.unwrap_or_default()))
    }

    /// A collection with its lists, and the versions of everything that it shows, itself first;
    /// empty if the collection is not stored.
    async fn whole(
        &self,
        reading: &Reading,
        mut tx: Tx,
        id: &CollectionId,
        include: Include,
        descendants: Option<Depth>,
    ) -> Result<(Whole, Vec<(CollectionId, Versions)>)> {
        let settings = &self.settings;
        let mut found = self.found(&tx, id, include.ancestors).await?;
        let bytes = include.bytes(&found.collection);
        let reservation = match settings.memory.try_take(bytes) {
            Ok(reservation) => reservation,
            Err(_) => {
                // Release the connection while waiting for memory, so that others can use it.
                drop(tx);
                let reservation = settings.memory.take(bytes).await?;
                tx = self.store.read_on(reading).await?;
                found = self.found(&tx, id, include.ancestors).await?;
                reservation
            }
        };
        let versions = shown(&found);
        let detail = with_lists(&tx, found.collection, found.lineage, include).await?;
        let descendants = match descendants {
            Some(depth) => {
                let top = std::slice::from_ref(&detail.collection.id);
                Some(super::descendants::descendants(&tx, top, depth, false, settings).await?)
            }
            None => None,
        };
        let reservation = Arc::new(reservation);
        let whole = Whole {
            detail,
            descendants,
            reservation,
        };
        Ok((whole, versions))
    }

    /// A collection with its ancestors. A root is found even if the tenant has no data yet.
    async fn found(&self, tx: &Tx, id: &CollectionId, ancestors: Ancestors) -> Result<Found> {
        match lineage::get(tx, &Key::Id(id.clone()), ancestors).await? {
            Some(found) => Ok(found),
            None if id.is_root() => Ok(Found {
                collection: self.settings.unmade_root(id.clone()),
                lineage: Lineage::default(),
                versions: Versions {
                    collection: 0,
                    graph: None,
                },
            }),
            None => Err(Error::collection_not_found(id.as_str())),
        }
    }

    /// Reads a collection that the caller has written, to answer a retry.
    ///
    /// # Errors
    /// If the collection no longer exists; if there is not enough memory for its lists; if the
    /// store fails.
    pub async fn reread(
        &self,
        caller: &Caller,
        id: &CollectionId,
        include: Include,
    ) -> Result<Whole> {
        let tx = self.store.read_back(&caller.writing_to(id)?).await?;
        let collection = find(&tx, id, &self.settings).await?;
        let reservation = self.settings.memory.try_take(include.bytes(&collection))?;
        Ok(Whole {
            detail: detail(&tx, collection, include).await?,
            descendants: None,
            reservation: Arc::new(reservation),
        })
    }
}

/// The versions of a collection and of all ancestors, whose names it shows; empty if any of them is
/// unknown.
fn shown(found: &Found) -> Vec<(CollectionId, Versions)> {
    let lineage = &found.lineage;
    let own = (found.collection.version > 0).then(|| (found.collection.id.clone(), found.versions));
    let ancestors = lineage.ancestors().into_iter().map(|id| {
        let version = lineage.nodes.get(id)?.version?;
        let versions = Versions {
            collection: version,
            graph: None,
        };
        Some((id.clone(), versions))
    });
    let all = std::iter::once(own).chain(ancestors);
    all.collect::<Option<_>>().unwrap_or_default()
}

/// The collection. A root is found even if the tenant has no data yet.
pub(super) async fn find(tx: &Tx, id: &CollectionId, settings: &Settings) -> Result<Collection> {
    match collections::get(tx, id).await? {
        Some(collection) => Ok(collection),
        None if id.is_root() => Ok(settings.unmade_root(id.clone())),
        None => Err(Error::collection_not_found(id.as_str())),
    }
}
