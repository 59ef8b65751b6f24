//! Lists of product ids in query strings. Product ids may contain commas, so a comma-separated list
//! needs an escape, and there is a form without separators.

/// The ids in the parameters with this name, with or without `[]` appended. A single parameter is a
/// comma-separated list, in which `\,` stands for a comma and `\\` for a backslash. If the
/// parameter is repeated, or has `[]`, each value is one id without escapes. White space around ids
/// is removed.
pub fn of(pairs: &[(String, String)], name: &str) -> Vec<String> {
    let named = |key: &str| key.strip_suffix("[]").unwrap_or(key) == name;
    let given: Vec<_> = pairs.iter().filter(|(key, _)| named(key)).collect();
    let mut ids = match given[..] {
        [(key, list)] if key == name => split(list),
        _ => given.into_iter().map(|(_, id)| id.clone()).collect(),
    };
    for id in &mut ids {
        *id = id.trim().to_owned();
    }
    ids.retain(|id| !id.is_empty());
    ids
}

/// Splits a list at commas that are not escaped with a backslash.
pub fn split(list: &str) -> Vec<String> {
    let mut ids = vec![String::new()];
    let mut rest = list.chars().peekable();
    while let Some(c) = rest.next() {
        let escaped = rest.next_if(|next| c == '\\' && matches!(next, ',' | '\\'));
        match (escaped, c) {
            (None, ',') => ids.push(String::new()),
            (escaped, c) => {
                if let Some(id) = ids.last_mut() {
                    id.push(escaped.unwrap_or(c));
                }
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_comma_separated_or_repeated_parameters() {
        let parse = |query: &[(&str, &str)]| {
            let pairs: Vec<_> = query
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            of(&pairs, "ids")
        };
        assert_eq!(parse(&[("other", "a")]), [""; 0]);
        assert_eq!(parse(&[("ids", "")]), [""; 0]);
        assert_eq!(parse(&[("ids", "a, b c ,,d,")]), ["a", "b c", "d"]);
        assert_eq!(
            parse(&[("ids", r"a\,b,c\\,\d,e\")]),
            ["a,b", r"c\", r"\d", r"e\"]
        );
        assert_eq!(parse(&[("ids[]", r"a,b\,c")]), [r"a,b\,c"]);
        assert_eq!(parse(&[("ids", "a,b"), ("ids", " c ")]), ["a,b", "c"]);
        assert_eq!(parse(&[("ids[]", "a"), ("ids", "b,")]), ["a", "b,"]);
    }
}
