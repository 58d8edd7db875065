//! The canonical writer.

use super::{Number, Object, Value, parse::find_special};

/// A number that canonical JSON of room versions 6 and later cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not an integer between -(2^53)+1 and 2^53-1", shown(.0))]
pub struct NotCanonical(pub String);

/// How much of a number an error shows: it is as long as its writer liked.
const MAX_SHOWN_DIGITS: usize = 40;

fn shown(number: &str) -> String {
    match number.get(..MAX_SHOWN_DIGITS) {
        Some(start) if start.len() < number.len() => format!("{start}…"),
        _ => number.to_owned(),
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

/// Writes an object of these members, which must be in canonical order.
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
