//! The file named by `log_config`: a dictionary of Python's `logging.config.dictConfig`, as Synapse reads it.

mod handler;

use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::json::JsonKeys;
use super::log_file::Rotation;
use super::pattern::Pattern;
use super::syslog::{Facility, SyslogAddress};
use crate::yaml::{self, Entry, Node};

/// Levels and outputs of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// The level of everything that is not in `targets`.
    pub root: LevelFilter,
    /// Levels of parts of the program, by module path prefix.
    pub targets: Vec<(String, LevelFilter)>,
    /// The outputs of records.
    pub outputs: Vec<Output>,
    /// The parts of the file without effect, one sentence each.
    pub not_in_effect: Vec<String>,
}

/// An output of records.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The name of the handler; empty when the file describes none.
    pub name: String,
    /// Where the records are written.
    pub destination: Destination,
    /// Records below this level are not written to it.
    pub level: LevelFilter,
    /// How the records are written.
    pub format: Format,
}

/// The format of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// For people at a terminal: the time in UTC, the level, the request, the part of the program and the message.
    Usual,
    /// One JSON object a line.
    Json(JsonKeys),
    /// A format string of Python.
    Pattern(Pattern),
}

/// A stream, a file or a system service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A log file.
    File {
        /// The file's path.
        path: PathBuf,
        /// When the file is rotated.
        rotation: Rotation,
    },
    /// systemd's journal.
    Journal {
        /// The journal's socket.
        socket: PathBuf,
        /// Fields added to every record.
        fields: Vec<(String, String)>,
    },
    /// A syslog daemon.
    Syslog {
        /// Where the daemon listens.
        address: SyslogAddress,
        /// The facility of all records.
        facility: Facility,
    },
}

/// A mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct LogConfigError {
    /// The file.
    pub path: PathBuf,
    /// Counted from 1; 0 for the whole file.
    pub line: u32,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// The file cannot be used: all of its mistakes.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LogConfigErrors(pub Vec<LogConfigError>);

/// A line and the mistake in it.
type Wrong = (u32, String);

/// Loggers of Synapse and the corresponding modules here; the first match counts.
const LOGGERS: &[(&str, &[&str])] = &[
    ("synapse.storage", &["plexus_store"]),
    ("synapse.metrics", &["plexus_http"]),
    ("synapse.access", &["plexus.access", "plexus_http", "plexus_server"]),
    ("synapse.http.server", &["plexus_http", "plexus_server"]),
    ("synapse.http", &["plexus_net", "plexus_http"]),
    ("synapse.crypto", &["plexus_net"]),
    ("synapse.federation.sender", &["plexus_delivery"]),
    ("synapse.federation", &["plexus_net", "plexus_api_federation"]),
    ("synapse.rest.admin", &["plexus_api_admin"]),
    ("synapse.rest", &["plexus_api_client", "plexus_api_admin"]),
    ("synapse.media", &["plexus_media"]),
    ("synapse.push", &["plexus_sync"]),
    ("synapse.handlers.sync", &["plexus_sync"]),
    ("synapse.handlers.presence", &["plexus_sync"]),
    ("synapse.handlers.typing", &["plexus_sync"]),
    ("synapse.handlers.auth", &["plexus_accounts"]),
    ("synapse.handlers.device", &["plexus_accounts", "plexus_e2ee"]),
    ("synapse.handlers.e2e_keys", &["plexus_e2ee"]),
    ("synapse.handlers.register", &["plexus_accounts"]),
    ("synapse.handlers", &["plexus_rooms"]),
    ("synapse.state", &["plexus_rooms"]),
];

impl Default for LogConfig {
    /// Everything from INFO on goes to standard error.
    fn default() -> Self {
        Self {
            root: LevelFilter::INFO,
            targets: Vec::new(),
            outputs: vec![Output::stderr(LevelFilter::TRACE)],
            not_in_effect: Vec::new(),
        }
    }
}

impl Output {
    fn stderr(level: LevelFilter) -> Self {
        Self { name: String::new(), destination: Destination::Stderr, level, format: Format::Usual }
    }
}

impl LogConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// Names each line at which the file is not YAML, a level is not known, or a handler or formatter does not exist.
    pub fn read(path: &Path) -> Result<Self, LogConfigErrors> {
        let error = |(line, message)| LogConfigError { path: path.to_owned(), line, message };
        let text = std::fs::read_to_string(path)
            .map_err(|source| LogConfigErrors(vec![error((0, format!("cannot be read: {source}")))]))?;
        Self::parse(&text).map_err(|errors| LogConfigErrors(errors.into_iter().map(error).collect()))
    }

    /// Like [`LogConfig::read`], from text.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Wrong>> {
        let file = yaml::parse(text, 0).map_err(|error| vec![(error.line, error.message)])?;
        let mut reading = Reading {
            file: &file,
            config: Self {
                root: LevelFilter::WARN,
                targets: Vec::new(),
                outputs: Vec::new(),
                not_in_effect: Vec::new(),
            },
            errors: Vec::new(),
        };
        if let Some(structured) = file.get("structured") {
            let message = "structured: replaced by formatters of class synapse.logging.JsonFormatter";
            reading.errors.push((structured.place.line, message.to_owned()));
        }
        reading.root();
        for logger in section(&file, "loggers") {
            reading.logger(logger);
        }
        if reading.errors.is_empty() { Ok(reading.config) } else { Err(reading.errors) }
    }

    pub(super) fn targets(&self) -> Targets {
        Targets::new().with_default(self.root).with_targets(self.targets.iter().cloned())
    }
}

fn section<'a>(file: &'a Node, name: &str) -> &'a [Entry] {
    file.get(name).map_or(&[], Node::entries)
}

/// The file, and the values read from it so far.
struct Reading<'a> {
    file: &'a Node,
    config: LogConfig,
    errors: Vec<Wrong>,
}

impl Reading<'_> {
    fn root(&mut self) {
        let root = self.file.get("root");
        self.config.root = root.and_then(|root| self.level_of(root)).unwrap_or(LevelFilter::WARN);
        let names = root.and_then(|root| root.get("handlers")).map_or(&[][..], Node::items);
        if names.is_empty() {
            // Like Python's handler of last resort.
            self.config.outputs.push(Output::stderr(LevelFilter::WARN));
        }
        for name in names {
            let text = name.as_text().unwrap_or_default();
            self.handler(text, name.place.line, 0);
        }
    }

    fn logger(&mut self, logger: &Entry) {
        let name = logger.key.as_str();
        if logger.node.get("handlers").is_some() {
            self.ignored(format!("loggers.{name}.handlers: records go to the handlers of root"));
        }
        let Some(level) = self.level_of(&logger.node) else { return };
        let own = name == "plexus" || name.starts_with("plexus_") || name.starts_with("plexus.");
        let known = LOGGERS
            .iter()
            .find(|(prefix, _)| name == *prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')));
        if name == "plexus.access" {
            self.target(name, level);
        } else if own {
            self.target(&name.replace('.', "::"), level);
        } else if name == "synapse" {
            self.target("plexus", level);
        } else if let Some((_, targets)) = known {
            targets.iter().for_each(|target| self.target(target, level));
        } else {
            self.ignored(format!("loggers.{name}: nothing here logs under that name"));
        }
    }

    /// Several of Synapse's loggers can correspond to one module here: the most verbose one counts.
    fn target(&mut self, target: &str, level: LevelFilter) {
        let targets = &mut self.config.targets;
        match targets.iter_mut().find(|(name, _)| name == target) {
            Some((_, known)) => *known = (*known).max(level),
            None => targets.push((target.to_owned(), level)),
        }
    }

    fn ignored(&mut self, sentence: String) {
        self.config.not_in_effect.push(sentence);
    }

    /// Reads the member `level`: a word of Python's, or a number. A wrong value is an error.
    fn level_of(&mut self, node: &Node) -> Option<LevelFilter> {
        match level_of(node) {
            Ok(level) => level,
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }
}

fn text<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.get(name)?.as_text()
}

fn level_of(node: &Node) -> Result<Option<LevelFilter>, Wrong> {
    let Some(level) = node.get("level").filter(|level| !level.is_null()) else {
        return Ok(None);
    };
    let text = level.as_text().unwrap_or_default();
    let number = match text {
        "CRITICAL" | "FATAL" | "ERROR" => 40,
        "WARNING" | "WARN" => 30,
        "INFO" => 20,
        "DEBUG" => 10,
        "NOTSET" => 0,
        _ => text.parse::<u8>().map_err(|_| {
            let message = format!(
                "level: found {}; allowed is CRITICAL, ERROR, WARNING, INFO, DEBUG or NOTSET",
                level.describe()
            );
            (level.place.line, message)
        })?,
    };
    Ok(Some(match number {
        31.. => LevelFilter::ERROR,
        21..=30 => LevelFilter::WARN,
        11..=20 => LevelFilter::INFO,
        1..=10 => LevelFilter::DEBUG,
        0 => LevelFilter::TRACE,
    }))
}

#[cfg(test)]
mod tests;
