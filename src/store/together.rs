//! Combines several statements into one message to the database.
//!
//! The driver waits for the response to each message before it sends the next one. Statements whose
//! results nobody needs can save these round trips: on PostgreSQL they become parts of one
//! statement (common table expressions), on SQLite one text with several statements.

use sea_orm::{DbBackend, Statement, Values};

/// Combines statements; the result is that of the last one. On PostgreSQL, all of them see the
/// state from before the message, and no two may change the same row. On SQLite, each sees the
/// effects of those before it.
pub(super) fn together(before: Vec<Statement>, last: Statement) -> Statement {
    if before.is_empty() {
        return last;
    }
    let backend = last.db_backend;
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    let mut take = |statement: Statement| {
        let text = renumbered(&statement.sql, values.len());
        values.extend(statement.values.into_iter().flat_map(|values| values.0));
        text
    };
    texts.extend(before.into_iter().map(&mut take));
    let last = take(last);
    let sql = if backend == DbBackend::Postgres {
        let parts = texts.iter().enumerate();
        let parts: Vec<_> = parts.map(|(at, sql)| format!("w{at} AS ({sql})")).collect();
        let parts = parts.join(", ");
        // The last statement may have a WITH clause of its own, into which the parts are merged.
        if let Some(rest) = last.strip_prefix("WITH RECURSIVE ") {
            format!("WITH RECURSIVE {parts}, {rest}")
        } else if let Some(rest) = last.strip_prefix("WITH ") {
            format!("WITH {parts}, {rest}")
        } else {
            format!("WITH {parts} {last}")
        }
    } else {
        texts.push(last);
        texts.join("; ")
    };
    Statement {
        sql,
        values: Some(Values(values)),
        db_backend: backend,
    }
}

/// The text with its parameters renumbered, starting at `bound + 1`. Accepts `$1`, and SQLite's `?`
/// for the next parameter.
fn renumbered(sql: &str, bound: usize) -> String {
    let mut text = String::with_capacity(sql.len() + 16);
    let mut rest = sql;
    let mut next = 0;
    while let Some(at) = rest.find(['$', '?', '\'', '"']) {
        text.push_str(&rest[..at]);
        let found = &rest[at..=at];
        rest = &rest[at + 1..];
        match found {
            "?" => {
                next += 1;
                text.push_str(&format!("${}", bound + next));
            }
            "$" => {
                let end = rest.find(|c: char| !c.is_ascii_digit());
                let (number, after) = rest.split_at(end.unwrap_or(rest.len()));
                let number = number.parse().unwrap_or(0);
                text.push_str(&format!("${}", bound + number));
                rest = after;
            }
            quote => {
                // Quoted text is copied. A doubled quote inside it just starts another quoted part.
                let end = rest.find(quote).map_or(rest.len(), |end| end + 1);
                text.push_str(quote);
                text.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_renumbered_except_in_quoted_text() {
        for (sql, bound, numbered) in [
            ("SELECT $1, $12, $2", 3, "SELECT $4, $15, $5"),
            (
                "UPDATE a SET b = ? WHERE c = ?",
                2,
                "UPDATE a SET b = $3 WHERE c = $4",
            ),
            (
                "SELECT '?$1', \"a?\", 'it''s ?', $1",
                1,
                "SELECT '?$1', \"a?\", 'it''s ?', $2",
            ),
            ("SELECT 'open ?", 1, "SELECT 'open ?"),
        ] {
            assert_eq!(renumbered(sql, bound), numbered, "{sql}");
        }
    }

    #[test]
    fn statements_are_combined_into_one_with_all_their_values() {
        let of = |backend, with: &str| {
            let statement = |sql: &str, values: [i64; 2]| {
                Statement::from_sql_and_values(backend, sql, values.map(Into::into))
            };
            let one = || statement("UPDATE a SET b = $1 WHERE c = $2", [1, 2]);
            let two = format!("{with} d AS (SELECT $1) SELECT $2 FROM d");
            let two = statement(&two, [3, 4]);
            assert_eq!(together(Vec::new(), one()), one());
            let all = together(vec![one(), one()], two);
            let values = [1, 2, 1, 2, 3, 4].map(|value: i64| value.into());
            assert_eq!(all.values.unwrap().0, values);
            all.sql
        };
        for with in ["WITH", "WITH RECURSIVE"] {
            assert_eq!(
                of(DbBackend::Postgres, with),
                format!(
                    "{with} w0 AS (UPDATE a SET b = $1 WHERE c = $2), \
                     w1 AS (UPDATE a SET b = $3 WHERE c = $4), d AS (SELECT $5) SELECT $6 FROM d"
                )
            );
            assert_eq!(
                of(DbBackend::Sqlite, with),
                format!(
                    "UPDATE a SET b = $1 WHERE c = $2; UPDATE a SET b = $3 WHERE c = $4; \
                     {with} d AS (SELECT $5) SELECT $6 FROM d"
                )
            );
        }
    }
}
