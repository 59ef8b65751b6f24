//! Conditions: a field of a product, an operator, and what it is compared with.

use std::{borrow::Cow, time::Duration};

use super::super::{
    constraint::Constraint,
    decimal::Decimal,
    error::Violations,
    field::{FieldPath, RulePart},
    time::Timestamp,
};

/// The most values that `in` and `not_in` compare with.
pub const MAX_OPERANDS: usize = 250;

/// The most characters of a text that is compared with.
const OPERAND_CHARS: usize = 255;

/// The greatest age that is compared with: 100 years of 365 days.
const MAX_AGE: Duration = Duration::from_secs(36_500 * 86_400);

/// The most characters of a path into the attributes.
pub const MAX_PATH_CHARS: usize = 255;

/// What the name of a field in the attributes begins with; its path follows.
const ATTRIBUTES: &str = "attributes.";

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// What is compared.
    pub field: Field,
    /// How.
    pub operator: Operator,
    /// With what: as many values as the operator takes, of the field's type.
    pub operands: Vec<Operand>,
}

/// A value that a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// Text.
    Text(String),
    /// A decimal number, as written.
    Decimal(String),
    /// A boolean.
    Boolean(bool),
    /// A point in time.
    Time(Timestamp),
    /// An age of points in time, to the microsecond.
    Duration(Duration),
}

/// The types of fields and of what they are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text, regardless of case and composition.
    Text,
    /// A decimal number.
    Decimal,
    /// A boolean.
    Boolean,
    /// A point in time.
    Time,
    /// How long ago a point in time is.
    Duration,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The product's title.
    Title,
    /// The title of a row: of the price, else of its variant.
    VariantTitle,
    /// The price of a row, in units of its currency.
    Price,
    /// The quantity in stock of a row, else of the whole product.
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
    /// Whether the product can be bought.
    Available,
    /// The currency of a row's price.
    PriceCurrency,
    /// The price of a row before a reduction, in units of its currency.
    CompareAtPrice,
    /// When the product's master created it.
    Created,
    /// When the product's master last changed it.
    Updated,
    /// The product's id, compared as it is.
    ProductId,
    /// The collections that have the product as a direct member, by id: those of the tenant that
    /// rules name.
    Collection,
    /// What is at that path of the attributes, with `.` between names; of a list, each element.
    Attribute(String),
}

/// How a condition compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Equal.
    Equals,
    /// Not equal.
    NotEquals,
    /// Numbers and times only.
    GreaterThan,
    /// Numbers and times only.
    LessThan,
    /// Texts only.
    Contains,
    /// Texts only.
    NotContains,
    /// Texts only.
    StartsWith,
    /// Texts only.
    EndsWith,
    /// Equal to one of several.
    In,
    /// Equal to none of several.
    NotIn,
    /// Numbers and times only.
    GreaterOrEqual,
    /// Numbers and times only.
    LessOrEqual,
    /// From the first value to the second, both included; numbers and times only.
    Between,
    /// There is a value, of any type.
    IsSet,
    /// There is no value of any type.
    IsNotSet,
    /// The age is that or more; times only. That of a time to come is less than any.
    OlderThan,
    /// The age is less than that; times only.
    NewerThan,
}

impl Field {
    /// The fields with a name of their own: all but those in the attributes.
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

    /// The name in the store, in the canonical form and in the dialects.
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

    /// The field of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(path) = name.strip_prefix(ATTRIBUTES) {
            return Some(Self::Attribute(path.into()));
        }
        Self::NAMED.into_iter().find(|field| field.name() == name)
    }

    /// The path of a field in the attributes.
    pub fn attribute(&self) -> Option<&str> {
        if let Self::Attribute(path) = self {
            Some(path)
        } else {
            None
        }
    }

    /// The type of its values; none where the operand decides.
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

    /// Whether it may differ from row to row.
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

    /// Whether it has at most one value, in one row.
    pub(super) fn is_single(&self) -> bool {
        !matches!(self, Self::Tag | Self::Collection | Self::Attribute(_))
    }
}

impl Operator {
    /// All of them.
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

    /// The operator of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.name() == name)
    }

    /// Whether it holds where there is no value of the right type.
    pub fn is_negative(self) -> bool {
        matches!(
            self,
            Self::NotEquals | Self::NotContains | Self::NotIn | Self::IsNotSet
        )
    }

    /// Whether it takes a list of values.
    pub fn takes_several(self) -> bool {
        matches!(self, Self::In | Self::NotIn | Self::Between)
    }

    /// Whether it takes no value at all.
    pub fn takes_none(self) -> bool {
        matches!(self, Self::IsSet | Self::IsNotSet)
    }

    /// Whether it compares how long ago times are.
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
    /// All of them.
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

    /// Why an operator does not fit.
    fn operators(self) -> &'static str {
        match self {
            Self::Text => {
                "a text field takes equals, not_equals, in, not_in, contains, not_contains, \
                 starts_with, ends_with, is_set and is_not_set"
            }
            Self::Decimal => {
                "a number field takes equals, not_equals, in, not_in, greater_than, \
                 greater_or_equal, less_than, less_or_equal, between, is_set and is_not_set"
            }
            Self::Boolean => "a boolean field takes equals, not_equals, is_set and is_not_set",
            Self::Time => {
                "a time field takes equals, not_equals, in, not_in, greater_than, \
                 greater_or_equal, less_than, less_or_equal, between, is_set, is_not_set, \
                 older_than and newer_than"
            }
            Self::Duration => "a duration goes with older_than and newer_than",
        }
    }

    fn form(self) -> Constraint {
        Constraint::Malformed(match self {
            Self::Text => "text",
            Self::Decimal => "a decimal number",
            Self::Boolean => "a boolean",
            Self::Time => "a time as in RFC 3339, such as 2026-01-02T03:04:05Z",
            Self::Duration => {
                "a duration in seconds from 0s to 3153600000s (100 years of 365 days)"
            }
        })
    }
}

impl Operand {
    /// Its type.
    pub fn value_type(&self) -> Type {
        match self {
            Self::Text(_) => Type::Text,
            Self::Decimal(_) => Type::Decimal,
            Self::Boolean(_) => Type::Boolean,
            Self::Time(_) => Type::Time,
            Self::Duration(_) => Type::Duration,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// How many bytes it takes, with what is around it in a message.
    fn bytes(&self) -> usize {
        const AROUND: usize = 8;
        AROUND
            + match self {
                Self::Text(text) | Self::Decimal(text) => text.len(),
                Self::Boolean(_) => 1,
                Self::Time(_) | Self::Duration(_) => 12,
            }
    }

    /// The value as messages show it.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Decimal(text) => text.clone(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Time(time) => time.to_string(),
            Self::Duration(age) => seconds(*age),
        }
    }

    /// One value of a line: without line breaks and tabs; a number without zeros that say
    /// nothing.
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
    /// The type that is compared; none where no value is.
    fn value_type(&self) -> Option<Type> {
        let of_operand = if self.operator.is_of_age() {
            Some(Type::Duration)
        } else {
            self.operands.first().map(Operand::value_type)
        };
        self.field.value_type().or(of_operand)
    }

    /// How many bytes it takes.
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
            let why = Constraint::Forbidden("membership takes in and not_in");
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

    /// Whether nothing is wrong with it.
    pub(super) fn is_valid(&self) -> bool {
        let mut violations = Violations::default();
        self.check(&[], &mut violations);
        violations.finish().is_ok()
    }

    /// What is wrong with the number of values.
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

    /// Whether it compares with an empty range.
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

    /// One line, the values last. The type is in it where the field does not say it; values of
    /// a list are in their order, each once.
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

/// A duration in the JSON form of Protocol Buffers: seconds with at most six decimals, and `s`.
pub fn seconds(duration: Duration) -> String {
    let (seconds, micros) = (duration.as_secs(), duration.subsec_micros());
    if micros == 0 {
        return format!("{seconds}s");
    }
    let text = format!("{seconds}.{micros:06}");
    format!("{}s", text.trim_end_matches('0'))
}

/// The duration of that form.
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
    fn durations_are_read_as_they_are_written() {
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
