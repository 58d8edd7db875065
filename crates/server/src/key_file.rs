//! The signing key's file, in Synapse's format.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use plexus_base::config::Config;
use plexus_base::{Random, private};
use plexus_protocol::event::sign::{KeyFileError, SigningKey};

/// Why the signing key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file does not exist.
    #[error(
        "there is no signing key {0}: restore it from a backup if this server has run before, because other servers \
         know it by its key; for a new server, `plexus serve --generate-missing-and-run` makes one"
    )]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("cannot read the signing key {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file does not hold a key.
    #[error("the signing key {path} is broken: {source}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// `signing_key` does not hold a key.
    #[error("signing_key is broken: {0}")]
    BrokenOption(KeyFileError),
    /// The file holds a key that is public.
    #[error(
        "the signing key {0} must not be used: the same key was generated for many servers and is public \
         (CVE-2026-24044), so anybody could act as this server; make another with \
         `plexus generate-signing-key -o FILE` and set signing_key_path to it"
    )]
    Leaked(PathBuf),
    /// The file cannot be written.
    #[error("cannot write the signing key {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Returns the signing key that the configuration holds, or names.
///
/// # Errors
/// See [`KeyError`].
pub fn of(config: &Config) -> Result<SigningKey, KeyError> {
    match &config.keys.signing_key {
        Some(key) => SigningKey::parse_file(key.expose()).map_err(KeyError::BrokenOption),
        None => read(&config.signing_key_path()),
    }
}

/// Returns the option that holds or names the signing key.
pub fn option(config: &Config) -> &'static str {
    if config.keys.signing_key.is_some() { "signing_key" } else { "signing_key_path" }
}

/// Reads the key.
///
/// # Errors
/// See [`KeyError`].
pub fn read(path: &Path) -> Result<SigningKey, KeyError> {
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        _ => KeyError::Read { path: path.to_owned(), source },
    })?;
    private::warn_if_open(path);
    SigningKey::parse_file(&text).map_err(|source| match source {
        KeyFileError::Leaked => KeyError::Leaked(path.to_owned()),
        source => KeyError::Broken { path: path.to_owned(), source },
    })
}

/// Generates a key with a version in Synapse's form: `a_` and four letters.
pub fn make(random: &Random) -> SigningKey {
    let version = format!("a_{}", random.alphanumeric(4));
    SigningKey::generate(&random.bytes(), &version)
}

/// Writes the key to a new file that only its owner can read.
///
/// # Errors
/// [`KeyError::Write`].
pub fn write(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    private::create_new(path)
        .and_then(|mut file| {
            writeln!(file, "{}", key.to_file_line())?;
            file.sync_all()
        })
        .map_err(|source| KeyError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_key_is_read() {
        let key = make(&Random::seeded(1));
        let line = key.to_file_line();
        assert!(line.starts_with("ed25519 a_"), "{line}");
        let read = SigningKey::parse_file(&line).unwrap();
        assert_eq!(read.key_id(), key.key_id());
        assert_eq!(read.public_key_base64(), key.public_key_base64());
    }
}
