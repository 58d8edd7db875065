//! Logging: destinations and levels, which can be changed while the server runs.

mod escape;
mod journal;
mod json;
mod log_config;
mod log_file;
mod losses;
mod pattern;
mod syslog;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use tracing::Subscriber;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::Clock;
use escape::Escaping;
pub use escape::escaped;
use journal::{Journal, LoggerFirst};
use json::JsonFormat;
pub use json::JsonKeys;
pub use log_config::{Destination, Format, LogConfig, LogConfigError, LogConfigErrors, Output};
use log_file::LogFile;
pub use log_file::Rotation;
pub use pattern::Pattern;
use pattern::{PatternFormat, RequestIds};
use syslog::Syslog;
pub use syslog::{Facility, SyslogAddress};

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The file named by `log_config` is wrong.
    #[error(transparent)]
    Config(#[from] LogConfigErrors),
    /// A log file cannot be written.
    #[error("cannot write the log file {}: {source}", path.display())]
    File {
        /// The file's path.
        path: PathBuf,
        /// Why it cannot be written.
        source: io::Error,
    },
    /// Another part of the process has set up logging.
    #[error("logging is set up already: {0}")]
    AlreadySetUp(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("log levels cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

/// The handle to the active logging; changes levels while the server runs.
#[derive(Debug)]
pub struct Telemetry {
    log_config: Option<PathBuf>,
    levels: reload::Handle<Targets, Registry>,
    files: Vec<LogFile>,
}

/// Starts logging for the whole process, as configured in the file named by `log_config`, or everything from INFO on to
/// standard error. Also returns a sentence for each part of the file without effect.
///
/// # Errors
/// When the file is wrong, a log file cannot be written, or logging was started before.
pub fn start(log_config: Option<&Path>, clock: &Clock) -> Result<(Telemetry, Vec<String>), TelemetryError> {
    let mut config = read(log_config)?;
    let (levels, handle) = reload::Layer::new(config.targets());
    let mut opened = Opened { clock, files: Vec::new(), not_in_effect: std::mem::take(&mut config.not_in_effect) };
    let mut outputs = Vec::new();
    for output in &config.outputs {
        outputs.push(opened.layer(output)?);
    }
    let Opened { files, not_in_effect, .. } = opened;
    tracing_subscriber::registry().with(levels).with(RequestIds).with(outputs).try_init()?;
    let telemetry = Telemetry { log_config: log_config.map(Path::to_owned), levels: handle, files };
    Ok((telemetry, not_in_effect))
}

impl Telemetry {
    /// Reads the levels again. Returns a sentence for each part of the file without effect; outputs are not changed.
    ///
    /// # Errors
    /// When the file is wrong; the levels then stay as they are.
    pub fn reload_levels(&self) -> Result<Vec<String>, TelemetryError> {
        let config = read(self.log_config.as_deref())?;
        self.levels.reload(config.targets())?;
        Ok(config.not_in_effect)
    }

    /// Reopens all log files in case they were moved. Returns why some could not be reopened; records continue to go to
    /// the open files.
    pub fn reopen_files(&self) -> Vec<TelemetryError> {
        let reopened = self
            .files
            .iter()
            .map(|file| file.reopen().map_err(|source| TelemetryError::File { path: file.path().to_owned(), source }));
        reopened.filter_map(Result::err).collect()
    }
}

fn read(log_config: Option<&Path>) -> Result<LogConfig, LogConfigErrors> {
    match log_config {
        Some(path) => LogConfig::read(path),
        None => Ok(LogConfig::default()),
    }
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// The outputs opened so far.
struct Opened<'a> {
    clock: &'a Clock,
    files: Vec<LogFile>,
    not_in_effect: Vec<String>,
}

impl Opened<'_> {
    /// Opens an output. Records for a system service that does not exist go to standard error.
    fn layer<S>(&mut self, output: &Output) -> Result<BoxedLayer<S>, TelemetryError>
    where
        S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        let clock = self.clock;
        let writer = match &output.destination {
            Destination::Stdout => {
                return Ok(formatted(BoxMakeWriter::new(io::stdout), output, clock, shows_colours(&io::stdout())));
            }
            Destination::Stderr => BoxMakeWriter::new(io::stderr),
            Destination::File { path, rotation } => {
                let file = LogFile::open(path, *rotation, clock.clone());
                let file = file.map_err(|source| TelemetryError::File { path: path.clone(), source })?;
                self.files.push(file.clone());
                return Ok(formatted(BoxMakeWriter::new(move || file.clone()), output, clock, false));
            }
            Destination::Journal { socket, fields } => match Journal::open(socket, fields) {
                Ok(journal) => return Ok(journal_layer(journal, output, clock)),
                Err(error) => self.instead(output, &format!("no journal listens at {}: {error}", socket.display())),
            },
            Destination::Syslog { address, facility } => match Syslog::open(address, *facility) {
                Ok(syslog) => {
                    let output = syslog_output(output);
                    return Ok(formatted(BoxMakeWriter::new(syslog), &output, clock, false));
                }
                Err(error) => self.instead(output, &format!("syslog cannot be reached at {address}: {error}")),
            },
        };
        Ok(formatted(writer, output, clock, shows_colours(&io::stderr())))
    }

    fn instead(&mut self, output: &Output, why: &str) -> BoxMakeWriter {
        self.not_in_effect.push(format!("handlers.{}: {why}; its records go to the standard error", output.name));
        BoxMakeWriter::new(io::stderr)
    }
}

/// Returns `output` for syslog, which records time and level itself.
fn syslog_output(output: &Output) -> Output {
    let format = match &output.format {
        Format::Usual => Format::Pattern(Pattern::new("plexus: %(message)s", None)),
        other => other.clone(),
    };
    Output { format, ..output.clone() }
}

/// Whether this is a terminal whose user has not disabled colours (<https://no-color.org>).
fn shows_colours(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn formatted<S>(writer: BoxMakeWriter, output: &Output, clock: &Clock, colours: bool) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let level: LevelFilter = output.level;
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    match &output.format {
        Format::Usual => {
            let fields = fmt::format::debug_fn(|to, field, value| match field.name() {
                "message" => write!(Escaping(to), "{value:?}"),
                name => write!(Escaping(to), "{name}={value:?}"),
            });
            layer.fmt_fields(fields.delimited(" ")).with_filter(level).boxed()
        }
        Format::Json(keys) => {
            let format = JsonFormat { keys: *keys, clock: clock.clone() };
            layer.with_ansi(false).event_format(format).with_filter(level).boxed()
        }
        Format::Pattern(pattern) => {
            let format = PatternFormat { pattern: pattern.clone(), clock: clock.clone() };
            layer.with_ansi(false).event_format(format).with_filter(level).boxed()
        }
    }
}

/// Returns a layer for the journal, which records time and level itself.
fn journal_layer<S>(journal: Journal, output: &Output, clock: &Clock) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(journal).with_ansi(false);
    let pattern = match &output.format {
        Format::Json(keys) => {
            let format = LoggerFirst(JsonFormat { keys: *keys, clock: clock.clone() });
            return layer.event_format(format).with_filter(output.level).boxed();
        }
        Format::Pattern(pattern) => pattern.clone(),
        Format::Usual => Pattern::new("%(message)s", None),
    };
    let format = LoggerFirst(PatternFormat { pattern, clock: clock.clone() });
    layer.event_format(format).with_filter(output.level).boxed()
}

#[cfg(test)]
mod tests;
