//! Files that documents name exist.

use std::path::Path;

use crate::source::{File, Source};

use super::{Rule, Violation};

/// Adds the names of Rust files in backquotes that fit no file. `rooms/write/persist.rs` is short for
/// `crates/rooms/src/write/persist.rs`, and `write/persist.rs` for that too.
pub(super) fn check(documents: &[File], sources: &[Source<'_>], found: &mut Vec<Violation>) {
    let short: Vec<_> = sources.iter().map(|source| shorten(source.path)).collect();
    for document in documents.iter().filter(|document| document.path != "CHANGELOG.md") {
        for (index, line) in document.text.lines().enumerate() {
            // Every second part is between backquotes.
            for name in line.split('`').skip(1).step_by(2).filter(|name| is_file_name(name)) {
                let wanted = format!("/{}", shorten(name));
                if !short.iter().any(|path| format!("/{path}").ends_with(&wanted)) {
                    let path = document.path.clone();
                    let message = format!("there is no file {name}");
                    found.push(Violation { rule: Rule::Links, path, line: index + 1, count: 1, message });
                }
            }
        }
    }
}

/// Adds the links that lead to no file below `root`.
pub(super) fn check_targets(root: &Path, documents: &[File], found: &mut Vec<Violation>) {
    for document in documents {
        let folder = root.join(&document.path).parent().unwrap_or(root).to_owned();
        for (index, line) in document.text.lines().enumerate() {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
            for target in targets.filter(|target| !target.contains(':') && !folder.join(target).exists()) {
                let path = document.path.clone();
                let message = format!("the link leads to no file: {target}");
                found.push(Violation { rule: Rule::Links, path, line: index + 1, count: 1, message });
            }
        }
    }
}

fn is_file_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    name.ends_with(".rs") && name.contains('/') && name.chars().all(is_part)
}

/// A path as documents give it, without `crates` and `src`.
fn shorten(path: &str) -> String {
    path.trim_start_matches("crates/").replacen("/src/", "/", 1)
}

#[cfg(test)]
mod tests {
    use super::{check, check_targets};
    use crate::source::{File, Source};

    #[test]
    fn a_file_may_be_named_whole_or_by_its_end() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let code = file("crates/rooms/src/write/persist.rs", "");
        let names = "`rooms/write/persist.rs` `crates/rooms/src/write/persist.rs`\n`write/persist.rs` `persist.rs`\n\
                     `rooms/persist.rs` `a/{b,c}.rs`";
        let mut found = Vec::new();
        check(&[file("docs/a.md", names)], &[Source::new(&code)], &mut found);
        let found: Vec<_> = found.iter().map(|it| (it.line, it.message.as_str())).collect();
        assert_eq!(found, [(3, "there is no file rooms/persist.rs")]);
    }

    #[test]
    fn links_lead_to_files() {
        let text = "[a](../README.md#top) [b](#here)\n[c](https://example.com/x) and [d](gone.md)".to_owned();
        let mut found = Vec::new();
        check_targets(&crate::workspace::root(), &[File { path: "docs/a.md".into(), text }], &mut found);
        let found: Vec<_> = found.iter().map(|it| (it.line, it.message.as_str())).collect();
        assert_eq!(found, [(2, "the link leads to no file: gone.md")]);
    }
}
