//! Files into a configuration.

use std::path::{Path, PathBuf};

use super::{Config, Problem, Report, Written, legacy, read, whole};
use crate::schema::{MapReader, Reader};
use crate::yaml::{self, Entry, Place, Value};

/// No configuration file may be larger, in bytes.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// How to load.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether a secret that is written in a file itself is an error.
    pub forbid_secrets: bool,
}

/// A configuration, and what there is to say about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Holds no errors.
    pub report: Report,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What they say, and where.
    pub written: Written,
}

/// Reads and checks configuration files. Of folders, the `*.yaml` files are read in the order of their names. A later file
/// replaces whole top-level options of an earlier one.
///
/// # Errors
/// The report, when it holds errors: all of them, not only the first.
pub fn load(paths: &[PathBuf], options: Options) -> Result<Loaded, Report> {
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
        // Without the file that could not be read, others would seem to lack options.
        return Err(report);
    }
    let last = files.last().and_then(|file| file.parent());
    let config_dir = last.unwrap_or(Path::new("")).to_owned();
    let mut reader = Reader::new(files.clone());
    reader.forbid_secrets = options.forbid_secrets;
    let (config, report) = interpret(reader, &entries, config_dir)?;
    let written = Written::new(files.clone(), entries);
    Ok(Loaded { config, report, files, written })
}

/// Reads a configuration from text.
///
/// # Errors
/// The report, when it holds errors.
pub fn parse(text: &str) -> Result<Config, Report> {
    let file = Path::new("homeserver.yaml");
    let entries = parse_file(text, file, 0).map_err(|problem| Report { errors: vec![problem], ..Report::default() })?;
    let reader = Reader::new(vec![file.to_owned()]);
    Ok(interpret(reader, &entries, PathBuf::new())?.0)
}

/// What there is to say about configuration files: what `plexus config check` prints.
pub fn check(paths: &[PathBuf], options: Options) -> Report {
    match load(paths, options) {
        Ok(loaded) => loaded.report,
        Err(report) => report,
    }
}

fn interpret(mut reader: Reader, entries: &[Entry], config_dir: PathBuf) -> Result<(Config, Report), Report> {
    reader.explain = legacy::explain;
    let mut map = MapReader::new(&mut reader, entries, Place::default());
    let config = read(&mut map, config_dir).map(|config| whole::check(config, &mut map));
    map.finish();
    let report = reader.report;
    match config {
        Some(config) if !report.has_errors() => Ok((config, report)),
        _ => Err(report),
    }
}

fn problem(file: &Path, line: u32, message: String) -> Problem {
    Problem { file: Some(file.to_owned()), line, option: String::new(), message }
}

/// The files that `paths` name, in order.
pub(super) fn find_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Report> {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match yaml_files(path) {
            Ok(found) if found.is_empty() => {
                let message = "the folder holds no file that ends in .yaml".to_owned();
                errors.push(problem(path, 0, message));
            }
            Ok(found) => files.extend(found),
            Err(error) => {
                let message = format!("cannot read the folder: {error}");
                errors.push(problem(path, 0, message));
            }
        }
    }
    if paths.is_empty() {
        errors.push(Problem {
            file: None,
            line: 0,
            option: String::new(),
            message: "no configuration file is named; name one with --config-path".to_owned(),
        });
    }
    if errors.is_empty() {
        return Ok(files);
    }
    Err(Report { errors, ..Report::default() })
}

fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(file: &Path, index: usize) -> Result<Vec<Entry>, Problem> {
    parse_file(&read_text(file)?, file, index)
}

pub(super) fn read_text(file: &Path) -> Result<String, Problem> {
    let cannot = |error: std::io::Error| problem(file, 0, format!("cannot be read: {error}"));
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > MAX_FILE_SIZE {
        let message = format!("holds {size} bytes; allowed are {MAX_FILE_SIZE}");
        return Err(problem(file, 0, message));
    }
    std::fs::read_to_string(file).map_err(cannot)
}

pub(super) fn parse_file(text: &str, file: &Path, index: usize) -> Result<Vec<Entry>, Problem> {
    let number = u16::try_from(index).unwrap_or(u16::MAX);
    let root = yaml::parse(text, number).map_err(|error| problem(file, error.line, error.message))?;
    match root.value {
        Value::Mapping(entries) => Ok(entries),
        _ if root.is_null() => Ok(Vec::new()),
        _ => {
            let message = format!("found {}; allowed are options, one a line", root.describe());
            Err(problem(file, root.place.line, message))
        }
    }
}

/// What the later file sets, it sets wholly.
pub(super) fn merge(entries: &mut Vec<Entry>, added: Vec<Entry>) {
    entries.retain(|entry| !added.iter().any(|newer| newer.key == entry.key));
    entries.extend(added);
}
