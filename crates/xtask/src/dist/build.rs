//! Building the program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, Release, output, words};

/// What separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Returns the compiler's name of this machine.
pub(super) fn host(root: &Path) -> Result<String, Error> {
    let text = output(Command::new("rustc").arg("-vV").current_dir(root))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned).ok_or(Error::Missing { place: "rustc -vV", what: "host" })
}

/// Builds the program with the profile `dist`, and returns its path. No path of this machine is in it.
pub(super) fn plain(root: &Path, release: &Release) -> Result<PathBuf, Error> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    // Of several prefixes that match the last one counts.
    let mut prefixes = vec![(root.to_owned(), "/plexus"), (target.clone(), "/plexus/target")];
    prefixes.extend(cargo_home.map(|home| (home, "/cargo")));
    let flags = |name: &str, separator: &str| {
        let flags = prefixes.iter().map(|(path, stands_for)| format!("{name}={}={stands_for}", path.display()));
        flags.collect::<Vec<_>>().join(separator)
    };
    let c_flags = flags("-ffile-prefix-map", " ");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--profile", "dist", "--package", "plexus-server", "--locked"])
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags("--remap-path-prefix", FLAG_SEPARATOR))
        .env("CFLAGS", &c_flags)
        .env("CXXFLAGS", &c_flags)
        .env("SOURCE_DATE_EPOCH", release.time.to_string());
    let line = words(&command);
    let status = command.status().map_err(|error| Error::CannotRun { line: line.clone(), error })?;
    if status.success() { Ok(target.join("dist/plexus")) } else { Err(Error::Failed { line, message: String::new() }) }
}

/// Builds the program by the profile of a run under load, and returns its path. Two such builds are not the same.
pub(super) fn guided(root: &Path) -> Result<PathBuf, Error> {
    let mut command = Command::new(root.join("bench/release.sh"));
    // It says what it does, or that llvm-profdata is missing, on the standard error.
    let path = output(command.current_dir(root).stderr(Stdio::inherit()))?;
    Ok(PathBuf::from(path.trim()))
}
