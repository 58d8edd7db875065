//! JSON that this server accepts from its users to pass on: every other server, client and application service can
//! parse it. One message that only this server can parse would stop everything that is sent together with it.

use super::{NotCanonical, Object, ParseError, Value, write};

/// How deep the content of an event, a to-device message or a key may nest. Servers that read whole transactions with
/// serde_json accept 127 levels, of which the transaction and the wrapping of the content need up to 7; `/sync` wraps
/// it as deep. Python accepts several hundred.
pub const MAX_PORTABLE_NESTING: usize = 100;

/// Why JSON is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPortable {
    /// The text is not a JSON object.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// A number has no canonical form.
    #[error(transparent)]
    Number(#[from] NotCanonical),
    /// The object nests deeper than [`MAX_PORTABLE_NESTING`].
    #[error("arrays and objects nest deeper than {MAX_PORTABLE_NESTING}")]
    TooDeep,
}

impl Object {
    /// Parses a text that is one JSON object and can be passed on: its numbers have a canonical form and it nests at
    /// most [`MAX_PORTABLE_NESTING`] levels.
    ///
    /// # Errors
    /// See [`NotPortable`].
    pub fn parse_portable(json: &str) -> Result<Self, NotPortable> {
        let object = Self::parse(json)?;
        object.check_portable()?;
        Ok(object)
    }

    /// Checks what [`Object::parse_portable`] checks.
    ///
    /// # Errors
    /// See [`NotPortable`].
    pub fn check_portable(&self) -> Result<(), NotPortable> {
        write::check_object(self)?;
        self.check_nesting()
    }

    /// Checks that lenient parsers can read this object: like [`Object::check_portable`], but numbers may have any form
    /// within the range of a float. For JSON from other servers, and JSON stored before it was checked.
    ///
    /// # Errors
    /// See [`NotPortable`].
    pub fn check_readable(&self) -> Result<(), NotPortable> {
        self.check_finite()?;
        self.check_nesting()
    }

    fn check_nesting(&self) -> Result<(), NotPortable> {
        if self.nests_deeper_than(MAX_PORTABLE_NESTING) { Err(NotPortable::TooDeep) } else { Ok(()) }
    }

    /// Whether objects and arrays, including this one, nest deeper than `limit`.
    #[must_use]
    pub fn nests_deeper_than(&self, limit: usize) -> bool {
        limit == 0 || self.values().any(|value| nests_deeper_than(value, limit - 1))
    }

    /// Checks that other implementations can read each number at all: Python turns `1e999` into an infinity, which it
    /// cannot write, and refuses integers of more than 4,300 digits.
    pub(crate) fn check_finite(&self) -> Result<(), NotCanonical> {
        self.values().try_for_each(check_finite)
    }
}

fn nests_deeper_than(value: &Value, limit: usize) -> bool {
    match value {
        Value::Object(object) => object.nests_deeper_than(limit),
        Value::Array(values) => limit == 0 || values.iter().any(|value| nests_deeper_than(value, limit - 1)),
        _ => false,
    }
}

fn check_finite(value: &Value) -> Result<(), NotCanonical> {
    match value {
        Value::Number(number) if !number.as_f64().is_finite() => Err(NotCanonical(number.to_string())),
        Value::Array(values) => values.iter().try_for_each(check_finite),
        Value::Object(object) => object.check_finite(),
        _ => Ok(()),
    }
}
