//! The messages about a configuration.

use std::fmt;
use std::path::PathBuf;

use crate::yaml::Place;

/// A mistake in one option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, if it concerns one.
    pub file: Option<PathBuf>,
    /// Counted from 1; 0 for the whole file.
    pub line: u32,
    /// The dotted path of the option, such as `listeners[0].port`; empty for the whole file.
    pub option: String,
    /// What was found and what is allowed.
    pub message: String,
}

/// An option that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The file that sets it.
    pub file: Option<PathBuf>,
    /// Counted from 1.
    pub line: u32,
    /// The dotted path of the option.
    pub option: String,
    /// For an unknown option, the known one with the most similar name.
    pub nearest: Option<String>,
}

/// All messages about a configuration, each list in the order of the schema. Displayed in the order of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The server cannot start with these.
    pub errors: Vec<Problem>,
    /// Worth a look, though the meaning is clear.
    pub warnings: Vec<Problem>,
    /// Set, but not known.
    pub unknown: Vec<Setting>,
    /// Known and set to something other than the default, without effect in this version.
    pub not_in_effect: Vec<Setting>,
    /// Set and specific to Synapse (Python's garbage collector, for instance).
    pub moot: Vec<Setting>,
}

impl Report {
    /// Whether the server cannot start.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether nothing in the files is wrong, unknown or without effect.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.unknown.is_empty() && self.not_in_effect.is_empty()
    }
}

fn place(f: &mut fmt::Formatter<'_>, file: Option<&PathBuf>, line: u32) -> fmt::Result {
    if let Some(file) = file {
        write!(f, "{}:", file.display())?;
        if line > 0 {
            write!(f, "{line}:")?;
        }
        write!(f, " ")?;
    }
    Ok(())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, self.file.as_ref(), self.line)?;
        if !self.option.is_empty() {
            write!(f, "{}: ", self.option)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, self.file.as_ref(), self.line)?;
        f.write_str(&self.option)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean {nearest}?)"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = |kind, it: &Problem| (it.file.clone(), it.line, format!("{kind}: {it}"));
        let setting = |kind, it: &Setting| (it.file.clone(), it.line, format!("{kind}: {it}"));
        let mut lines: Vec<_> = self.errors.iter().map(|it| problem("error", it)).collect();
        lines.extend(self.warnings.iter().map(|it| problem("warning", it)));
        for unknown in &self.unknown {
            let is_feature = unknown.option.starts_with("experimental_features.") && unknown.nearest.is_none();
            let kind =
                if is_feature { "experimental feature that this server does not have" } else { "unknown option" };
            lines.push(setting(kind, unknown));
        }
        lines.extend(self.not_in_effect.iter().map(|it| setting("not in effect yet", it)));
        lines.extend(self.moot.iter().map(|it| setting("nothing to do here", it)));
        lines.sort_by(|(file, line, _), (other_file, other_line, _)| (file, line).cmp(&(other_file, other_line)));
        lines.iter().try_for_each(|(_, _, text)| writeln!(f, "{text}"))
    }
}

/// The files of a configuration, by the number in [`Place`].
#[derive(Debug, Clone, Default)]
pub(super) struct Files(pub(super) Vec<PathBuf>);

impl Files {
    pub(super) fn name(&self, place: Place) -> Option<PathBuf> {
        self.0.get(usize::from(place.file)).cloned()
    }
}
