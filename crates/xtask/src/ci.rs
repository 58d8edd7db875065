//! Everything a change must pass. `.ci/run` installs what the tests talk to, then runs this.

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::{book, tidy};

/// How long each fuzz target runs.
const FUZZ_SECONDS: &str = "60";

/// Why a change does not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{name} is no step; the steps are {steps}", steps = STEPS.map(|step| step.name).join(", "))]
    UnknownStep { name: String },
    #[error("{0} cannot be run: {1}")]
    CannotRun(String, io::Error),
    #[error("cargo xtask ci: this failed: {0}")]
    Failed(String),
    #[error(transparent)]
    Tidy(#[from] tidy::Error),
    #[error(transparent)]
    Book(#[from] book::Error),
}

struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<(), Error>,
}

/// In this order, so that what fails soonest comes first.
const STEPS: [Step; 8] = [
    Step { name: "fmt", run: fmt },
    Step { name: "tidy", run: |root| Ok(tidy::check(root)?) },
    Step { name: "book", run: build_book },
    Step { name: "clippy", run: clippy },
    Step { name: "doc", run: doc },
    Step { name: "deny", run: deny },
    Step { name: "test", run: test },
    Step { name: "fuzz", run: fuzz },
];

/// Runs the steps named, or all of them, until one fails. Says at the end what was left out because it is not
/// installed.
pub(crate) fn run(root: &Path, names: &[&str]) -> Result<(), Error> {
    if let Some(name) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Err(Error::UnknownStep { name: (*name).to_owned() });
    }
    let steps: Vec<_> = STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)).collect();
    for step in &steps {
        println!("== {}", step.name);
        (step.run)(root)?;
    }
    println!("== passed{}", if names.is_empty() { "" } else { " (only the steps named)" });
    for step in &steps {
        for part in left_out(root, step.name) {
            println!("LEFT OUT of {}: {part}", step.name);
        }
    }
    Ok(())
}

fn fmt(root: &Path) -> Result<(), Error> {
    execute(root, "cargo fmt --all --check", &[])?;
    execute(root, "cargo fmt --manifest-path fuzz/Cargo.toml --check", &[])
}

fn build_book(root: &Path) -> Result<(), Error> {
    if is_on_path("mdbook") { Ok(book::build(root)?) } else { Ok(()) }
}

fn clippy(root: &Path) -> Result<(), Error> {
    execute(root, "cargo clippy --workspace --all-targets --locked -- -D warnings", &[])
}

fn doc(root: &Path) -> Result<(), Error> {
    execute(root, "cargo doc --workspace --no-deps --locked", &[("RUSTDOCFLAGS", "-D warnings")])
}

/// Licences, sources and banned crates; known vulnerabilities only where their database can be fetched.
fn deny(root: &Path) -> Result<(), Error> {
    if !has_cargo_deny() {
        return Ok(());
    }
    execute(root, "cargo deny --locked check bans licenses sources", &[])?;
    if env::var_os("CI").is_none() {
        execute(root, "cargo deny --locked check advisories", &[])?;
    }
    Ok(())
}

fn test(root: &Path) -> Result<(), Error> {
    // A response that differs from its snapshot fails, and no new snapshot is written.
    execute(root, "cargo test --workspace --locked", &[("INSTA_UPDATE", "no")])
}

fn fuzz(root: &Path) -> Result<(), Error> {
    if !is_on_path("c++") {
        return Ok(());
    }
    execute(root, &format!("fuzz/run.sh {FUZZ_SECONDS}"), &[])
}

/// What a step has not done on this machine, and what would have to be installed.
fn left_out(root: &Path, step: &str) -> Vec<&'static str> {
    let lacks = |path: &str| !root.join(path).exists();
    let all: &[(&str, bool, &str)] = &[
        ("book", !is_on_path("mdbook"), "all of it: cargo install mdbook"),
        ("deny", !has_cargo_deny(), "all of it: cargo install cargo-deny"),
        ("deny", env::var_os("CI").is_some(), "advisories: their database is not fetched in CI"),
        ("test", !has_postgresql(), "the PostgreSQL half of the tests: install postgresql"),
        ("test", lacks("tests/clients/js-sdk/node_modules"), "matrix-js-sdk: run tests/clients/install.sh"),
        ("test", lacks("tests/clients/element-call/node_modules"), "Element Call: run tests/clients/install.sh"),
        ("test", lacks("tests/clients/nio/.venv"), "matrix-nio: run tests/clients/install.sh"),
        ("test", lacks("tests/peers/venv"), "federation with Synapse: run tests/peers/install.sh"),
        ("test", !is_on_path("chromium"), "the login page and Element Call in a browser: install chromium"),
        ("test", !is_on_path("fail2ban-server"), "fail2ban's reading of the log: install fail2ban"),
        ("test", lacks("/lib/systemd/systemd-journald"), "logging to the journal: install systemd"),
        ("test", lacks("tests/packaging/root.tar"), "the package and the container: run tests/packaging/install.sh"),
        ("test", !is_on_path("lintian"), "the Debian package: install lintian"),
        ("test", !is_on_path("logrotate"), "rotating the log: install logrotate"),
        ("test", !is_on_path("buildah"), "the container: install buildah"),
        ("test", env::var_os("PLEXUS_SEEDS").is_none(), "most of the simulation's seeds: set PLEXUS_SEEDS=1000"),
        ("test", !is_on_path("turnserver"), "the page on TURN: install coturn"),
        ("test", !is_on_path("nheko") || !is_on_path("gdbus"), "nheko: install nheko, dbus and libglib2.0-bin"),
        ("fuzz", !is_on_path("c++"), "all of it: install g++"),
    ];
    all.iter().filter(|(of_step, is_left_out, _)| *of_step == step && *is_left_out).map(|(.., text)| *text).collect()
}

fn execute(root: &Path, line: &str, environment: &[(&str, &str)]) -> Result<(), Error> {
    println!("   {line}");
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).envs(environment.iter().copied()).current_dir(root);
    let status = command.status().map_err(|error| Error::CannotRun(line.to_owned(), error))?;
    if status.success() { Ok(()) } else { Err(Error::Failed(line.to_owned())) }
}

fn has_cargo_deny() -> bool {
    is_on_path("cargo-deny")
}

/// Whether `initdb` is where the tests look for it.
fn has_postgresql() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    is_on_path("initdb") || versions.into_iter().any(|version| version.path().join("bin/initdb").exists())
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
