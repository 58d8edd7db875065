//! Rust source text as tokens and comments, each with its line.
//!
//! This is a lexer, not a parser: enough to find functions, paths and string literals, in a fraction of a second for
//! the whole workspace and without a dependency.

mod lexer;
#[cfg(test)]
mod tests;

/// The kind of a [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ident,
    Lifetime,
    Number,
    /// A string with escapes; its text is what stands between the quotes.
    Str,
    /// A raw string; its text is what stands between the quotes.
    RawStr,
    Char,
    /// One character of punctuation.
    Punct,
}

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// The line it begins on, counted from 1.
    pub(crate) line: usize,
    /// The line it ends on.
    pub(crate) last_line: usize,
}

impl Token<'_> {
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Ident | Kind::Punct) && self.text == text
    }

    pub(crate) fn is_ident(&self) -> bool {
        self.kind == Kind::Ident
    }
}

/// A line comment without its slashes, or a block comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comment<'a> {
    pub(crate) text: &'a str,
    /// The line it begins on, counted from 1.
    pub(crate) line: usize,
}

/// A file, read.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Relative to the workspace, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A file, taken apart.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
    pub(crate) tokens: Vec<Token<'a>>,
    pub(crate) comments: Vec<Comment<'a>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        let (tokens, comments) = lexer::lex(&file.text);
        Self { path: &file.path, text: &file.text, tokens, comments }
    }

    /// Whether the file holds tests only.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/benches/")
    }

    /// The tokens without items under `#[cfg(test)]`.
    pub(crate) fn tokens_without_tests(&self) -> Vec<Token<'a>> {
        const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
        let mut kept = Vec::with_capacity(self.tokens.len());
        let mut rest = self.tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            if rest.len() >= CFG_TEST.len() && rest.iter().zip(CFG_TEST).all(|(token, text)| token.is(text)) {
                rest = skip_item(&rest[CFG_TEST.len()..]);
            } else {
                kept.push(*token);
                rest = after;
            }
        }
        kept
    }
}

/// What follows the item that `tokens` begin with: it ends with its first semicolon or braces.
fn skip_item<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let end = tokens.iter().position(|token| token.is(";") || token.is("{"));
    match end {
        Some(at) if tokens[at].is("{") => &tokens[closing(tokens, at) + 1..],
        Some(at) => &tokens[at + 1..],
        None => &[],
    }
}

/// Where the bracket at `open` is closed; the last token when it is not.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Punct {
            continue;
        }
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}
