//! Points in time: microseconds since 1970 in UTC, as they are stored, and the RFC 3339 form in
//! which rules and attributes contain them.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// A point in time, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The current time, by the machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Parses RFC 3339: a date, a `T`, a time of day and an offset. Fractions of a microsecond are
    /// truncated.
    pub fn of_rfc3339(text: &str) -> Option<Self> {
        // Jiff accepts more forms than RFC 3339.
        let bytes = text.as_bytes();
        let is_offset = |byte: &u8| matches!(byte, b'Z' | b'z' | b'0'..=b'9');
        if bytes.len() < 20
            || !matches!(bytes[10], b'T' | b't')
            || !bytes.last().is_some_and(is_offset)
        {
            return None;
        }
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(Self(time.as_microsecond()))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }
}

/// RFC 3339, for messages. Times that jiff cannot represent are shown in microseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => self.0.fmt(f),
        }
    }
}
