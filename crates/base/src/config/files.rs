//! Finding configuration files and reading their options.

use std::path::{Path, PathBuf};

use super::{Problem, Report};
use crate::yaml::{self, Entry, Value};

/// The largest configuration file, in bytes.
const MAX_FILE_SIZE: u64 = 16 << 20;

fn problem(file: &Path, line: u32, message: String) -> Problem {
    Problem { file: Some(file.to_owned()), line, option: String::new(), message }
}

/// Returns the files that `paths` name, in order.
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

pub(super) fn read_file(file: &Path, index: usize) -> Result<Vec<Entry>, Problem> {
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

/// Options of a later file replace those of an earlier one as a whole.
pub(super) fn merge(entries: &mut Vec<Entry>, added: Vec<Entry>) {
    entries.retain(|entry| !added.iter().any(|newer| newer.key == entry.key));
    entries.extend(added);
}
