//! The list of exceptions: how often each file breaks each rule today. A line a file, sorted, so that it merges well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::workspace::ReadError;

use super::{Rule, Violation};

/// The list's file.
pub(super) const PATH: &str = "crates/xtask/data/exceptions.txt";

const HEADER: &str = "\
# How often each file breaks each rule of cargo xtask tidy. No number may grow.
# cargo xtask tidy --update lowers them; git merges that conflict are solved by running it.
";

/// A line of the list is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{PATH}:{line}: expected \"path: rule=count ...\"")]
pub(crate) struct ParseError {
    line: usize,
}

/// How often each rule is broken, by file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Exceptions(BTreeMap<String, BTreeMap<Rule, usize>>);

impl Exceptions {
    pub(super) fn of(violations: &[Violation]) -> Self {
        let mut exceptions = Self::default();
        for violation in violations {
            let of_file = exceptions.0.entry(violation.path.clone()).or_default();
            *of_file.entry(violation.rule).or_default() += violation.count;
        }
        exceptions
    }

    /// Reads the list; without one nothing is excepted.
    pub(super) fn read(root: &Path) -> Result<Self, super::Error> {
        let path = root.join(PATH);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).map_err(|error| ReadError::new(&path, error))?;
        Ok(Self::parse(&text)?)
    }

    pub(super) fn write(&self, root: &Path) -> Result<(), ReadError> {
        let path = root.join(PATH);
        fs::write(&path, self.format()).map_err(|error| ReadError::new(&path, error))
    }

    fn parse(text: &str) -> Result<Self, ParseError> {
        let mut exceptions = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let (path, counts) = parse_line(line).ok_or(ParseError { line: index + 1 })?;
            exceptions.0.insert(path.to_owned(), counts);
        }
        Ok(exceptions)
    }

    fn format(&self) -> String {
        let mut text = HEADER.to_owned();
        for (path, counts) in &self.0 {
            text.push_str(path);
            text.push(':');
            for (rule, count) in counts {
                _ = write!(text, " {}={count}", rule.name());
            }
            text.push('\n');
        }
        text
    }

    fn count(&self, path: &str, rule: Rule) -> usize {
        self.0.get(path).and_then(|counts| counts.get(&rule)).copied().unwrap_or(0)
    }

    /// The files and rules of which there are more here than in `other`.
    pub(super) fn beyond(&self, other: &Self) -> Vec<(&str, Rule)> {
        let counts =
            self.0.iter().flat_map(|(path, counts)| counts.iter().map(move |(rule, count)| (path, rule, count)));
        let beyond = counts.filter(|(path, rule, count)| **count > other.count(path, **rule));
        beyond.map(|(path, rule, _)| (path.as_str(), *rule)).collect()
    }

    pub(super) fn total(&self) -> usize {
        Rule::ALL.into_iter().map(|rule| self.total_of(rule)).sum()
    }

    pub(super) fn total_of(&self, rule: Rule) -> usize {
        self.0.values().filter_map(|counts| counts.get(&rule)).sum()
    }
}

fn parse_line(line: &str) -> Option<(&str, BTreeMap<Rule, usize>)> {
    let (path, counts) = line.split_once(": ")?;
    let counts = counts.split(' ').map(|part| {
        let (name, count) = part.split_once('=')?;
        Some((Rule::ALL.into_iter().find(|rule| rule.name() == name)?, count.parse().ok()?))
    });
    Some((path, counts.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::{Exceptions, ParseError};
    use crate::tidy::{Rule, Violation};

    fn exceptions(list: &[(&str, Rule, usize)]) -> Exceptions {
        let violations = list.iter().map(|&(path, rule, count)| Violation {
            rule,
            path: path.into(),
            line: 1,
            count,
            message: String::new(),
        });
        Exceptions::of(&violations.collect::<Vec<_>>())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let list = exceptions(&[("b", Rule::Words, 2), ("a", Rule::Columns, 1), ("b", Rule::Circles, 3)]);
        let text = list.format();
        assert!(text.ends_with("\na: columns=1\nb: circles=3 words=2\n"), "{text}");
        assert_eq!(Exceptions::parse(&text), Ok(list));
    }

    #[test]
    fn a_mistake_is_refused_with_its_line() {
        assert_eq!(Exceptions::parse("# x\na: columns=1\nb: colums=1\n"), Err(ParseError { line: 3 }));
    }

    #[test]
    fn more_of_one_rule_is_not_excused_by_less_of_another() {
        let allowed = exceptions(&[("a", Rule::Columns, 2), ("a", Rule::Words, 1)]);
        let found = exceptions(&[("a", Rule::Columns, 1), ("a", Rule::Words, 2)]);
        assert_eq!(found.beyond(&allowed), [("a", Rule::Words)]);
        assert_eq!(allowed.beyond(&found), [("a", Rule::Columns)]);
    }
}
