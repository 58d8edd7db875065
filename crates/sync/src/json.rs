//! Writing JSON text without building values: bodies are put together from events whose JSON is already written.

use std::fmt::Write as _;

/// Appends `text` as a JSON string.
pub fn push_str(out: &mut String, text: &str) {
    out.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => {
                out.push_str(&text[start..at]);
                let _ = write!(out, "\\u{byte:04x}");
                start = at + 1;
                continue;
            }
            _ => continue,
        };
        out.push_str(&text[start..at]);
        out.push_str(escape);
        start = at + 1;
    }
    out.push_str(&text[start..]);
    out.push('"');
}

/// How many bytes [`push_str`] appends.
pub fn quoted_len(text: &str) -> usize {
    let mut out = String::with_capacity(text.len() + 2);
    push_str(&mut out, text);
    out.len()
}

/// Appends a whole number.
pub fn push_number(out: &mut String, number: impl std::fmt::Display) {
    let _ = write!(out, "{number}");
}

/// Writes the members of one JSON object: the commas, the names, and the closing brace.
pub struct Members<'o> {
    pub out: &'o mut String,
    first: bool,
}

impl<'o> Members<'o> {
    /// Opens an object.
    pub fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Appends `"name":` and hands out the buffer for its value.
    pub fn key(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        push_str(self.out, name);
        self.out.push(':');
        self.out
    }

    /// A member whose value is JSON text.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.key(name).push_str(json);
    }

    /// A member whose value is a string.
    pub fn text(&mut self, name: &str, value: &str) {
        push_str(self.key(name), value);
    }

    /// A member whose value is a whole number.
    pub fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        push_number(self.key(name), value);
    }

    /// A member of the form `{"events":[…]}`; the events are JSON texts.
    pub fn events<'e>(&mut self, name: &str, events: impl IntoIterator<Item = &'e str>) {
        let out = self.key(name);
        out.push_str("{\"events\":");
        push_array(out, events);
        out.push('}');
    }

    /// Writes the closing brace.
    pub fn close(self) {
        self.out.push('}');
    }
}

/// Appends an array of strings.
pub fn push_strings<'s>(out: &mut String, strings: impl IntoIterator<Item = &'s str>) {
    out.push('[');
    for (at, text) in strings.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_str(out, text);
    }
    out.push(']');
}

/// Appends an array of JSON texts.
pub fn push_array<'e>(out: &mut String, items: impl IntoIterator<Item = &'e str>) {
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(item);
    }
    out.push(']');
}

/// `{"type":…,"content":…}`, the form of account data and ephemeral events.
pub fn typed_event(event_type: &str, content: &str) -> String {
    let mut out = String::with_capacity(event_type.len() + content.len() + 24);
    let mut members = Members::open(&mut out);
    members.raw("content", content);
    members.text("type", event_type);
    members.close();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_serde_does() {
        for text in ["", "plain", "a\"b\\c", "line\nfeed\r\t", "\u{1}\u{1f}", "grün 🦀"] {
            let mut out = String::new();
            push_str(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).ok().as_deref(), Some(text));
        }
    }

    #[test]
    fn members_get_their_commas() {
        let mut out = String::new();
        let mut members = Members::open(&mut out);
        members.text("a", "x");
        members.number("b", 3);
        members.events("c", ["{}", "{}"]);
        members.close();
        assert_eq!(out, r#"{"a":"x","b":3,"c":{"events":[{},{}]}}"#);
    }
}
