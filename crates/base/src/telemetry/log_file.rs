//! Log files with rotation.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::date;
use crate::{Clock, private};
use parking_lot::Mutex;

const DAY_MS: u64 = 86_400_000;

/// When a log file is rotated, and how many old files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Never by this program. Whoever moves the file sends SIGHUP.
    Never,
    /// Never by this program. Whoever moves the file sends no signal: the next record goes to a new file.
    Watched,
    /// At midnight UTC. With 0 backups all old files are kept.
    Daily {
        /// How many old files are kept.
        backups: usize,
    },
    /// Before the file exceeds this many bytes. With 0 backups, or 0 bytes, never.
    Size {
        /// The size at which the file is rotated.
        bytes: u64,
        /// How many old files are kept.
        backups: usize,
    },
}

/// An open log file. Clones write to the same file.
#[derive(Debug, Clone)]
pub(super) struct LogFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    rotation: Rotation,
    clock: Clock,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    /// Days since 1970 at the last write.
    day: u64,
    /// Whether the failure to reopen the file has been reported on standard error.
    complained: bool,
}

impl Open {
    /// Reopens the file. If that fails, records continue to go to the open file: losing them would be worse.
    fn renew(&mut self, path: &Path, today: u64) {
        match append(path, today) {
            Ok(open) => *self = open,
            Err(error) if !self.complained => {
                self.complained = true;
                // There is no other place to report it.
                let _ = writeln!(
                    io::stderr(),
                    "cannot reopen the log file {}: {error}; records continue to go to the file that was moved",
                    path.display()
                );
            }
            Err(_) => {}
        }
    }
}

impl LogFile {
    /// Opens the file for appending.
    pub(super) fn open(path: &Path, rotation: Rotation, clock: Clock) -> io::Result<Self> {
        let mut open = append(path, 0)?;
        let written = open.file.metadata()?.modified()?;
        let written = written.duration_since(std::time::UNIX_EPOCH);
        open.day = match written {
            Ok(written) if open.size > 0 => written.as_secs() / 86_400,
            _ => clock.now_ms() / DAY_MS,
        };
        Ok(Self(Arc::new(Shared { path: path.to_owned(), rotation, clock, open: Mutex::new(open) })))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Reopens the file by its name.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut open = self.0.open.lock();
        *open = append(&self.0.path, open.day)?;
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let shared = &*self.0;
        let mut open = shared.open.lock();
        let today = shared.clock.now_ms() / DAY_MS;
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
        if shared.rotation == Rotation::Watched && is_moved(&shared.path, &open.file) {
            open.renew(&shared.path, today);
        }
        let due = match shared.rotation {
            Rotation::Never | Rotation::Watched => false,
            Rotation::Daily { .. } => today != open.day,
            Rotation::Size { bytes, backups } => {
                bytes > 0 && backups > 0 && open.size > 0 && open.size + length > bytes
            }
        };
        if due {
            // A file that cannot be rotated is continued: losing records would be worse.
            // One that is no longer at its path has been set aside, and its successor could not be opened.
            if !is_moved(&shared.path, &open.file) {
                let _ = set_aside(&shared.path, shared.rotation, open.day);
            }
            open.renew(&shared.path, today);
        }
        open.file.write_all(record)?;
        open.size += length;
        open.day = today;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append(path: &Path, day: u64) -> io::Result<Open> {
    let file = private::options().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok(Open { file, size, day, complained: false })
}

/// Whether there is a different file, or none, at `path` now.
fn is_moved(path: &Path, open: &File) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    match (fs::metadata(path).map(identity), open.metadata().map(identity)) {
        (Ok(found), Ok(open)) => found != open,
        _ => true,
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn set_aside(path: &Path, rotation: Rotation, day: u64) -> io::Result<()> {
    match rotation {
        Rotation::Never | Rotation::Watched => Ok(()),
        Rotation::Daily { backups } => {
            fs::rename(path, with_ending(path, &format!(".{}", date(day))))?;
            remove_oldest(path, backups)
        }
        Rotation::Size { backups, .. } => {
            let numbered = |number| with_ending(path, &format!(".{number}"));
            for number in (1..backups).rev() {
                if numbered(number).exists() {
                    fs::rename(numbered(number), numbered(number + 1))?;
                }
            }
            fs::rename(path, numbered(1))
        }
    }
}

/// Keeps the newest `backups` files of earlier days; all of them when 0.
fn remove_oldest(path: &Path, backups: usize) -> io::Result<()> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(());
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut old = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let file_name = entry.file_name();
        let ending = file_name.to_str().and_then(|file| file.strip_prefix(name));
        if ending.is_some_and(is_date_ending) {
            old.push(entry.path());
        }
    }
    if backups == 0 {
        return Ok(());
    }
    old.sort();
    let surplus = old.len().saturating_sub(backups);
    old.iter().take(surplus).try_for_each(fs::remove_file)
}

/// Whether `ending` has the form `.2026-11-21`.
fn is_date_ending(ending: &str) -> bool {
    ending.len() == 11
        && ending.bytes().enumerate().all(|(index, byte)| match index {
            0 => byte == b'.',
            5 | 8 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let name = format!("plexus-log-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("readable");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("readable").file_name();
        let mut names: Vec<String> = entries.map(|entry| name(entry).into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn a_daily_file_is_set_aside_at_midnight_and_the_oldest_removed() {
        let folder = folder("daily");
        let clock = Clock::manual(20_778 * DAY_MS + 5);
        let rotation = Rotation::Daily { backups: 2 };
        let mut log = LogFile::open(&folder.join("log"), rotation, clock.clone()).expect("opens");
        for _ in 0..5 {
            log.write_all(b"a record\n").expect("writable");
            log.write_all(b"another\n").expect("writable");
            clock.advance(Duration::from_millis(DAY_MS));
        }
        assert_eq!(names(&folder), ["log", "log.2026-11-23", "log.2026-11-24"]);
        let kept = fs::read_to_string(folder.join("log.2026-11-24")).expect("readable");
        assert_eq!(kept, "a record\nanother\n");
        fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn a_file_bounded_by_size_is_set_aside_before_it_is_too_large() {
        let folder = folder("size");
        let rotation = Rotation::Size { bytes: 20, backups: 2 };
        let path = folder.join("log");
        let mut log = LogFile::open(&path, rotation, Clock::manual(0)).expect("opens");
        for record in [&b"111111111\n"[..], b"222222222\n", b"333333333\n"] {
            log.write_all(record).expect("writable");
        }
        assert_eq!(names(&folder), ["log", "log.1"]);
        assert_eq!(fs::read(&path).expect("readable"), b"333333333\n");
        fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn a_watched_file_moved_away_is_created_again_with_the_next_record() {
        let folder = folder("watched");
        let path = folder.join("log");
        let mut log = LogFile::open(&path, Rotation::Watched, Clock::manual(0)).expect("opens");
        log.write_all(b"first\n").expect("writable");
        fs::rename(&path, folder.join("moved")).expect("movable");
        log.write_all(b"second\n").expect("writable");
        // Moved, and another file created in its place.
        fs::rename(&path, folder.join("moved.2")).expect("movable");
        fs::write(&path, b"new\n").expect("writable");
        log.write_all(b"third\n").expect("writable");
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("readable");
        assert_eq!([read("moved"), read("moved.2"), read("log")], ["first\n", "second\n", "new\nthird\n"]);
        fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn a_file_that_cannot_be_reopened_is_continued() {
        let folder = folder("kept");
        let path = folder.join("log");
        let mut log = LogFile::open(&path, Rotation::Watched, Clock::manual(0)).expect("opens");
        fs::rename(&path, folder.join("moved")).expect("movable");
        fs::create_dir(&path).expect("writable");
        log.write_all(b"a record\n").expect("the open file can be written");
        fs::remove_dir(&path).expect("removable");
        log.write_all(b"another\n").expect("writable");
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("readable");
        assert_eq!([read("moved"), read("log")], ["a record\n", "another\n"]);
        fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn a_file_moved_away_is_reopened_when_asked() {
        let folder = folder("reopen");
        let path = folder.join("log");
        let mut log = LogFile::open(&path, Rotation::Never, Clock::manual(0)).expect("opens");
        fs::rename(&path, folder.join("moved")).expect("movable");
        log.reopen().expect("opens");
        log.write_all(b"a record\n").expect("writable");
        assert_eq!(fs::read(&path).expect("readable"), b"a record\n");
        fs::remove_dir_all(folder).expect("removable");
    }
}
