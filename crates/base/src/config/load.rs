//! Loading configuration files.

use std::path::{Path, PathBuf};

use super::files::{find_files, merge, parse_file, read_file};
use super::{Config, Problem, Report, Setting, Written, legacy, read, whole};
use crate::schema::{MapReader, Reader};
use crate::yaml::{Entry, Place};

/// How to load files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether a secret in a configuration file is an error.
    pub forbid_secrets: bool,
}

/// A configuration with the messages about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The messages about it.
    pub report: Report,
    /// The files' content and places.
    pub written: Written,
}

/// Reads and validates configuration files. The `*.yaml` files of folders are read in the order of their names. A later
/// file replaces whole top-level options of an earlier one.
///
/// # Errors
/// The report, when it contains errors: all of them, not only the first.
pub fn load(paths: &[PathBuf], options: Options) -> Result<Loaded, Report> {
    let loaded = load_with_errors(paths, options)?;
    if loaded.report.has_errors() { Err(loaded.report) } else { Ok(loaded) }
}

/// Like [`load`], but a wrong option gets its default, and an error in the report.
///
/// # Errors
/// The report, when a file cannot be read as YAML or a required option is missing or wrong.
pub fn load_with_errors(paths: &[PathBuf], options: Options) -> Result<Loaded, Report> {
    let files = find_files(paths)?;
    let mut entries = Vec::new();
    let mut report = Report::default();
    for (index, file) in files.iter().enumerate() {
        match read_file(file, index) {
            Ok(added) => merge(&mut entries, added),
            Err(problem) => report.errors.push(problem),
        }
    }
    if report.has_errors() {
        // Without the file that could not be read, other options would seem to be missing.
        return Err(report);
    }
    let last = files.last().and_then(|file| file.parent());
    let config_dir = last.unwrap_or(Path::new("")).to_owned();
    let mut reader = Reader::new(files.clone());
    reader.forbid_secrets = options.forbid_secrets;
    let (config, report) = interpret(reader, &entries, config_dir);
    match config {
        Some(config) => Ok(Loaded { config, report, written: Written::new(files, entries) }),
        None => Err(report),
    }
}

/// Reads a configuration from text.
///
/// # Errors
/// The report, when it contains errors.
pub fn parse(text: &str) -> Result<Config, Report> {
    let file = Path::new("homeserver.yaml");
    let entries = parse_file(text, file, 0).map_err(|problem| Report { errors: vec![problem], ..Report::default() })?;
    let reader = Reader::new(vec![file.to_owned()]);
    match interpret(reader, &entries, PathBuf::new()) {
        (Some(config), report) if !report.has_errors() => Ok(config),
        (_, report) => Err(report),
    }
}

fn interpret(mut reader: Reader, entries: &[Entry], config_dir: PathBuf) -> (Option<Config>, Report) {
    reader.explain = legacy::explain;
    let mut map = MapReader::new(&mut reader, entries, Place::default());
    let config = read(&mut map, config_dir).map(|config| whole::check(config, &mut map));
    map.finish();
    refuse_misspelt_places(&mut reader.report, entries);
    for problem in std::mem::take(&mut reader.refused) {
        if config.as_ref().is_some_and(|config| whole::is_idle(config, &problem.option)) {
            let Problem { file, line, option, .. } = problem;
            reader.report.not_in_effect.push(Setting { file, line, option, nearest: None });
        } else {
            reader.report.errors.push(problem);
        }
    }
    (config, reader.report)
}

/// Options with the location of data or keys: without them the server uses, and creates, other ones.
const PLACES: [&str; 6] =
    ["database", "databases", "database_path", "media_store_path", "signing_key", "signing_key_path"];

/// Turns unknown options that resemble one of [`PLACES`] into errors.
fn refuse_misspelt_places(report: &mut Report, entries: &[Entry]) {
    let is_set = |name: &str| entries.iter().any(|entry| entry.key == name);
    let meant = |setting: &Setting| {
        let nearest = setting.nearest.as_deref();
        nearest.is_some_and(|nearest| PLACES.contains(&nearest) && !is_set(nearest))
    };
    for Setting { file, line, option, nearest } in report.unknown.extract_if(.., |setting| meant(setting)) {
        let message = format!(
            "no such option; is {} meant? The server would use another place for its data",
            nearest.unwrap_or_default()
        );
        report.errors.push(Problem { file, line, option, message });
    }
}
