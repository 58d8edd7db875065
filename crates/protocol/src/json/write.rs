//! The canonical writer.

use super::{Number, Object, Value};

/// A number that canonical JSON of room versions 6 and later cannot represent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not an integer between -(2^53)+1 and 2^53-1", shown(.0))]
pub struct NotCanonical(pub String);

/// How much of a number an error shows, in bytes: its length is up to its author.
const MAX_SHOWN_DIGITS: usize = 40;

fn shown(number: &str) -> String {
    match number.get(..MAX_SHOWN_DIGITS) {
        Some(start) if start.len() < number.len() => format!("{start}…"),
        _ => number.to_owned(),
    }
}

impl Object {
    /// Returns canonical JSON in the form of room versions 1 to 5: any number, written as servers of the time did.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        object(self, &mut out);
        out
    }

    /// Returns [`Object::to_json`] of the object without some of its keys.
    pub fn to_json_without(&self, keys: &[&str]) -> String {
        let mut out = String::new();
        members(self.iter().filter(|(key, _)| !keys.contains(key)), &mut out);
        out
    }

    /// Returns canonical JSON as the specification defines it.
    ///
    /// # Errors
    /// When a number has no canonical form.
    pub fn to_canonical_json(&self) -> Result<String, NotCanonical> {
        check_object(self)?;
        Ok(self.to_json())
    }

    /// Checks that canonical JSON of room versions 6 and later can represent all numbers.
    pub(crate) fn check_canonical(&self) -> Result<(), NotCanonical> {
        check_object(self)
    }
}

pub(super) fn check_value(value: &Value) -> Result<(), NotCanonical> {
    match value {
        Value::Number(number) => check_number(number),
        Value::Array(values) => values.iter().try_for_each(check_value),
        Value::Object(object) => check_object(object),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

pub(super) fn check_object(object: &Object) -> Result<(), NotCanonical> {
    object.values().try_for_each(check_value)
}

fn check_number(number: &Number) -> Result<(), NotCanonical> {
    if number.is_canonical() { Ok(()) } else { Err(NotCanonical(number.to_string())) }
}

pub(super) fn value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => number.write(out),
        Value::String(text) => write_string(text, out),
        Value::Array(values) => {
            out.push('[');
            for (i, element) in values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                self::value(element, out);
            }
            out.push(']');
        }
        Value::Object(object) => self::object(object, out),
    }
}

pub(super) fn object(object: &Object, out: &mut String) {
    members(object.iter(), out);
}

/// Writes an object with these members, which must be in canonical order.
pub(super) fn members<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>, out: &mut String) {
    out.push('{');
    for (i, (key, value)) in members.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(key, out);
        out.push(':');
        self::value(value, out);
    }
    out.push('}');
}

/// Appends `text` as a JSON string: only quotes, backslashes and control characters are escaped.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = find_special(rest.as_bytes()) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        if let Some(char) = chars.next() {
            escape(char, out);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn escape(char: char, out: &mut String) {
    use std::fmt::Write;
    match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        control => {
            let _ = write!(out, "\\u{:04x}", u32::from(control));
        }
    }
}

/// Returns the position of the first quote, backslash or control character. Looks at eight bytes at a time.
pub(super) fn find_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The high bit of each byte that is zero; a borrow can only corrupt bytes above one that was found.
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found =
            control | zero_bytes(word ^ (ONES * u64::from(b'"'))) | zero_bytes(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(i * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20)?;
    Some(words.len() * 8 + at)
}
