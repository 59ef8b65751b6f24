//! The rules of a tenant, compiled in memory under the version of its rule set. They are trusted
//! while that version, read in the transaction, is the one that they were compiled for. Of a newer
//! version only the rules are read that changed since.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _,
    QuerySelect as _, sea_query::LockType,
};

use super::{
    evaluations::{self, Evaluation},
    memory::Compiled,
};
use crate::{
    domain::{CollectionId, Kind, Result},
    store::{
        cell::Cell,
        entity::{collection as row, rule_set},
        lock_set::RuleLock,
        row as decode,
        tx::Tx,
    },
};

/// The version of a rule set that was not written since the tenant, or the schema, came into being.
pub(in crate::store) const FIRST_VERSION: i64 = 1;

/// The rules that have changed since a version.
#[derive(FromQueryResult)]
struct Changed {
    id: String,
    smart: bool,
    rules: Option<String>,
    rules_state: i16,
    sort: String,
}

impl Compiled {
    /// Takes in rules, those that the list follows where others are evaluated.
    fn put(&mut self, tx: &Tx, changed: &Changed, evaluation: Option<Evaluation>) -> Result<()> {
        let cell = |column| Cell {
            table: "collections",
            tenant: tx.tenant(),
            key: &changed.id,
            column,
        };
        let id = CollectionId::trusted(&*changed.id);
        let (kind, sort) = if let Some(evaluation) = evaluation {
            self.evaluating.insert(id.clone());
            (evaluation.kind, evaluation.sort)
        } else {
            self.evaluating.remove(&id);
            let rules = changed.rules.as_deref();
            let kind = decode::kind(cell("rules"), changed.smart, rules)?;
            (kind, decode::sort(cell("sort"), &changed.sort)?)
        };
        match kind {
            Kind::Manual => {
                self.set.remove(&id);
                self.sorts.remove(&id);
            }
            Kind::Smart { rules } => {
                match sort {
                    Some(sort) => self.sorts.insert(id.clone(), sort),
                    None => self.sorts.remove(&id),
                };
                self.set.insert(id, &rules);
            }
        }
        Ok(())
    }
}

/// The rules of the tenant as the transaction sees them.
///
/// # Errors
/// Where the database fails.
pub async fn compiled(tx: &Tx) -> Result<Arc<Compiled>> {
    match lock(tx, RuleLock::Shared).await? {
        Some(version) => at(tx, version).await,
        None => Ok(Arc::default()),
    }
}

/// Locks the tenant's rule set, and answers its version; none where the tenant is not there yet.
/// In a view for reading nothing is locked.
pub(in crate::store) async fn lock(tx: &Tx, how: RuleLock) -> Result<Option<i64>> {
    let find = || rule_set::Entity::find_by_id(tx.tenant());
    let find = || match how {
        _ if tx.session().is_snapshot => find(),
        RuleLock::None => find(),
        RuleLock::Shared => find().lock(LockType::Share),
        RuleLock::Exclusive => find().lock_exclusive(),
    };
    if how == RuleLock::None {
        return Ok(None);
    }
    let mut found = find().one(tx.db()).await?;
    if found.is_none() && how == RuleLock::Exclusive {
        create(tx).await?;
        found = find().one(tx.db()).await?;
    }
    Ok(found.map(|row| row.version))
}

/// Adds the row of a tenant that has none.
pub(in crate::store) async fn create(tx: &Tx) -> Result<()> {
    let row = rule_set::ActiveModel {
        tenant_id: Set(tx.tenant().into()),
        version: Set(FIRST_VERSION),
    };
    rule_set::Entity::insert(row)
        .on_conflict_do_nothing()
        .exec_without_returning(tx.db())
        .await?;
    Ok(())
}

/// Notes that the rules of collections are others from that version on. The rule set must be
/// locked exclusively.
pub(in crate::store) async fn stamp(
    tx: &Tx,
    version: i64,
    collections: &[CollectionId],
) -> Result<()> {
    rule_set::Entity::update_many()
        .set(rule_set::ActiveModel {
            version: Set(version),
            ..rule_set::ActiveModel::default()
        })
        .filter(rule_set::Column::TenantId.eq(tx.tenant()))
        .exec(tx.db())
        .await?;
    row::Entity::update_many()
        .set(row::ActiveModel {
            rules_stamp: Set(version),
            ..row::ActiveModel::default()
        })
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::Id.is_in(collections.iter().map(CollectionId::as_str)))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// The rules at the version, which was read in the transaction.
pub(in crate::store) async fn at(tx: &Tx, version: i64) -> Result<Arc<Compiled>> {
    let known = tx.session().rules.0.get(&tx.tenant);
    let known = known.filter(|known| known.version <= version);
    let old = match known {
        Some(known) if known.version == version => return Ok(known),
        Some(known) => known,
        None => Arc::default(),
    };
    let changed: Vec<Changed> = row::Entity::find()
        .select_only()
        .columns([
            row::Column::Id,
            row::Column::Smart,
            row::Column::Rules,
            row::Column::RulesState,
            row::Column::Sort,
        ])
        .filter(row::Column::TenantId.eq(tx.tenant()))
        .filter(row::Column::RulesStamp.gt(old.version))
        .into_model()
        .all(tx.db())
        .await?;
    let is_evaluating = |it: &Changed| it.rules_state == decode::EVALUATING;
    let mut evaluations = if changed.iter().any(is_evaluating) {
        evaluations::all(tx).await?
    } else {
        HashMap::new()
    };
    let mut new = Arc::unwrap_or_clone(old);
    new.version = version;
    for changed in &changed {
        let evaluation = evaluations.remove(&CollectionId::trusted(&*changed.id));
        new.put(tx, changed, evaluation.filter(|_| is_evaluating(changed)))?;
    }
    let new = Arc::new(new);
    if tx.session().is_snapshot {
        let rules = &tx.session().rules;
        rules.keep(tx.tenant.clone(), Arc::clone(&new));
    } else {
        // What it read may not be committed yet.
        tx.learn_rules(Arc::clone(&new));
    }
    Ok(new)
}
