//! YAML as used in Synapse's files: version 1.1 scalars, anchors, merge keys; every node has its line.
//!
//! The result is a tree of bounded size and depth, even with aliases.

mod build;
mod scalar;

use std::fmt::Write;

pub use build::{MAX_DEPTH, MAX_NODES, parse};
pub use scalar::Scalar;

/// Why a document cannot be read as YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// Counted from 1.
    pub line: u32,
    /// The mistake, without its place.
    pub message: String,
}

/// The place of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The file number that was passed to [`parse`].
    pub file: u16,
    /// Counted from 1; 0 for the whole file.
    pub line: u32,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value is written.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A null, boolean, number or string.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// An object, in the order of the file.
    Mapping(Vec<Entry>),
}

/// A key of a mapping with its value. Keys are text, as written, without quotes.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key is written.
    pub place: Place,
    /// The value under the key.
    pub node: Node,
}

impl Node {
    /// Whether it is `null`, `~` or an omitted value.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Scalar::Null))
    }

    /// Whether it is an empty string, list or object.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.text() == Some(""),
            Value::Sequence(items) => items.is_empty(),
            Value::Mapping(entries) => entries.is_empty(),
        }
    }

    /// Returns the entries of a mapping, in the order of the file; none for other nodes.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            Value::Scalar(_) | Value::Sequence(_) => &[],
        }
    }

    /// Returns the value of `key` in a mapping. The last of duplicate keys counts.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let mut entries = self.entries().iter().rev();
        Some(&entries.find(|entry| entry.key == key)?.node)
    }

    /// Returns the items of a sequence; none for other nodes.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Scalar(_) | Value::Mapping(_) => &[],
        }
    }

    /// Returns the text of a string or a number, as written in the file.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => scalar.text(),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Returns the data as JSON. Numbers without a JSON form (infinity) become null.
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

    /// Describes the node in a few words for an error message: `the string "abc"`, `a list of 3`.
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
