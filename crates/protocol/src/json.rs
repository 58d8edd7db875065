//! JSON as Matrix signs it: a value tree that keeps numbers as written, a parser with bounded depth, and the canonical
//! writer in both its forms ([Canonical JSON](https://spec.matrix.org/v1.19/appendices/#canonical-json)).

mod convert;
mod number;
mod object;
mod object_writer;
mod parse;
pub mod pieces;
mod portable;
#[cfg(test)]
mod tests;
mod write;

pub use number::{MAX_SAFE_INTEGER, Number};
pub use object::Object;
pub use object_writer::{ObjectWriter, string_len, write_array, write_strings};
pub use parse::{MAX_NESTING, ParseError};
pub use portable::{MAX_PORTABLE_NESTING, NotPortable};
pub use write::{NotCanonical, write_string};

/// Appends the canonical form of `json`, which must be an object, to `out`: the same text as [`Object::to_json`],
/// without building a tree in memory.
///
/// # Errors
/// See [`ParseError`]; the content of `out` is then unspecified.
pub fn write_canonical(json: &str, out: &mut String) -> Result<(), ParseError> {
    parse::write_canonical(json, out)
}

pub(crate) use parse::{Field, top_level};

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

impl Value {
    /// Parses one JSON value. The last of duplicate keys wins, as in Python.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(json: &str) -> Result<Self, ParseError> {
        parse::value(json)
    }

    /// Returns the text if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the integer if this is a number that is written as one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// Returns the integer if this is a non-negative number that is written as one and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Returns the value if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// Returns the number if this is one.
    pub fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the elements if this is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// Returns the object if this is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the object if this is one.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns canonical JSON in the form of room versions 1 to 5: any number, written as servers of the time did.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write::value(self, &mut out);
        out
    }

    /// Returns canonical JSON as the specification defines it.
    ///
    /// # Errors
    /// When a number has no canonical form.
    pub fn to_canonical_json(&self) -> Result<String, NotCanonical> {
        write::check_value(self)?;
        Ok(self.to_json())
    }
}
