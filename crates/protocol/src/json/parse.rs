//! The parser: strict JSON (RFC 8259) of bounded depth.

mod canonical;

use super::{Number, Object, Value, write::find_special};

pub(super) use canonical::write_canonical;

/// How deep arrays and objects may nest: far deeper than any real event, far less than a thread's stack holds.
pub const MAX_NESTING: usize = 500;

/// Why a text cannot be used as JSON. Offsets are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text does not follow the grammar.
    #[error("not valid JSON at byte {0}")]
    Syntax(usize),
    /// The text ends before the value does.
    #[error("the JSON ends too early")]
    UnexpectedEnd,
    /// Arrays and objects nest deeper than [`MAX_NESTING`].
    #[error("arrays and objects nest deeper than {MAX_NESTING}")]
    TooDeep,
    /// An escape is half of a surrogate pair.
    #[error("half of a surrogate pair at byte {0}")]
    LoneSurrogate(usize),
    /// The value is not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A long text has keys out of order on too many levels to be canonicalized in bounded memory.
    #[error("too much of a long text has its keys out of order")]
    OutOfOrder,
}

impl Object {
    /// Parses a text that is one JSON object. The last of duplicate keys wins, as in Python.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(json: &str) -> Result<Self, ParseError> {
        match value(json)? {
            Value::Object(object) => Ok(object),
            _ => Err(ParseError::NotAnObject),
        }
    }

    /// Like [`Object::parse`]. Also returns whether the text is known to be the same as [`Object::to_json`] would
    /// write.
    pub(crate) fn parse_with_form(json: &str) -> Result<(Self, bool), ParseError> {
        match value_and_form(json)? {
            (Value::Object(object), canonical) => Ok((object, canonical)),
            _ => Err(ParseError::NotAnObject),
        }
    }
}

pub(super) fn value(json: &str) -> Result<Value, ParseError> {
    value_and_form(json).map(|(value, _)| value)
}

/// Returns the value and whether the text is known to be canonical, so that canonical text need not be written again.
/// `false` only means that this was not established.
pub(super) fn value_and_form(json: &str) -> Result<(Value, bool), ParseError> {
    let mut parser = Parser::new(json);
    let value = parser.value(0)?;
    parser.end()?;
    Ok((value, parser.canonical))
}

/// One member of an object's text, borrowed from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// The key between its quotes, with escapes.
    pub key: &'a str,
    /// The value's text.
    pub value: &'a str,
    /// `"key":value`.
    pub member: &'a str,
}

/// Iterates over the members of canonical JSON text of an object. The text is trusted: everything after a syntax error
/// is ignored.
pub(crate) fn top_level(json: &str) -> impl Iterator<Item = Field<'_>> {
    let mut parser = Parser::new(json);
    parser.at = 1;
    std::iter::from_fn(move || {
        let start = parser.at;
        let key = parser.skip_string().ok()?;
        parser.expect(b':').ok()?;
        let value_start = parser.at;
        parser.skip_value().ok()?;
        let end = parser.at;
        parser.at += 1;
        Some(Field { key, value: json.get(value_start..end)?, member: json.get(start..end)? })
    })
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// No space, escape, unusual number or unsorted key so far.
    canonical: bool,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, canonical: true }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn error<T>(&self) -> Result<T, ParseError> {
        if self.at < self.bytes.len() { Err(ParseError::Syntax(self.at)) } else { Err(ParseError::UnexpectedEnd) }
    }

    fn whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
            self.canonical = false;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.error()
        }
    }

    fn end(&mut self) -> Result<(), ParseError> {
        self.whitespace();
        if self.at == self.bytes.len() { Ok(()) } else { self.error() }
    }

    fn value(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.whitespace();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Value::String(self.string()?.into())),
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                let number = Number::from_valid_text(text);
                self.canonical &= number.is_written_as(text);
                Ok(Value::Number(number))
            }
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => self.error(),
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, ParseError> {
        for byte in word.bytes() {
            self.expect(byte)?;
        }
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth > MAX_NESTING {
            return Err(ParseError::TooDeep);
        }
        self.at += 1;
        let mut entries = Vec::new();
        self.whitespace();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(Object::new()));
        }
        loop {
            self.whitespace();
            if self.peek() != Some(b'"') {
                return self.error();
            }
            let key = self.string()?.into();
            self.whitespace();
            self.expect(b':')?;
            entries.push((key, self.value(depth)?));
            self.whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.error(),
            }
        }
        self.at += 1;
        let (object, sorted) = Object::from_entries(entries);
        self.canonical &= sorted;
        Ok(Value::Object(object))
    }

    fn array(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth > MAX_NESTING {
            return Err(ParseError::TooDeep);
        }
        self.at += 1;
        let mut values = Vec::new();
        self.whitespace();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth)?);
            self.whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.error(),
            }
        }
        self.at += 1;
        Ok(Value::Array(values))
    }

    /// Reads `-? int frac? exp?` and returns its text.
    fn number(&mut self) -> Result<&'a str, ParseError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.error(),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.slice(start, self.at)
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { self.error() }
    }

    fn slice(&self, start: usize, end: usize) -> Result<&'a str, ParseError> {
        self.text.get(start..end).ok_or(ParseError::Syntax(start))
    }

    /// Moves to the next quote, backslash or control character of a string.
    fn plain_run(&mut self) -> Result<u8, ParseError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = find_special(rest).ok_or(ParseError::UnexpectedEnd)?;
        self.at += length;
        self.peek().ok_or(ParseError::UnexpectedEnd)
    }

    /// Reads a string; borrowed if it has no escapes.
    fn string(&mut self) -> Result<std::borrow::Cow<'a, str>, ParseError> {
        self.expect(b'"')?;
        let start = self.at;
        if self.plain_run()? == b'"' {
            self.at += 1;
            return Ok(self.slice(start, self.at - 1)?.into());
        }
        self.canonical = false;
        let mut text = self.slice(start, self.at)?.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => text.push(self.escape()?),
                _ => return self.error(),
            }
            let start = self.at;
            self.plain_run()?;
            text.push_str(self.slice(start, self.at)?);
        }
        self.at += 1;
        Ok(text.into())
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        self.at += 1;
        let char = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return self.error(),
        };
        self.at += 1;
        Ok(char)
    }

    fn unicode_escape(&mut self) -> Result<char, ParseError> {
        let start = self.at;
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                // The second half of the pair must follow: half a pair has no UTF-8 form.
                self.expect(b'\\').map_err(|_| ParseError::LoneSurrogate(start))?;
                let second = match self.peek() {
                    Some(b'u') => self.hex4()?,
                    _ => return Err(ParseError::LoneSurrogate(start)),
                };
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(ParseError::LoneSurrogate(start));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or(ParseError::LoneSurrogate(start))
    }

    /// Reads `uXXXX`.
    fn hex4(&mut self) -> Result<u32, ParseError> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            match digit {
                Some(digit) => code = code * 16 + digit,
                None => return self.error(),
            }
            self.at += 1;
        }
        Ok(code)
    }

    /// Skips a string and returns the text between its quotes.
    fn skip_string(&mut self) -> Result<&'a str, ParseError> {
        self.expect(b'"')?;
        let start = self.at;
        while self.plain_run()? != b'"' {
            self.at += 2;
        }
        self.at += 1;
        self.slice(start, self.at - 1)
    }

    /// Skips a value of canonical JSON without checking it, with constant stack.
    fn skip_value(&mut self) -> Result<(), ParseError> {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.skip_string()?;
                }
                Some(b'{' | b'[') => {
                    open += 1;
                    self.at += 1;
                }
                Some(b'}' | b']' | b',') if open == 0 => return Ok(()),
                Some(b'}' | b']') => {
                    open -= 1;
                    self.at += 1;
                }
                Some(_) => self.at += 1,
                None => return Err(ParseError::UnexpectedEnd),
            }
        }
    }
}
