//! Records in the format of Python's `logging.Formatter`: `%(asctime)s - %(name)s - %(message)s`.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::escape::{Escaping, escaped};
use crate::Clock;
use crate::clock::date;

/// The value for records outside of requests, as in Synapse.
const NO_REQUEST: &str = "sentinel";
/// The target of the access log; see [`logger_name`].
const ACCESS: &str = "plexus.access";
/// The greatest width to which a field is padded.
const MAX_WIDTH: usize = 200;

/// A format string.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    /// In the format of `strftime`; `None`: `2026-11-29 23:33:28,123`.
    date_format: Option<String>,
}

/// Writes records in the format of a pattern.
#[derive(Debug)]
pub(super) struct PatternFormat {
    pub(super) pattern: Pattern,
    pub(super) clock: Clock,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Attribute { name: String, left: bool, zero: bool, width: usize, precision: Option<usize> },
}

/// Known attributes of a record. `server_name` is Synapse's; there is one server here.
const KNOWN: [&str; 20] = [
    "asctime",
    "created",
    "filename",
    "funcName",
    "levelname",
    "levelno",
    "lineno",
    "message",
    "module",
    "msecs",
    "name",
    "pathname",
    "process",
    "processName",
    "relativeCreated",
    "request",
    "taskName",
    "thread",
    "threadName",
    "server_name",
];

impl Pattern {
    /// Parses a format string. Anything that is not an attribute is literal text.
    pub(super) fn new(format: &str, date_format: Option<&str>) -> Self {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = format;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                text.push('%');
                rest = after;
            } else if let Some((attribute, after)) = attribute(after) {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(attribute);
                rest = after;
            } else {
                text.push('%');
                rest = after;
            }
        }
        pieces.push(Piece::Text(text + rest));
        Self { pieces, date_format: date_format.map(str::to_owned) }
    }

    /// Returns the unknown attributes of records and parts of dates.
    pub(super) fn unknown(&self) -> Vec<String> {
        let attributes = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Attribute { name, .. } if !KNOWN.contains(&name.as_str()) => Some(format!("%({name})s")),
            _ => None,
        });
        let mut unknown: Vec<String> = attributes.collect();
        let mut letters = self.date_format.as_deref().unwrap_or_default().chars();
        while let Some(letter) = letters.by_ref().skip_while(|letter| *letter != '%').nth(1) {
            if part_of_date(letter, 0).is_none() {
                unknown.push(format!("%{letter} in datefmt"));
            }
        }
        unknown
    }

    fn time(&self, now_ms: u64) -> String {
        let Some(format) = &self.date_format else {
            let whole = strftime("%Y-%m-%d %H:%M:%S", now_ms);
            return format!("{whole},{:03}", now_ms % 1_000);
        };
        strftime(format, now_ms)
    }
}

/// Parses `(name)` with its flags, width and type. Returns the rest too.
fn attribute(text: &str) -> Option<(Piece, &str)> {
    let (name, mut rest) = text.strip_prefix('(')?.split_once(')')?;
    let (mut left, mut zero) = (false, false);
    while let Some(flag @ ('-' | '0' | ' ' | '+' | '#')) = rest.chars().next() {
        left |= flag == '-';
        zero |= flag == '0';
        rest = &rest[1..];
    }
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (width, after) = rest.split_at(digits(rest));
    let (precision, after) = match after.strip_prefix('.') {
        Some(after) => {
            let (precision, after) = after.split_at(digits(after));
            (precision.parse().ok(), after)
        }
        None => (None, after),
    };
    let kind = after.chars().next().filter(|kind| "sdifr".contains(*kind))?;
    let width = width.parse().unwrap_or(0).min(MAX_WIDTH);
    Some((Piece::Attribute { name: name.to_owned(), left, zero, width, precision }, &after[kind.len_utf8()..]))
}

/// Formats a date with the parts of `strftime` that logs use, in UTC.
pub(super) fn strftime(format: &str, now_ms: u64) -> String {
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => {
                let letter = letters.next().unwrap_or('%');
                text.push_str(&part_of_date(letter, now_ms).unwrap_or_else(|| format!("%{letter}")));
            }
            other => text.push(other),
        }
    }
    text
}

fn part_of_date(letter: char, now_ms: u64) -> Option<String> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = now_ms / 1_000;
    let days = seconds / 86_400;
    let date = date(days);
    let of_day = seconds % 86_400;
    let month = || date.get(5..7).and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let index = |number: u64| usize::try_from(number).unwrap_or(0);
    Some(match letter {
        'Y' => date.get(..4)?.to_owned(),
        'y' => date.get(2..4)?.to_owned(),
        'm' => date.get(5..7)?.to_owned(),
        'd' => date.get(8..)?.to_owned(),
        'b' => (*MONTHS.get(month().wrapping_sub(1))?).to_owned(),
        'a' => (*DAYS.get(index(days % 7))?).to_owned(),
        'H' => format!("{:02}", of_day / 3_600),
        'M' => format!("{:02}", of_day / 60 % 60),
        'S' => format!("{:02}", of_day % 60),
        'F' => date,
        'T' => strftime("%H:%M:%S", now_ms),
        's' => seconds.to_string(),
        'f' => format!("{:06}", now_ms % 1_000 * 1_000),
        'z' => "+0000".to_owned(),
        'Z' => "UTC".to_owned(),
        '%' => "%".to_owned(),
        _ => return None,
    })
}

/// The text of an event: its message, followed by its other fields.
#[derive(Default)]
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let mut to = Escaping(&mut self.0);
        let _ = match field.name() {
            "message" => write!(to, "{value:?}"),
            name => write!(to, " {name}={value:?}"),
        };
    }
}

/// Returns the message of an event, with its other fields.
pub(super) fn message(event: &Event<'_>) -> String {
    let mut said = Said::default();
    event.record(&mut said);
    said.0
}

/// Returns the name that Python's logging would show. The access log has its name in Synapse, by which tools such as
/// fail2ban find it.
pub(super) fn logger_name(target: &str, message: &str) -> String {
    match (target, message.split(" - ").nth(1)) {
        (ACCESS, Some(site)) => format!("synapse.access.http.{site}"),
        _ => target.replace("::", "."),
    }
}

impl<S, N> FormatEvent<S, N> for PatternFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let message = message(event);
        let request = request_id(ctx);
        let now_ms = self.clock.now_ms();
        let record = Record { pattern: &self.pattern, now_ms, event, message: &message, request: request.as_deref() };
        for piece in &self.pattern.pieces {
            match piece {
                Piece::Text(text) => to.write_str(text)?,
                Piece::Attribute { name, left, zero, width, precision } => {
                    let value = record.value(name, *precision);
                    match (*left, *zero) {
                        (true, _) => write!(to, "{value:<width$}")?,
                        (false, true) => write!(to, "{value:0>width$}")?,
                        (false, false) => write!(to, "{value:>width$}")?,
                    }
                }
            }
        }
        to.write_char('\n')
    }
}

/// A record whose attributes are computed on demand.
struct Record<'a> {
    pattern: &'a Pattern,
    now_ms: u64,
    event: &'a Event<'a>,
    message: &'a str,
    request: Option<&'a str>,
}

impl Record<'_> {
    /// Returns an attribute; a dash if it is not known.
    fn value(&self, name: &str, precision: Option<usize>) -> String {
        let metadata = self.event.metadata();
        let now_ms = self.now_ms;
        let file = metadata.file().unwrap_or("-");
        let file_name = file.rsplit('/').next().unwrap_or(file);
        let text = match name {
            "message" => self.message.to_owned(),
            "asctime" => self.pattern.time(now_ms),
            "created" => return format!("{:.*}", precision.unwrap_or(6), now_ms as f64 / 1_000.0),
            "msecs" => (now_ms % 1_000).to_string(),
            "name" => logger_name(metadata.target(), self.message),
            "levelname" => level(*metadata.level()).0.to_owned(),
            "levelno" => level(*metadata.level()).1.to_string(),
            "lineno" => metadata.line().unwrap_or(0).to_string(),
            "pathname" => file.to_owned(),
            "filename" => file_name.to_owned(),
            "module" => file_name.trim_end_matches(".rs").to_owned(),
            "process" => std::process::id().to_string(),
            "processName" => "MainProcess".to_owned(),
            "threadName" => std::thread::current().name().unwrap_or("-").to_owned(),
            "request" => self.request.unwrap_or(NO_REQUEST).to_owned(),
            "relativeCreated" | "thread" => "0".to_owned(),
            _ => "-".to_owned(),
        };
        match precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }
}

/// Returns the level as Python's word and number.
pub(super) fn level(level: Level) -> (&'static str, u8) {
    match level {
        Level::ERROR => ("ERROR", 40),
        Level::WARN => ("WARNING", 30),
        Level::INFO => ("INFO", 20),
        Level::DEBUG | Level::TRACE => ("DEBUG", 10),
    }
}

/// The field `id` of a span named `request`.
struct RequestId(String);

/// Returns the id of the request in which an event happens.
pub(super) fn request_id<S, N>(ctx: &FmtContext<'_, S, N>) -> Option<String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut spans = ctx.event_scope()?;
    spans.find_map(|span| span.extensions().get::<RequestId>().map(|id| id.0.clone()))
}

/// Stores the ids of requests for patterns that show them.
pub(super) struct RequestIds;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RequestIds {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if attributes.metadata().name() != "request" {
            return;
        }
        let mut found = FoundId(None);
        attributes.record(&mut found);
        if let (Some(span), FoundId(Some(found))) = (ctx.span(id), found) {
            span.extensions_mut().insert(RequestId(found));
        }
    }
}

struct FoundId(Option<String>);

impl Visit for FoundId {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "id" {
            self.0 = Some(escaped(&format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "id" {
            self.0 = Some(escaped(value));
        }
    }
}

#[cfg(test)]
mod tests;
