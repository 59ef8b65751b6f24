//! The shapes that the API has since it is stable: keywords and the texts of images are
//! localized, rules are a tree, and columns have the names of the API's fields.
//!
//! What was not localized becomes the default locale's: the one in which the tenant's root
//! was named. Responses kept for retries have the old shapes and are dropped; they are kept
//! for a day only. There is no way back.

use std::collections::HashMap;

use sea_orm_migration::{
    prelude::*,
    sea_orm::{ConnectionTrait, QueryResult},
};
use serde_json::{Map, Value, json};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[derive(DeriveIden)]
enum Collections {
    Table,
    TenantId,
    Id,
    Name,
    InternalName,
    Texts,
    Keywords,
    Images,
    Rules,
}

#[derive(DeriveIden)]
enum Products {
    Table,
    Name,
    Title,
    SearchName,
    SearchTitle,
}

const ROOT: &str = "rootCategory";
const NAME_OF_ROOT: &str = "Commerce Root";
/// Rows that are rewritten at a time.
const BATCH: u64 = 500;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SQLite's default would be none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let locales = default_locales(db).await?;
        let mut after = (String::new(), String::new());
        loop {
            let rows = db.query_all(&batch(&after)).await?;
            let Some(last) = rows.last() else { break };
            after = (last.try_get("", "tenant_id")?, last.try_get("", "id")?);
            for row in rows {
                rewrite(db, &row, &locales).await?;
            }
        }
        let renamed = [
            (
                Collections::Table.into_iden(),
                Collections::Name.into_iden(),
                Collections::InternalName.into_iden(),
            ),
            (
                Products::Table.into_iden(),
                Products::Name.into_iden(),
                Products::Title.into_iden(),
            ),
            (
                Products::Table.into_iden(),
                Products::SearchName.into_iden(),
                Products::SearchTitle.into_iden(),
            ),
        ];
        for (table, from, to) in renamed {
            let alter = Table::alter()
                .table(table)
                .rename_column(from, to)
                .to_owned();
            manager.alter_table(alter).await?;
        }
        let drop = Table::alter()
            .table(Collections::Table)
            .drop_column(Collections::Keywords)
            .to_owned();
        manager.alter_table(drop).await?;
        db.execute_unprepared("DELETE FROM requests").await?;
        Ok(())
    }
}

/// The default locale of each tenant.
async fn default_locales(db: &impl ConnectionTrait) -> Result<HashMap<String, String>, DbErr> {
    let roots = Query::select()
        .columns([Collections::TenantId, Collections::Texts])
        .from(Collections::Table)
        .and_where(Expr::col(Collections::Id).eq(ROOT))
        .to_owned();
    let mut locales = HashMap::new();
    for row in db.query_all(&roots).await? {
        let texts = object(&row.try_get::<String>("", "texts")?)?;
        let named = texts
            .iter()
            .find(|(_, text)| text["display_name"] == NAME_OF_ROOT)
            .or_else(|| texts.iter().next());
        if let Some((locale, _)) = named {
            locales.insert(row.try_get("", "tenant_id")?, locale.clone());
        }
    }
    Ok(locales)
}

/// The next collections that have something to rewrite.
fn batch((tenant, id): &(String, String)) -> SelectStatement {
    let later = Expr::col(Collections::TenantId)
        .gt(tenant.as_str())
        .or(Expr::col(Collections::TenantId)
            .eq(tenant.as_str())
            .and(Expr::col(Collections::Id).gt(id.as_str())));
    let has_old = Expr::col(Collections::Keywords)
        .ne("[]")
        .or(Expr::col(Collections::Images).ne("[]"))
        .or(Expr::col(Collections::Rules).is_not_null());
    Query::select()
        .columns([
            Collections::TenantId,
            Collections::Id,
            Collections::Texts,
            Collections::Keywords,
            Collections::Images,
            Collections::Rules,
        ])
        .from(Collections::Table)
        .and_where(later)
        .and_where(has_old)
        .order_by(Collections::TenantId, Order::Asc)
        .order_by(Collections::Id, Order::Asc)
        .limit(BATCH)
        .to_owned()
}

async fn rewrite(
    db: &impl ConnectionTrait,
    row: &QueryResult,
    locales: &HashMap<String, String>,
) -> Result<(), DbErr> {
    let tenant: String = row.try_get("", "tenant_id")?;
    let id: String = row.try_get("", "id")?;
    let locale = locales.get(&tenant).map_or("en", String::as_str);
    let texts = texts(
        object(&row.try_get::<String>("", "texts")?)?,
        parse(&row.try_get::<String>("", "keywords")?)?,
        locale,
    );
    let images = images(parse(&row.try_get::<String>("", "images")?)?, locale);
    let rules: Option<String> = row.try_get("", "rules")?;
    let rules = rules.map(|text| object(&text)).transpose()?;
    let update = Query::update()
        .table(Collections::Table)
        .value(Collections::Texts, texts.to_string())
        .value(Collections::Images, images.to_string())
        .value(
            Collections::Rules,
            rules.map(|old| rules_tree(&old).to_string()),
        )
        .and_where(Expr::col(Collections::TenantId).eq(tenant))
        .and_where(Expr::col(Collections::Id).eq(id))
        .to_owned();
    db.execute(&update).await?;
    Ok(())
}

fn texts(mut texts: Map<String, Value>, keywords: Value, locale: &str) -> Value {
    if keywords.as_array().is_some_and(|words| !words.is_empty()) {
        let text = texts.entry(locale).or_insert_with(|| json!({}));
        text["keywords"] = keywords;
    }
    texts.into()
}

fn images(images: Value, locale: &str) -> Value {
    let Value::Array(images) = images else {
        return json!([]);
    };
    let image = |image: Value| {
        let Value::Object(mut image) = image else {
            return image;
        };
        if let Some(name) = image.remove("name") {
            image.insert("file_name".into(), name);
        }
        let mut texts = Map::new();
        for (old, new) in [("alt_text", "alt_text"), ("title_text", "title")] {
            if let Some(text) = image.remove(old) {
                texts.insert(new.into(), text);
            }
        }
        if !texts.is_empty() {
            image.insert("texts".into(), json!({ locale: texts }));
        }
        image.into()
    };
    images.into_iter().map(image).collect()
}

/// The flat form is one group that one row must satisfy.
fn rules_tree(old: &Map<String, Value>) -> Value {
    let combinator = if old["logic"] == "OR" {
        "any_of"
    } else {
        "all_of"
    };
    let condition = |old: &Value| {
        let kind = match old["field"].as_str() {
            Some("price" | "inventory") => "decimal",
            _ => "text",
        };
        json!({ "condition": {
            "field": old["field"],
            "operator": old["operator"],
            "operand": { kind: old["value"] },
        } })
    };
    let conditions = old["conditions"].as_array();
    let rules: Vec<_> = conditions.into_iter().flatten().map(condition).collect();
    json!({ combinator: { "same_row": true, "rules": rules } })
}

fn object(text: &str) -> Result<Map<String, Value>, DbErr> {
    let Value::Object(object) = parse(text)? else {
        return Err(DbErr::Migration("a column holds no JSON object".into()));
    };
    Ok(object)
}

fn parse(text: &str) -> Result<Value, DbErr> {
    serde_json::from_str(text).map_err(|error| DbErr::Migration(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_localized_becomes_the_default_locales() {
        let old = json!({"en": {"display_name": "A"}, "fr": {"display_name": "B"}});
        let Value::Object(old) = old else {
            unreachable!()
        };
        assert_eq!(
            texts(old.clone(), json!(["x"]), "fr"),
            json!({"en": {"display_name": "A"}, "fr": {"display_name": "B", "keywords": ["x"]}})
        );
        assert_eq!(
            texts(old, json!(["x"]), "de")["de"],
            json!({"keywords": ["x"]})
        );
        let old = json!([{"id": "m", "path": "/a", "name": "a", "alt_text": "A"}, {"id": "n"}]);
        let new = json!([
            {"id": "m", "path": "/a", "file_name": "a", "texts": {"en": {"alt_text": "A"}}},
            {"id": "n"},
        ]);
        assert_eq!(images(old, "en"), new);
    }

    #[test]
    fn flat_rules_become_a_group_of_one_row() {
        let old = json!({"logic": "OR", "conditions": [
            {"field": "price", "operator": "less_than", "value": "5"},
            {"field": "title", "operator": "contains", "value": "x"},
        ]});
        let condition = |field: &str, operator: &str, operand: Value| json!({"condition": {"field": field, "operator": operator, "operand": operand}});
        let new = json!({"any_of": {"same_row": true, "rules": [
            condition("price", "less_than", json!({"decimal": "5"})),
            condition("title", "contains", json!({"text": "x"})),
        ]}});
        assert_eq!(rules_tree(old.as_object().unwrap()), new);
    }
}
