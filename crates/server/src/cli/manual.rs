//! `plexus completion` and `plexus man`: completions for a shell, and manual pages.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::command::CommandError;
use crate::output;

/// Arguments of `plexus completion`.
#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "bash|zsh|fish", value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

/// Arguments of `plexus man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The command whose page is printed, such as `serve` or `user lock`; without it, the page of plexus itself
    #[arg(value_name = "COMMAND", conflicts_with = "output_dir")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// There is no such command.
#[derive(Debug, thiserror::Error)]
#[error("there is no command `plexus {0}`; `plexus help` lists all")]
struct NoCommand(String);

/// Prints the script that completes plexus's arguments.
///
/// # Errors
/// When it cannot be printed.
pub(super) fn completion(args: &CompletionArgs, plexus: &mut Command) -> Result<(), CommandError> {
    let shell = match args.shell.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        _ => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, plexus, "plexus", &mut script);
    Ok(output::text(String::from_utf8_lossy(&script))?)
}

/// Prints a manual page, or writes all.
///
/// # Errors
/// When there is no such command, or a page cannot be written.
pub(super) fn manual(args: &ManArgs, mut root: Command) -> Result<(), CommandError> {
    root.build();
    if let Some(folder) = &args.output_dir {
        std::fs::create_dir_all(folder)?;
        return write_pages(&root, folder);
    }
    let mut command = &root;
    for name in &args.command {
        let found = command.find_subcommand(name);
        command = found.ok_or_else(|| NoCommand(args.command.join(" ")))?;
    }
    Ok(output::text(String::from_utf8_lossy(&page(command)?))?)
}

fn write_pages(command: &Command, folder: &Path) -> Result<(), CommandError> {
    std::fs::write(folder.join(format!("{}.1", page_name(command))), page(command)?)?;
    command.get_subcommands().filter(|inner| is_shown(inner)).try_for_each(|inner| write_pages(inner, folder))
}

/// `help` describes the others, which have pages of their own.
fn is_shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

/// plexus-user-lock, for `plexus user lock`.
fn page_name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-")
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let source = concat!("Plexus ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).title(page_name(command)).source(source).render(&mut page)?;
    Ok(page)
}
