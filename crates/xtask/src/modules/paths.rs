//! The paths in a file: its imports, and every other path that it spells out.

use crate::source::{Token, closing};

/// What a `use` brings into scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import<'a> {
    pub(super) path: Vec<&'a str>,
}

/// A path, and the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention<'a> {
    pub(super) path: Vec<&'a str>,
    pub(super) line: usize,
}

/// The imports by name, and all paths, those of imports among them.
pub(super) fn read<'a>(tokens: &[Token<'a>]) -> (Vec<(&'a str, Import<'a>)>, Vec<Mention<'a>>) {
    let mut imports = Vec::new();
    let mut mentions = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is("use") {
            let end = at + tokens[at..].iter().position(|token| token.is(";")).unwrap_or(0);
            use_tree(&tokens[at + 1..end.max(at + 1)], &[], &mut |name, path, line| {
                mentions.push(Mention { path: path.clone(), line });
                imports.push((name, Import { path }));
            });
            at = end.max(at + 1);
        } else if tokens[at].is_ident() && is_separator(tokens, at + 1) && !(at > 1 && is_separator(tokens, at - 2)) {
            let line = tokens[at].line;
            let mut path = vec![tokens[at].text];
            at += 1;
            while is_separator(tokens, at) && tokens.get(at + 2).is_some_and(Token::is_ident) {
                path.push(tokens[at + 2].text);
                at += 3;
            }
            mentions.push(Mention { path, line });
        } else {
            at += 1;
        }
    }
    (imports, mentions)
}

/// Whether the tokens at `at` are `::`.
fn is_separator(tokens: &[Token<'_>], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| token.is(":")) && tokens.get(at + 1).is_some_and(|token| token.is(":"))
}

/// Calls `add` with the name, path and line of each leaf of a `use` tree. A glob has the name `*`.
fn use_tree<'a>(tokens: &[Token<'a>], before: &[&'a str], add: &mut impl FnMut(&'a str, Vec<&'a str>, usize)) {
    let mut path = before.to_vec();
    let mut name = None;
    let mut line = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token.is("{") {
            let end = closing(tokens, at);
            for branch in branches(&tokens[at + 1..end]) {
                use_tree(branch, &path, add);
            }
            return;
        } else if token.is("*") {
            return add("*", path, token.line);
        } else if token.is("as") {
            name = tokens.get(at + 1).map(|token| token.text);
            break;
        } else if token.is_ident() {
            line = token.line;
            path.push(token.text);
        }
        at += 1;
    }
    // `a::b::{self, c}` names `b`.
    if path.len() > 1 && path.last() == Some(&"self") {
        path.pop();
    }
    if let Some(name) = name.or(path.last().copied()) {
        add(name, path, line);
    }
}

/// The parts between commas outside of braces.
fn branches<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut branches = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < tokens.len() {
        if tokens[at].is("{") {
            at = closing(tokens, at);
        } else if tokens[at].is(",") {
            branches.push(&tokens[start..at]);
            start = at + 1;
        }
        at += 1;
    }
    branches.push(&tokens[start..]);
    branches
}
