//! The name of a caller. It is logged, its rate is counted by it, and it is part of the
//! primary key of responses stored for retries: so it is short and printable, and fits an
//! index of either engine.

use std::sync::Arc;

use super::rejection::{Reason, refused};
use crate::domain::Result;

/// OpenID Connect has the same limit for `sub`.
const MAX_CHARS: usize = 255;

/// The subject of a credential of that kind that names its bearer `name`.
///
/// # Errors
/// [`crate::domain::Reason::Unauthenticated`] if the name is blank, longer than 255
/// characters, or has a character that is not printable.
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

/// Neither a control character nor one that is invisible in a log: line separators,
/// direction marks, characters without a width.
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
