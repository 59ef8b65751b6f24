//! The text formats of `/metrics`.

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header prefers, by quality. The Prometheus format if it names
    /// neither of the two.
    pub fn accepted(accept: &str) -> Self {
        let quality = |kind: &str| {
            let ranges = accept.split(',').map(str::trim);
            let ours = ranges.filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_ours = parts.next()?.eq_ignore_ascii_case(kind);
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                let quality = quality.map_or(Some(1.0), |quality| quality.parse::<f32>().ok());
                quality.filter(|_| is_ours)
            });
            ours.fold(0.0, f32::max)
        };
        if quality("application/openmetrics-text") > quality("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The content type of the format.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Converts the Prometheus text format to this format.
    pub(super) fn of(self, text: &str) -> String {
        let lines = text.lines().filter(|line| !line.is_empty());
        let mut all = String::with_capacity(text.len());
        for line in lines {
            let line = match self {
                Self::Prometheus => line.to_owned(),
                Self::OpenMetrics => open_metrics(line),
            };
            all.push_str(&line);
            all.push('\n');
        }
        if self == Self::OpenMetrics {
            all.push_str("# EOF\n");
        }
        all
    }
}

/// Converts a line of the Prometheus format to OpenMetrics, where the names of counter families
/// lack `_total`, and the bounds of buckets are floating-point numbers.
fn open_metrics(line: &str) -> String {
    if let Some(comment) = line.strip_prefix("# ") {
        let mut parts = comment.splitn(3, ' ');
        let (kind, name) = (parts.next(), parts.next());
        if let (Some(kind), Some(family)) = (kind, name.and_then(|it| it.strip_suffix("_total"))) {
            return format!("# {kind} {family} {}", parts.next().unwrap_or_default());
        }
        return line.to_owned();
    }
    let bound = line.split_once("le=\"").and_then(|(before, rest)| {
        let (bound, after) = rest.split_once('"')?;
        bound.parse::<u64>().ok()?;
        Some(format!("{before}le=\"{bound}.0\"{after}"))
    });
    bound.unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_chooses_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for text in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0.1, text/plain",
        ] {
            assert_eq!(Format::accepted(text), Format::Prometheus, "{text}");
        }
    }
}
