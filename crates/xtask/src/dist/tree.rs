//! The files of an archive, in memory.

use std::collections::BTreeMap;

/// Files and folders by their path, in the order of paths. Every folder of a file is there.
#[derive(Debug, Default)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// A file or folder. Everything belongs to root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Folder,
    File {
        /// The permission bits.
        mode: u32,
        bytes: Vec<u8>,
    },
}

impl Tree {
    /// Adds a file that everybody may read.
    pub(super) fn add(&mut self, path: &str, bytes: Vec<u8>) {
        self.add_with_mode(path, 0o644, bytes);
    }

    /// Adds a file that everybody may run.
    pub(super) fn add_program(&mut self, path: &str, bytes: Vec<u8>) {
        self.add_with_mode(path, 0o755, bytes);
    }

    fn add_with_mode(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        for (end, _) in path.match_indices('/') {
            self.entries.entry(path[..end].to_owned()).or_insert(Entry::Folder);
        }
        self.entries.insert(path.to_owned(), Entry::File { mode, bytes });
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Returns the paths and contents of all files.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries().filter_map(|(path, entry)| match entry {
            Entry::Folder => None,
            Entry::File { bytes, .. } => Some((path, bytes.as_slice())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Tree};

    #[test]
    fn folders_come_before_their_files() {
        let mut tree = Tree::default();
        tree.add_program("usr/bin/b", vec![1]);
        tree.add("usr/a", vec![2, 3]);
        let entries: Vec<_> = tree.entries().collect();
        assert_eq!(
            entries,
            [
                ("usr", &Entry::Folder),
                ("usr/a", &Entry::File { mode: 0o644, bytes: vec![2, 3] }),
                ("usr/bin", &Entry::Folder),
                ("usr/bin/b", &Entry::File { mode: 0o755, bytes: vec![1] }),
            ]
        );
    }
}
