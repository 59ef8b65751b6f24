//! The tree of rules: groups and conditions, with their validation, and the hash of their canonical
//! form, by which changes of the rules are detected.

use super::{
    super::{
        constraint::Constraint,
        digest::sha256,
        error::Violations,
        field::{FieldPath, RulePart},
        ids::CollectionId,
        limits::Limits,
    },
    condition::{Condition, Field, Operand},
    contradictions,
};

pub use super::super::field::Combinator;

/// The rules of a smart collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The root of the tree.
    pub root: Rule,
}

/// A group of rules or a single condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A combination of rules.
    Group(Group),
    /// A condition.
    Condition(Condition),
}

/// A combination of rules. Their order has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// How the rules are combined.
    pub combinator: Combinator,
    /// Whether a single row (a price with its variant) must satisfy the whole group.
    pub same_row: bool,
    /// The combined rules.
    pub rules: Vec<Rule>,
}

/// A warning about valid but questionable rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The group.
    pub group: FieldPath,
    /// The name of the field in the group's conditions.
    pub field: String,
    /// The problem.
    pub problem: &'static str,
}

impl Combinator {
    /// All combinators.
    pub const ALL: [Self; 3] = [Self::All, Self::Any, Self::None];

    /// The name in the API and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all_of",
            Self::Any => "any_of",
            Self::None => "none_of",
        }
    }
}

impl Rules {
    /// Checks the numbers of rules and levels, each group and condition, and that the conditions of
    /// a group do not contradict each other.
    pub fn check(&self, limits: &Limits, violations: &mut Violations) {
        let root = FieldPath::Rules(Vec::new());
        let (count, depth) = self.root.size();
        // The root itself is not counted.
        let count = count - 1;
        violations.count(root.clone(), count, limits.conditions);
        if depth > limits.rule_depth {
            let max = limits.rule_depth;
            violations.add(root, "", Constraint::TooDeep { depth, max });
        }
        if count <= limits.conditions && depth <= limits.rule_depth {
            self.root.check(&mut Vec::new(), false, violations);
        }
    }

    /// Warnings about groups that always hold, because any of two opposite conditions suffices.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        self.root.warnings(&mut Vec::new(), &mut warnings);
        warnings
    }

    /// Whether the passage of time alone can change which products match.
    pub fn has_ages(&self) -> bool {
        self.root.has_ages()
    }

    /// The collections that conditions reference, each with the path to the reference.
    pub fn named(&self) -> Vec<(Vec<RulePart>, CollectionId)> {
        let mut named = Vec::new();
        self.root.named(&mut Vec::new(), &mut named);
        named
    }

    /// The collections that conditions reference, possibly several times.
    pub fn named_ids(&self) -> impl Iterator<Item = CollectionId> {
        self.named().into_iter().map(|(_, id)| id)
    }

    /// The SHA-256 of the canonical form, in hexadecimal digits. Rules that only differ in their
    /// order or in duplicates have the same hash.
    pub fn hash(&self) -> String {
        match &self.root {
            Rule::Group(group) => group.hash(),
            // HighLevel cannot represent a single condition: it reads and sends back a group.
            Rule::Condition(condition) => {
                Group::of_one_row(Combinator::All, vec![condition.clone()]).hash()
            }
        }
    }

    /// The size of all operands and paths in bytes, as they are encoded.
    pub fn bytes(&self) -> usize {
        self.root.bytes()
    }
}

/// The hash for collections without rules.
pub fn hash_of_none() -> String {
    sha256("")
}

impl Rule {
    /// The number of rules, including this one, and the number of levels of groups.
    fn size(&self) -> (usize, usize) {
        let Self::Group(group) = self else {
            return (1, 0);
        };
        let sizes = group.rules.iter().map(Self::size);
        let (count, depth) = sizes.fold((1, 0), |(sum, most), (count, depth)| {
            (sum + count, most.max(depth))
        });
        (count, depth + 1)
    }

    fn named(&self, path: &mut Vec<RulePart>, named: &mut Vec<(Vec<RulePart>, CollectionId)>) {
        match self {
            Self::Condition(condition) if condition.field == Field::Collection => {
                let at = [path, &[RulePart::Operand][..]].concat();
                let texts = condition.operands.iter().filter_map(Operand::text);
                named.extend(texts.map(|id| (at.clone(), CollectionId::trusted(id))));
            }
            Self::Condition(_) => {}
            Self::Group(group) => {
                for (index, rule) in group.rules.iter().enumerate() {
                    path.push(RulePart::Rule(group.combinator, index));
                    rule.named(path, named);
                    path.pop();
                }
            }
        }
    }

    fn has_ages(&self) -> bool {
        match self {
            Self::Condition(condition) => condition.operator.is_of_age(),
            Self::Group(group) => group.rules.iter().any(Self::has_ages),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Condition(condition) => condition.bytes(),
            Self::Group(group) => group.rules.iter().map(Self::bytes).sum(),
        }
    }

    fn check(&self, path: &mut Vec<RulePart>, of_one_row: bool, violations: &mut Violations) {
        match self {
            Self::Condition(condition) => condition.check(path, violations),
            Self::Group(group) => group.check(path, of_one_row, violations),
        }
    }

    fn warnings(&self, path: &mut Vec<RulePart>, warnings: &mut Vec<Warning>) {
        let Self::Group(group) = self else {
            return;
        };
        for (index, rule) in group.rules.iter().enumerate() {
            path.push(RulePart::Rule(group.combinator, index));
            rule.warnings(path, warnings);
            path.pop();
        }
        if group.combinator != Combinator::Any {
            return;
        }
        for field in contradictions::tautologies(group.conditions()) {
            let at = [path, &[RulePart::Group(group.combinator)][..]].concat();
            warnings.push(Warning {
                group: FieldPath::Rules(at),
                field,
                problem: "two of its conditions are opposites, so it always holds",
            });
        }
    }

    fn condition(&self) -> Option<&Condition> {
        match self {
            Self::Condition(condition) => Some(condition),
            Self::Group(_) => None,
        }
    }

    /// The canonical form in one line: a condition, or the hash of a group.
    fn canonical(&self) -> String {
        match self {
            Self::Condition(condition) => condition.canonical(),
            Self::Group(group) => format!("group {}", group.hash()),
        }
    }
}

impl Group {
    /// A group that a single row must satisfy.
    pub fn of_one_row(combinator: Combinator, conditions: Vec<Condition>) -> Self {
        Self {
            combinator,
            same_row: true,
            rules: conditions.into_iter().map(Rule::Condition).collect(),
        }
    }

    fn check(&self, path: &mut Vec<RulePart>, of_one_row: bool, violations: &mut Violations) {
        let of_one_row = of_one_row || self.same_row;
        let at = |path: &[RulePart], part| FieldPath::Rules([path, &[part]].concat());
        let group = RulePart::Group(self.combinator);
        if self.rules.is_empty() {
            violations.add(at(path, group), "", Constraint::Empty);
        }
        for (index, rule) in self.rules.iter().enumerate() {
            path.push(RulePart::Rule(self.combinator, index));
            rule.check(path, of_one_row, violations);
            path.pop();
        }
        if self.combinator == Combinator::All {
            // Conditions that are invalid by themselves are reported already.
            let valid = self.conditions().filter(|condition| condition.is_valid());
            for field in contradictions::impossible(valid, of_one_row) {
                let why = "its conditions contradict each other, so nothing can match";
                violations.add(at(path, group), &field, Constraint::Forbidden(why));
            }
        }
    }

    /// The conditions directly in the group.
    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.rules.iter().filter_map(Rule::condition)
    }

    /// The hash of the group. A group that a single row must satisfy has other names of
    /// combinators, because that is how hashes were computed before other groups existed; stored
    /// hashes must not change.
    fn hash(&self) -> String {
        let head = match (self.combinator, self.same_row) {
            (Combinator::All, true) => "AND",
            (Combinator::Any, true) => "OR",
            (Combinator::None, true) => "NONE",
            (combinator, false) => combinator.name(),
        };
        let mut lines: Vec<_> = self.rules.iter().map(Rule::canonical).collect();
        lines.sort_unstable();
        lines.dedup();
        sha256(format!("{head}\n{}", lines.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::condition::{MAX_OPERANDS, MAX_PATH_CHARS, Operator, Type},
        *,
    };
    use crate::domain::Timestamp;

    fn condition(field: Field, operator: Operator, value: &str) -> Condition {
        let value = value.to_owned();
        let operand = match field.value_type() {
            Some(Type::Decimal) => Operand::Decimal(value),
            _ => Operand::Text(value),
        };
        Condition {
            field,
            operator,
            operands: vec![operand],
        }
    }

    fn row(combinator: Combinator, conditions: Vec<Condition>) -> Rules {
        let root = Rule::Group(Group::of_one_row(combinator, conditions));
        Rules { root }
    }

    fn all(conditions: Vec<Condition>) -> Rules {
        row(Combinator::All, conditions)
    }

    fn faults(rules: &Rules) -> Vec<FieldPath> {
        let mut violations = Violations::default();
        rules.check(&Limits::default(), &mut violations);
        let Err(error) = violations.finish() else {
            return Vec::new();
        };
        error.violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn the_hash_depends_on_the_meaning_of_rules_not_their_form() {
        let cheap = condition(Field::Price, Operator::LessThan, "10");
        let same = condition(Field::Price, Operator::LessThan, "10.00");
        let red = condition(Field::Title, Operator::Contains, "red");
        let hash = all(vec![cheap.clone(), red.clone()]).hash();
        assert_eq!(hash, all(vec![red.clone(), same, red.clone()]).hash());
        assert_ne!(hash, all(vec![cheap.clone()]).hash());
        let mut others = vec![hash, hash_of_none()];
        for combinator in Combinator::ALL {
            for same_row in [true, false] {
                let mut group = Group::of_one_row(combinator, vec![cheap.clone(), red.clone()]);
                group.same_row = same_row;
                others.push(group.hash());
            }
        }
        others.sort_unstable();
        let count = others.len();
        others.dedup();
        // One of them equals the hash of the first rules.
        assert_eq!(others.len(), count - 1);
    }

    #[test]
    fn the_hash_covers_nested_groups() {
        let red = condition(Field::Title, Operator::Contains, "red");
        let blue = condition(Field::Title, Operator::Contains, "blue");
        let nested = |inner: Vec<Condition>| Rules {
            root: Rule::Group(Group {
                combinator: Combinator::Any,
                same_row: false,
                rules: vec![Rule::Group(Group::of_one_row(Combinator::All, inner))],
            }),
        };
        let one = nested(vec![red.clone(), blue.clone()]).hash();
        assert_eq!(one, nested(vec![blue.clone(), red.clone()]).hash());
        assert_ne!(one, nested(vec![blue]).hash());
    }

    #[test]
    fn the_hash_of_flat_rules_is_stable() {
        for (value, canonical) in [
            ("10", "10"),
            ("010.500", "10.5"),
            ("0.0", "0"),
            ("-0.10", "-0.1"),
            ("100", "100"),
            ("0.10000000000000000001", "0.10000000000000000001"),
        ] {
            let cheap = condition(Field::Price, Operator::LessThan, value);
            let expected = sha256(format!("AND\nprice less_than {canonical}"));
            assert_eq!(all(vec![cheap.clone()]).hash(), expected, "{value}");
            let root = Rule::Condition(cheap);
            assert_eq!(Rules { root }.hash(), expected, "{value}");
        }
    }

    #[test]
    fn operators_and_operands_must_fit_the_field() {
        let text_for_number = Condition {
            operands: vec![Operand::Text("1".into())],
            ..condition(Field::Price, Operator::Equals, "1")
        };
        let rules = all(vec![
            condition(Field::Title, Operator::LessThan, "x"),
            condition(Field::Price, Operator::Contains, "1"),
            condition(Field::Price, Operator::Equals, "1."),
            condition(Field::Title, Operator::Equals, ""),
            text_for_number,
        ]);
        let parts = [
            RulePart::Operator,
            RulePart::Operator,
            RulePart::Operand,
            RulePart::Operand,
            RulePart::Operand,
        ];
        let expected = parts.into_iter().enumerate().map(|(index, part)| {
            FieldPath::Rules(vec![RulePart::Rule(Combinator::All, index), part])
        });
        assert_eq!(faults(&rules), expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_tree_is_bounded_in_breadth_and_depth() {
        let red = condition(Field::Title, Operator::Contains, "red");
        assert_eq!(faults(&all(vec![red.clone(); 500])).len(), 0);
        assert_eq!(faults(&all(vec![red.clone(); 501])).len(), 1);
        let mut rule = Rule::Condition(red);
        let nest = |rule: Rule| {
            Rule::Group(Group {
                combinator: Combinator::None,
                same_row: false,
                rules: vec![rule],
            })
        };
        for _ in 0..8 {
            rule = nest(rule);
        }
        assert_eq!(faults(&Rules { root: rule.clone() }).len(), 0);
        assert_eq!(faults(&Rules { root: nest(rule) }).len(), 1);
        assert_eq!(faults(&all(Vec::new())).len(), 1);
    }

    #[test]
    fn contradictions_are_rejected_only_if_all_must_hold_in_one_row() {
        let price = |operator, value| condition(Field::Price, operator, value);
        let impossible = vec![
            price(Operator::GreaterThan, "100"),
            price(Operator::LessThan, "50"),
        ];
        assert_eq!(faults(&all(impossible.clone())).len(), 1);
        let any = row(Combinator::Any, impossible.clone());
        assert_eq!(faults(&any).len(), 0);
        let mut rows = Group::of_one_row(Combinator::All, impossible);
        rows.same_row = false;
        let root = Rule::Group(rows);
        assert_eq!(faults(&Rules { root }).len(), 0);
        let possible = all(vec![
            price(Operator::GreaterThan, "50"),
            price(Operator::LessThan, "100"),
            price(Operator::Equals, "75"),
            price(Operator::NotEquals, "80"),
        ]);
        assert_eq!(faults(&possible).len(), 0);
    }

    fn with(field: &str, operator: Operator, operands: Vec<Operand>) -> Condition {
        Condition {
            field: Field::from_name(field).unwrap(),
            operator,
            operands,
        }
    }

    fn texts(texts: &[&str]) -> Vec<Operand> {
        let texts = texts.iter();
        texts.map(|text| Operand::Text((*text).into())).collect()
    }

    #[test]
    fn field_and_operator_names_round_trip() {
        for field in Field::NAMED {
            assert_eq!(Field::from_name(&field.name()), Some(field));
        }
        let color = Field::Attribute("look.color".into());
        assert_eq!(Field::from_name("attributes.look.color"), Some(color));
        assert_eq!(Field::from_name("attributes"), None);
        for operator in Operator::ALL {
            assert_eq!(Operator::from_name(operator.name()), Some(operator));
        }
    }

    #[test]
    fn the_number_and_types_of_operands_are_validated() {
        let decimals = |values: &[&str]| {
            let values = values.iter();
            values
                .map(|it| Operand::Decimal((*it).into()))
                .collect::<Vec<_>>()
        };
        let time = |micros| Operand::Time(Timestamp::from_micros(micros));
        let age = |seconds| vec![Operand::Duration(Duration::from_secs(seconds))];
        let at = |part| FieldPath::Rules(vec![RulePart::Rule(Combinator::All, 0), part]);
        for (condition, part) in [
            (with("title", Operator::In, vec![]), RulePart::Operand),
            (
                with("title", Operator::In, texts(&vec!["x"; MAX_OPERANDS + 1])),
                RulePart::Operand,
            ),
            (
                with("title", Operator::Equals, texts(&["a", "b"])),
                RulePart::Operand,
            ),
            (
                with("title", Operator::IsSet, texts(&["a"])),
                RulePart::Operand,
            ),
            (
                with("price", Operator::Between, decimals(&["1"])),
                RulePart::Operand,
            ),
            (
                with("price", Operator::Between, decimals(&["2", "1"])),
                RulePart::Operand,
            ),
            (
                with("created", Operator::Between, vec![time(2), time(1)]),
                RulePart::Operand,
            ),
            (
                with("available", Operator::Equals, texts(&["true"])),
                RulePart::Operand,
            ),
            (
                with("created", Operator::OlderThan, vec![time(1)]),
                RulePart::Operand,
            ),
            (
                with("created", Operator::NewerThan, age(3_153_600_001)),
                RulePart::Operand,
            ),
            (
                with("price", Operator::OlderThan, age(1)),
                RulePart::Operator,
            ),
            (
                with("attributes.x", Operator::Equals, age(1)),
                RulePart::Operator,
            ),
            (
                with("attributes.x", Operator::NewerThan, texts(&["1s"])),
                RulePart::Operand,
            ),
            (
                with("available", Operator::In, vec![Operand::Boolean(true)]),
                RulePart::Operator,
            ),
            (
                with("created", Operator::Contains, vec![time(1)]),
                RulePart::Operator,
            ),
            (
                with("attributes.", Operator::IsSet, vec![]),
                RulePart::Field,
            ),
            (
                with(
                    &format!("attributes.{}", "x".repeat(MAX_PATH_CHARS + 1)),
                    Operator::IsSet,
                    vec![],
                ),
                RulePart::Field,
            ),
            (
                with(
                    "attributes.x",
                    Operator::In,
                    [texts(&["a"]), decimals(&["1"])].concat(),
                ),
                RulePart::Operand,
            ),
            (
                with("attributes.x", Operator::LessThan, texts(&["a"])),
                RulePart::Operator,
            ),
        ] {
            let shown = format!("{condition:?}");
            assert_eq!(faults(&all(vec![condition])), [at(part)], "{shown}");
        }
        for condition in [
            with("title", Operator::In, texts(&vec!["x"; MAX_OPERANDS])),
            with("price", Operator::Between, decimals(&["1", "1.0"])),
            with("created", Operator::Between, vec![time(1), time(2)]),
            with(
                "available",
                Operator::NotEquals,
                vec![Operand::Boolean(true)],
            ),
            with("attributes.x", Operator::LessThan, decimals(&["1"])),
            with("attributes.x", Operator::NotContains, texts(&["a"])),
            with("attributes.x", Operator::IsNotSet, vec![]),
        ] {
            let shown = format!("{condition:?}");
            assert_eq!(faults(&all(vec![condition])), [], "{shown}");
        }
    }

    #[test]
    fn the_hash_distinguishes_values_and_their_types() {
        let attribute = |operands| all(vec![with("attributes.x", Operator::Equals, operands)]);
        let text = attribute(texts(&["1"])).hash();
        let number = attribute(vec![Operand::Decimal("1".into())]).hash();
        assert_ne!(text, number);
        assert_eq!(
            number,
            attribute(vec![Operand::Decimal("1.00".into())]).hash()
        );
        let of = |values: &[&str]| all(vec![with("tag", Operator::In, texts(values))]).hash();
        assert_eq!(of(&["a", "b"]), of(&["b", "a", "b"]));
        assert_ne!(of(&["a", "b"]), of(&["a\tb"]));
        assert_ne!(of(&["a b"]), of(&["a", "b"]));
    }

    #[test]
    fn alternatives_that_always_hold_cause_a_warning() {
        let any = |conditions| row(Combinator::Any, conditions);
        let red = condition(Field::Title, Operator::Equals, "Red");
        let not_red = condition(Field::Title, Operator::NotEquals, "red");
        let warnings = any(vec![red.clone(), not_red.clone()]).warnings();
        let group = FieldPath::Rules(vec![RulePart::Group(Combinator::Any)]);
        assert_eq!(warnings.len(), 1);
        assert_eq!((&warnings[0].group, &*warnings[0].field), (&group, "title"));
        let set = any(vec![
            with("vendor", Operator::IsSet, vec![]),
            with("vendor", Operator::IsNotSet, vec![]),
        ]);
        assert_eq!(set.warnings().len(), 1);
        let other = condition(Field::Slug, Operator::NotEquals, "red");
        assert_eq!(any(vec![red.clone(), other]).warnings(), []);
        assert_eq!(all(vec![red, not_red]).warnings(), []);
    }
}
