//! The workspace's files and the crates' manifests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::source::File;

/// Folders that hold no source of ours.
const SKIPPED: [&str; 5] = ["target", "node_modules", ".venv", "venv", "corpus"];

/// A file or folder could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub(crate) struct ReadError {
    path: PathBuf,
    error: io::Error,
}

impl ReadError {
    pub(crate) fn new(path: &Path, error: io::Error) -> Self {
        Self { path: path.to_owned(), error }
    }
}

/// What the rules look at.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Every `.rs` file of the crates and the fuzz targets, in the order of their paths.
    pub(crate) rust: Vec<File>,
    /// The documents: `*.md` at the top and under `docs`.
    pub(crate) documents: Vec<File>,
    pub(crate) crates: Vec<Crate>,
}

/// A crate's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crate {
    /// The package's name.
    pub(crate) name: String,
    /// Relative to the workspace: `crates/rooms`.
    pub(crate) folder: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A line of `[dependencies]` or `[dev-dependencies]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// Whether it is for tests and benches only.
    pub(crate) dev: bool,
}

/// The workspace's folder, wherever the program is run.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

impl Workspace {
    /// Reads the workspace in `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, ReadError> {
        let mut rust = Vec::new();
        let mut documents = Vec::new();
        let mut manifests = Vec::new();
        for folder in ["crates", "fuzz"] {
            walk(root, &root.join(folder), &mut |path| {
                if path.ends_with(".rs") {
                    rust.push(read(root, path)?);
                } else if path.starts_with("crates/") && path.ends_with("/Cargo.toml") {
                    manifests.push(read(root, path)?);
                }
                Ok(())
            })?;
        }
        walk(root, &root.join("docs"), &mut |path| {
            if path.ends_with(".md") {
                documents.push(read(root, path)?);
            }
            Ok(())
        })?;
        for path in names(root)? {
            if path.ends_with(".md") {
                documents.push(read(root, &path)?);
            }
        }
        documents.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { rust, documents, crates: manifests.iter().map(Crate::parse).collect() })
    }
}

impl Crate {
    /// Reads the parts of a manifest that the rules need; cargo itself has checked its form.
    fn parse(file: &File) -> Self {
        let folder = file.path.trim_end_matches("/Cargo.toml").to_owned();
        let mut name = String::new();
        let mut dependencies = Vec::new();
        let mut section = "";
        for (index, line) in file.text.lines().enumerate() {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']');
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let key = key.trim().trim_end_matches(".workspace");
            match section {
                "package" if key == "name" => name = value.trim().trim_matches('"').to_owned(),
                "dependencies" | "dev-dependencies" if is_package_name(key) => {
                    dependencies.push(Dependency {
                        name: key.to_owned(),
                        line: index + 1,
                        dev: section == "dev-dependencies",
                    });
                }
                _ => {}
            }
        }
        Self { name, folder, dependencies }
    }
}

fn is_package_name(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, ReadError> {
    let entries = fs::read_dir(folder).map_err(|error| ReadError::new(folder, error))?;
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned())).collect();
    names.sort_unstable();
    Ok(names)
}

/// Calls `visit` with the path of each file below `folder`, relative to `root`.
fn walk(root: &Path, folder: &Path, visit: &mut impl FnMut(&str) -> Result<(), ReadError>) -> Result<(), ReadError> {
    for name in names(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(root, &path, visit)?;
            }
        } else if let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            visit(path)?;
        }
    }
    Ok(())
}

fn read(root: &Path, path: &str) -> Result<File, ReadError> {
    let full = root.join(path);
    let text = fs::read_to_string(&full).map_err(|error| ReadError::new(&full, error))?;
    Ok(File { path: path.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::{Crate, Dependency};
    use crate::source::File;

    #[test]
    fn a_manifest_is_read() {
        let text = "[package]\nname = \"plexus-x\"\n\n[dependencies]\n# Why.\na.workspace = true\n\
            b = { version = \"1\" }\n[features]\nf = [\"dep:a\"]\n[dev-dependencies]\nc-d.workspace = true\n";
        let found = Crate::parse(&File { path: "crates/x/Cargo.toml".into(), text: text.into() });
        let dependency = |name: &str, line, dev| Dependency { name: name.into(), line, dev };
        assert_eq!(
            found,
            Crate {
                name: "plexus-x".into(),
                folder: "crates/x".into(),
                dependencies: vec![dependency("a", 6, false), dependency("b", 7, false), dependency("c-d", 11, true)],
            }
        );
    }
}
