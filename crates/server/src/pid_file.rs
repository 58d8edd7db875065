//! The pid file of a server in the background. The server holds a lock on it as long as it runs, so that a file left by
//! a crash is not taken for a running server, nor its number for another process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use plexus_base::config::Config;

/// A pid file with this process in it; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Held for its lock.
    _file: File,
}

/// Why the pid file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// A server runs already.
    #[error("already running: another process holds the pid file {0}")]
    Running(PathBuf),
    /// The file cannot be written.
    #[error("cannot write the pid file {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl PidFile {
    /// Writes this process's number to `path`.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub fn take(path: &Path) -> Result<Self, PidFileError> {
        let write_error = |source| PidFileError::Write { path: path.to_owned(), source };
        let mut file = File::options().create(true).truncate(false).write(true).open(path).map_err(write_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PidFileError::Running(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(write_error(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(write_error)?;
        Ok(Self { path: path.to_owned(), _file: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the path of the pid file: `pid_file`, or homeserver.pid beside the configuration.
pub fn path(config: &Config) -> PathBuf {
    path_of(config.server.pid_file.clone(), &config.config_dir)
}

/// As [`path`], for a configuration that was only read in part.
pub fn path_of(named: Option<PathBuf>, config_dir: &Path) -> PathBuf {
    named.unwrap_or_else(|| config_dir.join("homeserver.pid"))
}

/// Returns the process id of the running server that holds the file; `None` if none does.
///
/// # Errors
/// When the file is there but cannot be read.
pub fn running(path: &Path) -> io::Result<Option<u32>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let pid = text
                .trim()
                .parse()
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it does not hold a process id"))?;
            Ok(Some(pid))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_while_alive() {
        let path = std::env::temp_dir().join(format!("plexus-pid-{}", std::process::id()));
        assert_eq!(running(&path).unwrap(), None);
        let held = PidFile::take(&path).unwrap();
        assert_eq!(running(&path).unwrap(), Some(std::process::id()));
        assert!(matches!(PidFile::take(&path), Err(PidFileError::Running(_))));
        drop(held);
        assert!(!path.exists());
    }
}
