//! `plexus hash-password`: prints the hash of a password, as the database and the admin API accept it.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use plexus_accounts::PasswordHasher;
use plexus_base::Random;

use super::prompt;
use crate::command::{CommandError, ConfigArgs};
use crate::output;

/// Arguments of `plexus hash-password`.
#[derive(Debug, Args)]
pub(super) struct HashPasswordArgs {
    /// The password; asked for when not given
    #[arg(short = 'p', long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Configuration with the pepper
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Prints the hash.
///
/// # Errors
/// When the configuration or the password cannot be read.
pub(super) fn run(args: &HashPasswordArgs) -> Result<(), CommandError> {
    let pepper = if args.config.is_empty() {
        String::new()
    } else {
        let config = ConfigArgs { config_path: args.config.clone(), data_dir: None };
        let pepper = crate::data_dir::load(&config)?.config.passwords.password_config.pepper;
        pepper.map(|pepper| pepper.expose().to_owned()).unwrap_or_default()
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None if std::io::stdin().is_terminal() => prompt::new_password()?,
        None => prompt::line("")?,
    };
    let hasher = PasswordHasher::new(&pepper, Random::system());
    Ok(output::line(hasher.hash_blocking(&password)?)?)
}
