//! Searches compare NFC with full Unicode case folding; what is stored for them was lower-cased
//! only, in whatever composition it came. The columns are folded once more: the fold of a
//! lower-cased text is that of the text itself.
//!
//! Programs that wrote lower-cased texts are below the floor of the migration before this one.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};
use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden, Clone, Copy)]
enum Searched {
    Collections,
    Products,
    TenantId,
    Id,
    SearchName,
    SearchTitle,
}

/// Rows that are read at a time.
const BATCH: u64 = 1_000;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        fold(db, Searched::Collections, Searched::SearchName).await?;
        fold(db, Searched::Products, Searched::SearchTitle).await
    }

    /// Older programs read what is folded.
    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

async fn fold(db: &impl ConnectionTrait, table: Searched, column: Searched) -> Result<(), DbErr> {
    let mut after: Option<(String, String)> = None;
    loop {
        let mut batch = Query::select();
        batch
            .columns([Searched::TenantId, Searched::Id])
            .expr_as(Expr::col(column), "text")
            .from(table)
            .order_by(Searched::TenantId, Order::Asc)
            .order_by(Searched::Id, Order::Asc)
            .limit(BATCH);
        if let Some((tenant, id)) = after {
            let key = Expr::tuple([Expr::col(Searched::TenantId), Expr::col(Searched::Id)]);
            batch.and_where(key.gt(Expr::tuple([Expr::val(tenant), Expr::val(id)])));
        }
        let rows = db.query_all(&batch).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some((last.try_get("", "tenant_id")?, last.try_get("", "id")?));
        for row in rows {
            let text: String = row.try_get("", "text")?;
            let folded = folded(&text);
            if folded == text {
                continue;
            }
            // What a server has written meanwhile is folded, and of another text.
            let update = Query::update()
                .table(table)
                .value(column, folded)
                .and_where(
                    Expr::col(Searched::TenantId).eq(row.try_get::<String>("", "tenant_id")?),
                )
                .and_where(Expr::col(Searched::Id).eq(row.try_get::<String>("", "id")?))
                .and_where(Expr::col(column).eq(text))
                .to_owned();
            db.execute(&update).await?;
        }
    }
}

fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let text = DecomposingNormalizer::new_nfd().normalize(text);
    let text = CaseMapper::new().fold_string(&text);
    ComposingNormalizer::new_nfc().normalize(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_cased_text_has_the_fold_of_the_text() {
        for c in '\0'..=char::MAX {
            let text = format!("a{c}\u{323}");
            assert_eq!(folded(&text.to_lowercase()), folded(&text), "{c:?}");
        }
    }
}
