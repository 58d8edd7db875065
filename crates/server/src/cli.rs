//! The command line: `plexus COMMAND`, and Synapse's names for the same commands through `argv[0]`.

mod ask;
mod config;
mod control;
mod database;
mod demo;
mod doctor;
mod hash_password;
mod keys;
mod manual;
mod prompt;
mod register;
mod token;
mod user;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use plexus_base::private;

use crate::command::ServeArgs;
use crate::serve;

/// The version that `plexus --version` prints; bench/release.sh sets the variable.
const VERSION: &str = match option_env!("PLEXUS_GUIDED") {
    Some(_) => concat!(env!("CARGO_PKG_VERSION"), ", profile-guided"),
    None => env!("CARGO_PKG_VERSION"),
};

/// A Matrix homeserver.
#[derive(Debug, Parser)]
#[command(name = "plexus", version = VERSION, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; without a configuration one is made in plexus-data/
    Serve(ServeArgs),
    /// Run the server in the background (as synctl start)
    Start(control::ControlArgs),
    /// Stop the running server (as synctl stop)
    Stop(control::ControlArgs),
    /// Stop, then start (as synctl restart)
    Restart(control::ControlArgs),
    /// Say whether the server runs
    Status(control::ControlArgs),
    /// Make a user on a running server (as register_new_matrix_user)
    Register(register::RegisterArgs),
    /// List and change users, while the server runs or is stopped
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// Look after registration tokens
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Hash a password for the database (as hash_password)
    HashPassword(hash_password::HashPasswordArgs),
    /// Write a configuration (as generate_config)
    GenerateConfig(config::GenerateConfigArgs),
    /// Make a signing key (as generate_signing_key)
    GenerateSigningKey(keys::GenerateSigningKeyArgs),
    /// Print the public half of signing keys (as export_signing_key)
    ExportSigningKey(keys::ExportSigningKeyArgs),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: config::ConfigCommand,
    },
    /// Say whether this installation works, and what to do where it does not; exits 1 then
    Doctor(doctor::DoctorArgs),
    /// Look after the database
    Db {
        #[command(subcommand)]
        command: database::DatabaseCommand,
    },
    /// Run three servers that federate with each other, and let them talk
    Demo(demo::DemoArgs),
    /// Print a script with which a shell completes plexus's commands and options
    Completion(manual::CompletionArgs),
    /// Print a manual page: `plexus man serve | man -l -`
    Man(manual::ManArgs),
}

/// Synapse's command names and the arguments they stand for.
const SYNAPSE_NAMES: [(&str, &[&str]); 7] = [
    ("synapse_homeserver", &["serve"]),
    ("synctl", &[]),
    ("register_new_matrix_user", &["register"]),
    ("hash_password", &["hash-password"]),
    ("generate_config", &["generate-config", "--config-only"]),
    ("generate_signing_key", &["generate-signing-key"]),
    ("export_signing_key", &["export-signing-key"]),
];

/// Inserts the command that argv[0] stands for, if any, before the other arguments.
fn with_command(arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments
        .first()
        .and_then(|first| Path::new(first).file_stem())
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some((_, command)) = SYNAPSE_NAMES.iter().find(|(known, _)| *known == name) else {
        return arguments;
    };
    let mut all: Vec<OsString> = vec!["plexus".into()];
    all.extend(command.iter().map(OsString::from));
    all.extend(arguments.into_iter().skip(1));
    all
}

/// Runs the command and returns its exit code.
pub fn main() -> ExitCode {
    // Files that libraries create are private too; a unix socket gets the mode that its listener states.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(!private::FOLDER_MODE & 0o777));
    let cli = Cli::parse_from(with_command(std::env::args_os().collect()));
    let result = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Start(args) => control::start(&args),
        Command::Stop(args) => control::stop(&args),
        Command::Restart(args) => control::restart(&args),
        Command::Status(args) => return control::status(&args),
        Command::Register(args) => register::run(args),
        Command::Token { command } => token::run(&command),
        Command::HashPassword(args) => hash_password::run(&args),
        Command::GenerateConfig(args) => config::generate(&args),
        Command::GenerateSigningKey(args) => keys::generate(&args),
        Command::ExportSigningKey(args) => keys::export(&args),
        Command::Config { command } => return config::run(&command),
        Command::Doctor(args) => match doctor::run(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Db { command } => database::run(&command),
        Command::User { command } => user::run(command),
        Command::Demo(args) => demo::run(&args),
        Command::Completion(args) => manual::completion(&args, &mut Cli::command()),
        Command::Man(args) => manual::manual(&args, Cli::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plexus: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn synapse_names_stand_for_commands() {
        let of = |name: &str| with_command(vec![name.into(), "-x".into()]);
        assert_eq!(of("/usr/bin/register_new_matrix_user"), ["plexus", "register", "-x"]);
        assert_eq!(of("synctl"), ["plexus", "-x"]);
        assert_eq!(of("./plexus"), ["./plexus", "-x"]);
    }
}
