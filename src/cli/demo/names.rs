//! How the demo writes numbers and ids.

/// A number with thousands separators, such as 1,000,000.
pub(super) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The id of the product at this index of the long list.
pub(super) fn product(number: u32) -> String {
    format!("sku-{number:07}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_thousands() {
        let numbers = [0, 999, 1_000, 12_345, 1_000_000].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,000,000"]);
    }
}
