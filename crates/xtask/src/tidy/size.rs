//! Lines, functions and files of bounded size.

use crate::source::{Kind, Source, Token, closing};

use super::{Rule, Violation};

/// Columns of a line, comments too. Links and raw strings, which cannot be wrapped, may be longer.
const MAX_COLUMNS: usize = 120;
/// Lines of a function, from `fn` to its closing brace.
const MAX_FUNCTION_LINES: usize = 70;
/// Lines of a file.
const MAX_FILE_LINES: usize = 500;

/// Adds what is too large in `source`.
pub(super) fn check(source: &Source<'_>, found: &mut Vec<Violation>) {
    let mut add = |rule, line, count, message| {
        found.push(Violation { rule, path: source.path.to_owned(), line, count, message });
    };
    for (index, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > MAX_COLUMNS && !line.contains("://") && !is_in_raw_string(source, index + 1) {
            add(Rule::Columns, index + 1, 1, format!("{columns} columns, at most {MAX_COLUMNS}"));
        }
    }
    for function in functions(&source.tokens) {
        if function.lines > MAX_FUNCTION_LINES {
            let Function { name, lines, line } = function;
            add(Rule::FunctionLines, line, 1, format!("fn {name}: {lines} lines, at most {MAX_FUNCTION_LINES}"));
        }
    }
    let lines = source.text.lines().count();
    if let Some(excess @ 1..) = lines.checked_sub(MAX_FILE_LINES) {
        add(Rule::FileLines, 0, excess, format!("{lines} lines, at most {MAX_FILE_LINES}"));
    }
}

/// Whether a raw string is on the line.
fn is_in_raw_string(source: &Source<'_>, line: usize) -> bool {
    source.tokens.iter().any(|it| it.kind == Kind::RawStr && (it.line..=it.last_line).contains(&line))
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// The functions that have a body.
fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let starts = tokens.windows(2).enumerate().filter(|(_, pair)| pair[0].is("fn") && pair[1].is_ident());
    let functions = starts.filter_map(|(at, pair)| {
        let end = closing(tokens, body(tokens, at)?);
        Some(Function { name: pair[1].text, line: pair[0].line, lines: tokens[end].line - pair[0].line + 1 })
    });
    functions.collect()
}

/// Where the body of the function at `at` begins.
fn body(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut at = at;
    loop {
        let token = tokens.get(at)?;
        match token.text {
            _ if token.kind != Kind::Punct => {}
            ";" => return None,
            "{" => return Some(at),
            "(" | "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_COLUMNS, MAX_FILE_LINES, MAX_FUNCTION_LINES, check};
    use crate::source::{File, Source};
    use crate::tidy::{Rule, Violation};

    fn found(text: &str) -> Vec<(Rule, usize, usize)> {
        let file = File { path: "crates/x/src/a.rs".into(), text: text.into() };
        let mut found: Vec<Violation> = Vec::new();
        check(&Source::new(&file), &mut found);
        found.into_iter().map(|it| (it.rule, it.line, it.count)).collect()
    }

    #[test]
    fn a_long_comment_breaks_the_rule_and_what_cannot_be_wrapped_does_not() {
        let long = "ü".repeat(MAX_COLUMNS - 3);
        assert_eq!(found(&format!("// {long}\n")), []);
        assert_eq!(found(&format!("\n//  {long}\n")), [(Rule::Columns, 2, 1)]);
        assert_eq!(found(&format!("const A: &str = r\"{long}\";\n")), []);
        assert_eq!(found(&format!("// https://{long}\n")), []);
    }

    #[test]
    fn a_function_is_measured_from_its_name_to_its_brace() {
        let body = "    a();\n".repeat(MAX_FUNCTION_LINES - 2);
        assert_eq!(found(&format!("fn a(b: [u8; 2]) {{\n{body}}}\n")), []);
        assert_eq!(found(&format!("/// Doc.\nfn a() {{\n{body}\n}}\n")), [(Rule::FunctionLines, 2, 1)]);
        assert_eq!(found("trait A { fn b(); }"), []);
    }

    #[test]
    fn the_lines_too_many_of_a_file_are_counted() {
        assert_eq!(found(&"\n".repeat(MAX_FILE_LINES)), []);
        assert_eq!(found(&"\n".repeat(MAX_FILE_LINES + 7)), [(Rule::FileLines, 0, 7)]);
    }
}
