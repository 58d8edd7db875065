//! Writing JSON text without building values first: bodies are put together from events whose JSON is already written.

use std::fmt::Write as _;

use super::write_string;

/// Returns how many bytes [`write_string`] appends.
pub fn string_len(text: &str) -> usize {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out.len()
}

/// Appends an array of strings.
pub fn write_strings<'s>(strings: impl IntoIterator<Item = &'s str>, out: &mut String) {
    elements(strings, out, write_string);
}

/// Appends an array whose elements are JSON texts.
pub fn write_array<'e>(items: impl IntoIterator<Item = &'e str>, out: &mut String) {
    elements(items, out, |item, out| out.push_str(item));
}

fn elements<'e>(items: impl IntoIterator<Item = &'e str>, out: &mut String, write: impl Fn(&str, &mut String)) {
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

/// Writes one JSON object, member by member in the order of the calls.
#[derive(Debug)]
pub struct ObjectWriter<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Appends the opening brace to `out`.
    pub fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
    }

    /// Appends `"name":` and returns the buffer, to which the caller appends the value.
    pub fn key(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(',');
        }
        write_string(name, self.out);
        self.out.push(':');
        self.out
    }

    /// Appends a member whose value is JSON text.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.key(name).push_str(json);
    }

    /// Appends a member whose value is a string.
    pub fn string(&mut self, name: &str, value: &str) {
        write_string(value, self.key(name));
    }

    /// Appends a member whose value is an integer.
    pub fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = write!(self.key(name), "{value}");
    }

    /// Appends a member whose value is an array of JSON texts.
    pub fn array<'e>(&mut self, name: &str, items: impl IntoIterator<Item = &'e str>) {
        write_array(items, self.key(name));
    }

    /// Appends a member whose value is an array of strings.
    pub fn strings<'s>(&mut self, name: &str, strings: impl IntoIterator<Item = &'s str>) {
        write_strings(strings, self.key(name));
    }

    /// Appends a member of the form `{"events":[…]}`, where the events are JSON texts.
    pub fn events<'e>(&mut self, name: &str, events: impl IntoIterator<Item = &'e str>) {
        let mut value = ObjectWriter::open(self.key(name));
        value.array("events", events);
        value.close();
    }

    /// Appends the closing brace.
    pub fn close(self) {
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_serde_does() {
        for text in ["", "plain", "a\"b\\c", "line\nfeed\r\t", "\u{1}\u{1f}", "grün 🦀"] {
            let mut out = String::new();
            write_string(text, &mut out);
            assert_eq!(serde_json::from_str::<String>(&out).ok().as_deref(), Some(text));
            assert_eq!(string_len(text), out.len());
        }
    }

    #[test]
    fn members_get_their_commas() {
        let mut out = String::new();
        let mut object = ObjectWriter::open(&mut out);
        object.string("a", "x");
        object.number("b", 3);
        object.events("c", ["{}", "{}"]);
        object.strings("d", ["y"]);
        object.close();
        assert_eq!(out, r#"{"a":"x","b":3,"c":{"events":[{},{}]},"d":["y"]}"#);
    }
}
