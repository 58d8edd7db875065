//! Control characters in log records. Records quote text from clients and other servers: a line end in it would begin a
//! forged record, and an escape sequence would control the operator's terminal.

use std::fmt::{self, Write};

/// Returns `text` with control characters, line separators and bidirectional formatting characters as escapes.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    // Writing to a String cannot fail.
    let _ = Escaping(&mut safe).write_str(text);
    safe
}

/// Writes control characters, line separators and bidirectional formatting characters as escapes.
pub(super) struct Escaping<'a, W>(pub(super) &'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_escaped) {
            let (before, after) = rest.split_at(at);
            self.0.write_str(before)?;
            let mut characters = after.chars();
            if let Some(character) = characters.next() {
                write!(self.0, "{}", character.escape_debug())?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

fn is_escaped(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
