//! Handlers and formatters.

use std::path::PathBuf;

use tracing_subscriber::filter::LevelFilter;

use super::{Destination, Format, Output, Reading, text};
use crate::telemetry::journal::SOCKET;
use crate::telemetry::json::JsonKeys;
use crate::telemetry::log_file::Rotation;
use crate::telemetry::pattern::Pattern;
use crate::telemetry::syslog::{Facility, SyslogAddress};
use crate::yaml::Node;

/// The longest chain of handlers that ends with one that writes.
const MAX_DEPTH: u8 = 8;
/// The default destination port of Python's syslog handler.
const SYSLOG_PORT: u16 = 514;

impl Reading<'_> {
    pub(super) fn handler(&mut self, name: &str, line: u32, depth: u8) {
        let Some(handler) = self.file.get("handlers").and_then(|handlers| handlers.get(name)) else {
            self.errors.push((line, format!("the handler {name:?} is not described under handlers")));
            return;
        };
        let class = text(handler, "class").or_else(|| text(handler, "()")).unwrap_or_default();
        let short = class.rsplit('.').next().unwrap_or_default();
        if matches!(short, "MemoryHandler" | "PeriodicallyFlushingMemoryHandler") && depth < MAX_DEPTH {
            let target = text(handler, "target").unwrap_or_default();
            return self.handler(target, handler.place.line, depth + 1);
        }
        if short == "NullHandler" {
            return;
        }
        let known = self.destination(name, short, handler);
        let destination = known.unwrap_or_else(|| {
            let sentence =
                format!("handlers.{name}: the class {class} is not known here; its records go to the standard error");
            self.ignored(sentence);
            Destination::Stderr
        });
        let level = self.level_of(handler).unwrap_or(LevelFilter::TRACE);
        let format = self.format(handler);
        self.config.outputs.push(Output { name: name.to_owned(), destination, level, format });
    }

    /// Returns the destination of the handler; `None` when its class is not known.
    fn destination(&mut self, name: &str, class: &str, handler: &Node) -> Option<Destination> {
        let backups = number(handler, "backupCount");
        let rotation = match class {
            "StreamHandler" => {
                return Some(match text(handler, "stream") {
                    Some("ext://sys.stdout") => Destination::Stdout,
                    _ => Destination::Stderr,
                });
            }
            "JournalHandler" | "JournaldLogHandler" => return Some(journal(handler)),
            "SysLogHandler" => return Some(self.syslog(name, handler)),
            "FileHandler" => Rotation::Never,
            "WatchedFileHandler" => Rotation::Watched,
            "TimedRotatingFileHandler" => {
                let when = text(handler, "when").unwrap_or("H").to_ascii_lowercase();
                if !matches!(when.as_str(), "midnight" | "d") || number(handler, "interval") > 1 {
                    self.ignored(format!("handlers.{name}.when: the file is set aside at midnight UTC"));
                }
                Rotation::Daily { backups }
            }
            "RotatingFileHandler" => {
                Rotation::Size { bytes: u64::try_from(number(handler, "maxBytes")).unwrap_or(0), backups }
            }
            _ => return None,
        };
        let path = text(handler, "filename").filter(|path| !path.is_empty()).unwrap_or_else(|| {
            self.errors.push((handler.place.line, format!("handlers.{name}: filename is missing")));
            "homeserver.log"
        });
        Some(Destination::File { path: PathBuf::from(path), rotation })
    }

    fn syslog(&mut self, name: &str, handler: &Node) -> Destination {
        let facility = match text(handler, "facility") {
            None => Facility::USER,
            Some(word) => Facility::named(word).unwrap_or_else(|| {
                let message =
                    format!("handlers.{name}.facility: {word:?} is none of syslog's, such as daemon or local0");
                self.errors.push((handler.place.line, message));
                Facility::USER
            }),
        };
        if text(handler, "socktype").is_some_and(|kind| kind.ends_with("SOCK_STREAM")) {
            self.ignored(format!("handlers.{name}.socktype: records are sent as datagrams"));
        }
        let address = match handler.get("address") {
            Some(address) => match (address.as_text(), address.items()) {
                (Some(path), _) => SyslogAddress::Unix(PathBuf::from(path)),
                (None, [host, port]) => SyslogAddress::Udp(
                    host.as_text().unwrap_or("localhost").to_owned(),
                    port.as_text().and_then(|port| port.parse().ok()).unwrap_or(SYSLOG_PORT),
                ),
                (None, _) => {
                    let message = format!("handlers.{name}.address: allowed is a path, or a list of a host and a port");
                    self.errors.push((address.place.line, message));
                    SyslogAddress::Udp("localhost".to_owned(), SYSLOG_PORT)
                }
            },
            None => SyslogAddress::Udp("localhost".to_owned(), SYSLOG_PORT),
        };
        Destination::Syslog { address, facility }
    }

    fn format(&mut self, handler: &Node) -> Format {
        let Some(named) = handler.get("formatter").filter(|named| !named.is_null()) else {
            return Format::Usual;
        };
        let name = named.as_text().unwrap_or_default();
        let Some(formatter) = self.file.get("formatters").and_then(|all| all.get(name)) else {
            let message = format!("the formatter {name:?} is not described under formatters");
            self.errors.push((named.place.line, message));
            return Format::Usual;
        };
        let class = text(formatter, "class").or_else(|| text(formatter, "()")).unwrap_or("logging.Formatter");
        match class.rsplit('.').next() {
            Some("JsonFormatter") => return Format::Json(JsonKeys::Plain),
            Some("TerseJsonFormatter") => return Format::Json(JsonKeys::Terse),
            Some("GcpJsonFormatter") => return Format::Json(JsonKeys::GoogleCloud),
            _ => {}
        }
        // A formatter may be used by several handlers; its mistakes are reported once.
        let mut ignored = |sentence: String| {
            if !self.config.not_in_effect.contains(&sentence) {
                self.config.not_in_effect.push(sentence);
            }
        };
        let style = text(formatter, "style").unwrap_or("%");
        if class.rsplit('.').next() != Some("Formatter") && class != "synapse.logging.formatter.LogFormatter" {
            ignored(format!("formatters.{name}: the class {class} is not known here; the usual format is used"));
            return Format::Usual;
        }
        if style != "%" {
            ignored(format!("formatters.{name}: the style {style} is not known here; the usual format is used"));
            return Format::Usual;
        }
        let pattern = Pattern::new(text(formatter, "format").unwrap_or("%(message)s"), text(formatter, "datefmt"));
        for unknown in pattern.unknown() {
            ignored(format!("formatters.{name}: {unknown} is not known here"));
        }
        Format::Pattern(pattern)
    }
}

/// Members in capital letters are fields of each record, as in systemd's Python module.
fn journal(handler: &Node) -> Destination {
    let is_field = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let mut fields: Vec<(String, String)> = handler
        .entries()
        .iter()
        .filter(|entry| is_field(&entry.key))
        .filter_map(|entry| Some((entry.key.clone(), entry.node.as_text()?.to_owned())))
        .collect();
    if !fields.iter().any(|(name, _)| name == "SYSLOG_IDENTIFIER") {
        let identifier = text(handler, "identifier").unwrap_or("plexus");
        fields.push(("SYSLOG_IDENTIFIER".to_owned(), identifier.to_owned()));
    }
    Destination::Journal { socket: PathBuf::from(SOCKET), fields }
}

fn number(node: &Node, name: &str) -> usize {
    text(node, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}
