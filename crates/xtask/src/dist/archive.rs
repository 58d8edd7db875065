//! Compressed archives that depend on nothing but their contents and the time they are given.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};

use super::tree::{Entry, Tree};

/// Returns a compressed tar archive of `tree`. Entries belong to root and are from `time`, in seconds since 1970.
pub(super) fn tar_gz(tree: &Tree, time: u64) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in tree.entries() {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        match entry {
            Entry::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                archive.append_data(&mut header, format!("./{path}/"), io::empty())?;
            }
            Entry::File { mode, bytes } => {
                header.set_mode(*mode);
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, format!("./{path}"), bytes.as_slice())?;
            }
        }
    }
    compress(&archive.into_inner()?, Compression::default())
}

/// Returns `bytes` compressed as `gzip -9n` does it, which Debian wants for documents.
pub(super) fn gz(bytes: &[u8]) -> io::Result<Vec<u8>> {
    compress(bytes, Compression::best())
}

/// Without a name or a time.
fn compress(bytes: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut compressor = GzBuilder::new().write(Vec::new(), level);
    compressor.write_all(bytes)?;
    compressor.finish()
}

/// Returns an archive in the format of ar(5), which Debian packages have.
pub(super) fn ar(members: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let header = format!("{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, "100644", bytes.len());
        archive.extend(header.as_bytes());
        archive.extend(*bytes);
        if bytes.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::{ar, tar_gz};
    use crate::dist::tree::Tree;

    #[test]
    fn the_order_of_additions_does_not_matter() {
        let mut one = Tree::default();
        one.add("a/b", vec![1]);
        one.add("c", vec![2]);
        let mut other = Tree::default();
        other.add("c", vec![2]);
        other.add("a/b", vec![1]);
        assert_eq!(tar_gz(&one, 7).unwrap(), tar_gz(&other, 7).unwrap());
        assert_ne!(tar_gz(&one, 7).unwrap(), tar_gz(&one, 8).unwrap());
    }

    #[test]
    fn members_of_an_archive_begin_at_even_places() {
        let archive = ar(&[("one", b"abc"), ("two", b"de")], 5);
        let text = String::from_utf8(archive).unwrap();
        let header = |name: &str, size: u32| format!("{name:<16}{:<12}0     0     100644  {size:<10}`\n", 5);
        assert_eq!(text, format!("!<arch>\n{}abc\n{}de", header("one", 3), header("two", 2)));
    }
}
