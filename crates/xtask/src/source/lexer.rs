//! The lexer.

use super::{Comment, Kind, Token};

/// Takes `text` apart.
pub(super) fn lex(text: &str) -> (Vec<Token<'_>>, Vec<Comment<'_>>) {
    let mut lexer = Lexer { text, at: 0, line: 1, tokens: Vec::new(), comments: Vec::new() };
    while lexer.at < text.len() {
        lexer.step();
    }
    (lexer.tokens, lexer.comments)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token<'a>>,
    comments: Vec<Comment<'a>>,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) {
        let rest = self.rest();
        let first = rest.chars().next().unwrap_or_default();
        if first.is_whitespace() {
            self.advance(first.len_utf8());
        } else if rest.starts_with("//") {
            self.line_comment();
        } else if rest.starts_with("/*") {
            self.block_comment();
        } else if let Some(prefix) = raw_string_prefix(rest) {
            self.raw_string(prefix);
        } else if let Some(prefix) = string_prefix(rest) {
            self.string(prefix);
        } else if first == '\'' || rest.starts_with("b'") {
            self.char_or_lifetime();
        } else if first.is_alphabetic() || first == '_' {
            let raw = if rest.starts_with("r#") { 2 } else { 0 };
            let end = raw + length_while(&rest[raw..], |c| c.is_alphanumeric() || c == '_');
            self.push(Kind::Ident, raw, end, end);
        } else if first.is_ascii_digit() {
            let end = length_while(rest, |c| c.is_alphanumeric() || c == '_');
            self.push(Kind::Number, 0, end, end);
        } else {
            let end = first.len_utf8();
            self.push(Kind::Punct, 0, end, end);
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.rest()[..bytes].bytes().filter(|&byte| byte == b'\n').count();
        self.at += bytes;
    }

    /// Adds the token whose text is `from..to` of the rest, and goes on at `next`.
    fn push(&mut self, kind: Kind, from: usize, to: usize, next: usize) {
        let text = &self.rest()[from..to];
        let line = self.line;
        self.advance(next);
        self.tokens.push(Token { kind, text, line, last_line: self.line });
    }

    fn line_comment(&mut self) {
        let rest = self.rest();
        let end = rest.find('\n').unwrap_or(rest.len());
        let text = rest[..end].trim_start_matches('/').trim_start_matches('!').trim();
        self.comments.push(Comment { text, line: self.line });
        self.advance(end);
    }

    fn block_comment(&mut self) {
        let rest = self.rest();
        let mut depth = 0_usize;
        let mut end = 0;
        while end < rest.len() {
            let (change, length) = match &rest.as_bytes()[end..] {
                [b'/', b'*', ..] => (1, 2),
                [b'*', b'/', ..] => (-1, 2),
                _ => (0, 1),
            };
            end += length;
            depth = depth.saturating_add_signed(change);
            if depth == 0 {
                break;
            }
        }
        self.comments.push(Comment { text: &rest[..end], line: self.line });
        self.advance(end);
    }

    /// `prefix` is the length of what comes before the text, such as `br##"`.
    fn raw_string(&mut self, prefix: usize) {
        let rest = self.rest();
        let hashes = rest[..prefix].bytes().filter(|&byte| byte == b'#').count();
        let terminator = format!("\"{}", "#".repeat(hashes));
        let length = rest[prefix..].find(&terminator).unwrap_or(rest.len() - prefix);
        self.push(Kind::RawStr, prefix, prefix + length, (prefix + length + terminator.len()).min(rest.len()));
    }

    fn string(&mut self, prefix: usize) {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut end = prefix;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(rest.len());
        self.push(Kind::Str, prefix, end, (end + 1).min(rest.len()));
    }

    fn char_or_lifetime(&mut self) {
        let rest = self.rest();
        let prefix = if rest.starts_with('b') { 2 } else { 1 };
        let mut chars = rest[prefix..].char_indices();
        let first = chars.next().map_or('\'', |(_, c)| c);
        let second = chars.next();
        if first == '\\' {
            // The escaped character may be a quote.
            let from = prefix + 2;
            let end = from + rest[from..].find('\'').unwrap_or(0);
            self.push(Kind::Char, prefix, end, end + 1);
        } else if let Some((at, '\'')) = second {
            self.push(Kind::Char, prefix, prefix + at, prefix + at + 1);
        } else {
            let end = prefix + length_while(&rest[prefix..], |c| c.is_alphanumeric() || c == '_');
            self.push(Kind::Lifetime, prefix, end, end);
        }
    }
}

fn length_while(text: &str, accepts: impl Fn(char) -> bool) -> usize {
    text.find(|c| !accepts(c)).unwrap_or(text.len())
}

/// The length of `r"`, `br#"`, `cr##"` and the like, if `text` begins so.
fn raw_string_prefix(text: &str) -> Option<usize> {
    let letters = ["br", "cr", "r"].into_iter().find(|prefix| text.starts_with(prefix))?.len();
    let hashes = length_while(&text[letters..], |c| c == '#');
    text[letters + hashes..].starts_with('"').then_some(letters + hashes + 1)
}

/// The length of `"`, `b"` or `c"`, if `text` begins so.
fn string_prefix(text: &str) -> Option<usize> {
    ["\"", "b\"", "c\""].into_iter().find(|prefix| text.starts_with(prefix)).map(str::len)
}
