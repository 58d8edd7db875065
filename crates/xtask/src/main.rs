//! Development tasks, run as `cargo xtask TASK`.
//!
//! [`ci`] is everything a change must pass. [`tidy`] keeps the rules that no compiler checks. [`book`] builds docs/.
//! [`whereis`] finds the file of an endpoint. [`dist`] makes what is released.

#![warn(unreachable_pub)]

mod book;
mod ci;
mod dist;
mod expression;
mod modules;
mod requests;
mod routes;
mod source;
mod tidy;
mod whereis;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
Usage:
  cargo xtask ci [STEP...]         everything a change must pass, or only the steps named
  cargo xtask book                 docs/ as a book, in target/book/docs
  cargo xtask tidy [--update]      the rules of style and structure; --update lowers the list of exceptions
  cargo xtask dist [OPTIONS]       what is released, in target/dist or --output DIR; --binary PATH packs a program
                                   that is built already, --pgo builds it by a profile of a run under load
  cargo xtask where METHOD /path   the file of an endpoint, and where it is tested";

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Read(#[from] workspace::ReadError),
    #[error(transparent)]
    Ci(#[from] ci::Error),
    #[error(transparent)]
    Book(#[from] book::Error),
    #[error(transparent)]
    Dist(#[from] dist::Error),
    #[error(transparent)]
    Tidy(#[from] tidy::Error),
    #[error(transparent)]
    Where(#[from] whereis::Error),
    #[error("{USAGE}")]
    Usage,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Error> {
    let root = workspace::root();
    match arguments {
        ["ci", steps @ ..] => ci::run(&root, steps)?,
        ["book"] => book::build(&root)?,
        ["dist", options @ ..] => dist::run(&root, options)?,
        ["tidy"] => tidy::check(&root)?,
        ["tidy", "--update"] => tidy::update(&root)?,
        ["where", method, path] => whereis::run(&root, method, path)?,
        _ => return Err(Error::Usage),
    }
    Ok(())
}
