//! How the value of a setting is written: for errors, the documentation and files of settings.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

/// How the values of a type are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// An integer in this range, both ends included.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number of bytes: an integer, or a string with a unit. What it must be, in words.
    Size(&'static str),
    /// A string. What it must be, in words.
    Text(&'static str),
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of strings, in one string separated by commas.
    List(&'static Kind),
    /// May be unset: an empty string.
    Optional(&'static Kind),
}

/// The type of a setting: read from text, and displayed as text that reads the same.
pub trait Value: FromStr<Err: Display> + Display {
    /// How it is written.
    const KIND: Kind;
    /// What it is, in a word in capitals: it stands for the value in `--help`.
    const NAME: &'static str;
    /// Whether it is a secret: then its display hides it, errors don't quote it, and it can be
    /// read from a file.
    const SECRET: bool = false;
}

/// The error of a text that is no such value.
pub(super) fn must_be<T: Value>() -> String {
    format!("must be {}", T::KIND)
}

impl Kind {
    /// The kind of a value that is set.
    pub fn when_set(self) -> Self {
        if let Self::Optional(kind) = self {
            kind.when_set()
        } else {
            self
        }
    }

    /// The text of a value in a TOML file. A string is taken for any kind, as from a flag.
    ///
    /// # Errors
    /// With what it must be.
    pub(super) fn text(self, value: &toml::Value) -> Result<String, String> {
        match (self.when_set(), value) {
            (_, toml::Value::String(text)) => Ok(text.clone()),
            (Self::Boolean, toml::Value::Boolean(_))
            | (Self::Integer { .. } | Self::Size(_), toml::Value::Integer(_)) => {
                Ok(value.to_string())
            }
            (Self::List(item), toml::Value::Array(items)) => {
                // The comma separates items where the list is one string.
                let texts = items.iter().map(|value| match value.as_str() {
                    Some(text) if !text.contains(',') => Ok(text),
                    _ => Err(format!(
                        "each item must be a string without a comma: {item}"
                    )),
                });
                Ok(texts.collect::<Result<Vec<_>, _>>()?.join(","))
            }
            (kind, _) => Err(format!("must be {kind}")),
        }
    }

    /// The value in a TOML file; none where it is unset.
    pub fn toml(self, text: &str) -> Option<toml::Value> {
        match self {
            Self::Optional(_) if text.is_empty() => None,
            Self::Optional(kind) => kind.toml(text),
            Self::Boolean => text.parse().map(toml::Value::Boolean).ok(),
            Self::Integer { .. } => text.parse().map(toml::Value::Integer).ok(),
            Self::List(_) => {
                let items = text.split(',').filter(|item| !item.is_empty());
                Some(items.map(toml::Value::from).collect::<Vec<_>>().into())
            }
            Self::Size(_) | Self::Text(_) | Self::Choice(_) => Some(text.into()),
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("true or false"),
            Self::Integer { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Size(words) | Self::Text(words) => f.write_str(words),
            Self::Choice(all) => match all {
                [first @ .., last] if !first.is_empty() => {
                    write!(f, "{} or {last}", first.join(", "))
                }
                all => f.write_str(&all.concat()),
            },
            Self::List(Self::Text("a string")) => f.write_str("a list of strings"),
            Self::List(item) => write!(f, "a list of strings, each {item}"),
            Self::Optional(kind) => kind.fmt(f),
        }
    }
}
