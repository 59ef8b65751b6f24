//! Exact decimal numbers, with the range of JSON numbers. Products have them as prices, stock and
//! attributes, rules compare them ([`super::rules`]), and sort keys contain them ([`super::sort`]).

use std::{fmt, iter::Sum, str::FromStr as _};

use bigdecimal::{BigDecimal, Zero as _};

/// An exact decimal number. Equal numbers are the same value, however they were written: `10` and
/// `10.00` have the same text and the same hash.
///
/// The order of magnitude is limited to 10^±400, so that comparing two numbers takes little memory.
/// The numbers of JSON's double precision, up to 1.8e308 and down to 5e-324, are within that range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(BigDecimal);

impl Decimal {
    /// The maximum number of digits that a client may write in text form.
    pub const MAX_DIGITS: usize = 24;

    /// The maximum number of digits before or after the decimal point.
    const MAX_MAGNITUDE: i64 = 400;

    /// Parses a number such as `-12.50`: up to [`Self::MAX_DIGITS`] digits, with at most one point
    /// between them and without an exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        if whole.is_empty() || whole.len() + fraction.len() > Self::MAX_DIGITS {
            return None;
        }
        // So many digits fit, and computing with them is many times faster than with `BigDecimal`.
        let mut digits = 0_i128;
        for digit in whole.chars().chain(fraction.chars()) {
            digits = digits * 10 + i128::from(digit.to_digit(10)?);
        }
        if digits == 0 {
            return Some(Self(BigDecimal::zero()));
        }
        let mut scale = i64::try_from(fraction.len()).ok()?;
        while digits % 10 == 0 {
            digits /= 10;
            scale -= 1;
        }
        if unsigned.len() < text.len() {
            digits = -digits;
        }
        Some(Self(BigDecimal::new(digits.into(), scale)))
    }

    /// Parses a JSON number, which may have an exponent. `None` if its magnitude is out of range or
    /// if it is too long.
    pub fn of_json_number(text: &str) -> Option<Self> {
        let longest = usize::try_from(Self::MAX_MAGNITUDE).unwrap_or(usize::MAX);
        if text.len() > longest {
            return None;
        }
        let number = BigDecimal::from_str(text).ok()?;
        if number.is_zero() {
            return Some(Self::normalized(number));
        }
        let scale = number.fractional_digit_count();
        let whole = i64::try_from(number.digits()).ok()?.checked_sub(scale)?;
        let is_near = whole <= Self::MAX_MAGNITUDE && scale <= Self::MAX_MAGNITUDE;
        (is_near && whole >= -Self::MAX_MAGNITUDE).then(|| Self::normalized(number))
    }

    /// Whether it has no more digits than a client may write.
    pub fn is_short(&self) -> bool {
        let text = self.to_string();
        text.bytes().filter(u8::is_ascii_digit).count() <= Self::MAX_DIGITS
    }

    /// A text of printable ASCII characters whose bytewise order is that of the numbers, or the
    /// reverse if `descending`.
    ///
    /// For a positive number: `2`, the order of magnitude in four digits, and the significant
    /// digits. For a negative number: `0`, then the same with each digit subtracted from nine, so
    /// that larger amounts come first, and a final `~`, so that longer ones do.
    pub fn sort_text(&self, descending: bool) -> String {
        /// Makes all orders of magnitude positive.
        const BIAS: i64 = 5_000;
        if self.0.is_zero() {
            return "1".into();
        }
        let (digits, scale) = self.0.as_bigint_and_scale();
        let digits = digits.magnitude().to_string();
        let magnitude = i64::try_from(digits.len()).unwrap_or(BIAS) - scale;
        let key = format!("{:04}{digits}", magnitude + BIAS);
        if (self.0 > BigDecimal::zero()) != descending {
            return format!("2{key}");
        }
        let complement = key.bytes().map(|digit| char::from(b'0' + (b'9' - digit)));
        format!("0{}~", complement.collect::<String>())
    }

    fn normalized(number: BigDecimal) -> Self {
        Self(number.normalized())
    }
}

/// Without an exponent and without redundant zeros.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_plain_string())
    }
}

impl<'a> Sum<&'a Self> for Decimal {
    fn sum<I: Iterator<Item = &'a Self>>(numbers: I) -> Self {
        Self::normalized(numbers.map(|number| &number.0).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        hash::{DefaultHasher, Hash as _, Hasher as _},
    };

    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn hash(number: &Decimal) -> u64 {
        let mut hasher = DefaultHasher::new();
        number.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn a_decimal_has_at_most_24_digits() {
        let digits = "1".repeat(Decimal::MAX_DIGITS - 1);
        assert!(Decimal::parse(&format!("-0.{digits}")).is_some());
        assert_eq!(Decimal::parse(&format!("-0.{digits}1")), None);
        assert!(Decimal::parse(&format!("1{digits}")).is_some());
        for odd in [
            "", "-", "+1", "1.", ".5", "1.2.3", "1e3", " 1", "1_0", "٣", "--1",
        ] {
            assert_eq!(Decimal::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn equal_decimals_have_one_value_and_one_canonical_text() {
        let same = ["10", "10.00", "0010.0"].map(decimal);
        assert_eq!(same.iter().collect::<HashSet<_>>().len(), 1);
        for (written, text) in [
            ("010.500", "10.5"),
            ("-0.0", "0"),
            ("-0.10", "-0.1"),
            ("100", "100"),
            ("0.10000000000000000001", "0.10000000000000000001"),
        ] {
            assert_eq!(decimal(written).to_string(), text);
        }
    }

    #[test]
    fn json_numbers_are_read_exactly_and_within_bounds() {
        let read = Decimal::of_json_number;
        let (large, small) = (read("1.7976931348623157e308"), read("5e-324"));
        assert!(large > read("1e308") && small > read("0") && small < read("1"));
        assert_eq!(read("1E2"), Some(decimal("100")));
        assert_eq!(read("-0.0"), Some(decimal("0")));
        assert_eq!(read("0e999999999"), Some(decimal("0")));
        for far in [
            "1e401",
            "1e-401",
            "1e999999999999",
            "-1e99999999999999999999",
        ] {
            assert_eq!(read(far), None, "{far}");
        }
        assert_eq!(read(&"1".repeat(401)), None);
        assert!(!read("1e24").unwrap().is_short() && read("1e23").unwrap().is_short());
    }

    #[test]
    fn a_sum_is_exact() {
        let parts = ["0.1", "0.2", "-0.3"].map(decimal);
        assert_eq!(parts.iter().sum::<Decimal>(), decimal("0"));
    }

    fn any_number() -> impl Strategy<Value = Decimal> {
        let short = (-2_000_i64..2_000, 0_u32..4).prop_map(|(n, scale)| format!("{n}e-{scale}"));
        let wide = (any::<i64>(), -320_i32..290).prop_map(|(n, e)| format!("{n}e{e}"));
        prop_oneof![short, wide].prop_map(|text| Decimal::of_json_number(&text).unwrap())
    }

    proptest! {
        #[test]
        fn both_parsers_agree(text in "-?[0-9]{1,14}(\\.[0-9]{1,10})?") {
            let (parsed, json) = (decimal(&text), Decimal::of_json_number(&text).unwrap());
            prop_assert_eq!(hash(&parsed), hash(&json));
            prop_assert_eq!(parsed.to_string(), json.to_string());
            prop_assert_eq!(parsed, json);
        }

        #[test]
        fn sort_texts_are_in_the_order_of_the_numbers(a in any_number(), b in any_number()) {
            let ascending = |number: &Decimal| number.sort_text(false);
            let descending = |number: &Decimal| number.sort_text(true);
            prop_assert_eq!(ascending(&a).cmp(&ascending(&b)), a.cmp(&b));
            prop_assert_eq!(descending(&a).cmp(&descending(&b)), b.cmp(&a));
            prop_assert!(ascending(&a).bytes().all(|byte| byte.is_ascii_graphic()));
        }

        #[test]
        fn a_decimal_round_trips_with_the_same_hash(number in any_number()) {
            let again = Decimal::of_json_number(&number.to_string());
            // A text without an exponent may be longer than one that is read.
            if let Some(again) = again {
                prop_assert_eq!(hash(&again), hash(&number));
                prop_assert_eq!(again, number);
            }
        }
    }
}
