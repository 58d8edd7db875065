//! The documents: what they link to exists. `cargo xtask tidy` checks the source files that they name.

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
