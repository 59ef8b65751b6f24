//! Conditions, the leaves of the tree of rules ([`super::tree`]): a field of a product, an
//! operator, and operands; their checks and their canonical form. They are evaluated as predicates.

use std::{borrow::Cow, time::Duration};

use super::super::{
    constraint::Constraint,
    decimal::Decimal,
    error::Violations,
    field::{FieldPath, RulePart},
    time::Timestamp,
};

/// The maximum number of operands of `in` and `not_in`.
pub const MAX_OPERANDS: usize = 250;

/// The maximum number of characters of a text operand.
const OPERAND_CHARS: usize = 255;

/// The maximum age in an operand: 100 years of 365 days.
const MAX_AGE: Duration = Duration::from_secs(36_500 * 86_400);

/// The maximum number of characters of a path into the attributes.
pub const MAX_PATH_CHARS: usize = 255;

/// The prefix of the names of fields in the attributes, followed by the path.
const ATTRIBUTES: &str = "attributes.";

/// A comparison of a field with operands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// The field.
    pub field: Field,
    /// The operator.
    pub operator: Operator,
    /// The operands: as many as the operator takes, of the field's type.
    pub operands: Vec<Operand>,
}

/// A value with which a field is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// Text.
    Text(String),
    /// A decimal number, as the client wrote it.
    Decimal(String),
    /// A boolean.
    Boolean(bool),
    /// A point in time.
    Time(Timestamp),
    /// An age, to the microsecond.
    Duration(Duration),
}

/// The types of fields and operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text, compared regardless of case and composition.
    Text,
    /// A decimal number.
    Decimal,
    /// A boolean.
    Boolean,
    /// A point in time.
    Time,
    /// The age of a point in time.
    Duration,
}

/// A field of a product that conditions can evaluate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The product's title.
    Title,
    /// The title of a row: of the price, or else of its variant.
    VariantTitle,
    /// The price of a row, in units of its currency.
    Price,
    /// The quantity in stock of a row: of the price, or else of its variant or the whole product.
    Inventory,
    /// The product's slug.
    Slug,
    /// The product's type.
    Type,
    /// The product's vendor.
    Vendor,
    /// Each of the product's tags.
    Tag,
    /// The product's status.
    Status,
    /// Whether the product is available.
    Available,
    /// The currency of a row's price.
    PriceCurrency,
    /// The compare-at price of a row, before a reduction, in units of its currency.
    CompareAtPrice,
    /// When the product was created in the master system.
    Created,
    /// When the product last changed in the master system.
    Updated,
    /// The product's id, compared exactly.
    ProductId,
    /// The ids of the collections that directly contain the product, of those that rules of the
    /// tenant reference.
    Collection,
    /// The value at a path in the attributes, with `.` between names; each element, if it is a
    /// list.
    Attribute(String),
}

/// The comparison of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Equal.
    Equals,
    /// Not equal.
    NotEquals,
    /// Greater than; numbers and times only.
    GreaterThan,
    /// Less than; numbers and times only.
    LessThan,
    /// Contains the text; texts only.
    Contains,
    /// Does not contain the text; texts only.
    NotContains,
    /// Starts with the text; texts only.
    StartsWith,
    /// Ends with the text; texts only.
    EndsWith,
    /// Equal to any of the operands.
    In,
    /// Equal to none of the operands.
    NotIn,
    /// Greater than or equal; numbers and times only.
    GreaterOrEqual,
    /// Less than or equal; numbers and times only.
    LessOrEqual,
    /// From the first to the second operand, inclusive; numbers and times only.
    Between,
    /// Has a value of any type.
    IsSet,
    /// Has no value.
    IsNotSet,
    /// The age is the operand or more; times only. Times in the future are less than any age.
    OlderThan,
    /// The age is less than the operand; times only.
    NewerThan,
}

impl Field {
    /// All fields with fixed names, that is, all except those in the attributes.
    pub const NAMED: [Self; 16] = [
        Self::Title,
        Self::VariantTitle,
        Self::Price,
        Self::Inventory,
        Self::Slug,
        Self::Type,
        Self::Vendor,
        Self::Tag,
        Self::Status,
        Self::Available,
        Self::PriceCurrency,
        Self::CompareAtPrice,
        Self::Created,
        Self::Updated,
        Self::ProductId,
        Self::Collection,
    ];

    /// The name in the database, in the canonical form and in the dialects.
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Title => "title",
            Self::VariantTitle => "variant_title",
            Self::Price => "price",
            Self::Inventory => "inventory",
            Self::Slug => "slug",
            Self::Type => "type",
            Self::Vendor => "vendor",
            Self::Tag => "tag",
            Self::Status => "status",
            Self::Available => "available",
            Self::PriceCurrency => "price_currency",
            Self::CompareAtPrice => "compare_at_price",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::ProductId => "product_id",
            Self::Collection => "collection",
            Self::Attribute(path) => return Cow::Owned(format!("{ATTRIBUTES}{path}")),
        })
    }

    /// The field with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(path) = name.strip_prefix(ATTRIBUTES) {
            return Some(Self::Attribute(path.into()));
        }
        Self::NAMED.into_iter().find(|field| field.name() == name)
    }

    /// The path, if the field is in the attributes.
    pub fn attribute(&self) -> Option<&str> {
        if let Self::Attribute(path) = self {
            Some(path)
        } else {
            None
        }
    }

    /// The type of its values; `None` if the operand determines it.
    pub fn value_type(&self) -> Option<Type> {
        match self {
            Self::Title
            | Self::VariantTitle
            | Self::Slug
            | Self::Type
            | Self::Vendor
            | Self::Tag
            | Self::Status
            | Self::PriceCurrency
            | Self::ProductId
            | Self::Collection => Some(Type::Text),
            Self::Price | Self::Inventory | Self::CompareAtPrice => Some(Type::Decimal),
            Self::Available => Some(Type::Boolean),
            Self::Created | Self::Updated => Some(Type::Time),
            Self::Attribute(_) => None,
        }
    }

    /// Whether its value may differ between rows.
    pub fn is_of_row(&self) -> bool {
        matches!(
            self,
            Self::VariantTitle
                | Self::Price
                | Self::Inventory
                | Self::PriceCurrency
                | Self::CompareAtPrice
        )
    }

    /// Whether it has at most one value per row.
    pub(super) fn is_single(&self) -> bool {
        !matches!(self, Self::Tag | Self::Collection | Self::Attribute(_))
    }
}

impl Operator {
    /// All operators.
    pub const ALL: [Self; 17] = [
        Self::Equals,
        Self::NotEquals,
        Self::GreaterThan,
        Self::LessThan,
        Self::Contains,
        Self::NotContains,
        Self::StartsWith,
        Self::EndsWith,
        Self::In,
        Self::NotIn,
        Self::GreaterOrEqual,
        Self::LessOrEqual,
        Self::Between,
        Self::IsSet,
        Self::IsNotSet,
        Self::OlderThan,
        Self::NewerThan,
    ];

    /// The name in the database, in the canonical form and in the dialects.
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
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::GreaterOrEqual => "greater_or_equal",
            Self::LessOrEqual => "less_or_equal",
            Self::Between => "between",
            Self::IsSet => "is_set",
            Self::IsNotSet => "is_not_set",
            Self::OlderThan => "older_than",
            Self::NewerThan => "newer_than",
        }
    }

    /// The operator with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.name() == name)
    }

    /// Whether the condition holds if there is no value of the right type.
    pub fn is_negative(self) -> bool {
        matches!(
            self,
            Self::NotEquals | Self::NotContains | Self::NotIn | Self::IsNotSet
        )
    }

    /// Whether it takes several operands.
    pub fn takes_several(self) -> bool {
        matches!(self, Self::In | Self::NotIn | Self::Between)
    }

    /// Whether it takes no operands.
    pub fn takes_none(self) -> bool {
        matches!(self, Self::IsSet | Self::IsNotSet)
    }

    /// Whether it compares ages.
    pub fn is_of_age(self) -> bool {
        matches!(self, Self::OlderThan | Self::NewerThan)
    }

    fn fits(self, of: Type) -> bool {
        match self {
            Self::OlderThan | Self::NewerThan => matches!(of, Type::Time | Type::Duration),
            _ if of == Type::Duration => false,
            Self::Equals | Self::NotEquals | Self::IsSet | Self::IsNotSet => true,
            Self::In | Self::NotIn => of != Type::Boolean,
            Self::GreaterThan
            | Self::GreaterOrEqual
            | Self::LessThan
            | Self::LessOrEqual
            | Self::Between => matches!(of, Type::Decimal | Type::Time),
            Self::Contains | Self::NotContains | Self::StartsWith | Self::EndsWith => {
                of == Type::Text
            }
        }
    }
}

impl Type {
    /// All types.
    pub const ALL: [Self; 5] = [
        Self::Text,
        Self::Decimal,
        Self::Boolean,
        Self::Time,
        Self::Duration,
    ];

    /// The name in the canonical form and in the dialects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Time => "time",
            Self::Duration => "duration",
        }
    }

    /// The valid operators of the type, as an error message.
    fn operators(self) -> &'static str {
        match self {
            Self::Text => {
                "a text field allows equals, not_equals, in, not_in, contains, not_contains, \
                 starts_with, ends_with, is_set and is_not_set"
            }
            Self::Decimal => {
                "a number field allows equals, not_equals, in, not_in, greater_than, \
                 greater_or_equal, less_than, less_or_equal, between, is_set and is_not_set"
            }
            Self::Boolean => "a boolean field allows equals, not_equals, is_set and is_not_set",
            Self::Time => {
                "a time field allows equals, not_equals, in, not_in, greater_than, \
                 greater_or_equal, less_than, less_or_equal, between, is_set, is_not_set, \
                 older_than and newer_than"
            }
            Self::Duration => "a duration is allowed only with older_than and newer_than",
        }
    }

    fn form(self) -> Constraint {
        Constraint::Malformed(match self {
            Self::Text => "text (type text)",
            Self::Decimal => "a decimal number (type decimal)",
            Self::Boolean => "a boolean (type boolean)",
            Self::Time => "a time as in RFC 3339, such as 2026-01-02T03:04:05Z (type time)",
            Self::Duration => {
                "a duration from 0s to 3153600000s, 100 years of 365 days (type duration)"
            }
        })
    }
}

impl Operand {
    /// The type of the operand.
    pub fn value_type(&self) -> Type {
        match self {
            Self::Text(_) => Type::Text,
            Self::Decimal(_) => Type::Decimal,
            Self::Boolean(_) => Type::Boolean,
            Self::Time(_) => Type::Time,
            Self::Duration(_) => Type::Duration,
        }
    }

    /// The text, if the operand is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The approximate size in a message, in bytes.
    fn bytes(&self) -> usize {
        const AROUND: usize = 8;
        AROUND
            + match self {
                Self::Text(text) | Self::Decimal(text) => text.len(),
                Self::Boolean(_) => 1,
                Self::Time(_) | Self::Duration(_) => 12,
            }
    }

    /// The value for error messages.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Decimal(text) => text.clone(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Time(time) => time.to_string(),
            Self::Duration(age) => seconds(*age),
        }
    }

    /// The value in the canonical form: without line breaks and tabs, and numbers without redundant
    /// zeros.
    fn canonical(&self) -> String {
        match self {
            Self::Text(text) => text.escape_default().to_string(),
            Self::Decimal(text) => Decimal::parse(text).map_or_else(
                || text.escape_default().to_string(),
                |number| number.to_string(),
            ),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Time(time) => time.micros().to_string(),
            Self::Duration(age) => age.as_micros().to_string(),
        }
    }
}

impl Condition {
    /// The type of the values that are compared; `None` if there are no operands to determine it.
    fn value_type(&self) -> Option<Type> {
        let of_operand = if self.operator.is_of_age() {
            Some(Type::Duration)
        } else {
            self.operands.first().map(Operand::value_type)
        };
        self.field.value_type().or(of_operand)
    }

    /// The approximate size in bytes.
    pub(super) fn bytes(&self) -> usize {
        let operands = self.operands.iter().map(Operand::bytes).sum::<usize>();
        self.field.attribute().map_or(0, str::len) + operands
    }

    pub(super) fn check(&self, path: &[RulePart], violations: &mut Violations) {
        let at = |part| FieldPath::Rules([path, &[part]].concat());
        if let Some(path) = self.field.attribute() {
            if path.is_empty() {
                let name = self.field.name();
                violations.add(at(RulePart::Field), &name, Constraint::Malformed(PATH));
            }
            violations.length(at(RulePart::Field), path, MAX_PATH_CHARS);
        }
        let is_list = matches!(self.operator, Operator::In | Operator::NotIn);
        if self.field == Field::Collection && !is_list {
            let why = Constraint::Forbidden("the field collection allows only in and not_in");
            violations.add(at(RulePart::Operator), self.operator.name(), why);
        } else if let Some(of) = self.value_type()
            && !self.operator.fits(of)
        {
            let why = Constraint::Forbidden(of.operators());
            violations.add(at(RulePart::Operator), self.operator.name(), why);
        }
        let operand = at(RulePart::Operand);
        if let Some(constraint) = self.wrong_count() {
            violations.add(operand, "", constraint);
            return;
        }
        let expected = if self.operator.is_of_age() {
            Some(Type::Duration)
        } else {
            self.value_type()
        };
        for value in &self.operands {
            if let Some(expected) = expected {
                check_operand(value, expected, &operand, violations);
            }
        }
        if self.operator == Operator::Between && self.is_backwards() {
            let why = "the first value is greater than the second, so nothing can match";
            violations.add(operand, "", Constraint::Forbidden(why));
        }
    }

    /// Whether it has no violations.
    pub(super) fn is_valid(&self) -> bool {
        let mut violations = Violations::default();
        self.check(&[], &mut violations);
        violations.finish().is_ok()
    }

    /// The violation if the number of operands is wrong.
    fn wrong_count(&self) -> Option<Constraint> {
        let count = self.operands.len();
        let max = match self.operator {
            Operator::IsSet | Operator::IsNotSet if count > 0 => {
                let why = "is_set and is_not_set take no value";
                return Some(Constraint::Forbidden(why));
            }
            Operator::IsSet | Operator::IsNotSet => return None,
            Operator::Between if count == 1 => {
                return Some(Constraint::Malformed("two values, the lower one first"));
            }
            Operator::Between => 2,
            Operator::In | Operator::NotIn => MAX_OPERANDS,
            Operator::Equals
            | Operator::NotEquals
            | Operator::GreaterThan
            | Operator::GreaterOrEqual
            | Operator::LessThan
            | Operator::LessOrEqual
            | Operator::Contains
            | Operator::NotContains
            | Operator::StartsWith
            | Operator::EndsWith
            | Operator::OlderThan
            | Operator::NewerThan => 1,
        };
        match count {
            0 => Some(Constraint::Required),
            count if count > max => Some(Constraint::TooMany { count, max }),
            _ => None,
        }
    }

    /// Whether `between` has its operands in the wrong order.
    fn is_backwards(&self) -> bool {
        match self.operands.as_slice() {
            [Operand::Time(low), Operand::Time(high)] => low > high,
            [Operand::Decimal(low), Operand::Decimal(high)] => {
                let (low, high) = (Decimal::parse(low), Decimal::parse(high));
                low.zip(high).is_some_and(|(low, high)| low > high)
            }
            _ => false,
        }
    }

    /// The canonical form: one line with the operands last. It includes the type if the field does
    /// not determine it. The operands of `in` and `not_in` are sorted and without duplicates.
    pub(super) fn canonical(&self) -> String {
        let mut values: Vec<_> = self.operands.iter().map(Operand::canonical).collect();
        if matches!(self.operator, Operator::In | Operator::NotIn) {
            values.sort_unstable();
            values.dedup();
        }
        let (operator, values) = (self.operator.name(), values.join("\t"));
        let Some(path) = self.field.attribute() else {
            return format!("{} {operator} {values}", self.field.name());
        };
        let (path, of) = (path.escape_default(), self.value_type());
        let of = of.map_or("", Type::name);
        format!("{ATTRIBUTES}{path}\t{operator}\t{of}\t{values}")
    }
}

/// A duration in the JSON form of Protocol Buffers: seconds with up to six decimals, and `s`.
pub fn seconds(duration: Duration) -> String {
    let (seconds, micros) = (duration.as_secs(), duration.subsec_micros());
    if micros == 0 {
        return format!("{seconds}s");
    }
    let text = format!("{seconds}.{micros:06}");
    format!("{}s", text.trim_end_matches('0'))
}

/// Parses what [`seconds`] writes.
pub fn of_seconds(text: &str) -> Option<Duration> {
    let (seconds, fraction) = {
        let number = text.strip_suffix('s')?;
        number.split_once('.').unwrap_or((number, "0"))
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let micros: u32 = format!("{fraction:0<6}").parse().ok()?;
    Some(Duration::new(seconds.parse().ok()?, micros * 1_000))
}

const PATH: &str = "attributes. and a path, such as attributes.color";

fn check_operand(
    operand: &Operand,
    expected: Type,
    field: &FieldPath,
    violations: &mut Violations,
) {
    let field = field.clone();
    match operand {
        Operand::Text(text) | Operand::Decimal(text) if text.is_empty() => {
            violations.add(field, "", Constraint::Empty);
        }
        _ if operand.value_type() != expected => {
            violations.add(field, &operand.shown(), expected.form());
        }
        Operand::Text(text) => violations.length(field, text, OPERAND_CHARS),
        Operand::Decimal(text) if Decimal::parse(text).is_none() => {
            violations.add(field, text, expected.form());
        }
        Operand::Duration(age) if *age > MAX_AGE => {
            violations.add(field, &seconds(*age), expected.form());
        }
        Operand::Decimal(_) | Operand::Boolean(_) | Operand::Time(_) | Operand::Duration(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip_and_malformed_ones_are_rejected() {
        for (text, micros) in [
            ("0s", 0),
            ("86400s", 86_400_000_000),
            ("1.5s", 1_500_000),
            ("0.000001s", 1),
        ] {
            let duration = Duration::from_micros(micros);
            assert_eq!(of_seconds(text), Some(duration));
            assert_eq!(seconds(duration), text);
        }
        for odd in ["", "s", "1", "-1s", "1.s", ".5s", "1.0000001s", "1d", "+1s"] {
            assert_eq!(of_seconds(odd), None, "{odd}");
        }
    }
}
