//! The command line: `plexus COMMAND`, and Synapse's names for the same commands through `argv[0]`.

mod ask;
mod config;
pub mod control;
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
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use plexus_base::private;

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

/// The folder of all files when no option names another.
pub const DEFAULT_DATA_DIR: &str = "plexus-data";

/// Which configuration: files and directories, or the data directory.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Configuration file, or a directory of *.yaml files; may be repeated, a later file's top-level keys replace
    /// earlier ones'
    #[arg(short = 'c', long = "config-path", value_name = "PATH")]
    pub config_path: Vec<PathBuf>,
    /// Where configuration, key and database are when no configuration is named [default: plexus-data]
    #[arg(long, alias = "data-directory", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl ConfigArgs {
    /// Returns the data directory, which is used when no configuration is named.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR))
    }
}

/// yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    /// yes
    Yes,
    /// no
    No,
}

/// Arguments of `plexus serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "its options are described where they are declared")]
    pub config: ConfigArgs,
    /// The server's name in user and room ids, for a configuration made now [default: localhost]
    #[arg(short = 'H', long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Whether anonymous statistics are reported, for a configuration made now [default: no]
    #[arg(long, value_name = "yes|no")]
    pub report_stats: Option<YesNo>,
    /// Write the configuration and what it names, then exit
    #[arg(long)]
    pub generate_config: bool,
    /// Where a configuration made now has its signing key [default: beside the configuration]
    #[arg(long, alias = "keys-directory", value_name = "DIR")]
    pub config_directory: Option<PathBuf>,
    /// Let a configuration made now listen on all addresses instead of 127.0.0.1
    #[arg(long)]
    pub open_private_ports: bool,
    /// Listen for clients on this port, whatever the configuration says
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Write missing files that the configuration names (signing key, log configuration), then exit
    #[arg(long, alias = "generate-keys", conflicts_with = "generate_config")]
    pub generate_missing_configs: bool,
    /// Write missing files that the configuration names, then run
    #[arg(long, conflicts_with_all = ["generate_config", "generate_missing_configs"])]
    pub generate_missing_and_run: bool,
    /// Run in the background; returns once the server listens
    #[arg(short = 'D', long)]
    pub daemonize: bool,
    /// Print the pid file's path at start
    #[arg(long)]
    pub print_pidfile: bool,
    /// Refuse secrets written in the configuration itself; their *_path forms are taken
    #[arg(long)]
    pub no_secrets_in_config: bool,
    /// Internal: this process was started by `--daemonize`.
    #[arg(long, hide = true)]
    pub detached: bool,
}

impl ServeArgs {
    /// Returns the arguments for a server with this configuration in the foreground.
    fn plain(config: ConfigArgs) -> Self {
        Self {
            config,
            server_name: None,
            report_stats: None,
            generate_config: false,
            config_directory: None,
            open_private_ports: false,
            port: None,
            generate_missing_configs: false,
            generate_missing_and_run: false,
            daemonize: false,
            print_pidfile: false,
            no_secrets_in_config: false,
            detached: false,
        }
    }
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
        Command::Completion(args) => manual::completion(&args),
        Command::Man(args) => manual::manual(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plexus: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed: its text is the one sentence that the operator reads.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
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
