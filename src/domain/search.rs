//! The normalized form in which texts are compared and searched, regardless of case and
//! composition. It is computed here and stored, so that both database engines give the same
//! results.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};

/// The normalized form: full Unicode case folding and NFC. `Straße` and `STRASSE` have the same
/// form.
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Unicode's canonical caseless matching requires decomposition before folding.
    let text = DecomposingNormalizer::new_nfd().normalize(text);
    let text = CaseMapper::new().fold_string(&text);
    ComposingNormalizer::new_nfc().normalize(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_ignores_case_and_unicode_composition() {
        for (a, b) in [
            ("LAMP", "lamp"),
            ("Stra\u{df}e", "STRASSE"),
            ("\u{1e9e}", "ss"),
            ("Caf\u{e9}", "CAFE\u{301}"),
            ("\u{3a3}\u{3c2}", "\u{3c3}\u{3a3}"),
            ("\u{fb01}n", "FIN"),
            ("\u{130}", "i\u{307}"),
            // The Ångström sign is canonically equivalent to the letter.
            ("\u{212b}", "a\u{30a}"),
            ("\u{110b}\u{1161}", "\u{c544}"),
        ] {
            assert_eq!(folded(a), folded(b), "{a} {b}");
        }
        for (a, b) in [("e", "\u{e9}"), ("\u{131}", "i"), ("a", "b")] {
            assert_ne!(folded(a), folded(b));
        }
        let once = folded("I\u{345}\u{1f80}");
        assert_eq!(folded(&once), once);
    }
}
