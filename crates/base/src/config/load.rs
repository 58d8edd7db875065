//! Files into a configuration.

use std::path::{Path, PathBuf};

use super::{Config, Problem, Report, legacy, read};
use crate::schema::{MapReader, Reader};
use crate::yaml::{self, Entry, Place, Value};

/// No configuration file may be larger, in bytes.
const MAX_FILE_SIZE: u64 = 16 << 20;

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Files, and folders whose `*.yaml` files are read in the order of their names. A later file replaces whole top-level
    /// options of an earlier one.
    pub paths: Vec<PathBuf>,
    /// The folder where keys are looked for; that of the last file when not set.
    pub keys_directory: Option<PathBuf>,
    /// Whether a secret that is written in a file itself is an error.
    pub forbid_secrets: bool,
}

/// What loading gave.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration; `None` exactly when the report holds errors.
    pub config: Option<Config>,
    pub report: Report,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// The configuration with what there is to say about it.
    ///
    /// # Errors
    /// The report, when it holds errors.
    pub fn into_result(self) -> Result<(Config, Report), Report> {
        match self.config {
            Some(config) => Ok((config, self.report)),
            None => Err(self.report),
        }
    }
}

/// Reads and checks configuration files.
pub fn load(options: &Options) -> Loaded {
    let mut report = Report::default();
    let files = find_files(&options.paths, &mut report);
    let mut entries = Vec::new();
    for (index, file) in files.iter().enumerate() {
        match read_file(file, index) {
            Ok(added) => merge(&mut entries, added),
            Err(problem) => report.errors.push(problem),
        }
    }
    let config_dir = options.keys_directory.clone().unwrap_or_else(|| {
        let folder = files.last().and_then(|file| file.parent());
        folder.unwrap_or(Path::new("")).to_owned()
    });
    let mut reader = Reader::new(files.clone());
    reader.forbid_secrets = options.forbid_secrets;
    if !report.errors.is_empty() {
        // Without a file that could not be read, others would seem to lack options.
        return Loaded {
            config: None,
            report,
            files,
        };
    }
    let (config, report) = interpret(reader, &entries, config_dir);
    Loaded {
        config,
        report,
        files,
    }
}

/// Reads a configuration from text.
///
/// # Errors
/// The report, when it holds errors.
pub fn parse(text: &str) -> Result<Config, Report> {
    let file = Path::new("homeserver.yaml");
    let entries = parse_file(text, file, 0).map_err(|problem| Report {
        errors: vec![problem],
        ..Report::default()
    })?;
    let reader = Reader::new(vec![file.to_owned()]);
    let (config, report) = interpret(reader, &entries, PathBuf::new());
    config.ok_or(report)
}

/// What there is to say about configuration files: what `plexus config check` prints.
pub fn check(options: &Options) -> Report {
    load(options).report
}

fn interpret(
    mut reader: Reader,
    entries: &[Entry],
    config_dir: PathBuf,
) -> (Option<Config>, Report) {
    reader.explain = legacy::explain;
    let mut map = MapReader::new(&mut reader, entries, Place::default());
    let config = read(&mut map, config_dir);
    map.finish();
    let report = reader.report;
    (config.filter(|_| report.errors.is_empty()), report)
}

fn problem(file: &Path, line: u32, message: String) -> Problem {
    Problem {
        file: Some(file.to_owned()),
        line,
        option: String::new(),
        message,
    }
}

/// The files that `paths` name, in order.
fn find_files(paths: &[PathBuf], report: &mut Report) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match yaml_files(path) {
            Ok(found) => files.extend(found),
            Err(error) => {
                let message = format!("cannot read the folder: {error}");
                report.errors.push(problem(path, 0, message));
            }
        }
    }
    if files.is_empty() && report.errors.is_empty() {
        let message = match paths.first() {
            Some(path) => format!("{} holds no file that ends in .yaml", path.display()),
            None => "no configuration file is named; allowed is --config-path".to_owned(),
        };
        report.errors.push(Problem {
            file: None,
            line: 0,
            option: String::new(),
            message,
        });
    }
    files
}

fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && path.is_file()
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(file: &Path, index: usize) -> Result<Vec<Entry>, Problem> {
    let cannot = |error: std::io::Error| problem(file, 0, format!("cannot be read: {error}"));
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > MAX_FILE_SIZE {
        let message = format!("holds {size} bytes; allowed are {MAX_FILE_SIZE}");
        return Err(problem(file, 0, message));
    }
    let text = std::fs::read_to_string(file).map_err(cannot)?;
    parse_file(&text, file, index)
}

fn parse_file(text: &str, file: &Path, index: usize) -> Result<Vec<Entry>, Problem> {
    let number = u16::try_from(index).unwrap_or(u16::MAX);
    let root =
        yaml::parse(text, number).map_err(|error| problem(file, error.line, error.message))?;
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
fn merge(entries: &mut Vec<Entry>, added: Vec<Entry>) {
    entries.retain(|entry| !added.iter().any(|newer| newer.key == entry.key));
    entries.extend(added);
}
