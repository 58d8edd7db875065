//! The few expressions that paths are put together with, and what they evaluate to: string literals, constants,
//! variables, `format!`, and functions that only format.

use std::collections::BTreeMap;

use crate::source::{Kind, Token, closing};

/// How many values of an expression are considered.
const MAX_VALUES: usize = 32;

/// The variables and functions in scope, by name. Source is read from top to bottom: a later binding of a name replaces
/// an earlier one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope<'a> {
    variables: BTreeMap<&'a str, Vec<String>>,
    functions: BTreeMap<&'a str, Function<'a>>,
}

/// A function whose value is a format string of its parameters.
#[derive(Debug, Clone)]
struct Function<'a> {
    parameters: Vec<&'a str>,
    templates: Vec<String>,
}

impl<'a> Scope<'a> {
    /// Adds the variable that is bound at `at`, if one is: `let a = "...";`, `const A: &str = "...";`,
    /// `for a in [...] {`. Returns where the expression ends.
    pub(crate) fn bind(&mut self, tokens: &[Token<'a>], at: usize) -> Option<usize> {
        let [keyword, name] = tokens.get(at..at + 2)? else { return None };
        let position = |text: &str| tokens[at..].iter().position(|token| token.is(text)).map(|length| at + length);
        if !keyword.is_ident() || !name.is_ident() {
            return None;
        }
        let (values, end) = match keyword.text {
            "let" | "const" => {
                let (start, end) = (position("=")?, position(";")?);
                let value = tokens.get(start + 1..end)?;
                (self.known(value)?, end)
            }
            "for" => {
                let start = position("[")?;
                let end = closing(tokens, start);
                let list = split(&tokens[start + 1..end]);
                let all_known = list.iter().all(|element| self.known(element).is_some());
                let values = list.into_iter().flat_map(|element| self.evaluate(element)).collect();
                // What is in other elements is still to be read.
                (values, if all_known { end } else { at + 1 })
            }
            _ => return None,
        };
        self.variables.insert(name.text, values);
        Some(end)
    }

    /// Adds the constant or function that is declared at `at`, beside others of the same name.
    pub(crate) fn declare(&mut self, tokens: &[Token<'a>], at: usize) {
        let Some([keyword, name]) = tokens.get(at..at + 2) else { return };
        if keyword.is("const") && name.is_ident() {
            let earlier = self.variables.remove(name.text).unwrap_or_default();
            self.bind(tokens, at);
            let values = self.variables.entry(name.text).or_default();
            *values = distinct(values.drain(..).chain(earlier));
        } else if keyword.is("fn") {
            self.declare_function(tokens, at);
        }
    }

    fn declare_function(&mut self, tokens: &[Token<'a>], at: usize) {
        let Some((parameters, body)) = signature(tokens, at) else { return };
        let Some(format) = body.iter().rposition(|token| token.is("format")) else { return };
        let [_, _, open, template, ..] = &body[format..] else { return };
        if template.kind != Kind::Str || closing(body, format + 2) + 1 != body.len() || !open.is("(") {
            return;
        }
        let templates = self.without(&parameters).evaluate(&body[format..]);
        let function =
            self.functions.entry(tokens[at + 1].text).or_insert(Function { parameters, templates: Vec::new() });
        function.templates = distinct(function.templates.drain(..).chain(templates));
    }

    /// The same without the variables of these names.
    pub(crate) fn without(&self, names: &[&str]) -> Self {
        let mut scope = self.clone();
        scope.variables.retain(|name, _| !names.contains(name));
        scope
    }

    pub(crate) fn has_variable(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// What `expression` can be. An expression of another kind evaluates to its own text.
    pub(crate) fn evaluate(&self, expression: &[Token<'a>]) -> Vec<String> {
        let text = || expression.iter().map(|token| token.text).collect();
        self.known(expression).unwrap_or_else(|| vec![text()])
    }

    /// What `expression` can be; one that is not understood is a parameter in braces.
    pub(crate) fn evaluate_argument(&self, expression: &[Token<'a>]) -> Vec<String> {
        let text = || expression.iter().filter(|token| !token.is("&")).map(|token| token.text).collect::<String>();
        self.known(expression).unwrap_or_else(|| vec![format!("{{{}}}", text())])
    }

    /// What `expression` can be, if it is of a known kind.
    fn known(&self, expression: &[Token<'a>]) -> Option<Vec<String>> {
        let start = expression.iter().position(|token| !token.is("&"))?;
        match &expression[start..] {
            [literal] if literal.kind == Kind::Str => Some(self.expand(literal.text)),
            [name] => self.variables.get(name.text).cloned(),
            [_, dot, method, open, ..] if dot.is(".") && open.is("(") && self.has_function(method.text) => {
                self.known(&expression[start + 2..])
            }
            [name, _, open, template, ..] if name.is("format") && template.kind == Kind::Str => {
                let end = closing(&expression[start..], 2);
                debug_assert!(open.is("("), "format! has an argument");
                let arguments = split(&expression[start + 3..start + end]);
                let values = arguments.iter().skip(1).map(|argument| self.evaluate_argument(argument));
                Some(values.fold(self.expand(template.text), |texts, values| replace(&texts, "{}", &values)))
            }
            [name, open, ..] if open.is("(") && self.functions.contains_key(name.text) => {
                let function = self.functions.get(name.text)?;
                let arguments = split(&expression[start + 2..start + closing(&expression[start..], 1)]);
                let values: Vec<_> = arguments.iter().map(|argument| self.evaluate_argument(argument)).collect();
                let filled = function.templates.iter().flat_map(|it| Self::fill(it, &function.parameters, &values));
                Some(filled.collect())
            }
            // A list of segments.
            [open, inner @ .., close] if open.is("[") && close.is("]") => {
                let segments = split(inner).into_iter().map(|segment| self.evaluate_argument(segment).concat());
                Some(vec![segments.collect::<Vec<_>>().join("/")])
            }
            [literal, dot, rest @ ..] if literal.kind == Kind::Str && dot.is(".") && rest.len() == 3 => {
                Some(self.expand(literal.text))
            }
            _ => None,
        }
    }

    /// `template` with every parameter in braces replaced by each of its values.
    pub(crate) fn fill(template: &str, parameters: &[&str], values: &[Vec<String>]) -> Vec<String> {
        let pairs = parameters.iter().zip(values);
        pairs.fold(vec![template.to_owned()], |texts, (name, values)| replace(&texts, &format!("{{{name}}}"), values))
    }

    /// `template` with every variable in braces replaced by each of its values.
    fn expand(&self, template: &str) -> Vec<String> {
        let variables = self.variables.iter().filter(|(name, _)| template.contains(&format!("{{{name}}}")));
        variables
            .fold(vec![template.to_owned()], |texts, (name, values)| replace(&texts, &format!("{{{name}}}"), values))
    }
}

/// Each text with the first `placeholder` in it replaced by each value; as it is when it has none.
fn replace(texts: &[String], placeholder: &str, values: &[String]) -> Vec<String> {
    let each = |text: &String| -> Vec<String> {
        if !text.contains(placeholder) {
            return vec![text.clone()];
        }
        values.iter().map(|value| text.replacen(placeholder, value, 1)).collect()
    };
    distinct(texts.iter().flat_map(each))
}

/// The first different ones of `values`.
fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut distinct = Vec::new();
    for value in values {
        if distinct.len() < MAX_VALUES && !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// The names of the parameters and the body of the function at `at`; `None` for one without a body.
pub(crate) fn signature<'t, 'a>(tokens: &'t [Token<'a>], at: usize) -> Option<(Vec<&'a str>, &'t [Token<'a>])> {
    let open = at + tokens[at..].iter().position(|token| token.is("("))?;
    let close = closing(tokens, open);
    let names = split(&tokens[open + 1..close]).into_iter().filter_map(|parameter| {
        let name = parameter.iter().find(|token| token.is_ident() && !token.is("mut"))?;
        (!name.is("self")).then_some(name.text)
    });
    let body = close + tokens[close..].iter().position(|token| token.is("{") || token.is(";"))?;
    tokens[body].is("{").then(|| (names.collect(), &tokens[body + 1..closing(tokens, body)]))
}

/// The parts between commas outside of brackets; a comma at the end adds none.
pub(crate) fn split<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < tokens.len() {
        if tokens[at].is(",") {
            parts.push(&tokens[start..at]);
            start = at + 1;
        } else if ["(", "[", "{"].iter().any(|open| tokens[at].is(open)) {
            at = closing(tokens, at);
        }
        at += 1;
    }
    if start < tokens.len() {
        parts.push(&tokens[start..]);
    }
    parts
}
