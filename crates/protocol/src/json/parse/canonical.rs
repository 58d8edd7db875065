//! Canonicalizing text without building a tree: a tree takes many times the memory of its text, and when a request's
//! signature is verified its sender is not known yet.

use std::borrow::Cow;

use super::{Number, Object, ParseError, Parser, Value};
use crate::json::{MAX_NESTING, write_string};

/// How many times its own length a text may be moved while members are sorted. Only text whose keys are out of order on
/// many levels reaches this; it is then canonicalized through a tree, if it is short.
const MAX_MOVES: usize = 16;
/// The longest text that may be canonicalized through a tree: four events of the largest size. No honest server sends
/// longer text that is out of order on more than [`MAX_MOVES`] levels.
const MAX_TREE_BYTES: usize = 256 * 1024;

/// Appends the text of [`Object::to_json`] of the parsed `json` to `out`.
pub(in crate::json) fn write_canonical(json: &str, out: &mut String) -> Result<(), ParseError> {
    let start = out.len();
    let mut writer = Writer { parser: Parser::new(json), movable: json.len().saturating_mul(MAX_MOVES) };
    writer.parser.whitespace();
    if writer.parser.peek() != Some(b'{') {
        Value::parse(json)?;
        return Err(ParseError::NotAnObject);
    }
    out.reserve(json.len());
    match writer.object(1, out) {
        Ok(()) => writer.parser.end(),
        Err(Stopped::Parse(error)) => Err(error),
        Err(Stopped::TooManyMoves) if json.len() > MAX_TREE_BYTES => Err(ParseError::OutOfOrder),
        Err(Stopped::TooManyMoves) => {
            out.truncate(start);
            out.push_str(&Object::parse(json)?.to_json());
            Ok(())
        }
    }
}

enum Stopped {
    Parse(ParseError),
    TooManyMoves,
}

impl From<ParseError> for Stopped {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

struct Writer<'a> {
    parser: Parser<'a>,
    /// How many more bytes may be moved.
    movable: usize,
}

/// A member of an object: where its key begins in the text, and where it begins in the output.
#[derive(Clone, Copy)]
struct Member {
    key_at: usize,
    out_at: usize,
}

impl<'a> Writer<'a> {
    fn value(&mut self, depth: usize, out: &mut String) -> Result<(), Stopped> {
        self.parser.whitespace();
        match self.parser.peek() {
            Some(b'{') => self.object(depth + 1, out)?,
            Some(b'[') => self.array(depth + 1, out)?,
            Some(b'"') => write_string(&self.parser.string()?, out),
            Some(b'-' | b'0'..=b'9') => Number::from_valid_text(self.parser.number()?).write(out),
            Some(b't') => self.literal("true", out)?,
            Some(b'f') => self.literal("false", out)?,
            Some(b'n') => self.literal("null", out)?,
            _ => self.parser.error()?,
        }
        Ok(())
    }

    fn literal(&mut self, word: &str, out: &mut String) -> Result<(), ParseError> {
        self.parser.literal(word, Value::Null)?;
        out.push_str(word);
        Ok(())
    }

    fn array(&mut self, depth: usize, out: &mut String) -> Result<(), Stopped> {
        if depth > MAX_NESTING {
            return Err(ParseError::TooDeep.into());
        }
        self.parser.at += 1;
        out.push('[');
        self.parser.whitespace();
        let mut more = self.parser.peek() != Some(b']');
        while more {
            self.value(depth, out)?;
            more = self.has_more(b']', out)?;
        }
        self.parser.at += 1;
        out.push(']');
        Ok(())
    }

    /// Whether another element follows: skips and writes the comma, or reads `close`.
    fn has_more(&mut self, close: u8, out: &mut String) -> Result<bool, ParseError> {
        self.parser.whitespace();
        match self.parser.peek() {
            Some(b',') => {
                self.parser.at += 1;
                out.push(',');
                Ok(true)
            }
            Some(byte) if byte == close => Ok(false),
            _ => self.parser.error(),
        }
    }

    fn object(&mut self, depth: usize, out: &mut String) -> Result<(), Stopped> {
        if depth > MAX_NESTING {
            return Err(ParseError::TooDeep.into());
        }
        self.parser.at += 1;
        out.push('{');
        let start = out.len();
        let mut members: Vec<Member> = Vec::new();
        let (mut previous, mut sorted): (Option<Cow<'a, str>>, bool) = (None, true);
        self.parser.whitespace();
        let mut more = self.parser.peek() != Some(b'}');
        while more {
            self.parser.whitespace();
            members.push(Member { key_at: self.parser.at, out_at: out.len() });
            let key = self.parser.string()?;
            write_string(&key, out);
            sorted = sorted && previous.is_none_or(|previous| previous < key);
            previous = Some(key);
            self.parser.whitespace();
            self.parser.expect(b':')?;
            out.push(':');
            self.value(depth, out)?;
            more = self.has_more(b'}', out)?;
        }
        self.parser.at += 1;
        if !sorted {
            self.sort(&mut members, start, out)?;
        }
        out.push('}');
        Ok(())
    }

    /// Sorts the members, which are all of `out` from `start` on, by their keys. The last of duplicate keys stays.
    fn sort(&mut self, members: &mut [Member], start: usize, out: &mut String) -> Result<(), Stopped> {
        let length = out.len() - start;
        self.movable = self.movable.checked_sub(length).ok_or(Stopped::TooManyMoves)?;
        let ends: Vec<usize> = members.iter().skip(1).map(|next| next.out_at - 1).chain([out.len()]).collect();
        let key = |member: &Member| self.key(member.key_at);
        let mut order: Vec<(Member, usize)> = members.iter().copied().zip(ends).collect();
        order.sort_by(|(a, _), (b, _)| key(a).cmp(&key(b)));
        let mut sorted = String::with_capacity(length);
        for (at, (member, end)) in order.iter().enumerate() {
            let overridden = order.get(at + 1).is_some_and(|(next, _)| key(next) == key(member));
            if overridden {
                continue;
            }
            if !sorted.is_empty() {
                sorted.push(',');
            }
            sorted.push_str(out.get(member.out_at..*end).unwrap_or_default());
        }
        out.truncate(start);
        out.push_str(&sorted);
        Ok(())
    }

    /// Returns the key that begins at a byte of the text, which was read before.
    fn key(&self, at: usize) -> Cow<'a, str> {
        let mut parser = Parser::new(self.parser.text);
        parser.at = at;
        parser.string().unwrap_or_default()
    }
}
