//! Records as JSON objects with the keys of Synapse's formatters.

use std::fmt;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::pattern::{level, logger_name, request_id, strftime};
use crate::Clock;

/// One of Synapse's JSON formatters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKeys {
    /// `JsonFormatter`: no time.
    Plain,
    /// `TerseJsonFormatter`: with the time, in seconds.
    Terse,
    /// `GcpJsonFormatter`: the keys of Google Cloud Logging.
    GoogleCloud,
}

/// Writes a record as an object on one line.
#[derive(Debug)]
pub(super) struct JsonFormat {
    pub(super) keys: JsonKeys,
    pub(super) clock: Clock,
}

impl<S, N> FormatEvent<S, N> for JsonFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, others } = fields;
        let logger = logger_name(event.metadata().target(), &message);
        let (level, now_ms) = (level(*event.metadata().level()).0, self.clock.now_ms());
        let mut record = match self.keys {
            JsonKeys::Plain => json!({ "log": message, "namespace": logger, "level": level }),
            JsonKeys::Terse => {
                // Rounded to hundredths.
                let seconds = ((now_ms + 5) / 10) as f64 / 100.0;
                json!({ "log": message, "namespace": logger, "level": level, "time": seconds })
            }
            JsonKeys::GoogleCloud => {
                let time = format!("{}.{:03}Z", strftime("%Y-%m-%dT%H:%M:%S", now_ms), now_ms % 1_000);
                json!({ "severity": level, "message": message, "logger": logger, "time": time })
            }
        };
        if let Some(record) = record.as_object_mut() {
            if let Some(id) = request_id(ctx) {
                record.insert("request".to_owned(), id.into());
            }
            for (name, value) in others {
                record.entry(name).or_insert(value);
            }
        }
        writeln!(to, "{record}")
    }
}

/// The message of an event, and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.add(field, format!("{value:?}").into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.add(field, value.into()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }
}
