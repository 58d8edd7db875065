//! Reading objects: every problem is collected, and every unknown name is reported.

use std::path::{Path, PathBuf};

use super::problem::Files;
use super::{Field, Problem, Report, Secret, Setting, Status, nearest};
use crate::yaml::{Entry, Node, Place, Scalar, Value as Yaml};

/// The type of an option.
pub(crate) trait Value: Sized {
    /// Reads a node that is not null; reports an error and returns `None` when it does not fit.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self>;

    /// Like `read`, for an option with a default: an object keeps the default's members that the file does not set.
    fn read_over(node: &Node, reader: &mut Reader, _default: Self) -> Option<Self> {
        Self::read(node, reader)
    }

    /// Returns the value of an omitted option without a default in its declaration; `None` when the option is required.
    fn absent(_reader: &mut Reader) -> Option<Self> {
        None
    }

    /// Returns the value of an option that is set to null, if that differs from omitting it.
    fn null() -> Option<Self> {
        None
    }

    /// Describes the allowed values.
    fn kind() -> String;

    /// Returns the value as YAML on one line; `None` when it cannot be shown that way.
    fn show(&self) -> Option<String> {
        None
    }

    /// Returns the members if it is an object or contains objects.
    fn nested() -> Option<fn() -> Vec<Field>> {
        None
    }
}

/// A struct defined by `options!`.
pub(crate) trait Fields: Sized {
    /// The lines of the doc comment.
    const ABOUT: &'static [&'static str];
    fn read_fields(map: &mut MapReader<'_, '_>) -> Option<Self>;
    fn fields() -> Vec<Field>;
}

/// The position of the reader, and the messages so far.
#[derive(Debug)]
pub(crate) struct Reader {
    files: Files,
    path: Vec<Segment>,
    /// Greater than 0 inside an option without effect: its members are not reported separately.
    quiet: usize,
    /// Whether secrets must be in files of their own.
    pub(crate) forbid_secrets: bool,
    /// Returns the message about an option that no struct knows, by its path: `Err` is an error, `Ok` a warning.
    pub(crate) explain: fn(&str, &Node) -> Option<Result<String, String>>,
    /// Options that are [`Status::Refused`] and set: errors unless another option makes them idle.
    pub(crate) refused: Vec<Problem>,
    pub(crate) report: Report,
}

#[derive(Debug)]
enum Segment {
    Name(String),
    Index(usize),
}

impl Reader {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files: Files(files),
            path: Vec::new(),
            quiet: 0,
            forbid_secrets: false,
            explain: |_, _| None,
            refused: Vec::new(),
            report: Report::default(),
        }
    }

    /// Returns the dotted path of the option being read, with `name` (possibly empty) appended.
    pub(crate) fn option(&self, name: &str) -> String {
        let mut text = String::new();
        for segment in &self.path {
            match segment {
                Segment::Name(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                Segment::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        if !text.is_empty() && !name.is_empty() {
            text.push('.');
        }
        text + name
    }

    fn problem(&self, place: Place, name: &str, message: impl Into<String>) -> Problem {
        Problem { file: self.files.name(place), line: place.line, option: self.option(name), message: message.into() }
    }

    /// Reports an error at `place` about the option being read, or its member `name` when that is not empty.
    pub(crate) fn error(&mut self, place: Place, name: &str, message: impl Into<String>) {
        let problem = self.problem(place, name, message);
        self.report.errors.push(problem);
    }

    pub(crate) fn warn(&mut self, place: Place, name: &str, message: impl Into<String>) {
        let problem = self.problem(place, name, message);
        self.report.warnings.push(problem);
    }

    /// Reports that `node` is not allowed here. Always returns `None`, for use in a `return`.
    pub(crate) fn wrong<T>(&mut self, node: &Node, allowed: &str) -> Option<T> {
        let message = format!("found {}; allowed is {allowed}", node.describe());
        self.error(node.place, "", message);
        None
    }

    /// Returns the index in `words` of the written word; unquoted `off` and `true` count as words. If `true` and
    /// `false` are among the words, any other value is read as a boolean.
    pub(crate) fn word(&mut self, node: &Node, words: &[&str]) -> Option<usize> {
        let position = |wanted: &str| words.iter().position(|word| *word == wanted);
        let text = match &node.value {
            Yaml::Scalar(Scalar::Bool { text, .. }) => text,
            _ => node.as_text().unwrap_or_default(),
        };
        match (position("true"), position("false")) {
            (Some(yes), Some(no)) => match position(text).filter(|found| ![yes, no].contains(found)) {
                Some(word) => Some(word),
                None => bool::read(node, self).map(|value| if value { yes } else { no }),
            },
            _ => {
                let also = matches!(&node.value, Yaml::Scalar(Scalar::Bool { .. })).then(|| node.to_json().to_string());
                let found = position(text).or_else(|| position(&also.unwrap_or_default()));
                found.or_else(|| self.wrong(node, &super::describe::one_of(words)))
            }
        }
    }

    /// Reads an item of a list.
    pub(crate) fn item<T: Value>(&mut self, index: usize, node: &Node) -> Option<T> {
        self.path.push(Segment::Index(index));
        let value = T::read(node, self);
        self.path.pop();
        value
    }

    /// Reads a member with an arbitrary name.
    pub(crate) fn member<T: Value>(&mut self, entry: &Entry) -> Option<T> {
        self.path.push(Segment::Name(entry.key.clone()));
        let value = T::read(&entry.node, self);
        self.path.pop();
        value
    }

    fn setting(&self, place: Place, name: &str, nearest: Option<&str>) -> Setting {
        Setting {
            file: self.files.name(place),
            line: place.line,
            option: self.option(name),
            nearest: nearest.map(|nearest| self.option(nearest)),
        }
    }
}

/// An object being read.
pub(crate) struct MapReader<'r, 'n> {
    pub(crate) reader: &'r mut Reader,
    entries: &'n [Entry],
    place: Place,
    known: Vec<&'static str>,
    /// Members that were wrong and have their defaults.
    wrong: Vec<&'static str>,
}

impl<'r, 'n> MapReader<'r, 'n> {
    pub(crate) fn new(reader: &'r mut Reader, entries: &'n [Entry], place: Place) -> Self {
        Self { reader, entries, place, known: Vec::new(), wrong: Vec::new() }
    }

    /// Reads a whole object and reports unknown names.
    pub(crate) fn read<T: Fields>(node: &'n Node, reader: &'r mut Reader) -> Option<T> {
        let Yaml::Mapping(entries) = &node.value else {
            return reader.wrong(node, "an object");
        };
        let mut map = Self::new(reader, entries, node.place);
        let value = T::read_fields(&mut map);
        map.finish();
        value
    }

    /// Returns the value of an object that the file does not contain.
    pub(crate) fn read_absent<T: Fields>(reader: &'r mut Reader) -> Option<T> {
        T::read_fields(&mut MapReader::new(reader, &[], Place::default()))
    }

    /// Returns the entry that counts.
    fn entry(&self, name: &str) -> Option<&'n Entry> {
        let mut entries = self.entries.iter().rev();
        entries.find(|entry| entry.key == name)
    }

    /// Whether the file sets the option to a value other than null.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| !entry.node.is_null())
    }

    /// Returns where an option is set, or where the object starts when it is not.
    pub(crate) fn place(&self, name: &str) -> Place {
        self.entry(name).map_or(self.place, |entry| entry.place)
    }

    /// Reports an error about the member `name`, unless its value has been reported already.
    pub(crate) fn error(&mut self, name: &str, message: impl Into<String>) {
        if self.wrong.contains(&name) {
            return;
        }
        let place = self.place(name);
        self.reader.error(place, name, message);
    }

    /// Reports a warning about the member `name`.
    pub(crate) fn warn(&mut self, name: &str, message: impl Into<String>) {
        let place = self.place(name);
        self.reader.warn(place, name, message);
    }

    /// Reads the member `name`. A wrong value is replaced by the default, so that the rest can still be checked.
    pub(crate) fn field<T: Value>(
        &mut self,
        name: &'static str,
        status: Status,
        default: fn() -> Option<T>,
    ) -> Option<T> {
        let name = name.trim_start_matches("r#");
        self.known.push(name);
        let Some(entry) = self.entry(name) else {
            return default().or_else(|| self.absent(name));
        };
        if entry.node.is_null() {
            return T::null().or_else(default).or_else(|| self.absent(name));
        }
        self.reader.path.push(Segment::Name(name.to_owned()));
        self.reader.quiet += usize::from(status != Status::Acts);
        let value = match default() {
            Some(default) => T::read_over(&entry.node, self.reader, default),
            None => T::read(&entry.node, self.reader),
        };
        self.reader.quiet -= usize::from(status != Status::Acts);
        self.reader.path.pop();
        let usual = default().or_else(|| T::absent(&mut Reader::new(Vec::new())));
        if value.is_none() {
            self.wrong.push(name);
            return usual;
        }
        let shown = value.as_ref().and_then(T::show);
        if shown.is_none() || shown != usual.as_ref().and_then(T::show) {
            self.note(status, entry);
        }
        value
    }

    fn absent<T: Value>(&mut self, name: &str) -> Option<T> {
        self.reader.path.push(Segment::Name(name.to_owned()));
        let errors = self.reader.report.errors.len();
        let value = T::absent(self.reader);
        self.reader.path.pop();
        if value.is_none() {
            self.reader.report.errors.truncate(errors);
            self.error(name, format!("required, but not set; allowed is {}", T::kind()));
        }
        value
    }

    fn note(&mut self, status: Status, entry: &Entry) {
        let setting = || self.reader.setting(entry.place, &entry.key, None);
        match status {
            Status::Refused(reason) if !entry.node.is_empty() => {
                let message = format!("not supported, and running without it would be unsafe: {reason}");
                let problem = self.reader.problem(entry.place, &entry.key, message);
                self.reader.refused.push(problem);
            }
            Status::Later if self.reader.quiet == 0 => {
                let setting = setting();
                self.reader.report.not_in_effect.push(setting);
            }
            Status::Moot if self.reader.quiet == 0 => {
                let setting = setting();
                self.reader.report.moot.push(setting);
            }
            _ => {}
        }
    }

    /// Returns the secret `name`, or the content of the file named by `path_name`; setting both is an error.
    pub(crate) fn secret(
        &mut self,
        name: &str,
        inline: Option<Secret>,
        path_name: &str,
        path: Option<&Path>,
    ) -> Option<Secret> {
        let Some(path) = path else {
            return inline;
        };
        if inline.is_some() {
            self.error(path_name, format!("set together with {name}; allowed is one of the two"));
            return None;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Some(Secret::new(text.trim())),
            Err(error) => {
                self.error(path_name, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// Reports unknown names and names set twice.
    pub(crate) fn finish(self) {
        let Self { reader, entries, known, .. } = self;
        for (index, entry) in entries.iter().enumerate() {
            let name = entry.key.as_str();
            if entries[..index].iter().any(|earlier| earlier.key == name) {
                reader.warn(entry.place, name, "set more than once; the last one counts");
            }
            if known.contains(&name) {
                continue;
            }
            match (reader.explain)(&reader.option(name), &entry.node) {
                Some(Err(message)) => reader.error(entry.place, name, message),
                Some(Ok(message)) => reader.warn(entry.place, name, message),
                None => {
                    let nearest = nearest(name, known.iter().copied());
                    let setting = reader.setting(entry.place, name, nearest);
                    reader.report.unknown.push(setting);
                }
            }
        }
    }
}
