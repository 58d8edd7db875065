//! The requests that a test's source spells out.
//!
//! `server.get(&format!("{CLIENT}/sync"), ...)` is one, and so is a request whose path is a variable, or that a closure
//! of the test sends. Helper functions of the tests that only put a path together are seen through.

#[cfg(test)]
mod tests;

use crate::expression::{Scope, signature, split};
use crate::source::{Kind, Source, Token, closing};

/// A request in a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// In capitals; `None` when it is not written beside the path.
    pub(crate) method: Option<String>,
    /// From its first slash; parameters that the test computes are in braces.
    pub(crate) path: String,
    /// The line of the test.
    pub(crate) line: usize,
}

/// What the tests put paths together with.
pub(crate) struct Helpers<'a> {
    scope: Scope<'a>,
    functions: Vec<Function<'a>>,
}

/// A function or closure of the tests that sends requests.
#[derive(Clone)]
struct Function<'a> {
    name: &'a str,
    parameters: Vec<&'a str>,
    requests: Vec<Request>,
}

impl<'a> Helpers<'a> {
    /// Collects the constants and functions of all tests.
    pub(crate) fn of(tests: &[&'a Source<'a>]) -> Self {
        let mut helpers = Self { scope: Scope::default(), functions: Vec::new() };
        for source in tests {
            for at in 0..source.tokens.len() {
                helpers.scope.declare(&source.tokens, at);
            }
        }
        let mut functions = Vec::new();
        for tokens in tests.iter().map(|source| source.tokens.as_slice()) {
            let starts = tokens.iter().enumerate().filter(|(_, token)| token.is("fn"));
            functions.extend(starts.filter_map(|(at, _)| helpers.function(tokens, at)));
        }
        helpers.functions = functions;
        helpers
    }

    /// The function at `at`, if what it requests depends on its parameters.
    fn function(&self, tokens: &[Token<'a>], at: usize) -> Option<Function<'a>> {
        let (parameters, body) = signature(tokens, at)?;
        let name = tokens[at + 1].text;
        let mut reader = Reader::new(self, self.scope.without(&parameters));
        reader.read(body);
        let mut requests = reader.found;
        requests.retain(|it| parameters.iter().any(|name| it.path.contains(&format!("{{{name}}}"))));
        (!requests.is_empty() && !self.scope.has_function(name)).then_some(Function { name, parameters, requests })
    }

    /// Returns the requests of a test file.
    pub(crate) fn requests_of(&self, source: &Source<'a>) -> Vec<Request> {
        let mut reader = Reader::new(self, self.scope.clone());
        reader.read(&source.tokens);
        reader.found
    }
}

struct Reader<'h, 'a> {
    helpers: &'h Helpers<'a>,
    scope: Scope<'a>,
    /// The closures of the present function.
    closures: Vec<Function<'a>>,
    found: Vec<Request>,
}

impl<'h, 'a> Reader<'h, 'a> {
    fn new(helpers: &'h Helpers<'a>, scope: Scope<'a>) -> Self {
        Self { helpers, scope, closures: Vec::new(), found: Vec::new() }
    }

    fn read(&mut self, tokens: &[Token<'a>]) {
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at].is("fn") {
                self.scope = self.helpers.scope.clone();
                self.closures.clear();
            }
            at = match self.closure(tokens, at).or_else(|| self.scope.bind(tokens, at)) {
                Some(end) => end,
                None => self.request(tokens, at),
            };
        }
    }

    /// Notes the closure that is bound at `at`, if one is; returns where its statement ends.
    fn closure(&mut self, tokens: &[Token<'a>], at: usize) -> Option<usize> {
        let [keyword, name, equals] = tokens.get(at..at + 3)? else { return None };
        if !keyword.is("let") || !equals.is("=") {
            return None;
        }
        let mut open = at + 3;
        while tokens.get(open)?.is("async") || tokens.get(open)?.is("move") {
            open += 1;
        }
        if !tokens.get(open)?.is("|") {
            return None;
        }
        let close = open + 1 + tokens[open + 1..].iter().position(|token| token.is("|"))?;
        let end = end_of_statement(tokens, close);
        let parameters: Vec<_> =
            split(&tokens[open + 1..close]).iter().filter_map(|it| Some(it.first()?.text)).collect();
        let mut inner = Reader::new(self.helpers, self.scope.without(&parameters));
        inner.closures.clone_from(&self.closures);
        inner.read(&tokens[close + 1..end]);
        self.closures.retain(|closure| closure.name != name.text);
        self.closures.push(Function { name: name.text, parameters, requests: inner.found });
        Some(end)
    }

    /// Adds what the function `name` requests with these arguments; returns whether there is such a function.
    fn call(&mut self, name: Token<'a>, arguments: &[Token<'a>]) -> bool {
        let closure = self.closures.iter().filter(|it| it.name == name.text);
        let called: Vec<_> = closure.chain(self.helpers.functions.iter().filter(|it| it.name == name.text)).collect();
        let values: Vec<_> = split(arguments).iter().map(|argument| self.scope.evaluate_argument(argument)).collect();
        for function in &called {
            for request in &function.requests {
                let paths = Scope::fill(&request.path, &function.parameters, &values);
                let with = |path| Request { path, method: request.method.clone(), line: name.line };
                self.found.extend(paths.into_iter().map(with));
            }
        }
        !called.is_empty()
    }

    /// Adds what the tokens at `at` request; returns where to go on.
    fn request(&mut self, tokens: &[Token<'a>], at: usize) -> usize {
        let token = tokens[at];
        let is_call = token.is_ident() && tokens.get(at + 1).is_some_and(|next| next.is("("));
        if is_call && self.call(token, &tokens[at + 2..closing(tokens, at + 1)]) {
            return at + 2;
        }
        let end = if is_call && self.scope.has_function(token.text) { closing(tokens, at + 1) + 1 } else { at + 1 };
        let is_format = token.is("format") && tokens.get(at + 1).is_some_and(|next| next.is("!"));
        let end = if is_format { closing(tokens, at + 2) + 1 } else { end };
        let is_variable = self.scope.has_variable(token.text) && token.is_ident() && !is_call;
        if end == at + 1 && token.kind != Kind::Str && !is_variable {
            return end;
        }
        let method = method_before(&tokens[..at]);
        for value in self.scope.evaluate(&tokens[at..end]) {
            // A path may begin with the server's address or a prefix that only the test knows.
            let path = value.trim_start_matches(|c| c != '/');
            if path.len() > 1 && (method.is_some() || !is_variable) {
                self.found.push(Request { method: method.clone(), path: path.to_owned(), line: token.line });
            }
        }
        end
    }
}

/// Where the statement that `at` is in ends: at its semicolon.
fn end_of_statement(tokens: &[Token<'_>], at: usize) -> usize {
    let mut at = at;
    while at < tokens.len() && !tokens[at].is(";") {
        let is_open = ["(", "[", "{"].iter().any(|open| tokens[at].is(open));
        at = if is_open { closing(tokens, at) + 1 } else { at + 1 };
    }
    at.min(tokens.len())
}

/// The method that the call names whose arguments `tokens` end with.
fn method_before(tokens: &[Token<'_>]) -> Option<String> {
    const METHODS: [&str; 4] = ["get", "put", "post", "delete"];
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().rev() {
        match token.text {
            _ if token.kind == Kind::Str => {}
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" if depth > 0 => depth -= 1,
            "(" => {
                let name = at.checked_sub(1).map(|before| tokens[before].text)?;
                let named = METHODS.contains(&name) && at >= 2 && tokens[at - 2].is(".");
                return named.then(|| name.to_uppercase());
            }
            ";" | "{" | "[" => return None,
            "Method" if depth == 0 => return tokens.get(at + 3).map(|method| method.text.to_owned()),
            _ => {}
        }
    }
    None
}
