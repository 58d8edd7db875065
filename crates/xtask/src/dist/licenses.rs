//! The licences of the crates that the program contains, which those who pass the program on have to include.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{Error, output};

/// How the names of files with licences begin, in capitals.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// What `cargo metadata` says.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    /// Absent for crates of the workspace.
    source: Option<String>,
}

/// Returns the name, version and licence of each crate that the program contains, then each text once, with the crates
/// that it came with.
pub(super) fn of_dependencies(root: &Path) -> Result<String, Error> {
    let cargo = |arguments: &[&str]| output(Command::new("cargo").args(arguments).arg("--locked").current_dir(root));
    let used = cargo(&["tree", "--package=plexus-server", "--edges=normal", "--prefix=none", "--format={p}"])?;
    let used: BTreeSet<_> = used.lines().filter_map(name_and_version).collect();
    let metadata: Metadata = serde_json::from_str(&cargo(&["metadata", "--format-version=1"])?)?;
    let is_contained = |package: &Package| package.source.is_some() && used.contains(&package.to_string());
    Ok(compile(metadata.packages.iter().filter(|package| is_contained(package))))
}

fn compile<'a>(packages: impl Iterator<Item = &'a Package>) -> String {
    let mut list = BTreeSet::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        list.insert(format!("{package}: {}\n", package.license.as_deref().unwrap_or("see below")));
        for text in license_texts(package) {
            texts.entry(text).or_default().insert(package.to_string());
        }
    }
    let mut compiled = "Plexus contains these crates:\n\n".to_owned();
    compiled.extend(list);
    let mut texts: Vec<_> = texts.into_iter().map(|(text, packages)| (packages, text)).collect();
    texts.sort();
    for (packages, text) in texts {
        let packages: Vec<_> = packages.into_iter().collect();
        // Writing to a string does not fail.
        let _ = write!(compiled, "\n{}\nLicence of {}:\n\n{text}\n", "-".repeat(80), packages.join(", "));
    }
    compiled
}

/// Returns the licences in the folder of a crate.
fn license_texts(package: &Package) -> Vec<String> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new("/"));
    let files = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().to_uppercase();
        NAMES.iter().any(|begins| name.starts_with(begins))
    });
    let texts = files.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.map(|text| text.replace('\r', "").trim_matches('\n').to_owned()).collect()
}

/// Returns `axum 0.8.9` for `axum v0.8.9 (proc-macro) (*)`.
fn name_and_version(line: &str) -> Option<String> {
    let (name, rest) = line.split_once(" v")?;
    Some(format!("{name} {}", rest.split(' ').next()?))
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::{Package, compile, name_and_version};

    #[test]
    fn the_lines_of_cargo_tree_are_read() {
        assert_eq!(name_and_version("axum v0.8.9").unwrap(), "axum 0.8.9");
        assert_eq!(name_and_version("serde_derive v1.0.2 (proc-macro) (*)").unwrap(), "serde_derive 1.0.2");
        assert_eq!(name_and_version(""), None);
    }

    #[test]
    fn a_text_stands_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let package = |name: &str, text: &str| {
            let place = folder.path().join(name);
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("LICENSE-MIT"), text).unwrap();
            Package {
                name: name.into(),
                version: "1.0.0".into(),
                license: Some("MIT".into()),
                manifest_path: place.join("Cargo.toml"),
                source: Some("registry".into()),
            }
        };
        let compiled = compile([package("b", "Do.\n"), package("a", "Do.\r\n"), package("c", "Or not.")].iter());
        let line = "-".repeat(80);
        let expected = format!(
            "Plexus contains these crates:\n\na 1.0.0: MIT\nb 1.0.0: MIT\nc 1.0.0: MIT\n\n\
             {line}\nLicence of a 1.0.0, b 1.0.0:\n\nDo.\n\n{line}\nLicence of c 1.0.0:\n\nOr not.\n"
        );
        assert_eq!(compiled, expected);
    }
}
