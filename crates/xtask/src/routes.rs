//! The route lists of the API crates, read from their source: `routes.rs`.
//!
//! A line such as `r.get(Client::V1, "/rooms/{room_id}/threads", threads::get_threads::handle)` is a route under each
//! of the prefixes. Paths may be constants, variables of a `for` loop over a list, and `format!` of those.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::expression::{Scope, split};
use crate::modules::Modules;
use crate::source::{Kind, Source, Token, closing};
use crate::workspace::Crate;

/// Where the prefixes that several crates use are named.
const SHARED_PREFIXES: &str = "crates/http/src/";
const METHODS: [&str; 6] = ["get", "post", "put", "delete", "patch", "options"];

/// An endpoint under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    /// In capitals.
    pub(crate) method: String,
    /// The whole path.
    pub(crate) path: String,
    /// How much of `path` is the prefix, in bytes.
    pub(crate) prefix: usize,
    /// The file of the list.
    pub(crate) list: &'a str,
    /// The line in the list.
    pub(crate) line: usize,
    /// The file of the handler.
    pub(crate) file: Option<&'a str>,
    /// The handler's name in its file.
    pub(crate) function: &'a str,
}

/// The routes of one crate; none when it has no list.
pub(crate) fn of_crate<'a>(one: &Crate, sources: &'a [Source<'a>]) -> Vec<Route<'a>> {
    let path = format!("{}/src/routes.rs", one.folder);
    let Some(list) = sources.iter().find(|source| source.path == path && !path.starts_with(SHARED_PREFIXES)) else {
        return Vec::new();
    };
    let mut prefixes = BTreeMap::new();
    for source in sources.iter().filter(|source| source.path.starts_with(SHARED_PREFIXES) && !source.is_test()) {
        read_prefixes(&source.tokens, &mut prefixes);
    }
    read_prefixes(&list.tokens, &mut prefixes);
    let modules = Modules::new(&one.folder, sources);
    let mut scope = Scope::default();
    let mut routes = Vec::new();
    for at in 0..list.tokens.len() {
        scope.bind(&list.tokens, at);
        let Some((method, [prefix, path, handler])) = call(&list.tokens, at) else { continue };
        let handler: Vec<_> = handler.iter().filter(|token| token.is_ident()).map(|token| token.text).collect();
        let Some((&function, module)) = handler.split_last() else { continue };
        let file = modules.file_of("routes", module);
        let names = scope.evaluate(prefix);
        let prefixes = names.iter().filter_map(|name| prefixes.get(name)).flatten();
        for (prefix, path) in prefixes.flat_map(|prefix| scope.evaluate(path).into_iter().map(move |it| (prefix, it))) {
            routes.push(Route {
                method: method.to_uppercase(),
                path: format!("{prefix}{path}"),
                prefix: prefix.len(),
                list: list.path,
                line: list.tokens[at].line,
                file,
                function,
            });
        }
    }
    routes
}

/// The method and the arguments when `tokens` has `.get(...)` or the like at `at`.
fn call<'t, 'a>(tokens: &'t [Token<'a>], at: usize) -> Option<(&'a str, [&'t [Token<'a>]; 3])> {
    let [dot, method, open] = tokens.get(at..at + 3)? else { return None };
    if !dot.is(".") || !METHODS.contains(&method.text) || !open.is("(") {
        return None;
    }
    let arguments = split(&tokens[at + 3..closing(tokens, at + 2)]);
    Some((method.text, arguments.try_into().ok()?))
}

/// Adds each `const NAME: Prefixes = ...` as `NAME`, or `Type::NAME` inside of `impl Type`.
fn read_prefixes(tokens: &[Token<'_>], prefixes: &mut BTreeMap<String, Vec<String>>) {
    let mut owner = String::new();
    for at in 0..tokens.len() {
        if tokens[at].is("impl") {
            owner = tokens.get(at + 1).map(|token| format!("{}::", token.text)).unwrap_or_default();
        }
        let Some([first, name, colon, kind, equals]) = tokens.get(at..at + 5) else { continue };
        if !(first.is("const") && colon.is(":") && kind.is("Prefixes") && equals.is("=")) {
            continue;
        }
        let end = tokens[at..].iter().position(|token| token.is(";")).map_or(at, |length| at + length);
        let value = &tokens[at + 5..end.max(at + 5)];
        let literals: Vec<_> =
            value.iter().filter(|token| token.kind == Kind::Str).map(|token| token.text.to_owned()).collect();
        let alias: String = value.iter().map(|token| token.text).collect();
        let list = if literals.is_empty() { prefixes.get(&alias).cloned().unwrap_or_default() } else { literals };
        // Constants of a file's top level have no owner, even after an `impl`.
        let is_in_impl = is_nested(tokens, at);
        let owner = if is_in_impl { owner.as_str() } else { "" };
        prefixes.insert(format!("{owner}{}", name.text), list);
    }
}

/// Whether the token at `at` is inside of braces.
fn is_nested(tokens: &[Token<'_>], at: usize) -> bool {
    let count = |text: &str| tokens[..at].iter().filter(|token| token.is(text)).count();
    count("{") > count("}")
}
