//! The rules of smart collections: validated, hashed and versioned here.

use super::{
    digest::sha256,
    error::{Rule, Violations},
    limits::Limits,
};

/// How conditions combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    /// All must hold.
    And,
    /// Any one must hold.
    Or,
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

impl Logic {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::And, Self::Or];

    /// The name in the store, in the canonical form and in the dialects.
    pub fn name(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
        }
    }
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

    fn is_number(self) -> bool {
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

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is compared.
    pub field: Field,
    /// How.
    pub operator: Operator,
    /// What with.
    pub value: String,
}

/// What a smart collection's products must satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How the conditions combine.
    pub logic: Logic,
    /// The conditions; their order says nothing.
    pub conditions: Vec<Condition>,
}

const VALUE_CHARS: usize = 255;

impl Rules {
    /// Checks the number of conditions, each condition, and that numbers which
    /// must all hold do not contradict each other.
    pub fn check(&self, limits: &Limits, violations: &mut Violations) {
        if self.conditions.is_empty() {
            violations.add("rules.conditions", "", Rule::Empty);
        }
        violations.count("rules.conditions", self.conditions.len(), limits.conditions);
        for (index, condition) in self.conditions.iter().enumerate() {
            condition.check(&format!("rules.conditions.{index}"), violations);
        }
        for field in [Field::Price, Field::Inventory] {
            if self.logic == Logic::And && self.contradicts(field) {
                let why = "its conditions contradict each other, so nothing can match";
                violations.add("rules.conditions", field.name(), Rule::Forbidden(why));
            }
        }
    }

    /// Whether no number satisfies all the conditions on `field`.
    fn contradicts(&self, field: Field) -> bool {
        let values = |operator| {
            self.conditions
                .iter()
                .filter(move |c| c.field == field && c.operator == operator)
                .filter_map(|c| number(&c.value))
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

    /// The SHA-256 of the canonical form, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut lines: Vec<_> = self.conditions.iter().map(Condition::canonical).collect();
        lines.sort_unstable();
        lines.dedup();
        sha256(format!("{}\n{}", self.logic.name(), lines.join("\n")))
    }
}

/// The rules hash of a collection that has none.
pub fn hash_of_none() -> String {
    sha256("")
}

impl Condition {
    fn check(&self, at: &str, violations: &mut Violations) {
        let value = format!("{at}.value");
        if !self.operator.fits(self.field) {
            let why = if self.field.is_number() {
                "a number field takes equals, not_equals, greater_than and less_than"
            } else {
                "a text field takes no greater_than and no less_than"
            };
            let operator = self.operator.name();
            violations.add(format!("{at}.operator"), operator, Rule::Forbidden(why));
        }
        if self.value.is_empty() {
            violations.add(value, "", Rule::Empty);
        } else if self.field.is_number() && number(&self.value).is_none() {
            violations.add(value, &self.value, Rule::Malformed("a decimal number"));
        } else {
            violations.length(value, &self.value, VALUE_CHARS);
        }
    }

    /// One line: the value last, with its line breaks escaped; a number without
    /// zeros that say nothing.
    fn canonical(&self) -> String {
        let value = match number(&self.value) {
            Some(number) if self.field.is_number() => number.to_string(),
            _ => self.value.escape_default().to_string(),
        };
        format!("{} {} {value}", self.field.name(), self.operator.name())
    }
}

/// A decimal number of the form `-12.50`; no exponent, no infinity.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.len() <= 24
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(field: Field, operator: Operator, value: &str) -> Condition {
        let value = value.into();
        Condition {
            field,
            operator,
            value,
        }
    }

    fn all(conditions: Vec<Condition>) -> Rules {
        Rules {
            logic: Logic::And,
            conditions,
        }
    }

    fn problems(rules: &Rules) -> Vec<String> {
        let mut violations = Violations::default();
        rules.check(&crate::config::tests::limits(), &mut violations);
        let Err(error) = violations.finish() else {
            return Vec::new();
        };
        error.violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_hash_sees_what_rules_mean_not_how_they_are_written() {
        let cheap = condition(Field::Price, Operator::LessThan, "10");
        let same = condition(Field::Price, Operator::LessThan, "10.00");
        let red = condition(Field::Title, Operator::Contains, "red");
        let hash = all(vec![cheap.clone(), red.clone()]).hash();
        assert_eq!(hash, all(vec![red.clone(), same, red.clone()]).hash());
        assert_ne!(hash, all(vec![cheap.clone()]).hash());
        let any = Rules {
            logic: Logic::Or,
            conditions: vec![cheap, red],
        };
        assert_ne!(hash, any.hash());
        assert_ne!(hash, hash_of_none());
    }

    #[test]
    fn operators_and_values_must_fit_the_field() {
        let rules = all(vec![
            condition(Field::Title, Operator::LessThan, "x"),
            condition(Field::Price, Operator::Contains, "1"),
            condition(Field::Price, Operator::Equals, "1e3"),
            condition(Field::Title, Operator::Equals, ""),
        ]);
        let fields: Vec<_> = problems(&rules)
            .iter()
            .map(|p| p.split(':').next().unwrap().to_owned())
            .collect();
        let expected = ["0.operator", "1.operator", "2.value", "3.value"];
        assert_eq!(fields, expected.map(|f| format!("rules.conditions.{f}")));
    }

    #[test]
    fn contradictions_are_refused_only_where_all_must_hold() {
        let price = |operator, value| condition(Field::Price, operator, value);
        let impossible = vec![
            price(Operator::GreaterThan, "100"),
            price(Operator::LessThan, "50"),
        ];
        assert_eq!(problems(&all(impossible.clone())).len(), 1);
        let any = Rules {
            logic: Logic::Or,
            conditions: impossible,
        };
        assert_eq!(problems(&any), Vec::<String>::new());
        let possible = all(vec![
            price(Operator::GreaterThan, "50"),
            price(Operator::LessThan, "100"),
            price(Operator::Equals, "75"),
            price(Operator::NotEquals, "80"),
        ]);
        assert_eq!(problems(&possible), Vec::<String>::new());
    }
}
