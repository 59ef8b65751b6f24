//! The use cases, one per file. Each takes the caller and a command and returns a domain value. It
//! first checks that the caller is authorized, and does all of its writes in one transaction of the
//! [`crate::store`]. Protocol handlers translate requests into commands.

mod assign_products;
mod batch_get_collections;
mod change_kind;
mod change_rule_entries;
mod child_token;
mod create_collection;
mod delete_collection;
mod delete_products;
mod derive_facts;
mod descendants;
mod evaluation;
mod execute;
mod explain_membership;
mod follow_time;
mod get_child;
mod get_collection;
mod get_product;
mod groups;
mod jobs;
mod links;
mod list_children;
mod list_collections;
mod list_matching_collections;
mod list_parents;
mod list_products;
mod list_rule_entries;
mod move_collection;
mod preview_rules;
mod products;
mod read_cache;
mod reindex;
mod response;
mod retry;
mod scan;
mod token;
mod update;
mod update_collection;
mod update_groups;
mod upsert_products;

use std::collections::HashMap;

use bytes::Bytes;

use crate::{
    domain::{
        Changes, ChildIds, ChildType, Collection, CollectionId, Constraint, DetailsChanges,
        EntryCounts, FieldPath, Limits, Lineage, Locale, Locales, Product, ProductId, Reading,
        Result, RootNames, Timestamp, Violations, child_ids, image::ImagePart,
    },
    memory::Memory,
    store::{
        Permit, Store, Tx,
        children::Children,
        collections, lineage,
        rules::{RuleLimits, entries, evaluations},
    },
};

pub use crate::store::requests::StoredResponse;
pub use assign_products::{AssignProducts, Assignment};
pub use batch_get_collections::Batch;
pub use change_kind::ChangeKind;
pub use change_rule_entries::{ChangeRuleEntries, EntriesChanged};
pub use create_collection::{CreateCollection, Parents};
pub use delete_collection::DeleteCollection;
pub use delete_products::DeleteProducts;
pub use descendants::{Depth, Descendants};
pub use execute::{Command, Executed};
pub use explain_membership::{Because, Membership};
pub use get_collection::Whole;
pub use list_children::{ChildPage, ChildProducts, ChildStart, ListChildren};
pub use list_collections::{CollectionPage, ListCollections, PageStart, StillCollections};
pub use list_matching_collections::{ListMatchingCollections, MatchingPage};
pub use list_parents::{ListParents, ParentPage};
pub use list_products::{ListProducts, ProductPage, StillProducts};
pub use list_rule_entries::{ListRuleEntries, RuleEntryPage};
pub use move_collection::{MoveCollection, Movement, TargetPosition};
pub use preview_rules::{MAX_SAMPLE, Preview, PreviewRules, Sample};
pub use products::ProductDetail;
pub use read_cache::EncodedResponse;
pub use response::{Detail, Include};
pub use retry::Retry;
pub use scan::{Scan, Still};
pub use token::MAX_TOKEN as MAX_PAGE_TOKEN;

pub use lineage::{Ancestors, Key};
pub use update::{ChildMutation, UpdateCollection, Updated};
pub use upsert_products::{Completion, Expected, Listing, ProductUpsert, UpsertProducts, Upserted};

/// The use cases. Clones share all state.
#[derive(Clone, Debug)]
pub struct Service {
    store: Store,
    settings: std::sync::Arc<Settings>,
    page_tokens: token::PageTokens,
    cache: read_cache::ReadCache,
    groups: groups::Groups<UpdateCollection, Updated>,
}

/// Derives facts from the attributes of a stored product, as one vendor's API defines them.
pub type FactsOfStored = fn(&Product) -> DetailsChanges;

/// Settings that apply to all requests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits on sizes and counts.
    pub limits: Limits,
    /// The locale whose texts are the fallback for texts that are missing in another locale.
    pub default_locale: Locale,
    /// The locales in which texts may be written, including their regions; empty for all.
    pub locales: Vec<Locale>,
    /// Whether only registered products may be added to collections.
    pub check_products: bool,
    /// The currency for sorting by price if the request names none.
    pub default_currency: Option<String>,
    /// The names of the roots of new tenants.
    pub root_names: RootNames,
    /// The memory that responses may take.
    pub memory: Memory,
    /// How to derive facts, for each vendor's API, from products that were stored before facts
    /// existed.
    pub facts_of_stored: Vec<FactsOfStored>,
    /// The size of the cache of encoded responses, in bytes; 0 for no cache.
    pub read_cache_size: usize,
}

impl Service {
    /// Creates the use cases on a store.
    pub fn new(store: Store, settings: Settings) -> Self {
        let store = store.with_rule_limits(RuleLimits {
            products: settings.limits.synchronous_products,
            changes: settings.limits.synchronous_changes,
            chain: settings.limits.rule_chain,
        });
        let settings = std::sync::Arc::new(settings);
        Self {
            page_tokens: token::PageTokens::new(store.clone()),
            cache: read_cache::ReadCache::new(settings.read_cache_size),
            groups: groups::Groups::new(&store),
            store,
            settings,
        }
    }

    /// Creates the secrets that all servers on the database share, if they are missing, so that no
    /// read has to create them later.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn prepare(&self) -> Result<()> {
        self.page_tokens.prepare().await
    }

    /// The result of `make`, which depends only on `source`, a cached response, and the name of the
    /// `form`; or the same from the read cache.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn derived<E>(
        &self,
        form: &str,
        source: &[u8],
        make: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Bytes, E> {
        self.cache.derived(form, source, make).await
    }

    /// Waits for permission to search, if the request is a search.
    async fn search_turn(&self, is_search: bool, reading: &Reading) -> Option<Permit> {
        if is_search {
            Some(self.store.search(reading).await)
        } else {
            None
        }
    }

    /// The settings that apply to all requests.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Settings {
    /// A root of a tenant that has no data yet, and thus no stored roots.
    fn unmade_root(&self, id: CollectionId) -> Collection {
        let never = Timestamp::from_micros(0);
        Collection::root(id, self.root_names, never, &self.default_locale)
    }

    /// The default locale and the enabled locales.
    pub fn locales(&self) -> Locales<'_> {
        Locales {
            default: &self.default_locale,
            listed: &self.locales,
        }
    }

    /// Checks that all texts and keywords are in enabled locales.
    fn check_locales(&self, changes: &Changes) -> Result<()> {
        let texts = changes.texts.entries.iter();
        let texts = texts.map(|((locale, field), _)| {
            let field = FieldPath::Text(locale.clone(), *field);
            (locale, field)
        });
        let keywords = changes.keywords.iter();
        let keywords =
            keywords.map(|(locale, _)| (locale, FieldPath::Keywords(locale.clone(), None)));
        let images = changes.images.iter().flatten().enumerate();
        let images = images.flat_map(|(at, image)| {
            let texts = image.texts.entries.iter();
            texts.map(move |((locale, text), _)| {
                let part = ImagePart::Text(locale.clone(), *text);
                (locale, FieldPath::Image(at, part))
            })
        });
        let mut violations = Violations::default();
        for (locale, field) in texts.chain(keywords).chain(images) {
            if !self.locales().allow(locale) {
                let known = "the locales that are enabled";
                violations.add(field, locale.as_str(), Constraint::Unknown(known));
            }
        }
        violations.finish()
    }
}

/// Takes a collection that was locked and saved from the result of saving.
fn taken(
    saved: &mut std::collections::BTreeMap<CollectionId, Collection>,
    id: &CollectionId,
) -> Result<Collection> {
    let saved = saved.remove(id);
    saved.ok_or_else(|| crate::domain::Error::collection_not_found(id.as_str()))
}

/// Adds related data to a collection that was read in the same transaction.
async fn detail(tx: &Tx, collection: Collection, include: Include) -> Result<Detail> {
    let lineage = lineage_of(tx, &collection.id, include.ancestors).await?;
    with_lists(tx, collection, lineage, include).await
}

async fn with_lists(
    tx: &Tx,
    collection: Collection,
    lineage: Lineage,
    include: Include,
) -> Result<Detail> {
    let named = counts(tx, std::slice::from_ref(&collection)).await?;
    let named = named.get(&collection.id).copied().unwrap_or_default();
    let progress = evaluations::progress(tx, std::slice::from_ref(&collection)).await?;
    let progress = progress.get(&collection.id).copied();
    let named_products = if include.products && named.includes + named.pins > 0 {
        named_products(tx, &collection.id).await?
    } else {
        ChildIds::default()
    };
    let products = if include.products && collection.product_count > 0 {
        Children::of(tx, &collection, ChildType::Product)
            .ids()
            .await?
    } else {
        ChildIds::default()
    };
    let collections = if include.collections && collection.collection_count > 0 {
        Children::of(tx, &collection, ChildType::Collection)
            .ids()
            .await?
    } else {
        ChildIds::default()
    };
    Ok(Detail {
        tenant: tx.named.clone(),
        collection,
        lineage,
        products,
        collections,
        named,
        progress,
        named_products,
    })
}

/// The number of rule entries of each smart collection. Collections without any are left out.
async fn counts(tx: &Tx, collections: &[Collection]) -> Result<HashMap<CollectionId, EntryCounts>> {
    let smart = collections.iter().filter(|it| it.kind.is_smart());
    let smart: Vec<_> = smart.map(|collection| &collection.id).collect();
    entries::counts(tx, &smart).await
}

/// The products that a smart collection includes or pins, by id.
async fn named_products(tx: &Tx, id: &CollectionId) -> Result<ChildIds> {
    let named = entries::of_collection(tx, id).await?;
    let mut ids = named.includes;
    ids.extend(named.pins.into_keys());
    let ids: Vec<_> = ids.iter().map(ProductId::as_str).collect();
    let mut all = ChildIds::default();
    if !ids.is_empty() {
        all.push(&child_ids::join(ids));
    }
    Ok(all)
}

/// Adds ancestors and counts, but no lists, to collections.
async fn details(
    tx: &Tx,
    collections: Vec<Collection>,
    ancestors: Ancestors,
) -> Result<Vec<Detail>> {
    let ids: Vec<CollectionId> = collections.iter().map(|c| c.id.clone()).collect();
    let mut lineages: HashMap<CollectionId, Lineage> = lineage::of(tx, &ids, ancestors).await?;
    let named = counts(tx, &collections).await?;
    let progress = evaluations::progress(tx, &collections).await?;
    let detail = |collection: Collection| Detail {
        tenant: tx.named.clone(),
        lineage: lineages.remove(&collection.id).unwrap_or_default(),
        named: named.get(&collection.id).copied().unwrap_or_default(),
        progress: progress.get(&collection.id).copied(),
        collection,
        products: ChildIds::default(),
        collections: ChildIds::default(),
        named_products: ChildIds::default(),
    };
    Ok(collections.into_iter().map(detail).collect())
}

/// The collections with these ids, in that order, without lists. Missing collections are left out.
async fn in_order(tx: &Tx, ids: &[CollectionId], ancestors: Ancestors) -> Result<Vec<Detail>> {
    let found = details(tx, collections::get_many(tx, ids).await?, ancestors).await?;
    let found = found
        .into_iter()
        .map(|detail| (detail.collection.id.clone(), detail));
    let mut found: HashMap<_, _> = found.collect();
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

async fn lineage_of(tx: &Tx, id: &CollectionId, ancestors: Ancestors) -> Result<Lineage> {
    let mut lineages = lineage::of(tx, std::slice::from_ref(id), ancestors).await?;
    Ok(lineages.remove(id).unwrap_or_default())
}
