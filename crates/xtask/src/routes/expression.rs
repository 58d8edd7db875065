//! The few expressions that a route list is made of, and what they evaluate to.

use std::collections::BTreeMap;

use crate::source::{Kind, Token, closing};

/// The variables of a route list, by name. The list is read from top to bottom: a later binding of a name replaces an
/// earlier one.
#[derive(Debug, Default)]
pub(super) struct Scope<'a>(BTreeMap<&'a str, Vec<String>>);

impl<'a> Scope<'a> {
    /// Adds the variable that is bound at `at`, if one is: `let a = "...";`, `const A: &str = "...";`,
    /// `for a in [...] {`.
    pub(super) fn bind(&mut self, tokens: &[Token<'a>], at: usize) {
        let Some([keyword, name]) = tokens.get(at..at + 2) else { return };
        let position = |text: &str| tokens[at..].iter().position(|token| token.is(text)).map(|length| at + length);
        let values = match keyword.text {
            _ if !keyword.is_ident() => return,
            "let" | "const" => {
                let (Some(start), Some(end)) = (position("="), position(";")) else { return };
                let value = tokens.get(start + 1..end).unwrap_or_default();
                if !value.iter().any(|token| token.kind == Kind::Str) || value.iter().any(|token| token.is("[")) {
                    return;
                }
                self.evaluate(value)
            }
            "for" => {
                let Some(start) = position("[") else { return };
                let list = split(&tokens[start + 1..closing(tokens, start)]);
                list.into_iter().flat_map(|element| self.evaluate(element)).collect()
            }
            _ => return,
        };
        self.0.insert(name.text, values);
    }

    /// What `expression` can be. A path that is no variable evaluates to itself.
    pub(super) fn evaluate(&self, expression: &[Token<'a>]) -> Vec<String> {
        let start = expression.iter().position(|token| !token.is("&")).unwrap_or(0);
        match &expression[start..] {
            [literal] if literal.kind == Kind::Str => vec![literal.text.to_owned()],
            [name] if self.0.contains_key(name.text) => self.0[name.text].clone(),
            [name, _, _, template, ..] if name.is("format") => self.expand(template.text),
            other => vec![other.iter().map(|token| token.text).collect()],
        }
    }

    /// `template` with every variable in braces replaced by each of its values.
    fn expand(&self, template: &str) -> Vec<String> {
        let mut expanded = vec![template.to_owned()];
        for (name, values) in &self.0 {
            let placeholder = format!("{{{name}}}");
            if template.contains(&placeholder) {
                let replaced = expanded
                    .iter()
                    .flat_map(|text| values.iter().map(|value| text.replace(&placeholder, value)))
                    .collect();
                expanded = replaced;
            }
        }
        expanded
    }
}

/// The parts between commas outside of brackets; a comma at the end adds none.
pub(super) fn split<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
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
