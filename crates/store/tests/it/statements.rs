//! Every statement of every repository is accepted by both databases.

use std::path::{Path, PathBuf};

use plexus_testkit::databases;

const VERBS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];

#[tokio::test]
async fn every_statement_is_accepted_by_every_database() {
    let mut statements = Vec::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/repo")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, literal) in literals(&text) {
            if VERBS.iter().any(|verb| literal.trim_start().starts_with(verb)) {
                statements.push((format!("{}:{line}", path.display()), literal));
            }
        }
    }
    assert!(statements.len() > 1, "no statement was found: the search is broken");
    let mut problems = Vec::new();
    for db in databases() {
        for (place, sql) in statements.clone() {
            let text = sql.clone();
            if let Err(error) = db.read(move |tx| tx.describe(&text)).await {
                problems.push(format!("{:?}: {place}: {error}", db.backend()));
            }
        }
    }
    assert!(problems.is_empty(), "{} statements are refused:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn literals_are_found() {
    let source = "let a = \"SELECT \\\"x\\\" \\\n    FROM t\"; // \"not\"\n\
                  let c = '\"'; let r = r#\"raw \"quoted\"\"#; \
                  fn f<'a>() {} /* \"no\" */ \"last\"";
    let found: Vec<String> = literals(source).into_iter().map(|(_, text)| text).collect();
    assert_eq!(found, ["SELECT \"x\" FROM t", "raw \"quoted\"", "last"]);
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The string literals of a Rust source with their lines; comments and characters are skipped.
fn literals(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let line = source[..source.len() - rest.len()].matches('\n').count() + 1;
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").map_or(rest.len(), |end| end + 2)..];
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
            let body = &rest[1 + hashes..];
            let Some(body) = body.strip_prefix('"') else {
                rest = body;
                continue;
            };
            let close = format!("\"{}", "#".repeat(hashes));
            let end = body.find(&close).expect("a raw string ends");
            found.push((line, body[..end].to_owned()));
            rest = &body[end + close.len()..];
        } else if c == '"' {
            let (text, after) = quoted(&rest[1..]);
            found.push((line, text));
            rest = after;
        } else if c == '\'' && rest[1..].starts_with('\\') {
            rest = &rest[3 + rest[3..].find('\'').expect("a character ends") + 1..];
        } else if c == '\'' && rest.chars().nth(2) == Some('\'') {
            rest = &rest[rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at)..];
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    found
}

/// The value of a string literal from after its opening quote, and what follows it.
fn quoted(body: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = body;
    loop {
        let at = rest.find(['"', '\\']).expect("a string ends");
        text.push_str(&rest[..at]);
        if rest[at..].starts_with('"') {
            return (text, &rest[at + 1..]);
        }
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('\n') {
            rest = after.trim_start();
        } else {
            let escaped = rest.chars().next().expect("an escape has a character");
            text.push(match escaped {
                'n' => '\n',
                't' => '\t',
                '0' => '\0',
                other => other,
            });
            rest = &rest[escaped.len_utf8()..];
        }
    }
}
