//! The subject: the name of a caller. It is logged, rates are counted by it, and it is part of the
//! primary key of responses stored for retries. So it must be short and printable, and fit into an
//! index of both databases.

use std::sync::Arc;

use super::rejection::{Reason, refused};
use crate::domain::Result;

/// The same limit as OpenID Connect has for `sub`.
const MAX_CHARS: usize = 255;

/// The subject `kind:name` of a credential.
///
/// # Errors
/// [`crate::domain::Reason::Unauthenticated`] if the name is blank, longer than 255 characters, or
/// has an unprintable character.
pub(super) fn subject(kind: &str, name: &str) -> Result<Arc<str>> {
    let odd = |what: &str| {
        Err(refused(
            Reason::Invalid,
            format!("{kind}: a subject that {what}"),
        ))
    };
    if name.trim().is_empty() {
        return odd("is blank");
    }
    if name.chars().nth(MAX_CHARS).is_some() {
        return odd("has more than 255 characters");
    }
    if !name.chars().all(is_printable) {
        return odd("has a character that is not printable");
    }
    Ok(format!("{kind}:{name}").into())
}

/// False for control characters, and for those that are invisible in a log: line separators,
/// direction marks, zero-width characters.
fn is_printable(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !c.is_control() && !is_invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_short_and_printable() {
        let longest = "𝔞".repeat(255);
        for fine in ["a", "auth0|65d7 13", "Zoë <zoë@example>", "日本", &longest] {
            let named = subject("jwt", fine).unwrap();
            assert_eq!(*named, *format!("jwt:{fine}"));
        }
        for odd in [
            "",
            "  ",
            &"a".repeat(256),
            &"a".repeat(10_000),
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}",
            "a\u{202e}b",
            "a\u{200b}",
        ] {
            assert!(subject("jwt", odd).is_err(), "{odd:?}");
        }
    }
}
