//! Ids of products in query strings. Such an id may have commas, so a list separated by commas
//! has an escape, and there is a form without separators.

/// The ids in the parameters of that name, with `[]` after it or without. A single one is a list
/// separated by commas, in which `\,` is a comma and `\\` a backslash of an id; where there are
/// several, or one with `[]`, each is an id as it stands. White space around an id is no part of
/// it.
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

/// The parts of a list between commas without a backslash before them.
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
    fn ids_come_from_a_list_or_one_by_one() {
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
