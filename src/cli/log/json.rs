//! The log as JSON: one object a line, with the same members first in each, and numbers and lists as such.
//!
//! Not the library's own format: there lists are text, what a span holds is an object of its own, and a line may have no
//! message.

use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

pub(super) struct Json;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Json {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut members = Members::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            if let Some(Ok(fields)) = fields.map(|fields| serde_json::from_str::<Map<_, _>>(fields)) {
                fields.into_iter().for_each(|(name, value)| members.set(name, value));
            }
        }
        event.record(&mut members);
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let level = event.metadata().level();
        let target = event.metadata().target();
        write!(
            writer,
            r#"{{"timestamp":"{timestamp}","level":"{level}","target":"{target}","message":{}"#,
            members.message
        )?;
        for (name, value) in members.others {
            write!(writer, ",{}:{value}", Value::String(name))?;
        }
        writeln!(writer, "}}")
    }
}

/// A line's members, in the order in which they come.
#[derive(Default)]
struct Members {
    message: Value,
    others: Vec<(String, Value)>,
}

impl Members {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.set(field.name().to_owned(), value.into());
    }

    /// What an event says counts before what its span says.
    fn set(&mut self, name: String, value: Value) {
        if name == "message" {
            self.message = value;
        } else if let Some((_, known)) = self.others.iter_mut().find(|(other, _)| *other == name) {
            *known = value;
        } else {
            self.others.push((name, value));
        }
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // What `?` makes of a list of numbers or plain words is JSON.
        let list = text.starts_with('[').then(|| serde_json::from_str(&text).ok()).flatten();
        self.add(field, list.filter(Value::is_array).unwrap_or(Value::String(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::prelude::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(act: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let layer = layer.fmt_fields(JsonFields::new()).event_format(Json);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        for line in text.lines() {
            assert!(line.starts_with("{\"timestamp\":\"20"), "{line}");
        }
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn numbers_are_numbers_lists_are_lists_and_the_requests_id_is_on_the_line() {
        let lines = lines(|| {
            let span = tracing::info_span!("request", request_id = "5f3a", grant = tracing::field::Empty);
            span.record("grant", tracing::field::display("00ff"));
            span.in_scope(|| {
                let (services, numbers) = (["box.com", "drive"], vec![3, 4]);
                let (none, why) = (None::<u32>, "a \"quoted\" \u{1b} word");
                tracing::warn!(epoch = 3, duration_ms = 1.5, durably = false, ?services, ?numbers, none, %why, "told");
                tracing::info!(left = -2, odd = ?"[not a list", list = %"[1, 2", empty = ?Vec::<u8>::new());
            });
            tracing::error!("alone");
        });
        let members = |line: &Value| {
            let mut line = line.as_object().unwrap().clone();
            let fixed = ["timestamp", "level", "target"].map(|name| line.remove(name).unwrap());
            assert_eq!(fixed[2], "authseal::cli::log::json::tests");
            (fixed[1].clone(), Value::Object(line))
        };
        let expected = serde_json::json!({
            "message": "told", "request_id": "5f3a", "grant": "00ff", "epoch": 3, "duration_ms": 1.5, "durably": false,
            "services": ["box.com", "drive"], "numbers": [3, 4], "why": "a \"quoted\" \u{1b} word",
        });
        assert_eq!(members(&lines[0]), ("WARN".into(), expected));
        let expected = serde_json::json!({
            "message": null, "request_id": "5f3a", "grant": "00ff", "left": -2, "odd": "\"[not a list\"",
            "list": "[1, 2", "empty": [],
        });
        assert_eq!(members(&lines[1]), ("INFO".into(), expected));
        assert_eq!(members(&lines[2]), ("ERROR".into(), serde_json::json!({ "message": "alone" })));
    }
}
