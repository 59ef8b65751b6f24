//! Previews which products rules would match, before they are saved, and which would join or leave
//! an existing collection.

use std::{collections::BTreeSet, sync::Arc};

use super::{Service, Settings, get_collection::find};
use crate::{
    domain::{
        Caller, ChildType, CollectionId, Error, Product, ProductId, Reason, Result, RuleSet, Rules,
        Violations,
        rules::{Matcher, Warning},
    },
    store::{
        Tx,
        children::Children,
        membership::too_many_products,
        products::{self, Behind, Page, Pages},
        rules::{
            due,
            entries::{self, Named},
            names::{self, Memberships},
        },
    },
    telemetry::trace,
};

/// The maximum number of products in each sample of a preview.
pub const MAX_SAMPLE: usize = 100;

/// A request for a preview.
#[derive(Clone, Debug)]
pub struct PreviewRules {
    /// The rules.
    pub rules: Rules,
    /// A collection whose current members are compared with the result, if any.
    pub collection: Option<CollectionId>,
    /// The maximum number of products in each sample.
    pub sample: usize,
}

/// The products that the rules would match.
#[derive(Debug, Default)]
pub struct Preview {
    /// The number of evaluated products.
    pub evaluated: u64,
    /// The products that match.
    pub matches: Sample,
    /// The products that would join the collection.
    pub joining: Sample,
    /// The products that would leave the collection.
    pub leaving: Sample,
    /// Warnings about the rules.
    pub warnings: Vec<Warning>,
}

/// A number of products, with the first of them as examples.
#[derive(Debug, Default)]
pub struct Sample {
    /// The number of products.
    pub count: u64,
    /// The first products by id, each with its title, which is empty if it is not registered.
    pub first: Vec<(ProductId, String)>,
}

/// A number of products, with the ids of the first of them.
#[derive(Debug, Default)]
struct Counted {
    count: u64,
    first: Vec<ProductId>,
}

/// The state of comparing the matches with a collection.
#[derive(Debug, Default)]
struct Compared {
    /// Its rule entries. Includes are removed as their products are evaluated.
    named: Named,
    /// Its members. Products are removed as they are found to stay.
    members: BTreeSet<ProductId>,
}

impl Service {
    /// Evaluates rules over all registered products.
    ///
    /// # Errors
    /// If the caller is not authorized; if the rules are invalid; if the tenant has no such
    /// collection; [`Reason::EvaluationTooLarge`]; if the store fails.
    pub async fn preview_rules(&self, caller: &Caller, command: PreviewRules) -> Result<Preview> {
        trace::use_case("PreviewRules", async move {
            let reading = caller.reading()?;
            let limits = &self.settings.limits;
            let mut violations = Violations::default();
            command.rules.check(limits, &mut violations);
            violations.finish()?;
            let _turn = self.search_turn(true, &reading).await;
            let tx = self.store.read(&reading).await?;
            let compared = match &command.collection {
                None => None,
                Some(id) => Some(Compared::read(&tx, id, &self.settings).await?),
            };
            run(&tx, &command, compared, limits.synchronous_products).await
        })
        .await
    }
}

/// Evaluates the rules over at most `max` products.
async fn run(
    tx: &Tx,
    command: &PreviewRules,
    mut compared: Option<Compared>,
    max: usize,
) -> Result<Preview> {
    let matcher = Matcher::new(&command.rules);
    names::check_there(tx, &command.rules).await?;
    // The set needs some collection id; rules cannot belong to the root, so it is free.
    let any = CollectionId::root();
    let set = RuleSet::new([(any, command.rules.clone())]);
    let needs = set.needs();
    let memberships = Memberships::of_all(tx, &set).await?;
    let now = if command.rules.has_ages() {
        due::now(tx).await?
    } else {
        tx.now
    };
    // Not counted beforehand, which would take a tenth of the time of the evaluation.
    let mut evaluated = 0;
    let (mut matches, mut joining) = (Counted::default(), Counted::default());
    let mut count = |verdicts: Vec<(ProductId, bool)>| {
        for (product, is_match) in verdicts {
            if is_match {
                matches.add(&product, command.sample);
            }
            if let Some(compared) = &mut compared
                && compared.joins(&product, is_match)
            {
                joining.add(&product, command.sample);
            }
        }
    };
    let mut pages = Pages::after(tx, None, &needs);
    let matches_rules = Arc::new(move |product: &Product| {
        matcher.matches(&memberships.needed(product, now, &needs))
    });
    let mut evaluating = Behind::default();
    while let Some(page) = pages.next().await? {
        evaluated += page.products.len();
        if evaluated > max {
            return Err(too_many_products(max));
        }
        let matches_rules = Arc::clone(&matches_rules);
        // Here the products are dropped, too: the thread that reads them has more to do.
        let evaluate = move |page: Page| {
            let verdict = |product: Product| {
                let is_match = matches_rules(&product);
                (product.id, is_match)
            };
            page.products.into_iter().map(verdict).collect()
        };
        let before = evaluating.begin(tx, page, evaluate).await?;
        before.into_iter().for_each(&mut count);
    }
    evaluating.end().await?.into_iter().for_each(count);
    let mut leaving = Counted::default();
    if let Some(compared) = compared {
        (joining, leaving) = compared.finish(joining, command.sample);
    }
    Ok(Preview {
        evaluated: evaluated as u64,
        matches: Sample::of(tx, matches).await?,
        joining: Sample::of(tx, joining).await?,
        leaving: Sample::of(tx, leaving).await?,
        warnings: command.rules.warnings(),
    })
}

impl Counted {
    fn add(&mut self, id: &ProductId, max: usize) {
        self.count += 1;
        if self.first.len() < max {
            self.first.push(id.clone());
        }
    }
}

impl Sample {
    async fn of(tx: &Tx, products: Counted) -> Result<Self> {
        let mut known = products::outlines(tx, &products.first).await?;
        let title = |id: ProductId| {
            let product = known.remove(&id);
            (id, product.map(|it| it.title).unwrap_or_default())
        };
        Ok(Self {
            count: products.count,
            first: products.first.into_iter().map(title).collect(),
        })
    }
}

impl Compared {
    async fn read(tx: &Tx, id: &CollectionId, settings: &Settings) -> Result<Self> {
        let collection = find(tx, id, settings).await?;
        let max = settings.limits.synchronous_products;
        if collection.product_count > max as u64 {
            let message = format!(
                "the collection has {} products; a preview compares at most {max}, \
                 max_synchronous_products",
                collection.product_count
            );
            let error = Error::new(Reason::EvaluationTooLarge, message);
            return Err(error.limited_by("max_synchronous_products"));
        }
        let members = Children::of(tx, &collection, ChildType::Product);
        let members = members.all().await?.into_iter().map(ProductId::from);
        Ok(Self {
            members: members.collect(),
            named: entries::of_collection(tx, id).await?,
        })
    }

    /// Whether a registered product would become a member and is not one yet.
    fn joins(&mut self, id: &ProductId, is_match: bool) -> bool {
        let becomes_member = self.named.product(id).verdict(is_match);
        self.named.includes.remove(id);
        becomes_member && !self.members.remove(id)
    }

    /// The products that join and those that leave, after all registered products were compared:
    /// includes of unregistered products join, and members that are left leave.
    fn finish(mut self, mut joining: Counted, max: usize) -> (Counted, Counted) {
        let mut leaving = Counted::default();
        // The first of each kind may be among the first of both.
        for id in &self.named.includes {
            if !self.members.remove(id) {
                joining.add(id, usize::MAX);
            }
        }
        joining.first.sort_unstable();
        joining.first.truncate(max);
        for id in &self.members {
            leaving.add(id, max);
        }
        (joining, leaving)
    }
}
