//! What is released: the program, and what it and the source have for those who install it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::tree::Tree;
use super::{Error, Release, licenses, output, read_bytes};

/// The documents beside those in `docs`.
const TOP_DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"];
/// How the names of documents in `docs` end.
const EXTENSIONS: [&str; 2] = ["md", "yaml"];
/// The shells that have completions.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Files by their path, relative to where their kind belongs.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug)]
pub(super) struct Contents {
    pub(super) binary: Vec<u8>,
    /// `plexus-serve.1`
    pub(super) manual_pages: Files,
    /// By the name of the shell.
    pub(super) completions: Files,
    /// `docs/install.md`
    pub(super) documents: Files,
    /// `contrib/systemd/plexus.service`
    pub(super) contributed: Files,
    /// The licences of the crates that the program contains.
    pub(super) third_party: String,
}

impl Contents {
    /// Reads the files of the source in `root`, and has the program write its manual pages and completions.
    pub(super) fn collect(root: &Path, binary: &Path) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        output(Command::new(binary).args(["man", "--output-dir"]).arg(folder.path()))?;
        let mut completions = Files::new();
        for shell in SHELLS {
            let script = output(Command::new(binary).args(["completion", shell]))?;
            completions.insert(shell.to_owned(), script.into_bytes());
        }
        let mut documents = files_below(root, "docs")?;
        documents.retain(|path, _| EXTENSIONS.iter().any(|extension| path.ends_with(&format!(".{extension}"))));
        for name in TOP_DOCUMENTS {
            documents.insert(name.to_owned(), read_bytes(&root.join(name))?);
        }
        Ok(Self {
            binary: read_bytes(binary)?,
            manual_pages: files_below(folder.path(), "")?,
            completions,
            documents,
            contributed: files_below(root, "contrib")?,
            third_party: licenses::of_dependencies(root)?,
        })
    }

    /// Returns the files of the archive for systems without packages, in one folder.
    pub(super) fn unpacked(&self, release: &Release) -> Tree {
        let top = format!("plexus-{}-{}", release.version, release.target);
        let mut tree = Tree::default();
        tree.add_program(&format!("{top}/plexus"), self.binary.clone());
        for (name, bytes) in &self.manual_pages {
            tree.add(&format!("{top}/man/{name}"), bytes.clone());
        }
        for (shell, bytes) in &self.completions {
            tree.add(&format!("{top}/completions/plexus.{shell}"), bytes.clone());
        }
        for (path, bytes) in self.documents.iter().chain(&self.contributed) {
            tree.add(&format!("{top}/{path}"), bytes.clone());
        }
        tree.add(&format!("{top}/third-party.txt"), self.third_party.clone().into_bytes());
        tree
    }
}

/// Returns the files in `root/folder` and its folders, by their paths relative to `root`.
fn files_below(root: &Path, folder: &str) -> Result<Files, Error> {
    let place = root.join(folder);
    let mut files = Files::new();
    for entry in fs::read_dir(&place).map_err(|error| Error::file(&place, error))? {
        let entry = entry.map_err(|error| Error::file(&place, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.path().is_dir() {
            files.append(&mut files_below(root, &path)?);
        } else {
            let bytes = read_bytes(&entry.path())?;
            files.insert(path, bytes);
        }
    }
    Ok(files)
}
