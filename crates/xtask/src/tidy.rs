//! The rules of style and structure that no compiler checks.
//!
//! Each rule is a file below; [`exceptions`] holds what breaks a rule today. That list only shrinks: a file that gets
//! worse fails, and so does one that got better without the list being lowered.

mod book;
mod circles;
mod crates;
mod endpoints;
mod exceptions;
mod links;
mod size;
mod sockets;
mod tasks;
mod words;

use std::path::Path;

use crate::source::Source;
use crate::workspace::{ReadError, Workspace};

use exceptions::Exceptions;

/// Why the tree is not tidy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Exceptions(#[from] exceptions::ParseError),
    #[error("cargo xtask tidy: {0} rules are broken more often than {path} allows, see above",
        path = exceptions::PATH)]
    Worse(usize),
    #[error("cargo xtask tidy: fewer exceptions are needed than {path} lists: run cargo xtask tidy --update",
        path = exceptions::PATH)]
    Better,
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Circles,
    Columns,
    CrateOrder,
    Endpoints,
    FileLines,
    FunctionLines,
    Links,
    Sockets,
    Tasks,
    UnusedDependencies,
    Words,
}

impl Rule {
    const ALL: [Self; 11] = [
        Self::Circles,
        Self::Columns,
        Self::CrateOrder,
        Self::Endpoints,
        Self::FileLines,
        Self::FunctionLines,
        Self::Links,
        Self::Sockets,
        Self::Tasks,
        Self::UnusedDependencies,
        Self::Words,
    ];

    /// Its name in the list of exceptions.
    fn name(self) -> &'static str {
        match self {
            Self::Circles => "circles",
            Self::Columns => "columns",
            Self::CrateOrder => "crate-order",
            Self::Endpoints => "endpoints",
            Self::FileLines => "file-lines",
            Self::FunctionLines => "function-lines",
            Self::Links => "links",
            Self::Sockets => "sockets",
            Self::Tasks => "tasks",
            Self::UnusedDependencies => "unused-dependencies",
            Self::Words => "words",
        }
    }

    /// What to do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Circles => {
                "Modules of one folder must not use each other in a circle. Cut the arrow that runs the wrong way: \
                 move the item that both need into a module below them, or pass it as an argument."
            }
            Self::Columns => "Wrap the line; rustfmt leaves comments and strings to you.",
            Self::CrateOrder => "A crate uses only crates below it. The order is in crates/xtask/src/tidy/crates.rs.",
            Self::Endpoints => {
                "An endpoint's file is its module path in ruma, so that anybody finds it. Move the file and its line \
                 in routes.rs."
            }
            Self::FileLines => "Split the file by subject; long tests move to a sibling tests.rs.",
            Self::FunctionLines => "Split the function into steps with names.",
            Self::Links => "The file was moved or renamed: say where the subject is now.",
            Self::Sockets => "Send it through plexus_net::HttpClient, with a purpose of its own.",
            Self::Tasks => "Spawn it through plexus_base::Background, with a name.",
            Self::UnusedDependencies => "Remove the line from the manifest: nothing names the crate.",
            Self::Words => "Say it in the specification's words and plain English; see CONTRIBUTING.md.",
        }
    }
}

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    rule: Rule,
    /// A file, or a folder.
    path: String,
    /// Counted from 1; 0 for a whole file or folder.
    line: usize,
    /// How often, when one message stands for several: lines too many, modules in a circle.
    count: usize,
    message: String,
}

/// Prints what is worse than the list of exceptions allows.
pub(crate) fn check(root: &Path) -> Result<(), Error> {
    let violations = violations(root, &Workspace::read(root)?);
    let allowed = Exceptions::read(root)?;
    let found = Exceptions::of(&violations);
    let worse = found.beyond(&allowed);
    for rule in Rule::ALL {
        let mut broken = false;
        for violation in violations.iter().filter(|it| it.rule == rule && worse.contains(&(it.path.as_str(), rule))) {
            println!("{violation}");
            broken = true;
        }
        if broken {
            println!("  {}: {}\n", rule.name(), rule.advice());
        }
    }
    match worse.len() {
        0 if allowed.beyond(&found).is_empty() => {
            println!("cargo xtask tidy: {} exceptions are left", found.total());
            Ok(())
        }
        0 => Err(Error::Better),
        count => Err(Error::Worse(count)),
    }
}

/// Lowers the list of exceptions to what is needed. Files may have been moved; no rule may be broken more often in
/// all. Without a list, writes one.
pub(crate) fn update(root: &Path) -> Result<(), Error> {
    let found = Exceptions::of(&violations(root, &Workspace::read(root)?));
    if root.join(exceptions::PATH).exists() {
        let allowed = Exceptions::read(root)?;
        let worse = Rule::ALL.map(|rule| (rule, allowed.total_of(rule), found.total_of(rule)));
        let worse: Vec<_> = worse.into_iter().filter(|(_, before, now)| now > before).collect();
        for (rule, before, now) in &worse {
            println!("{}: {now} in all, {before} before. {}", rule.name(), rule.advice());
        }
        if !worse.is_empty() {
            return Err(Error::Worse(worse.len()));
        }
    }
    found.write(root)?;
    println!("{}: {} exceptions", exceptions::PATH, found.total());
    Ok(())
}

fn violations(root: &Path, workspace: &Workspace) -> Vec<Violation> {
    let sources: Vec<_> = workspace.rust.iter().map(Source::new).collect();
    let mut found = Vec::new();
    for source in &sources {
        size::check(source, &mut found);
        sockets::check(source, &mut found);
        tasks::check(source, &mut found);
        words::check_source(source, &mut found);
    }
    for document in &workspace.documents {
        words::check_document(document, &mut found);
    }
    links::check(&workspace.documents, &sources, &mut found);
    links::check_targets(root, &workspace.documents, &mut found);
    book::check(&workspace.documents, &mut found);
    circles::check(&workspace.crates, &sources, &mut found);
    crates::check(&workspace.crates, &sources, &mut found);
    endpoints::check(&workspace.crates, &sources, &mut found);
    found
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Returns the lines in which a rule is broken by a file with this path and text.
#[cfg(test)]
fn broken_lines(check: fn(&Source<'_>, &mut Vec<Violation>), path: &str, text: &str) -> Vec<usize> {
    let file = crate::source::File { path: path.into(), text: text.into() };
    let mut found = Vec::new();
    check(&Source::new(&file), &mut found);
    found.into_iter().map(|it| it.line).collect()
}
