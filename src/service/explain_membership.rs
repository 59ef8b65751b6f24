//! Why a product is in a smart collection, or is not.

use super::{Service, change_rule_entries::not_for_manual, get_collection::find};
use crate::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Facts, Kind, ProductId, Result, RuleSet,
        rules::{Explanation, explain},
    },
    store::{
        children::Children,
        products,
        rules::{due, entries, evaluations, names::Belongs},
    },
    telemetry::trace,
};

/// The most paths of attributes that are named.
const MAX_PATHS: usize = 100;

/// Whether a product is in a smart collection, and why.
#[derive(Debug)]
pub struct Membership {
    /// Whether it is.
    pub is_member: bool,
    /// What that follows from.
    pub because: Because,
    /// The index that it is pinned to.
    pub pinned: Option<u64>,
    /// The verdict of the rules; none if the product is not registered.
    pub rules: Option<Explanation>,
    /// The paths of attributes that are no facts; see [`Facts::ignored_paths`].
    pub ignored: Vec<String>,
}

/// What membership follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The product matches the rules.
    Match,
    /// It does not, and is not included.
    NoMatch,
    /// It is included, whether it matches or not.
    Include,
    /// It is excluded, whether it matches or not.
    Exclude,
}

impl Service {
    /// Explains whether a product is in a smart collection.
    ///
    /// # Errors
    /// Where the caller may not; where the tenant has no such collection, or it is manual;
    /// where the store fails.
    pub async fn explain_membership(
        &self,
        caller: &Caller,
        collection: &CollectionId,
        product: ProductId,
    ) -> Result<Membership> {
        trace::use_case("ExplainMembership", async move {
            let tx = self.store.read(&caller.reading()?).await?;
            let found = find(&tx, collection, &self.settings).await?;
            if !found.kind.is_smart() {
                return Err(not_for_manual(collection));
            }
            // While others are evaluated, the list follows these.
            let (follows, _) = evaluations::followed(&tx, &found).await?;
            let child = ChildId::from(product.clone());
            let list = Children::of(&tx, &found, ChildType::Product);
            let is_member = list.index_of(&child).await?.is_some();
            let only = std::slice::from_ref(&product);
            let named = entries::of_products(&tx, only).await?;
            let named = named.get(&(collection.clone(), product.clone()));
            let named = named.copied().unwrap_or_default();
            let known = products::get_many(&tx, only).await?;
            let known = known.get(&product);
            let verdict = match (&follows, known) {
                (Kind::Smart { rules }, Some(product)) => {
                    let now = if rules.has_ages() {
                        due::now(&tx).await?
                    } else {
                        tx.now
                    };
                    let set = RuleSet::new([(collection.clone(), rules.clone())]);
                    let belongs = Belongs::of(&tx, &set, only).await?;
                    Some(explain(rules, &belongs.facts(product, now)))
                }
                (Kind::Manual, _) | (_, None) => None,
            };
            let matches = verdict.as_ref().is_some_and(|verdict| verdict.holds);
            let ignored = known.map(|product| Facts::ignored_paths(product, MAX_PATHS));
            Ok(Membership {
                is_member,
                because: match (named.exclude, named.include, matches) {
                    (true, ..) => Because::Exclude,
                    (_, true, _) => Because::Include,
                    (_, _, true) => Because::Match,
                    (_, _, false) => Because::NoMatch,
                },
                pinned: named.pin,
                rules: verdict,
                ignored: ignored.into_iter().flatten().collect(),
            })
        })
        .await
    }
}
