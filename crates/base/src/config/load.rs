//! Files into a configuration.

use std::path::{Path, PathBuf};

use super::{Config, Problem, Report, Setting, Written, legacy, read, whole};
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
    pub report: Report,
    /// What its files say, and where.
    pub written: Written,
}

/// Reads and checks configuration files. Of folders, the `*.yaml` files are read in the order of their names. A later file
/// replaces whole top-level options of an earlier one.
///
/// # Errors
/// The report, when it holds errors: all of them, not only the first.
pub fn load(paths: &[PathBuf], options: Options) -> Result<Loaded, Report> {
    let loaded = load_with_errors(paths, options)?;
    if loaded.report.has_errors() { Err(loaded.report) } else { Ok(loaded) }
}

/// As [`load`], but an option that is wrong has its default, and an error in the report.
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
        // Without the file that could not be read, others would seem to lack options.
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
/// The report, when it holds errors.
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

/// Options that say where data or keys are: without them the server looks, and makes new ones, somewhere else.
const PLACES: [&str; 6] =
    ["database", "databases", "database_path", "media_store_path", "signing_key", "signing_key_path"];

/// Makes errors of unknown options that seem to be meant as one of [`PLACES`].
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
