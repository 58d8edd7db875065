//! The documents: what they link to and the source files they name exist.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the documents at the root and in docs/.
fn documents() -> Vec<PathBuf> {
    let files = [root(), root().join("docs")].into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)").unwrap();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (_, [target]) in link.captures_iter(&text).map(|found| found.extract()) {
            let exists = target.contains("://") || document.with_file_name(target).exists();
            assert!(exists, "{} links to {target}", document.display());
        }
    }
}

/// A file is named from the root or, as in the tables of docs/security.md, as `crate/path/in/src.rs`.
#[test]
fn source_files_exist() {
    let path = Regex::new(r"`([a-z-]+)/([a-z0-9_/]+\.rs)`").unwrap();
    let mut missing = Vec::new();
    for document in documents().into_iter().filter(|path| path.parent().is_some_and(|folder| folder.ends_with("docs")))
    {
        let text = fs::read_to_string(&document).unwrap();
        for (_, [first, rest]) in path.captures_iter(&text).map(|found| found.extract()) {
            let places = [root().join(first).join(rest), root().join("crates").join(first).join("src").join(rest)];
            if !places.iter().any(|place| place.exists()) {
                missing.push(format!("{}: {first}/{rest}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "documents name files that do not exist: {missing:#?}");
}
