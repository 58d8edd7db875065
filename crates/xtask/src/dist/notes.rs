//! What the changelog says of a release.

use std::path::Path;

use super::{Error, read};

/// Returns the section of CHANGELOG.md about `version`. Before it has one, that is the section `Unreleased`.
pub(super) fn of_version(root: &Path, version: &str) -> Result<String, Error> {
    let changelog = read(&root.join("CHANGELOG.md"))?;
    if let Some(text) = section(&changelog, version) {
        return Ok(text);
    }
    eprintln!("CHANGELOG.md has no section {version}: the release notes are its section Unreleased");
    section(&changelog, "Unreleased").ok_or(Error::Missing { place: "CHANGELOG.md", what: "section Unreleased" })
}

/// Returns the section whose title begins with the word `title`, with its heading.
fn section(changelog: &str, title: &str) -> Option<String> {
    let is_heading = |line: &str| line.strip_prefix("## ").map(|heading| heading.split(' ').next() == Some(title));
    let mut lines = changelog.lines().skip_while(|line| is_heading(line) != Some(true));
    let heading = lines.next()?;
    let body: Vec<_> = lines.take_while(|line| is_heading(line).is_none()).collect();
    Some(format!("{heading}\n{}\n", body.join("\n").trim_end()))
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let changelog = "# Changelog\n\n## 0.2.0 (2027-01-01)\n\n- new\n\n### More\n\n- b\n\n## 0.1.0\n\n- old\n";
        assert_eq!(section(changelog, "0.2.0").unwrap(), "## 0.2.0 (2027-01-01)\n\n- new\n\n### More\n\n- b\n");
        assert_eq!(section(changelog, "0.1.0").unwrap(), "## 0.1.0\n\n- old\n");
        assert_eq!(section(changelog, "0.2"), None);
    }
}
