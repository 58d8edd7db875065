//! The content of configuration files before it is interpreted: where options are set, and the readable parts of files
//! with mistakes.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Listener, Problem, Secret, files};
use crate::schema::{self, Reader};
use crate::yaml::{Entry, Node, Place, Value};

/// The top-level options as the files set them.
#[derive(Clone, Default)]
pub struct Written {
    files: Vec<PathBuf>,
    entries: Vec<Entry>,
}

impl fmt::Debug for Written {
    /// The options contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Written {
    pub(super) fn new(files: Vec<PathBuf>, entries: Vec<Entry>) -> Self {
        Self { files, entries }
    }

    /// Reads the readable parts of configuration files. Files that cannot be read and top-level options that are not
    /// YAML are ignored.
    pub fn salvage(paths: &[PathBuf]) -> Self {
        let found = paths.iter().flat_map(|path| files::find_files(std::slice::from_ref(path)).unwrap_or_default());
        let files: Vec<PathBuf> = found.collect();
        let mut entries = Vec::new();
        for (index, file) in files.iter().enumerate() {
            if let Ok(text) = files::read_text(file) {
                files::merge(&mut entries, salvage_text(&text, file, index));
            }
        }
        Self { files, entries }
    }

    /// Returns the folder of the last file.
    pub fn config_dir(&self) -> &Path {
        self.files.last().and_then(|file| file.parent()).unwrap_or(Path::new(""))
    }

    /// Returns the files in the order in which they were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Returns where an option is set, such as `homeserver.yaml:17`. `option` is its dotted path, such as
    /// `listeners[0].port`. If the files do not set a member: the place of the innermost object that would contain it.
    /// `None`: they do not set the option at all.
    pub fn place(&self, option: &str) -> Option<String> {
        let place = self.find(option)?;
        let file = self.files.get(usize::from(place.file))?;
        Some(format!("{}:{}", file.display(), place.line))
    }

    /// Returns an error about `option` at its [`Written::place`], or without a line number in the first file if there
    /// is none.
    pub fn problem(&self, option: &str, message: impl Into<String>) -> Problem {
        let place = self.find(option).unwrap_or_default();
        let file = self.files.get(usize::from(place.file)).cloned();
        Problem { file, line: place.line, option: option.to_owned(), message: message.into() }
    }

    fn find(&self, option: &str) -> Option<Place> {
        let mut segments = option.split(['.', '[']).map(|segment| segment.trim_end_matches(']'));
        let top = self.entry(segments.next()?)?;
        let (mut node, mut place) = (&top.node, top.place);
        for segment in segments {
            let found = match &node.value {
                Value::Sequence(items) => {
                    segment.parse().ok().and_then(|index: usize| items.get(index)).map(|item| (item, item.place))
                }
                _ => {
                    let entry = node.entries().iter().rev().find(|entry| entry.key == segment);
                    entry.map(|entry| (&entry.node, entry.place))
                }
            };
            let Some(inner) = found else { break };
            (node, place) = inner;
        }
        Some(place)
    }

    /// Returns the top-level options that differ, in the order of their names.
    pub fn changed(&self, other: &Self) -> Vec<String> {
        let mut names: Vec<&str> = self.entries.iter().chain(&other.entries).map(|entry| entry.key.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let value = |written: &Self, name: &str| written.entry(name).map(|entry| entry.node.to_json());
        names.retain(|name| value(self, name) != value(other, name));
        names.into_iter().map(ToOwned::to_owned).collect()
    }

    /// Returns the path in a top-level option.
    pub fn path(&self, option: &str) -> Option<PathBuf> {
        read(self.node(option)?)
    }

    /// Returns the secret in a top-level option, or the file in the option `<option>_path`.
    pub fn secret(&self, option: &str) -> Option<Secret> {
        let written = self.node(option).and_then(read::<Secret>);
        written.or_else(|| {
            let file = self.path(&format!("{option}_path"))?;
            Some(Secret::new(std::fs::read_to_string(file).ok()?.trim()))
        })
    }

    /// Returns the listeners without mistakes in their description.
    pub fn listeners(&self) -> Vec<Listener> {
        let items = self.node("listeners").map(Node::items).unwrap_or_default();
        items.iter().filter_map(read).collect()
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == name)
    }

    fn node(&self, name: &str) -> Option<&Node> {
        Some(&self.entry(name)?.node).filter(|node| !node.is_null())
    }
}

/// Reads a value if there is no mistake in it.
fn read<T: schema::Value>(node: &Node) -> Option<T> {
    let mut reader = Reader::new(Vec::new());
    T::read(node, &mut reader).filter(|_| !reader.report.has_errors())
}

/// Parses the options of a file, each separately if the whole is not YAML.
fn salvage_text(text: &str, file: &Path, index: usize) -> Vec<Entry> {
    if let Ok(entries) = files::parse_file(text, file, index) {
        return entries;
    }
    let mut entries = Vec::new();
    for (line, block) in top_level_blocks(text) {
        let mut parsed = files::parse_file(&block, file, index).unwrap_or_default();
        shift(&mut parsed, line);
        files::merge(&mut entries, parsed);
    }
    entries
}

/// Splits a file into parts that each begin with a top-level option. Returns the parts and how many lines precede each.
fn top_level_blocks(text: &str) -> Vec<(u32, String)> {
    let mut blocks: Vec<(u32, String)> = Vec::new();
    for (number, line) in (0..).zip(text.lines()) {
        let begins =
            line.starts_with(|first: char| first.is_alphanumeric() || first == '_' || first == '"' || first == '\'');
        match blocks.last_mut() {
            Some((_, block)) if !begins => {
                block.push('\n');
                block.push_str(line);
            }
            _ => blocks.push((number, line.to_owned())),
        }
    }
    blocks
}

/// Moves nodes down by `lines` lines.
fn shift(entries: &mut [Entry], lines: u32) {
    for entry in entries {
        entry.place.line += lines;
        shift_node(&mut entry.node, lines);
    }
}

fn shift_node(node: &mut Node, lines: u32) {
    node.place.line += lines;
    match &mut node.value {
        Value::Mapping(entries) => shift(entries, lines),
        Value::Sequence(items) => items.iter_mut().for_each(|item| shift_node(item, lines)),
        Value::Scalar(_) => {}
    }
}
