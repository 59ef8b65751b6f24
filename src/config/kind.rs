//! The types of settings' values, as error messages, the documentation and TOML files see them.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

/// How values of a type are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// An integer in this range, both ends included.
    Integer {
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// A number of bytes: an integer, or a string with a unit. With a description of valid values.
    Size(&'static str),
    /// A string, with a description of valid values.
    Text(&'static str),
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of strings, in one string separated by commas.
    List(&'static Kind),
    /// A value that may be unset, as an empty string.
    Optional(&'static Kind),
}

/// The type of a setting's value. Parsing what it displays results in the same value.
pub trait Value: FromStr<Err: Display> + Display {
    /// How values are written.
    const KIND: Kind;
    /// The placeholder for a value in `--help`, in capitals.
    const NAME: &'static str;
    /// Whether values are secret. A secret is hidden when displayed, is not quoted in errors, and
    /// can be read from a file.
    const SECRET: bool = false;
}

/// The error for a text that is not a valid value.
pub(super) fn must_be<T: Value>() -> String {
    format!("must be {}", T::KIND)
}

impl Kind {
    /// The kind of a value that is set, without `Optional`.
    pub fn when_set(self) -> Self {
        if let Self::Optional(kind) = self {
            kind.when_set()
        } else {
            self
        }
    }

    /// Converts a value in a TOML file to text. Every kind accepts a string, in the form that a
    /// flag has.
    ///
    /// # Errors
    /// With a description of valid values.
    pub(super) fn text(self, value: &toml::Value) -> Result<String, String> {
        match (self.when_set(), value) {
            (_, toml::Value::String(text)) => Ok(text.clone()),
            (Self::Boolean, toml::Value::Boolean(_))
            | (Self::Integer { .. } | Self::Size(_), toml::Value::Integer(_)) => {
                Ok(value.to_string())
            }
            (Self::List(item), toml::Value::Array(items)) => {
                // In the text form of a list, commas separate its items.
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

    /// Converts text to a value in a TOML file; `None` if the setting is unset.
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
