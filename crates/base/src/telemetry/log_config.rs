//! The file that `log_config` names: a dictionary of Python's `logging.config.dictConfig`, as Synapse reads it.

use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{LevelFilter, Targets};

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
    pub destination: Destination,
    /// Records below this level do not go there.
    pub level: LevelFilter,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// A stream or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Stdout,
    Stderr,
    File { path: PathBuf, rotation: Rotation },
}

/// When a log file is set aside, and how many that were are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Never: somebody else does it.
    Never,
    /// At midnight UTC. With 0 backups all are kept.
    Daily { backups: usize },
    /// Before it grows larger than this, in bytes. With 0 backups, or 0 bytes, never.
    Size { bytes: u64, backups: usize },
}

/// The file is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct LogConfigError {
    pub path: PathBuf,
    /// Counted from 1; 0 when it is about the whole file.
    pub line: u32,
    pub message: String,
}

/// Loggers of Synapse and where the same is done here; the first that fits counts.
const LOGGERS: &[(&str, &[&str])] = &[
    ("synapse.storage", &["plexus_store"]),
    ("synapse.metrics", &["plexus_http"]),
    ("synapse.access", &["plexus_http", "plexus_server"]),
    ("synapse.http.server", &["plexus_http", "plexus_server"]),
    ("synapse.http", &["plexus_net", "plexus_http"]),
    ("synapse.crypto", &["plexus_net"]),
    ("synapse.federation.sender", &["plexus_delivery"]),
    ("synapse.federation", &["plexus_net", "plexus_api_federation"]),
    ("synapse.rest.admin", &["plexus_api_admin"]),
    ("synapse.rest", &["plexus_api_client", "plexus_api_admin"]),
    ("synapse.media", &["plexus_media"]),
    ("synapse.push", &["plexus_delivery"]),
    ("synapse.handlers.sync", &["plexus_delivery"]),
    ("synapse.handlers.presence", &["plexus_delivery"]),
    ("synapse.handlers.typing", &["plexus_delivery"]),
    ("synapse.handlers.auth", &["plexus_accounts"]),
    ("synapse.handlers.device", &["plexus_accounts"]),
    ("synapse.handlers.e2e_keys", &["plexus_accounts"]),
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
            outputs: vec![Output { destination: Destination::Stderr, level: LevelFilter::TRACE, json: false }],
            not_in_effect: Vec::new(),
        }
    }
}

impl LogConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// Names the line when the file is not YAML, a level is not known, or a handler does not exist.
    pub fn read(path: &Path) -> Result<Self, LogConfigError> {
        let error = |(line, message)| LogConfigError { path: path.to_owned(), line, message };
        let text = std::fs::read_to_string(path).map_err(|source| error((0, format!("cannot be read: {source}"))))?;
        Self::parse(&text).map_err(error)
    }

    /// As [`LogConfig::read`], from text; an error is a line and a message.
    pub(super) fn parse(text: &str) -> Result<Self, (u32, String)> {
        let file = yaml::parse(text, 0).map_err(|error| (error.line, error.message))?;
        if let Some(structured) = file.get("structured") {
            let message = "structured: replaced by formatters of class synapse.logging.JsonFormatter";
            return Err((structured.place.line, message.to_owned()));
        }
        let mut reading = Reading {
            file: &file,
            config: Self {
                root: LevelFilter::WARN,
                targets: Vec::new(),
                outputs: Vec::new(),
                not_in_effect: Vec::new(),
            },
        };
        reading.root()?;
        for logger in section(&file, "loggers") {
            reading.logger(logger)?;
        }
        Ok(reading.config)
    }

    pub(super) fn targets(&self) -> Targets {
        Targets::new().with_default(self.root).with_targets(self.targets.iter().cloned())
    }
}

fn section<'a>(file: &'a Node, name: &str) -> &'a [Entry] {
    file.get(name).map_or(&[], Node::entries)
}

struct Reading<'a> {
    file: &'a Node,
    config: LogConfig,
}

impl Reading<'_> {
    fn root(&mut self) -> Result<(), (u32, String)> {
        let Some(root) = self.file.get("root") else {
            return Ok(());
        };
        self.config.root = level_of(root)?.unwrap_or(LevelFilter::WARN);
        for name in root.get("handlers").map_or(&[][..], Node::items) {
            let text = name.as_text().unwrap_or_default();
            self.handler(text, name.place.line, 0)?;
        }
        Ok(())
    }

    fn logger(&mut self, logger: &Entry) -> Result<(), (u32, String)> {
        let name = logger.key.as_str();
        if logger.node.get("handlers").is_some() {
            self.ignored(format!("loggers.{name}.handlers: records go to the handlers of root"));
        }
        let Some(level) = level_of(&logger.node)? else {
            return Ok(());
        };
        let own = name == "plexus" || name.starts_with("plexus_") || name.starts_with("plexus.");
        let known = LOGGERS
            .iter()
            .find(|(prefix, _)| name == *prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')));
        if own {
            self.target(&name.replace('.', "::"), level);
        } else if name == "synapse" {
            self.target("plexus", level);
        } else if let Some((_, targets)) = known {
            targets.iter().for_each(|target| self.target(target, level));
        } else {
            self.ignored(format!("loggers.{name}: nothing here logs under that name"));
        }
        Ok(())
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

    fn handler(&mut self, name: &str, line: u32, depth: u8) -> Result<(), (u32, String)> {
        let handlers = self.file.get("handlers");
        let Some(handler) = handlers.and_then(|handlers| handlers.get(name)) else {
            let message = format!("the handler {name:?} is not described under handlers");
            return Err((line, message));
        };
        let class = text(handler, "class").unwrap_or_default();
        let backups = number(handler, "backupCount");
        let file = |rotation| {
            let path = PathBuf::from(text(handler, "filename").unwrap_or("homeserver.log"));
            Some(Destination::File { path, rotation })
        };
        let destination = match class.rsplit('.').next().unwrap_or_default() {
            "StreamHandler" => match text(handler, "stream") {
                Some("ext://sys.stdout") => Some(Destination::Stdout),
                _ => Some(Destination::Stderr),
            },
            "FileHandler" | "WatchedFileHandler" => file(Rotation::Never),
            "TimedRotatingFileHandler" => file(Rotation::Daily { backups }),
            "RotatingFileHandler" => {
                file(Rotation::Size { bytes: u64::try_from(number(handler, "maxBytes")).unwrap_or(0), backups })
            }
            "MemoryHandler" | "PeriodicallyFlushingMemoryHandler" if depth < 8 => {
                let target = text(handler, "target").unwrap_or_default();
                return self.handler(target, handler.place.line, depth + 1);
            }
            "NullHandler" => None,
            _ => {
                self.ignored(format!("handlers.{name}: the class {class} is not known here"));
                None
            }
        };
        if let Some(destination) = destination {
            let output = Output {
                destination,
                level: level_of(handler)?.unwrap_or(LevelFilter::TRACE),
                json: self.is_json(handler),
            };
            self.config.outputs.push(output);
        }
        Ok(())
    }

    fn is_json(&self, handler: &Node) -> bool {
        let name = text(handler, "formatter").unwrap_or_default();
        let formatter = self.file.get("formatters").and_then(|all| all.get(name));
        let class = formatter.and_then(|formatter| text(formatter, "class").or_else(|| text(formatter, "()")));
        class.is_some_and(|class| class.ends_with("JsonFormatter"))
    }
}

fn text<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.get(name)?.as_text()
}

fn number(node: &Node, name: &str) -> usize {
    text(node, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The member `level`: a word of Python's, or a number.
fn level_of(node: &Node) -> Result<Option<LevelFilter>, (u32, String)> {
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
