//! The compiled rules of a tenant. They are cached in memory ([`super::memory`]) under the version
//! of the tenant's rule set and are valid only if that version, read in the current transaction, is
//! still the same. If it is newer, only the rules that changed since are read and compiled.

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
        wanted::Wanted,
    },
};

/// The version of a rule set to which no rules were ever written.
pub(in crate::store) const FIRST_VERSION: i64 = 1;

/// A collection whose rules changed since some version.
#[derive(FromQueryResult)]
struct Changed {
    id: String,
    smart: bool,
    rules: Option<String>,
    rules_state: i16,
    sort: String,
}

impl Compiled {
    /// Adds or replaces a collection's rules. If a job is evaluating new rules, these are the old
    /// ones from `evaluation`, which the list still follows.
    fn put(&mut self, tx: &Tx, changed: &Changed, evaluation: Option<Evaluation>) -> Result<()> {
        let cell = |column| Cell {
            table: "collections",
            tenant: tx.tenant(),
            key: &changed.id,
            column,
        };
        let id = CollectionId::trusted(&*changed.id);
        let rules = changed.rules.as_deref();
        let kind = decode::kind(cell("rules"), changed.smart, rules)?;
        self.pending.remove(&id);
        let (kind, sort) = if let Some(evaluation) = evaluation {
            self.evaluating.insert(id.clone());
            if let Kind::Smart { rules } = &kind {
                self.pending.put(&id, rules);
            }
            (evaluation.kind, evaluation.sort)
        } else {
            self.evaluating.remove(&id);
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

/// The tenant's compiled rules as of this transaction.
///
/// # Errors
/// If the database fails.
pub async fn compiled(tx: &Tx) -> Result<Arc<Compiled>> {
    match lock(tx, RuleLock::Shared).await? {
        Some(version) => at(tx, version).await,
        None => Ok(Arc::default()),
    }
}

/// Locks the tenant's rule set and returns its version, or `None` if the tenant does not exist yet.
/// A read-only snapshot locks nothing.
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
    // There must be a row to lock. Another transaction may insert it first, so it is read again,
    // which locks it, instead of assuming the first version.
    if found.is_none() && how == RuleLock::Exclusive {
        create(tx).await?;
        found = find().one(tx.db()).await?;
    }
    Ok(found.map(|row| row.version))
}

/// Adds the rule set of a tenant that has none.
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

/// Records that the rules of `collections` changed in rule set version `version`. The rule set must
/// be locked exclusively.
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
    let ids = collections.iter().map(CollectionId::as_str);
    let ids = Wanted::new(tx, row::Column::Id, ids)?;
    row::Entity::update_many()
        .set(row::ActiveModel {
            rules_stamp: Set(version),
            ..row::ActiveModel::default()
        })
        .filter(ids.condition(row::Entity, row::Column::TenantId.eq(tx.tenant())))
        .exec(tx.db())
        .await?;
    Ok(())
}

/// The compiled rules at `version`, which must have been read in this transaction.
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
    // Everything in a snapshot is committed, so it can be cached at once.
    if tx.session().is_snapshot {
        let rules = &tx.session().rules;
        rules.keep(tx.tenant.clone(), Arc::clone(&new));
    } else {
        // What was read may not be committed yet, so it is cached only after the commit.
        tx.cache_rules_after_commit(Arc::clone(&new));
    }
    Ok(new)
}
