//! JSON as Matrix signs it: a value tree that keeps numbers as written, a parser that bounds its depth, and the
//! canonical writer in both its forms (specification: appendices, "Canonical JSON").

mod convert;
mod number;
mod object;
mod parse;
pub mod pieces;
mod portable;
#[cfg(test)]
mod tests;
mod write;

pub use number::{MAX_SAFE_INTEGER, Number};
pub use object::Object;
pub use parse::{MAX_NESTING, ParseError};
pub use portable::{MAX_PORTABLE_NESTING, NotPortable};
pub use write::{NotCanonical, write_string};

/// Appends to `out` the canonical form of `json`, which must be an object: what [`Object::to_json`] would be, but
/// without a tree in memory.
///
/// # Errors
/// See [`ParseError`]; what `out` holds then is of no use.
pub fn write_canonical(json: &str, out: &mut String) -> Result<(), ParseError> {
    parse::write_canonical(json, out)
}

pub(crate) use parse::{Field, top_level};

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Value>),
    Object(Object),
}

impl Value {
    /// Parses one JSON value. Of duplicate keys the last wins, as in Python.
    pub fn parse(json: &str) -> Result<Self, ParseError> {
        parse::value(json)
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is a number written as one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The non-negative integer, if this is a number written as one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<&Number> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The object, if this is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The object, if this is one.
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

    /// Canonical JSON in the form room versions 1 to 5 allowed: any number, written as servers of the time did.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write::value(self, &mut out);
        out
    }

    /// Canonical JSON as the specification defines it; an error if a number has no such form.
    pub fn to_canonical_json(&self) -> Result<String, NotCanonical> {
        write::check_value(self)?;
        Ok(self.to_json())
    }
}
