//! YAML as Synapse's files are written: version 1.1 scalars, anchors, merge keys; every node knows its line.
//!
//! The result is a tree of bounded size and depth, whatever the aliases say.

mod build;
mod scalar;

use std::fmt::Write;

pub use build::{MAX_DEPTH, MAX_NODES, parse};
pub use scalar::Scalar;

/// A document cannot be read as YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong, without the place.
    pub message: String,
}

/// Where a node is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The number that [`parse`] was given for the file.
    pub file: u16,
    /// Counted from 1; 0 means the file as a whole.
    pub line: u32,
}

/// A value and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value. Keys are text, as written, without quotes.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    /// True for `null`, `~` and a value left empty.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Scalar::Null))
    }

    /// Whether it is a string, list or object that holds nothing.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.text() == Some(""),
            Value::Sequence(items) => items.is_empty(),
            Value::Mapping(entries) => entries.is_empty(),
        }
    }

    /// The entries of a mapping, in the order of the file; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            Value::Scalar(_) | Value::Sequence(_) => &[],
        }
    }

    /// The value of `key` when this is a mapping that has it. A key set twice counts as last set.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let mut entries = self.entries().iter().rev();
        Some(&entries.find(|entry| entry.key == key)?.node)
    }

    /// The items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Scalar(_) | Value::Mapping(_) => &[],
        }
    }

    /// The text of a string or a number, as it is written in the file.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => scalar.text(),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The same data as JSON. Numbers that JSON cannot hold (infinity) become null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_json(),
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Mapping(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json()));
                serde_json::Value::Object(entries.collect())
            }
        }
    }

    /// The node in a few words for an error message: `the string "abc"`, `a list of 3`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) => scalar.describe(),
            Value::Sequence(items) => format!("a list of {}", items.len()),
            Value::Mapping(entries) => {
                let mut text = "an object".to_owned();
                for (index, entry) in entries.iter().take(3).enumerate() {
                    let before = if index == 0 { " with" } else { "," };
                    let _ = write!(text, "{before} {}", entry.key);
                }
                text
            }
        }
    }
}

#[cfg(test)]
mod tests;
