//! Log lines as JSON objects. With json-subscriber, which collects the fields of spans in maps and
//! checks each piece of text that it writes, a line and its span took a quarter of the instructions of
//! a cached response, more than twice as many.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// The usual length of a line, and of a span's fields, in bytes.
const LINE: usize = 768;
const SPAN: usize = 256;

/// The format: the time, the level, the target, the message and the fields of an event, and the
/// innermost span around it.
#[derive(Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Fields(Vec::with_capacity(LINE));
        let metadata = event.metadata();
        line.write("timestamp", format_args!("{:.6}", Timestamp::now()));
        line.write_string("level", metadata.level().as_str());
        line.write_string("target", metadata.target());
        event.record(&mut line);
        if let Some(span) = context.parent_span() {
            line.0.extend_from_slice(b",\"span\":{\"name\":");
            line.string(span.name());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                line.0.extend_from_slice(fields.as_bytes());
            }
            line.0.push(b'}');
        }
        // In place of the comma before the first field.
        line.0[0] = b'{';
        writer.write_str(line.text()?)?;
        writer.write_str("}\n")
    }
}

/// Formats the fields of a span as the rest of an object: each is preceded by a comma.
impl<'w> FormatFields<'w> for JsonLines {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut json = Fields(Vec::with_capacity(SPAN));
        fields.record(&mut json);
        writer.write_str(json.text()?)
    }
}

/// JSON of fields, each of which is preceded by a comma.
struct Fields(Vec<u8>);

impl Fields {
    fn write(&mut self, name: &str, value: impl Serialize) {
        self.name(name);
        self.value(value);
    }

    fn write_string(&mut self, name: &str, value: &str) {
        self.name(name);
        self.string(value);
    }

    fn name(&mut self, name: &str) {
        self.0.push(b',');
        self.string(name);
        self.0.push(b':');
    }

    /// Most strings have nothing to escape, which is found out for many bytes at once.
    fn string(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            self.value(text);
        }
    }

    fn value(&mut self, value: impl Serialize) {
        // Cannot fail: texts and numbers can always be written, and memory accepts all bytes.
        let _ = serde_json::to_writer(&mut self.0, &value);
    }

    fn text(&self) -> Result<&str, fmt::Error> {
        str::from_utf8(&self.0).map_err(|_| fmt::Error)
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_string(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field.name(), format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `log` writes.
    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let output = Output::default();
        let layer = tracing_subscriber::fmt::layer().event_format(JsonLines);
        let layer = layer.fmt_fields(JsonLines).with_writer({
            let output = output.clone();
            move || output.clone()
        });
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    #[test]
    fn a_line_has_the_fields_of_its_event_and_of_the_innermost_span() {
        let odd = "\"\\\n\u{7}\u{2028}ö🎉";
        let logged = lines(|| {
            tracing::warn!("outside");
            let outer = tracing::info_span!("outer", hidden = true).entered();
            let span = tracing::info_span!("inner", text = odd, later = tracing::field::Empty);
            let inside = span.enter();
            span.record("later", 7_u64);
            let error = io::Error::other(odd);
            tracing::info!(
                name: "a name",
                target: "a::target",
                text = odd,
                debug = ?odd,
                float = 0.5,
                infinite = f64::INFINITY,
                negative = i64::MIN,
                large = u64::MAX,
                larger = u128::MAX,
                truth = true,
                none = None::<u64>,
                some = Some("some"),
                error = &error as &dyn std::error::Error,
                "{odd} {}",
                1
            );
            drop((inside, outer));
        });
        let [outside, inside] = &logged[..] else {
            panic!("{logged:#?}");
        };
        assert_eq!(outside["level"], "WARN");
        assert_eq!(outside["message"], "outside");
        assert_eq!(outside.get("span"), None);

        let mut inside = inside.clone();
        let time = inside.as_object_mut().unwrap().shift_remove("timestamp");
        let time = time.as_ref().and_then(Value::as_str).unwrap();
        assert_eq!(time.len(), "2024-02-22T09:27:19.728000Z".len());
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        let expected = json!({
            "level": "INFO",
            "target": "a::target",
            "message": format!("{odd} 1"),
            "text": odd,
            "debug": format!("{odd:?}"),
            "float": 0.5,
            "infinite": null,
            "negative": i64::MIN,
            "large": u64::MAX,
            "larger": u128::MAX.to_string(),
            "truth": true,
            "some": "some",
            "error": odd,
            "span": { "name": "inner", "text": odd, "later": 7 },
        });
        assert_eq!(inside, expected);
    }
}
