//! Explains why a product is or is not in a smart collection: by a rule entry, or by how each part
//! of the rules evaluates.

use super::{Service, change_rule_entries::not_for_manual, get_collection::find};
use crate::{
    domain::{
        Caller, ChildId, ChildType, CollectionId, Facts, Kind, ProductId, Result, RuleSet,
        rules::{Explanation, explain},
    },
    store::{
        children::Children,
        products,
        rules::{due, entries, evaluations, names::Memberships},
    },
    telemetry::trace,
};

/// The maximum number of attribute paths in an explanation.
const MAX_PATHS: usize = 100;

/// Whether a product is in a smart collection, and why.
#[derive(Debug)]
pub struct Membership {
    /// Whether the list contains the product.
    pub is_member: bool,
    /// The reason.
    pub because: Because,
    /// The index that it is pinned to, if any.
    pub pinned: Option<u64>,
    /// How the rules evaluate; `None` if the product is not registered.
    pub rules: Option<Explanation>,
    /// The paths of attributes that rules cannot use as facts; see [`Facts::ignored_paths`].
    pub ignored: Vec<String>,
}

/// The reason for membership or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The product matches the rules.
    Match,
    /// The product neither matches the rules nor is included.
    NoMatch,
    /// The product is included, whether it matches or not.
    Include,
    /// The product is excluded, whether it matches or not.
    Exclude,
}

impl Service {
    /// Explains whether a product is in a smart collection.
    ///
    /// # Errors
    /// If the caller is not authorized; if the tenant has no such collection, or it is manual; if
    /// the store fails.
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
            // While new rules are being evaluated, the list still follows the old ones.
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
                    let memberships = Memberships::of(&tx, &set, only).await?;
                    Some(explain(rules, &memberships.facts(product, now)))
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
