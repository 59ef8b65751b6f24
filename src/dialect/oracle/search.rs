//! The search in a list: `q`, `name` and `sort`, split into what the database can evaluate and a
//! scan for the rest.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

use super::{
    codes,
    columns::{attribute, check_time, expression},
    problem::Problem,
    scim::{Node, Operand, Path, Text},
};
use crate::{
    domain::{
        FieldPath, Limits, Result as Domain, Violations,
        filter::{Expression, Keys, Matching, Order, OrderBy},
    },
    service::Scan,
};

/// The properties that items of a list have.
#[derive(Debug)]
pub struct Shown {
    /// The standard properties.
    pub known: &'static [&'static str],
    /// The standard properties that lists leave out.
    pub hidden: &'static [&'static str],
    /// Properties of which a search only sees these nested ones.
    pub nested: &'static [(&'static str, &'static [&'static str])],
}

/// Oracle's prefix of custom properties.
const OWN: &str = "x_";

/// A search.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Conditions that must all hold.
    conditions: Vec<Node>,
    order: Vec<Sort>,
    /// Properties that may not exist, each with the query parameter that names it.
    unverified: Vec<(&'static str, Path)>,
}

#[derive(Clone, Debug)]
struct Sort {
    path: Path,
    descending: bool,
}

/// Properties that are neither standard nor have Oracle's prefix. Each must be a custom property of
/// a scanned item; otherwise it is considered a mistake.
#[derive(Debug)]
pub struct UnverifiedProperties(Arc<Vec<UnverifiedProperty>>);

#[derive(Debug)]
struct UnverifiedProperty {
    at: &'static str,
    path: Path,
    is_found: AtomicBool,
}

impl UnverifiedProperties {
    /// Checks that all of them were found.
    ///
    /// # Errors
    /// With a problem for each that was not.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let missing = self
            .0
            .iter()
            .filter(|property| !property.is_found.load(Ordering::Relaxed));
        let problems: Vec<_> = missing
            .map(|property| unknown(property.at, &property.path.name))
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }
}

fn unknown(at: &str, name: &str) -> Problem {
    let why = format!("{name:?} is not a property of these items");
    Problem::at(codes::BAD_REQUEST, at, why)
}

impl Search {
    /// Adds a filter.
    ///
    /// # Errors
    /// If it can't be parsed, or names a property that items do not show.
    pub fn add_filter(&mut self, q: &str, shown: &Shown) -> Result<(), Problem> {
        let wrong = |why: &str| Problem::at(codes::BAD_REQUEST, "q", format!("{q:?}: {why}"));
        let node = Node::parse(q).map_err(|why| wrong(&why))?;
        for path in node.paths() {
            self.add_path("q", &path, shown)?;
        }
        for comparison in node.comparisons() {
            check_time(comparison).map_err(|why| wrong(&why))?;
        }
        self.conditions.push(node);
        Ok(())
    }

    /// Adds the condition that the display name or the id contains `part`.
    pub fn add_part(&mut self, part: &str) {
        let has = |name| {
            Node::Is(
                Path::of(name),
                Matching::Contains,
                Operand::Text(Text::new(part)),
            )
        };
        self.conditions
            .push(Node::Any(vec![has("displayName"), has("id")]));
    }

    /// Adds a condition.
    pub fn add_condition(&mut self, condition: Node) {
        self.conditions.push(condition);
    }

    /// Sets the order, such as `displayName:desc`; several keys are comma-separated.
    ///
    /// # Errors
    /// If it can't be parsed, or names a property that items don't have.
    pub fn set_order(&mut self, sort: &str, shown: &Shown) -> Result<(), Problem> {
        let wrong = |why: String| Problem::at(codes::BAD_REQUEST, "sort", why);
        self.order.clear();
        for part in sort
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, direction) = part.split_once(':').unwrap_or((part, "asc"));
            let descending = match direction.trim().to_ascii_lowercase().as_str() {
                "asc" => false,
                "desc" => true,
                _ => return Err(wrong(format!("{direction:?} must be asc or desc"))),
            };
            let name = name.trim();
            let name = name.strip_prefix("items.").unwrap_or(name);
            let (name, inside) = match name.split_once('.') {
                Some((name, inside)) => (name, Some(inside.to_owned())),
                None => (name, None),
            };
            let path = Path {
                name: name.into(),
                inside,
            };
            self.add_path("sort", &path, shown)?;
            let by = attribute(&path);
            let is_same =
                |sort: &Sort| sort.path == path || by.is_some() && attribute(&sort.path) == by;
            if self.order.iter().any(is_same) {
                return Err(wrong(format!("{name:?} is given twice")));
            }
            self.order.push(Sort { path, descending });
        }
        Ok(())
    }

    fn add_path(&mut self, at: &'static str, path: &Path, shown: &Shown) -> Result<(), Problem> {
        let name = &path.name;
        let is_in = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_in(shown.hidden) {
            let why = format!("{name:?} is not shown by the items of a list");
            return Err(Problem::at(codes::BAD_REQUEST, at, why));
        }
        let nested = |(name, nested): &&(&str, &[&str])| {
            let is_known = |inside: &str| nested.iter().any(|one| one.eq_ignore_ascii_case(inside));
            name.eq_ignore_ascii_case(&path.name) && !path.inside.as_deref().is_none_or(is_known)
        };
        if let Some((name, nested)) = shown.nested.iter().find(nested) {
            let why = format!(
                "{:?} can't be searched or sorted by; of {name}, only {} can",
                path.whole(),
                nested.join(" and ")
            );
            return Err(Problem::at(codes::BAD_REQUEST, at, why));
        }
        let prefix = name.get(..OWN.len()).unwrap_or_default();
        let property = (at, path.clone());
        let is_known = is_in(shown.known) || prefix.eq_ignore_ascii_case(OWN);
        if !is_known && !self.unverified.contains(&property) {
            self.unverified.push(property);
        }
        Ok(())
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// If there are too many comparisons or a text is too long.
    pub fn check(&self, limits: &Limits) -> Domain<()> {
        let mut violations = Violations::default();
        let comparisons: Vec<_> = self.conditions.iter().flat_map(Node::comparisons).collect();
        let ids = comparisons.iter().filter(|one| one.ids().is_some()).count();
        let field = || FieldPath::FilterExpression;
        // Ids are looked up by key, so the limit on ids applies to them.
        violations.count(field(), ids, limits.ids);
        violations.count(field(), comparisons.len() - ids, limits.conditions);
        let texts = comparisons
            .iter()
            .filter_map(|comparison| match comparison {
                Node::Is(_, _, Operand::Text(text)) => Some(text.given.as_str()),
                Node::All(_)
                | Node::Any(_)
                | Node::Not(_)
                | Node::Has(_)
                | Node::Is(..)
                | Node::Inside(..) => None,
            });
        // `name` compares the same text with two properties, and is counted once.
        let mut texts: Vec<_> = texts.collect();
        texts.dedup();
        for text in texts {
            violations.length(field(), text, limits.name_chars);
        }
        violations.finish()
    }

    /// The properties that the scan needs, in the spelling of the items. A path with dots may also
    /// be the name of a single property.
    pub fn names(&self, shown: &Shown) -> Vec<String> {
        let of_conditions = self.conditions.iter().flat_map(Node::paths);
        let of_order = self.order.iter().map(|sort| sort.path.clone());
        let spelled = |name: String| {
            let known = shown.known.iter();
            let known = known
                .copied()
                .find(|known| known.eq_ignore_ascii_case(&name));
            known.map_or(name, Into::into)
        };
        let names = of_conditions.chain(of_order).flat_map(|path| {
            let whole = path.whole().into_owned();
            [spelled(path.name), whole]
        });
        names.collect()
    }

    /// Takes a condition that only lists ids.
    pub fn take_ids(&mut self) -> Option<Vec<String>> {
        let at = self.conditions.iter().position(names_ids)?;
        let node = self.conditions.swap_remove(at);
        let ids = node.ids()?.into_iter().map(Into::into);
        Some(ids.collect())
    }

    /// The ids to which a condition restricts items, if one does.
    pub fn ids(&self) -> Option<Vec<&str>> {
        self.conditions.iter().find_map(Node::ids)
    }

    /// Takes the conditions on collections that the database can evaluate. `reads_default` is
    /// whether the client reads display names in the default locale.
    pub fn take_expression(&mut self, reads_default: bool) -> Option<Expression> {
        let conditions = std::mem::take(&mut self.conditions);
        let mut taken = Vec::new();
        for condition in conditions.into_iter().flat_map(parts) {
            match expression(&condition, reads_default) {
                Some(expression) => taken.push(expression),
                None => self.conditions.push(condition),
            }
        }
        (!taken.is_empty()).then_some(Expression::All(taken))
    }

    /// Takes the order, if the database can sort by all of its keys.
    pub fn take_order(&mut self, reads_default: bool) -> Option<Vec<Order>> {
        let order = self.order.iter().map(|sort| {
            let by = attribute(&sort.path)?;
            let is_known = reads_default || by != OrderBy::DisplayName;
            is_known.then_some(Order {
                by,
                descending: sort.descending,
            })
        });
        let order: Vec<_> = order.collect::<Option<_>>()?;
        self.order.clear();
        Some(order)
    }

    /// Whether the order is by ascending id only.
    pub fn is_by_id(&self) -> bool {
        let by_id = |sort: &Sort| attribute(&sort.path) == Some(OrderBy::Id) && !sort.descending;
        matches!(self.order.as_slice(), [sort] if by_id(sort))
    }

    /// A scan for the remaining conditions and order, if any; `show` renders an item.
    pub fn scan<T>(
        self,
        show: impl Fn(&T) -> Value + Send + Sync + 'static,
    ) -> (Option<Scan<T>>, UnverifiedProperties) {
        let unverified = self.unverified.iter().map(|(at, path)| UnverifiedProperty {
            at,
            path: path.clone(),
            is_found: AtomicBool::new(false),
        });
        let unverified: Arc<Vec<UnverifiedProperty>> = Arc::new(unverified.collect());
        if self.conditions.is_empty() && self.order.is_empty() {
            return (None, UnverifiedProperties(unverified));
        }
        let properties = Arc::clone(&unverified);
        let evaluate = move |item: &T| {
            let item = show(item);
            let is_found = |property: &&UnverifiedProperty| {
                let whole = property.path.whole();
                item.get(&property.path.name).is_some() || item.get(&*whole).is_some()
            };
            for property in properties.iter().filter(is_found) {
                property.is_found.store(true, Ordering::Relaxed);
            }
            let holds = self
                .conditions
                .iter()
                .all(|condition| condition.holds(&item));
            holds.then(|| {
                let keys = self.order.iter().map(|sort| sort.key(&item));
                Keys(keys.collect())
            })
        };
        let scan = Scan {
            evaluate: Arc::new(evaluate),
            children: false,
        };
        (Some(scan), UnverifiedProperties(unverified))
    }
}

impl Sort {
    fn key(&self, item: &Value) -> (Option<crate::domain::filter::Key>, bool) {
        // Exact, as the column is.
        let is_exact = attribute(&self.path) == Some(OrderBy::InternalName);
        (self.path.key(item, is_exact), self.descending)
    }
}

/// Splits a conjunction into its parts.
fn parts(node: Node) -> Vec<Node> {
    match node {
        Node::All(nodes) => nodes.into_iter().flat_map(parts).collect(),
        node @ (Node::Any(_) | Node::Not(_) | Node::Has(_) | Node::Is(..) | Node::Inside(..)) => {
            vec![node]
        }
    }
}

/// Whether a condition only lists ids.
fn names_ids(node: &Node) -> bool {
    match node {
        Node::Any(nodes) => nodes.iter().all(names_ids),
        Node::Is(..) => node.ids().is_some(),
        Node::All(_) | Node::Not(_) | Node::Has(_) | Node::Inside(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHOWN: Shown = Shown {
        known: &[
            "id",
            "repositoryId",
            "name",
            "displayName",
            "creationDate",
            "active",
        ],
        hidden: &["childProducts"],
        nested: &[],
    };

    fn search(q: &str) -> Search {
        let mut search = Search::default();
        search.add_filter(q, &SHOWN).unwrap();
        search
    }

    #[test]
    fn supported_filter_parts_are_pushed_down_to_the_database() {
        let taken = |q: &str, reads_default| {
            let mut search = search(q);
            let expression = search.take_expression(reads_default);
            (format!("{expression:?}"), search.conditions.len())
        };
        let lamp = "Text(DisplayName, Contains, \"lam\")";
        let q = r#"displayName co "lam" and active eq true"#;
        assert_eq!(taken(q, true), (format!("Some(All([{lamp}]))"), 1));
        assert_eq!(taken(q, false), ("None".into(), 2));
        let q = r#"displayName co "lam" or active eq true"#;
        assert_eq!(taken(q, true), ("None".into(), 1));
        let q = r#"not (id sw "x") and id pr"#;
        let expected = "Some(All([Not(Text(Id, StartsWith, \"x\")), All([])]))";
        assert_eq!(taken(q, false), (expected.into(), 0));
        // `name` has no case-folded column.
        assert_eq!(taken(r#"name eq "x""#, true).0, "None");
    }

    #[test]
    fn ids_are_taken_only_from_a_filter_without_other_conditions() {
        let mut named = search(r#"(id eq "a" or repositoryId eq "b")"#);
        assert_eq!(named.take_ids().unwrap(), ["a", "b"]);
        assert!(named.conditions.is_empty());
        let mut other = search(r#"id eq "a" and active eq true"#);
        assert_eq!(other.take_ids(), None);
        assert_eq!(other.ids().unwrap(), ["a"]);
    }

    #[test]
    fn a_sort_order_consists_of_properties_and_directions() {
        let order = |sort: &str| {
            let mut search = Search::default();
            let set = search.set_order(sort, &SHOWN);
            set.map(|()| search).map_err(|problem| problem.detail)
        };
        let taken = |sort: &str, reads_default| {
            let order = order(sort).unwrap().take_order(reads_default);
            order.map(|order| format!("{order:?}"))
        };
        let expected = "[Order { by: DisplayName, descending: true }, \
                        Order { by: Id, descending: false }]";
        assert_eq!(taken("displayName:desc, id", true).unwrap(), expected);
        assert_eq!(taken("displayName:desc, id", false), None);
        assert_eq!(taken("id,active", true), None);
        assert_eq!(taken("", true).unwrap(), "[]");
        assert!(order("id,repositoryId").unwrap_err().contains("twice"));
        assert!(order("id:up").unwrap_err().contains("up"));
        assert!(
            order("childProducts")
                .unwrap_err()
                .contains("childProducts")
        );
        assert!(order("id").unwrap().is_by_id() && !order("id:desc").unwrap().is_by_id());
    }

    #[test]
    fn a_filter_property_must_be_known_or_present_in_an_item() {
        let missing = |q: &str| {
            let (scan, unverified) = search(q).scan(Clone::clone);
            let items = [json!({"id": "a"}), json!({"id": "b", "season": "winter"})];
            let found = items.map(|item: Value| (scan.as_ref().unwrap().evaluate)(&item).is_some());
            (
                found,
                unverified
                    .check()
                    .map_err(|problems| problems[0].detail.clone()),
            )
        };
        assert_eq!(missing(r#"season eq "winter""#), ([false, true], Ok(())));
        assert_eq!(missing("x_other eq 1"), ([false, false], Ok(())));
        let (_, refused) = missing("colour eq 1");
        assert!(refused.unwrap_err().contains("\"colour\""));
        let hidden = Search::default().add_filter("childProducts pr", &SHOWN);
        assert!(hidden.unwrap_err().detail.contains("not shown"));
    }
}
