//! Builds docs/ as a book, with mdBook.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the source is, seen from a page, is where this folder is, seen from the book's page.
const OUTPUT: &str = "target/book";

/// Why there is no book.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("mdbook cannot be run: {0} (cargo install mdbook)")]
    CannotRun(io::Error),
    #[error("mdbook build failed")]
    Failed,
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
}

/// Writes the book to target/book/docs, and beside it the files outside docs/ to which pages link.
pub(crate) fn build(root: &Path) -> Result<(), Error> {
    let status = Command::new("mdbook").arg("build").current_dir(root).status().map_err(Error::CannotRun)?;
    if !status.success() {
        return Err(Error::Failed);
    }
    let docs = root.join("docs");
    for entry in fs::read_dir(&docs).map_err(|error| Error::File { path: docs.clone(), error })?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).map_err(|error| Error::File { path, error })?;
            outside(&text).try_for_each(|link| copy(&root.join(link), &root.join(OUTPUT).join(link)))?;
        }
    }
    Ok(())
}

/// Returns the files to which a page links that are not in docs/, relative to the source. mdBook takes every `.md` for
/// a page of its own.
fn outside(page: &str) -> impl Iterator<Item = &str> {
    let links = page.split("](../").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    links.filter(|link| Path::new(link).extension().is_none_or(|extension| extension != "md"))
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let folder = to.parent().unwrap_or(to);
    let copied = fs::create_dir_all(folder).and_then(|()| fs::copy(from, to));
    copied.map(drop).map_err(|error| Error::File { path: from.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::outside;

    #[test]
    fn files_outside_are_found() {
        let page = "[a](../contrib/a.conf) and [b](../contrib/Caddyfile#x), [c](c.md), [d](../README.md)";
        assert_eq!(outside(page).collect::<Vec<_>>(), ["contrib/a.conf", "contrib/Caddyfile"]);
    }
}
