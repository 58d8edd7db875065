//! docs/ is a book: SUMMARY.md lists its pages, and each page has a title and links that work in the book, too.

use std::collections::BTreeSet;

use crate::source::File;

use super::{Rule, Violation};

const SUMMARY: &str = "docs/SUMMARY.md";

/// Pages for those who work on Plexus: mdBook would write the first over the charts in benchmarks.html.
const OUTSIDE: [&str; 2] = ["docs/benchmarks.md", "docs/benchmarks-parts.md"];

/// Adds the pages that SUMMARY.md does not list, that have no title, or that link to documents outside the book; and
/// links to headings that do not exist.
pub(super) fn check(documents: &[File], found: &mut Vec<Violation>) {
    let summary = documents.iter().find(|document| document.path == SUMMARY);
    let listed: BTreeSet<String> =
        summary.into_iter().flat_map(links).map(|link| format!("docs/{}", link.target)).collect();
    for document in documents {
        let mut add = |line: usize, message: String| {
            found.push(Violation { rule: Rule::Links, path: document.path.clone(), line, count: 1, message });
        };
        let is_page = document.path.starts_with("docs/")
            && document.path != SUMMARY
            && !OUTSIDE.contains(&document.path.as_str());
        if is_page && !listed.contains(&document.path) {
            add(0, format!("{SUMMARY} does not list the page"));
        }
        if is_page && !document.text.starts_with("# ") {
            add(1, "a page begins with its title".to_owned());
        }
        for link in links(document) {
            if is_page && link.target.starts_with("../") && has_extension(&link.target, "md") {
                add(link.line, format!("the book does not hold {}: name it without a link", link.target));
            }
            if let Some(anchor) = &link.anchor
                && let Some(target) = documents.iter().find(|it| it.path == resolve(&document.path, &link.target))
                && !anchors(&target.text).contains(anchor)
            {
                add(link.line, format!("{} has no heading #{anchor}", target.path));
            }
        }
    }
}

/// A link to a file of the source.
struct Link {
    line: usize,
    /// As it is written, without the anchor; empty for the document itself.
    target: String,
    anchor: Option<String>,
}

fn links(document: &File) -> impl Iterator<Item = Link> {
    let lines = document.text.lines().enumerate();
    lines.flat_map(|(index, line)| {
        let written = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        written.filter(|link| !link.contains(':')).map(move |link| {
            let (target, anchor) = link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
            Link { line: index + 1, target: target.to_owned(), anchor: anchor.map(str::to_owned) }
        })
    })
}

/// Returns the path to which `target` leads from the document at `path`.
fn resolve(path: &str, target: &str) -> String {
    if target.is_empty() {
        return path.to_owned();
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    match target.strip_prefix("../") {
        Some(above) => above.to_owned(),
        None if folder.is_empty() => target.to_owned(),
        None => format!("{folder}/{target}"),
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, it)| it == extension)
}

/// Returns the anchors of the headings: lower case, hyphens for blanks, without other punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim();
        let keep = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        anchors.insert(title.to_lowercase().chars().filter(keep).map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::source::File;

    fn complaints(documents: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        let mut found = Vec::new();
        check(&documents.iter().map(file).collect::<Vec<_>>(), &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pages_are_listed_and_have_a_title() {
        let summary = ("docs/SUMMARY.md", "# Summary\n\n- [A](a.md)\n");
        assert!(complaints(&[summary, ("docs/a.md", "# A\n")]).is_empty());
        assert_eq!(complaints(&[summary, ("docs/a.md", "A\n")]), ["docs/a.md:1: a page begins with its title"]);
        let unlisted = complaints(&[summary, ("docs/b.md", "# B\n")]);
        assert_eq!(unlisted, ["docs/b.md: docs/SUMMARY.md does not list the page"]);
    }

    #[test]
    fn links_work_in_the_book() {
        let summary = ("docs/SUMMARY.md", "[A](a.md) [B](b.md)");
        let b = ("docs/b.md", "# B\n\n## 2. The `proxy`, first\n\n```sh\n# code\n```\n");
        let with = |text| complaints(&[summary, b, ("docs/a.md", text), ("README.md", "# Top\n[b](docs/b.md#b)")]);
        assert!(with("# A\n[b](b.md#2-the-proxy-first) [a](#a) [c](../contrib/x.conf)\n").is_empty());
        assert_eq!(with("# A\n[b](b.md#code)\n"), ["docs/a.md:2: docs/b.md has no heading #code"]);
        assert_eq!(with("# A\n[a](#b)\n"), ["docs/a.md:2: docs/a.md has no heading #b"]);
        let outside = "docs/a.md:2: the book does not hold ../README.md: name it without a link";
        assert_eq!(with("# A\n[r](../README.md)\n"), [outside]);
    }
}
