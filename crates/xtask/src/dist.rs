//! `cargo xtask dist`: what a release consists of, built so that the same source gives the same bytes.
//!
//! [`build`] makes the program, [`contents`] collects what is installed beside it, and [`archive`] and [`debian`] pack
//! both. Times in archives are those of `SOURCE_DATE_EPOCH`, or else of the last commit.

mod archive;
mod build;
mod contents;
mod debian;
mod licenses;
mod notes;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use contents::Contents;

/// Why a release could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{line} cannot be run: {error}")]
    CannotRun { line: String, error: io::Error },
    #[error("this failed: {line}\n{message}")]
    Failed { line: String, message: String },
    #[error("{0} is no option of dist; there are --binary PATH, --output DIR and --pgo")]
    UnknownOption(String),
    #[error("{0} needs a value")]
    NoValue(&'static str),
    #[error("--binary names a program that is built already, and --pgo builds one")]
    BinaryAndPgo,
    #[error("SOURCE_DATE_EPOCH is not a number of seconds: {0}")]
    Time(String),
    #[error("{place} has no {what}")]
    Missing { place: &'static str, what: &'static str },
    #[error("there is no Debian architecture for {0} here")]
    Architecture(String),
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
    #[error("cargo metadata is not understood: {0}")]
    Metadata(#[from] serde_json::Error),
}

/// What is released.
#[derive(Debug)]
struct Release {
    version: String,
    /// The compiler's name of the machine that the program is for: `x86_64-unknown-linux-gnu`.
    target: String,
    /// The time of everything in the archives, in seconds since 1970.
    time: u64,
}

/// The options of the command.
#[derive(Debug, Default)]
struct Options {
    binary: Option<PathBuf>,
    output: Option<PathBuf>,
    pgo: bool,
}

/// Builds the program, unless one is given, and packs it.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), Error> {
    let options = Options::parse(arguments)?;
    let release = Release { version: version(root)?, target: build::host(root)?, time: time(root)? };
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None if options.pgo => build::guided(root)?,
        None => build::plain(root, &release)?,
    };
    let contents = Contents::collect(root, &binary)?;
    let output = options.output.unwrap_or_else(|| root.join("target/dist"));
    fs::create_dir_all(&output).map_err(|error| Error::file(&output, error))?;
    let Release { version, target, .. } = &release;
    let files = BTreeMap::from([
        (format!("plexus-{version}-{target}.tar.gz"), archive::tar_gz(&contents.unpacked(&release), release.time)?),
        (debian::file_name(&release)?, debian::package(root, &release, &contents)?),
        ("RELEASE-NOTES.md".to_owned(), notes::of_version(root, version)?.into_bytes()),
    ]);
    for (name, bytes) in &files {
        write(&output.join(name), bytes)?;
    }
    write(&output.join("SHA256SUMS"), checksums(&files).as_bytes())?;
    println!("{}", output.display());
    Ok(())
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut path = |name| arguments.next().map(PathBuf::from).ok_or(Error::NoValue(name));
            match *argument {
                "--binary" => options.binary = Some(path("--binary")?),
                "--output" => options.output = Some(path("--output")?),
                "--pgo" => options.pgo = true,
                other => return Err(Error::UnknownOption(other.to_owned())),
            }
        }
        if options.pgo && options.binary.is_some() { Err(Error::BinaryAndPgo) } else { Ok(options) }
    }
}

impl Error {
    fn file(path: &Path, error: io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }
}

/// Returns the lines of `SHA256SUMS`.
fn checksums(files: &BTreeMap<String, Vec<u8>>) -> String {
    files.iter().fold(String::new(), |mut text, (name, bytes)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}  {name}", hexadecimal(&Sha256::digest(bytes)));
        text
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the version of the workspace.
fn version(root: &Path) -> Result<String, Error> {
    let manifest = read(&root.join("Cargo.toml"))?;
    let section = manifest.split("[workspace.package]").nth(1).unwrap_or_default();
    let line = section.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    version.map(ToOwned::to_owned).ok_or(Error::Missing { place: "Cargo.toml", what: "workspace.package.version" })
}

/// Returns the time of the release, in seconds since 1970: that of `SOURCE_DATE_EPOCH`, or else of the last commit.
fn time(root: &Path) -> Result<u64, Error> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root))?,
    };
    text.trim().parse().map_err(|_| Error::Time(text))
}

/// Runs a command and returns what it prints.
fn output(command: &mut Command) -> Result<String, Error> {
    let line = words(command);
    let output = command.output().map_err(|error| Error::CannotRun { line: line.clone(), error })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Failed { line, message: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::file(path, error))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::file(path, error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|error| Error::file(path, error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Read as _;
    use std::path::Path;
    use std::process::Command;

    use super::{Error, Options, checksums, output, run};
    use crate::workspace;

    const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/program.sh");

    /// Packs the program from the sources at `root`, and returns the files, by their names.
    fn packed(root: &Path) -> BTreeMap<String, Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        run(root, &["--binary", PROGRAM, "--output", folder.path().to_str().unwrap()]).unwrap();
        let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    }

    #[test]
    fn the_same_source_gives_the_same_bytes_in_every_folder() {
        let folder = tempfile::tempdir().unwrap();
        let clones = ["a", "with/a longer/name"].map(|name| folder.path().join(name));
        for clone in &clones {
            output(Command::new("git").args(["clone", "--quiet"]).arg(workspace::root()).arg(clone)).unwrap();
        }
        let files = packed(&clones[0]);
        assert_eq!(files.len(), 4, "{:?}", files.keys());
        assert!(files == packed(&clones[1]));

        let archive = files.iter().find(|(name, _)| name.ends_with(".tar.gz")).unwrap().1;
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(archive.as_slice()).read_to_end(&mut text).unwrap();
        let contains = |wanted: &str| text.windows(wanted.len()).any(|part| part == wanted.as_bytes());
        assert!(contains(".TH plexus 1") && contains("/contrib/systemd/plexus.service"));
        assert!(!contains(folder.path().to_str().unwrap()), "a path of this machine is in the archive");
    }

    #[test]
    fn options_are_read() {
        let options = Options::parse(&["--output", "/a", "--binary", "/b"]).unwrap();
        assert_eq!((options.output.unwrap(), options.binary.unwrap()), ("/a".into(), "/b".into()));
        assert!(matches!(Options::parse(&["--binary"]), Err(Error::NoValue("--binary"))));
        assert!(matches!(Options::parse(&["--fast"]), Err(Error::UnknownOption(_))));
        assert!(matches!(Options::parse(&["--pgo", "--binary", "/b"]), Err(Error::BinaryAndPgo)));
    }

    #[test]
    fn checksums_are_in_the_form_of_sha256sum() {
        let files = BTreeMap::from([("b".to_owned(), b"abc".to_vec()), ("a".to_owned(), Vec::new())]);
        assert_eq!(
            checksums(&files),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
        );
    }
}
