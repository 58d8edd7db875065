//! The file that `log_config` names: a dictionary of Python's `logging.config.dictConfig`, as Synapse reads it.

mod handler;

use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::json::JsonKeys;
use super::log_file::Rotation;
use super::pattern::Pattern;
use super::syslog::{Facility, SyslogAddress};
use crate::yaml::{self, Entry, Node};

/// What is logged from which level on, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// The level of everything that `targets` does not name.
    pub root: LevelFilter,
    /// Levels of parts of the program, by the beginning of their module paths.
    pub targets: Vec<(String, LevelFilter)>,
    /// Where records go.
    pub outputs: Vec<Output>,
    /// What the file says that has no effect, one sentence each.
    pub not_in_effect: Vec<String>,
}

/// Somewhere that records go.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The name of the handler; empty when the file describes none.
    pub name: String,
    pub destination: Destination,
    /// Records below this level do not go there.
    pub level: LevelFilter,
    pub format: Format,
}

/// How a record is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// For people at a terminal: the time in UTC, the level, the request, the part of the program and the message.
    Usual,
    /// One JSON object a line.
    Json(JsonKeys),
    /// As a format string of Python's.
    Pattern(Pattern),
}

/// A stream, a file or a service of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    Stderr,
    File {
        path: PathBuf,
        rotation: Rotation,
    },
    /// systemd's journal.
    Journal {
        socket: PathBuf,
        /// Fields that every record gets.
        fields: Vec<(String, String)>,
    },
    /// A syslog daemon.
    Syslog {
        address: SyslogAddress,
        facility: Facility,
    },
}

/// Something in the file is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct LogConfigError {
    pub path: PathBuf,
    /// Counted from 1; 0 when it is about the whole file.
    pub line: u32,
    pub message: String,
}

/// The file cannot be used: everything that is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LogConfigErrors(pub Vec<LogConfigError>);

/// A line and what is wrong there.
type Wrong = (u32, String);

/// Loggers of Synapse and where the same is done here; the first that fits counts.
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
    /// Everything from INFO on goes to the standard error.
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

    /// As [`LogConfig::read`], from text.
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

/// The file, and what was found in it so far.
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
            // Python's handler of last resort.
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

    /// Several of Synapse's loggers can meet in one part here: the one that logs most counts.
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

    /// The member `level`: a word of Python's, or a number. One that is wrong is an error.
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
