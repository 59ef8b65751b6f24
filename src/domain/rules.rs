//! The rules of smart collections: validated, hashed and versioned here.

use super::{
    constraint::Constraint,
    digest::sha256,
    error::Violations,
    field::{FieldPath, RulePart},
    limits::Limits,
};

pub use super::field::Combinator;

/// What the products of a smart collection must satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The outermost rule.
    pub root: Rule,
}

/// A group of rules or a single condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Rules that are combined.
    Group(Group),
    /// A comparison.
    Condition(Condition),
}

/// Rules that are combined; their order has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How.
    pub combinator: Combinator,
    /// Whether one row (a price with its variant) must satisfy the whole group.
    pub same_row: bool,
    /// What is combined.
    pub rules: Vec<Rule>,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is compared.
    pub field: Field,
    /// How.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Text.
    Text(String),
    /// A decimal number, as written.
    Decimal(String),
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The product's title.
    Title,
    /// The title of any variant.
    VariantTitle,
    /// Any price.
    Price,
    /// The number in stock.
    Inventory,
}

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Equals,
    /// Not equal.
    NotEquals,
    /// Numbers only.
    GreaterThan,
    /// Numbers only.
    LessThan,
    /// Texts only.
    Contains,
    /// Texts only.
    NotContains,
    /// Texts only.
    StartsWith,
    /// Texts only.
    EndsWith,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Title,
        Self::VariantTitle,
        Self::Price,
        Self::Inventory,
    ];

    /// The name in the store, in the canonical form and in the dialects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::VariantTitle => "variant_title",
            Self::Price => "price",
            Self::Inventory => "inventory",
        }
    }

    /// Whether it is compared as a number, not as text.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Price | Self::Inventory)
    }
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Equals,
        Self::NotEquals,
        Self::GreaterThan,
        Self::LessThan,
        Self::Contains,
        Self::NotContains,
        Self::StartsWith,
        Self::EndsWith,
    ];

    /// The name in the store, in the canonical form and in the dialects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::NotEquals => "not_equals",
            Self::GreaterThan => "greater_than",
            Self::LessThan => "less_than",
            Self::Contains => "contains",
            Self::NotContains => "not_contains",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
        }
    }

    fn fits(self, field: Field) -> bool {
        match self {
            Self::Equals | Self::NotEquals => true,
            Self::GreaterThan | Self::LessThan => field.is_number(),
            Self::Contains | Self::NotContains | Self::StartsWith | Self::EndsWith => {
                !field.is_number()
            }
        }
    }
}

const OPERAND_CHARS: usize = 255;

impl Combinator {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::All, Self::Any, Self::None];

    /// The name in the API and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all_of",
            Self::Any => "any_of",
            Self::None => "none_of",
        }
    }
}

impl Rules {
    /// Checks the numbers of rules and of levels, each group and condition, and that numbers
    /// which must all hold in one row do not contradict each other.
    pub fn check(&self, limits: &Limits, violations: &mut Violations) {
        let root = FieldPath::Rules(Vec::new());
        let (count, depth) = self.root.size();
        // The root is not counted.
        let count = count - 1;
        violations.count(root.clone(), count, limits.conditions);
        if depth > limits.rule_depth {
            let max = limits.rule_depth;
            violations.add(root, "", Constraint::TooDeep { depth, max });
        }
        if count <= limits.conditions && depth <= limits.rule_depth {
            self.root.check(&mut Vec::new(), violations);
        }
    }

    /// The SHA-256 of the canonical form, in hexadecimal: rules that say the same in
    /// another order, or twice, have the same.
    pub fn hash(&self) -> String {
        match &self.root {
            Rule::Group(group) => group.hash(),
            // HighLevel has no form for a condition alone: it reads and sends back a group.
            Rule::Condition(condition) => {
                Group::of_one_row(Combinator::All, vec![condition.clone()]).hash()
            }
        }
    }

    /// The bytes of all operands together.
    pub fn bytes(&self) -> usize {
        self.root.bytes()
    }
}

/// The rules hash of a collection that has none.
pub fn hash_of_none() -> String {
    sha256("")
}

impl Rule {
    /// How many rules there are, itself included, and how many levels of groups.
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

    fn bytes(&self) -> usize {
        match self {
            Self::Condition(condition) => condition.operand.as_str().len(),
            Self::Group(group) => group.rules.iter().map(Self::bytes).sum(),
        }
    }

    fn check(&self, path: &mut Vec<RulePart>, violations: &mut Violations) {
        match self {
            Self::Condition(condition) => condition.check(path, violations),
            Self::Group(group) => group.check(path, violations),
        }
    }

    fn condition(&self) -> Option<&Condition> {
        match self {
            Self::Condition(condition) => Some(condition),
            Self::Group(_) => None,
        }
    }

    /// One line: a condition, or a group by its hash.
    fn canonical(&self) -> String {
        match self {
            Self::Condition(condition) => condition.canonical(),
            Self::Group(group) => format!("group {}", group.hash()),
        }
    }
}

impl Group {
    /// A group that one row must satisfy.
    pub fn of_one_row(combinator: Combinator, conditions: Vec<Condition>) -> Self {
        Self {
            combinator,
            same_row: true,
            rules: conditions.into_iter().map(Rule::Condition).collect(),
        }
    }

    fn check(&self, path: &mut Vec<RulePart>, violations: &mut Violations) {
        let at = |path: &[RulePart], part| FieldPath::Rules([path, &[part]].concat());
        let group = RulePart::Group(self.combinator);
        if self.rules.is_empty() {
            violations.add(at(path, group), "", Constraint::Empty);
        }
        for (index, rule) in self.rules.iter().enumerate() {
            path.push(RulePart::Rule(self.combinator, index));
            rule.check(path, violations);
            path.pop();
        }
        // Elsewhere one row may satisfy one condition and another row the other.
        if self.combinator == Combinator::All && self.same_row {
            for field in [Field::Price, Field::Inventory] {
                if self.contradicts(field) {
                    let why = "its conditions contradict each other, so nothing can match";
                    let why = Constraint::Forbidden(why);
                    violations.add(at(path, group), field.name(), why);
                }
            }
        }
    }

    /// Whether no number satisfies all the conditions on `field`.
    fn contradicts(&self, field: Field) -> bool {
        let values = |operator| {
            let conditions = self.rules.iter().filter_map(Rule::condition);
            conditions
                .filter(move |c| c.field == field && c.operator == operator)
                .filter_map(|c| number(c.operand.as_str()))
        };
        let above = values(Operator::GreaterThan).fold(f64::NEG_INFINITY, f64::max);
        let below = values(Operator::LessThan).fold(f64::INFINITY, f64::min);
        let mut equal = values(Operator::Equals);
        let outside = |x: f64| x <= above || x >= below;
        match equal.next() {
            Some(x) => {
                outside(x)
                    || equal.any(|other| other != x)
                    || values(Operator::NotEquals).any(|other| other == x)
            }
            None => above >= below,
        }
    }

    /// The hash of the flat form, one group that one row must satisfy, is older than the
    /// others and stays what it was.
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

impl Operand {
    /// The value as written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(value) | Self::Decimal(value) => value,
        }
    }
}

impl Condition {
    fn check(&self, path: &[RulePart], violations: &mut Violations) {
        let at = |part| FieldPath::Rules([path, &[part]].concat());
        if !self.operator.fits(self.field) {
            let why = if self.field.is_number() {
                "a number field takes equals, not_equals, greater_than and less_than"
            } else {
                "a text field takes no greater_than and no less_than"
            };
            let operator = self.operator.name();
            violations.add(at(RulePart::Operator), operator, Constraint::Forbidden(why));
        }
        let operand = at(RulePart::Operand);
        match (&self.operand, self.field.is_number()) {
            (Operand::Text(value) | Operand::Decimal(value), _) if value.is_empty() => {
                violations.add(operand, "", Constraint::Empty);
            }
            (Operand::Decimal(value), true) if number(value).is_some() => {}
            (Operand::Text(value), false) => violations.length(operand, value, OPERAND_CHARS),
            (Operand::Text(value) | Operand::Decimal(value), is_number) => {
                let form = if is_number { DECIMAL } else { TEXT };
                violations.add(operand, value, Constraint::Malformed(form));
            }
        }
    }

    /// One line: the value last, with its line breaks escaped; a number without
    /// zeros that say nothing.
    fn canonical(&self) -> String {
        let value = self.operand.as_str();
        let value = if self.field.is_number() {
            without_zeros(value)
        } else {
            value.escape_default().to_string()
        };
        format!("{} {} {value}", self.field.name(), self.operator.name())
    }
}

const DECIMAL: &str = "a decimal number";
const TEXT: &str = "text";

/// The most digits of a number.
const MAX_DIGITS: usize = 24;

/// A decimal number of the form `-12.50`; no exponent, no infinity.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let plain = count <= MAX_DIGITS
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

/// A decimal number without the zeros that say nothing. In text: a float would make two
/// long numbers one.
fn without_zeros(number: &str) -> String {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let sign = &number[..number.len() - digits.len()];
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_24_digits_besides_its_sign_and_point() {
        let digits = "1".repeat(MAX_DIGITS - 1);
        assert!(number(&format!("-0.{digits}")).is_some());
        assert_eq!(number(&format!("-0.{digits}1")), None);
        assert!(number(&format!("1{digits}")).is_some());
    }

    fn condition(field: Field, operator: Operator, value: &str) -> Condition {
        let value = value.to_owned();
        let operand = match field.is_number() {
            true => Operand::Decimal(value),
            false => Operand::Text(value),
        };
        Condition {
            field,
            operator,
            operand,
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
    fn the_hash_sees_what_rules_mean_not_how_they_are_written() {
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
        // One of them is the first rules again.
        assert_eq!(others.len(), count - 1);
    }

    #[test]
    fn a_group_in_a_group_has_its_part_in_the_hash() {
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
    fn the_hash_of_the_flat_form_stays() {
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
            operand: Operand::Text("1".into()),
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
        assert_eq!(faults(&all(vec![red.clone(); 50])).len(), 0);
        assert_eq!(faults(&all(vec![red.clone(); 51])).len(), 1);
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
    fn contradictions_are_refused_only_where_all_must_hold_in_one_row() {
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
}
